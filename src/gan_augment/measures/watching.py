"""The judge's measurements of a generator while it trains, of which the best one may be kept."""

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
from gan_augment.measures.judging import JudgeStage, features_of, train
from gan_augment.metrics.fidelity import fewest_images, judge_metrics
from gan_augment.randomness import Stream
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.stages import DivergedError, implied
from gan_augment.training.progress import titled

CAS_PER_CLASS = 200  # generated images that the classification accuracy score is trained on


@dataclass(frozen=True, eq=False)
class JudgeWatch(Watch):
    """What measures a generator while it trains, and may keep the best one.

    Attributes:
        judge: The stage that trains the judge.
        every: Images seen between two measurements.
        best_by: The metric by which the best generator is kept; None to keep the last.
    """

    judge: JudgeStage
    every: int = implied()
    best_by: str | None = implied()

    @property
    def settings(self) -> dict[str, Any]:
        """What a generator's key holds, under the names that the keys of stored stages have."""
        return {"judge_every": self.every, "best_by": self.best_by}

    def check(self, knows_classes: bool) -> None:
        """Refuse to choose a generator by a metric that will not be there.

        Raises:
            ValueError: If it needs classes and the generator knows none, or more validation images.
        """
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
    """Measure the averaged generator every so many images, and keep the best one if asked to.

    The curves `judge/<metric>` stand next to the others of the training, on the same axis. What is drawn here comes
    from streams of its own: measuring does not change the course of the training.

    Args:
        watch: What is measured, and when; the last measurement is at the end.
        judge: The judge.
        seed: Decides the latents, the same at every measurement.
        output: Where the generator's stage writes.
    """

    def __init__(self, watch: JudgeWatch, judge: TrainedClassifier, seed: int, output: Path) -> None:
        self._watch, self._judge, self._output = watch, judge, output
        self._stream = Stream(seed, "look")
        self._best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must know."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self._best = state_dict["best"]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure when it is time."""
        now, before, every = pl_module.images_seen(batch_idx), pl_module.images_seen(batch_idx - 1), self._watch.every
        if now // every == before // every and batch_idx + 1 < int(trainer.num_training_batches):
            return
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
        """Return the judge's metrics of the averaged generator that can be computed."""
        validation = self._watch.judge.validation
        knows_classes = system.design.conditioning.knows_classes
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

    The classification accuracy score (Ravuri and Vinyals 2019), on validation; not a number if this training diverged.
    The global random state is left as it was.
    """
    hardware = replace(judge.hardware, checkpoint_every=None)  # it is over soon, and begun anew where it is not
    with tempfile.TemporaryDirectory() as name, torch.random.fork_rng(devices=[]), titled(None):
        folder, nothing = Path(name), judge.validation.subset(torch.empty(0, dtype=torch.int64))
        try:
            train(generated, nothing, judge.judge, None, hardware, folder)
        except DivergedError:  # of this classifier: the GAN goes on
            return math.nan
        probabilities = judge.load(folder).probabilities(judge.validation)
    return float((probabilities.argmax(dim=1) == judge.validation.labels).double().mean())
