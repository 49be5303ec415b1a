"""The judge's looks at a generator while it trains."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gan_augment.artefacts.weights import BEST
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.judge import Judge, look
from gan_augment.metrics.fidelity import judge_metrics
from gan_augment.randomness import Stream
from gan_augment.records.metric_meanings import GENERATOR_METRICS

CAS_PER_CLASS = 200  # generated images that the classification accuracy score is trained on


class Looks(Callback):
    """Measure the averaged generator every so many images, and keep the best one if asked to.

    The curves `judge/<metric>` stand beside the others of the training, on the same axis. What is drawn here comes from
    streams of its own: a training that is looked at takes the same course as one that is not.

    Args:
        judge: Who looks, and at which real images.
        folder: The judge's stage folder.
        every: Real images that the discriminator sees between two looks; the last look is at the end.
        seed: Decides the latents, the same at every look.
        best_by: The metric whose best look is kept, in `output`; None for none.
        output: Where the GAN's stage writes.
    """

    def __init__(self, judge: Judge, folder: Path, every: int, seed: int, best_by: str | None, output: Path) -> None:
        self._judge, self._every, self._best_by, self._output = judge, every, best_by, output
        self._network = judge.load(folder)
        self._stream = Stream(seed, "look")
        self._best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must know."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self._best = state_dict["best"]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look when it is time."""
        now, before = pl_module.images_seen(batch_idx), pl_module.images_seen(batch_idx - 1)
        if now // self._every == before // self._every and batch_idx + 1 < int(trainer.num_training_batches):
            return
        found = self.measure(pl_module)
        logger: Any = trainer.logger
        logger.log_metrics({f"judge/{name}": value for name, value in found.items()}, now)
        if self._best_by is None:
            return
        value, sign = found[self._best_by], -1 if GENERATOR_METRICS[self._best_by].better == "lower" else 1
        if math.isfinite(value) and (self._best is None or sign * value > sign * self._best):
            self._best = value
            pl_module.save(self._output / BEST, images_seen=now, chosen_by=self._best_by, value=value)

    def measure(self, system: Any) -> dict[str, float]:
        """Return the judge's metrics of the averaged generator that can be had."""
        validation = self._judge.validation
        knows_classes = system.design.conditioning.knows_classes
        if not knows_classes:
            validation = validation.as_one_class()
        generated = self._sample(system, validation.labels, validation.class_names)
        real = look(self._network, validation)
        metrics, _ = judge_metrics(real, look(self._network, generated), validation.class_names)
        found = {name: metrics[name] for name in GENERATOR_METRICS if metrics.get(name) is not None}
        if knows_classes:
            labels = torch.arange(validation.num_classes).repeat_interleave(CAS_PER_CLASS)
            found["cas_validation"] = self._judge.cas(self._sample(system, labels, validation.class_names))
        return found

    def _sample(self, system: Any, labels: Tensor, class_names: Sequence[str]) -> ImageSet:
        return ImageSet(system.sample(labels, self._stream.at(0), torch.uint8), labels, class_names)
