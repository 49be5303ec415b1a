"""The judge's measurements of a generator during training, which may keep the best generator."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import BEST
from gan_augment.contracts import Watch
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.judging import JudgeStage, features_of, share_right
from gan_augment.metrics.fidelity import fewest_images, judge_metrics
from gan_augment.randomness import Stream
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.stages import DivergedError, implied
from gan_augment.training.progress import titled

CAS_PER_CLASS = 200  # generated images to train on for the classification accuracy score


@dataclass(frozen=True, eq=False)
class JudgeWatch(Watch):
    """The plan of these measurements.

    Attributes:
        judge: The stage that trains the judge.
        every: Images seen between two measurements.
        best_by: The metric that chooses the best generator; None to keep the last.
    """

    judge: JudgeStage
    every: int = implied()
    best_by: str | None = implied()

    @property
    def settings(self) -> dict[str, Any]:
        """Its part of a generator's key, under the names in keys of stored stages."""
        return {"judge_every": self.every, "best_by": self.best_by}

    def check(self, knows_classes: bool) -> None:
        """Refuse a choosing metric that needs a generator that knows classes, or more validation images."""
        metric, validation = self.best_by, self.judge.validation
        if metric in ("label_agreement", "cas_validation") and not knows_classes:
            raise ValueError(
                f"measures.judge.best_by={metric}, but the generator knows no classes: use a metric without labels"
            )
        needs = fewest_images(self.judge.num_features)
        if metric in needs and len(validation) < needs[metric]:
            raise ValueError(
                f"measures.judge.best_by={metric} needs {needs[metric]} validation images, but there are "
                f"{len(validation)}: raise validation_per_class"
            )

    def callback(self, made: Mapping[str, Path], seed: int, output: Path) -> "Measurements":
        """Return the callback of the training."""
        return Measurements(self, self.judge.load(made["judge"]), seed, output)


class Measurements(Callback):
    """Measure the averaged generator at intervals and at the end, and keep the best one if a metric is to choose it.

    The curves `judge/<metric>` have the same axis as the other curves of the training. Latents come from a stream of
    their own, so measuring does not change the training; they are the same at every measurement.
    """

    def __init__(self, watch: JudgeWatch, judge: TrainedClassifier, seed: int, output: Path) -> None:
        self._watch, self._judge, self._output = watch, judge, output
        self._stream = Stream(seed, "look")
        self._best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, for a resumed training."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._best = state_dict["best"]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure when it is due."""
        now, before, every = pl_module.images_seen(batch_idx), pl_module.images_seen(batch_idx - 1), self._watch.every
        if now // every == before // every and batch_idx + 1 < pl_module.num_steps:
            return
        with pl_module.pause():
            found = self.measure(pl_module)
        logger: Any = trainer.logger
        logger.log_metrics({f"judge/{name}": value for name, value in found.items()}, now)
        best_by = self._watch.best_by
        if best_by is None:
            return
        value, sign = found[best_by], -1 if GENERATOR_METRICS[best_by].better == "lower" else 1
        if math.isfinite(value) and (self._best is None or sign * value > sign * self._best):
            self._best = value
            pl_module.save(self._output / BEST, images_seen=now, chosen_by=best_by, value=value)

    def measure(self, system: Any) -> dict[str, float]:
        """Return those of the judge's metrics of the averaged generator that can be computed."""
        knows_classes, validation = system.knows_classes, self._watch.judge.validation
        if not knows_classes:
            validation = validation.as_one_class()
        generated = self._sample(system, validation.labels, validation.class_names)
        real = features_of(self._judge, validation)
        metrics, _ = judge_metrics(real, features_of(self._judge, generated), validation.class_names)
        found = {name: metrics[name] for name in GENERATOR_METRICS if metrics.get(name) is not None}
        if knows_classes:
            labels = torch.arange(validation.num_classes).repeat_interleave(CAS_PER_CLASS)
            images = self._sample(system, labels, validation.class_names)
            found["cas_validation"] = classification_accuracy_score(self._watch.judge, images)
        return found

    def _sample(self, system: Any, labels: Tensor, class_names: Sequence[str]) -> ImageSet:
        return ImageSet(system.sample(labels, self._stream.at(0), torch.uint8), labels, class_names)


def classification_accuracy_score(judge: JudgeStage, generated: ImageSet) -> float:
    """Train the judge's network on generated images alone; return its accuracy on the validation images, in [0, 1].

    The classification accuracy score (Ravuri and Vinyals 2019), on validation; NaN if this training diverged. The
    global random state is unchanged.
    """
    hardware = replace(judge.hardware, checkpoint_every=None)  # short enough to repeat
    nothing = judge.validation.subset(torch.empty(0, dtype=torch.int64))
    alone = replace(judge, training=generated, validation=nothing, classical=None, hardware=hardware)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), titled(None):
        try:
            alone.run(Path(folder), {})
        except DivergedError:  # only this classifier: the GAN goes on
            return math.nan
        predicted = alone.load(Path(folder)).probabilities(judge.validation).argmax(dim=1)
    return share_right(predicted, judge.validation.labels)
