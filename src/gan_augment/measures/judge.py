"""The judge: a classifier that only measures. One for all trials on a data set; it has no part in any training."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import BEST, FILE
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.config import Config
from gan_augment.contracts import Plan, Watch
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet, first_of_each
from gan_augment.data.split import Split
from gan_augment.generators.sampling import SynthesisSettings, first_images
from gan_augment.measures.base import Finished, Measure
from gan_augment.methods.supervised import ClassifierSettings, train_classifier
from gan_augment.metrics.fidelity import Features, fewest_images, judge_metrics
from gan_augment.metrics.inception import inception_distances, inception_features, inception_network
from gan_augment.networks.judge import Judge as JudgeNetwork
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import build, check_boolean, check_choice, check_integer
from gan_augment.stages import DivergedError, Stage, implied
from gan_augment.training.hardware import Hardware
from gan_augment.training.progress import titled

# Metrics that cannot be computed while a generator trains.
AT_THE_END = ("gan_test", "diversity", "frechet_inception_distance", "kernel_inception_distance")
WHILE_TRAINING = tuple(name for name in GENERATOR_METRICS if name not in AT_THE_END)
CAS_PER_CLASS = 200  # generated images that the classification accuracy score is trained on
JUDGED = 2000  # generated images at least, where there are validation images to compare with
SEED = 0  # of every judge: trials with other seeds are measured alike


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgeStage(Stage):
    """Trains a judge.

    Attributes:
        training: What it learns from: all labelled images outside validation and test.
        validation: What it compares generated images with.
        judge: How it is trained.
        classical: The node of the data set's transforms, which its images go through.
    """

    name, version = "judge", 2

    training: ImageSet
    validation: ImageSet
    judge: ClassifierSettings
    classical: Mapping[str, Any]

    @cached_property
    def num_features(self) -> int:
        """How many features it compares images by.

        Raises:
            ValueError: If its network cannot take such images, or is none of a judge.
        """
        where = "measures.judge"
        try:
            network = self.judge.build(self.training.shape, self.training.num_classes)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error
        if not isinstance(network, JudgeNetwork):
            raise ValueError(f"{where}.network is a {type(network).__name__}: use gan_augment.networks.judge.Judge")
        return network.num_features

    def check(self) -> None:
        """Refuse a network that cannot take such images, or is none of a judge."""
        assert self.num_features

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the judge and leave its weights."""
        transform = build(self.classical, "data.classical", ClassicalTransform)
        train(self.training, self.validation, self.judge, transform, self.hardware, folder)

    def load(self, folder: Path) -> TrainedClassifier:
        """Read the judge."""
        return TrainedClassifier.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the judge's weights."""
        return folder / FILE


def train(
    images: ImageSet,
    validation: ImageSet,
    settings: ClassifierSettings,
    transform: ClassicalTransform | None,
    hardware: Hardware,
    folder: Path,
) -> None:
    """Train a judge's network on images and leave its weights in a folder."""
    parts = [Part(images, settings.batch_size, "order")]
    data = ImageBatches(parts, settings.num_steps, SEED, validation, settings.batch_size)
    train_classifier(data, images, validation, settings, SEED, hardware, folder, transform)


@dataclass(frozen=True)
class Judge(Measure):
    """The judge: how close generated images are to real ones by the features of a classifier that only measures.

    Attributes:
        network: The node of its network.
        num_steps: Optimizer steps.
        batch_size: Images a step.
        learning_rate: Of AdamW, decays to 0.
        weight_decay: Of AdamW.
        inception: Whether to compare images by the features of Inception too.
        every: Images seen between two measurements while the generator trains; None for none.
        best_by: The metric whose best measurement gives the generator that is used; None for the one of the last step.
    """

    network: Mapping[str, Any]
    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    inception: bool
    every: int | None
    best_by: str | None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_boolean("measures.judge.inception", self.inception)
        check_integer("measures.judge.batch_size", self.batch_size, low=2)  # features are normalised over a batch
        assert self.training is not None  # its settings are checked
        if self.every is not None:
            check_integer("measures.judge.every", self.every, low=1)
        if self.best_by is not None:
            check_choice("measures.judge.best_by", self.best_by, WHILE_TRAINING)
            if self.every is None:
                raise ValueError(
                    f"measures.judge.best_by={self.best_by}, but nothing is measured while the generator trains: set "
                    "measures.judge.every, such as 10000"
                )

    @cached_property
    def training(self) -> ClassifierSettings:
        """How the judge is trained."""
        return ClassifierSettings(
            self.network, self.num_steps, self.batch_size, self.learning_rate, self.weight_decay, "measures.judge"
        )

    def stage(self, config: Config, split: Split) -> JudgeStage:
        """Plan the stage that trains it.

        Raises:
            ValueError: If Inception cannot be loaded.
        """
        if self.inception:
            inception_network()
        assert config.data.classical is not None, "points have no judge"
        return JudgeStage(
            training=split.training,
            validation=split.validation,
            judge=self.training,
            classical=config.data.classical,
            seed=SEED,
            hardware=config.hardware,
        )

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan the judge and the teacher, for trials with a generator."""
        if "synthesis" not in stages or why_no_judge(split.training):
            return None
        teacher = {} if plan.config.parts["classifier"] is None else {"teacher": plan.teacher()}
        return {**teacher, "judge": self.stage(plan.config, split)}

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Return why a generator has no judge."""
        reason = why_no_judge(split.training)
        return (reason,) if reason and "synthesis" in stages else ()

    def watch(self, config: Config, split: Split) -> "JudgeWatch | None":
        """Plan the measurements while the generator trains.

        Raises:
            ValueError: If there is nothing to measure by, or to compare with.
        """
        if self.every is None:
            return None
        if reason := why_no_judge(split.training):
            raise ValueError(f"measures.judge.every={self.every}, but there is no judge. {reason}")
        if not len(split.validation):
            raise ValueError(
                f"measures.judge.every={self.every}, but there is no validation image for it to compare with"
            )
        return JudgeWatch(self.stage(config, split), self.every, self.best_by)

    def find(self, finished: Finished) -> Findings:
        """Measure the generator."""
        split, generator = finished.split, finished.generator
        lost = [name for name in ("teacher", "judge") if name in finished.stages and finished.outputs[name].diverged]
        warnings = tuple(f"The {name}'s training diverged: nothing is measured by it" for name in lost)
        if "judge" in lost:
            return Findings(warnings=warnings)
        like = split.validation if generator.knows_classes else split.validation.as_one_class()
        latents = finished.config.part("synthesis", SynthesisSettings).latents
        made = first_images(generator, how_many_to_judge(like), finished.config.seeds.synthesis, latents)
        # A teacher that gave the generator its labels finds them in its images: that would measure nothing.
        has_teacher = "teacher" in finished.stages and "teacher" not in lost and "pseudo_labels" not in finished.stages
        teacher = finished.load("teacher") if has_teacher else None
        judge = finished.load("judge")
        metrics, refused = judge_images(judge, made, split.validation, split.training, teacher, self.inception)
        return Findings({"gan": metrics}, (*warnings, *refused))


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


def why_no_judge(training: ImageSet) -> str | None:
    """Return in a sentence why there can be no judge of such images; None if there can be one."""
    if training.shape.is_point:
        return "The generator has no judge: these are points"
    if training.num_classes < 2:
        return f"The generator has no judge: its images are of one class, {training.class_names[0]!r}"
    return None


def features_of(judge: TrainedClassifier, images: ImageSet) -> Features:
    """Return what a judge makes of images."""
    network = judge.network
    assert isinstance(network, JudgeNetwork)
    features = judge.outputs(network.body, images)
    with torch.no_grad():
        logits = network.head(features.to(judge.device)).cpu()
    return Features(features, logits.argmax(dim=1), images.labels)


def how_many_to_judge(validation: ImageSet) -> Tensor:
    """Say how many images of each class a generator should make to be judged, int64 `[K]`.

    A multiple of the validation images, so that the classes come in the same proportions: 2,000 images or a few more.
    Without validation images as many of each class, whose labels at least can be looked at.
    """
    if not len(validation):
        return torch.full((validation.num_classes,), math.ceil(JUDGED / validation.num_classes))
    return validation.class_counts * math.ceil(JUDGED / len(validation))


def judge_images(
    judge: TrainedClassifier,
    generated: ImageSet,
    validation: ImageSet,
    training: ImageSet,
    teacher: TrainedClassifier | None = None,
    inception: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Measure generated images against real ones that nothing has seen.

    Args:
        judge: Looks at the images.
        generated: Images as the generator makes them, unselected, in the proportions of the validation images.
        validation: Real images that neither judge nor generator nor teacher was trained on.
        training: Real images that the judge was trained on.
        teacher: The classifier that was trained on the labelled images alone, where there is one that did not label
            what the generator learned from.
        inception: Whether to compare them by the features of Inception too.

    Returns:
        Metrics: those of `judge_metrics`; `gan_test`, the teacher's accuracy on the generated images; `judge_accuracy`
        on the validation images; `real`, what as many training images score, and so a generator that copied them. And
        what is refused, a sentence each.
    """
    if generated.num_classes == 1:  # of a generator that knows no classes
        validation, training, teacher = validation.as_one_class(), training.as_one_class(), None
    copies = first_of_each(training, generated.class_counts)
    seen = features_of(judge, validation)
    metrics, refusals = judge_metrics(seen, features_of(judge, generated), validation.class_names)
    copied, _ = judge_metrics(seen, features_of(judge, copies), validation.class_names)
    metrics["real"] = {name: copied[name] for name in GENERATOR_METRICS if name in copied}
    if teacher is not None:
        says = teacher.probabilities(generated).argmax(dim=1)
        metrics["gan_test"] = float((says == generated.labels).double().mean())
    if generated.num_classes > 1 and len(seen):
        metrics["judge_accuracy"] = float((seen.predicted == seen.labels).double().mean())
    if inception:
        reference = inception_features(validation, judge.device)
        metrics["real"] |= inception_distances(reference, inception_features(copies, judge.device))[0]
        distances, refused = inception_distances(reference, inception_features(generated, judge.device))
        metrics, refusals = metrics | distances, [*refusals, *refused]
    return metrics, refusals
