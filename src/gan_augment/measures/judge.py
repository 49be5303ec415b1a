"""The judge: a classifier that only measures. One for all trials on a data set; it has no part in any training."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_augment.arm import Arm
from gan_augment.artefacts.weights import FILE
from gan_augment.data.image_set import ImageSet, first_of_each
from gan_augment.methods.supervised import VERSION, TrainedClassifier, read_classifier, train_classifier
from gan_augment.metrics.fidelity import Features, fewest_images, judge_metrics
from gan_augment.metrics.inception import inception_distances, inception_features, inception_network
from gan_augment.networks.judge import Judge as JudgeNetwork
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import build, check_boolean, check_integer, check_names
from gan_augment.stages import DivergedError, Stage
from gan_augment.training.hardware import Hardware
from gan_augment.training.progress import titled

JUDGED = 2000  # generated images at least, where there are validation images to compare with
SEED = 0  # of every judge: trials with other seeds are measured alike
ARM = Arm(sees="labelled", extra="none", share=None, transform="classical", learner="classifier")


@dataclass(frozen=True, eq=False)
class Judge:
    """A judge that is laid out, and what it compares generated images with.

    Attributes:
        stage: The stage that trains it.
        settings: Configuration node of its `ClassifierSettings`.
        validation: Real images that nothing was trained on.
        num_features: By which it compares images.
        hardware: Where it computes.
    """

    stage: Stage
    settings: Mapping[str, Any]
    validation: ImageSet
    num_features: int
    hardware: Hardware

    def load(self, folder: Path) -> TrainedClassifier:
        """Read the judge in its stage's folder."""
        return TrainedClassifier.load(folder / FILE, self.hardware.device)

    def check_best_by(self, metric: str | None, knows_classes: bool) -> None:
        """Refuse to choose a generator by a metric that will not be there.

        Raises:
            ValueError: If it needs classes and the generator knows none, or more validation images.
        """
        if metric in ("label_agreement", "cas_validation") and not knows_classes:
            raise ValueError(f"gan.best_by={metric}, but the generator knows no classes: use a metric without labels")
        needs = fewest_images(self.num_features)
        if metric in needs and len(self.validation) < needs[metric]:
            raise ValueError(
                f"gan.best_by={metric} needs {needs[metric]} validation images, but there are {len(self.validation)}: "
                "raise validation_per_class"
            )

    def cas(self, generated: ImageSet) -> float:
        """Train the judge's network on generated images alone; return its accuracy on the validation images, in [0, 1].

        The classification accuracy score (Ravuri and Vinyals 2019), on validation; not a number if this training
        diverged. The global random state is left as it was.
        """
        hardware = replace(self.hardware, checkpoint_every=None)  # it is over soon, and begun anew where it is not
        with tempfile.TemporaryDirectory() as name, torch.random.fork_rng(devices=[]), titled(None):
            folder, nothing = Path(name), self.validation.subset(torch.empty(0, dtype=torch.int64))
            try:
                train_classifier(generated, nothing, ARM, None, self.settings, SEED, hardware, folder)
            except DivergedError:  # of this classifier: the GAN goes on
                return math.nan
            says = self.load(folder).probabilities(self.validation)
        return float((says.argmax(dim=1) == self.validation.labels).double().mean())


def why_no_judge(training: ImageSet) -> str | None:
    """Say in a sentence why there can be no judge of such images; None if there can be one."""
    if training.shape.is_point:
        return "The generator has no judge: these are points"
    if training.num_classes < 2:
        return f"The generator has no judge: its images are of one class, {training.class_names[0]!r}"
    return None


def lay_out_judge(
    training: ImageSet, validation: ImageSet, classical: Mapping[str, Any], judge: Mapping[str, Any], hardware: Hardware
) -> Judge:
    """Lay out a judge.

    Args:
        training: What it learns from: all labelled images outside validation and test.
        validation: What it compares generated images with.
        classical: Configuration node of the data set's `ClassicalTransform`, which its images go through.
        judge: Configuration node of its `ClassifierSettings`, and whether to ask Inception too.
        hardware: Where it is trained.

    Raises:
        ValueError: If a setting is out of range, or Inception cannot be had.
    """
    check_names("judge", judge, ("network", "num_steps", "batch_size", "learning_rate", "weight_decay", "inception"))
    judge = {**judge}
    inception = judge.pop("inception")
    check_boolean("judge.inception", inception)
    check_integer("judge.batch_size", judge["batch_size"], low=2)  # features are normalised over a batch
    if inception:
        inception_network()
    settings = read_classifier(judge, "judge")
    try:
        network = settings.network(training.shape, training.num_classes)
    except ValueError as error:
        raise ValueError(f"judge: {str(error).removeprefix('classifier.')}") from error
    if not isinstance(network, JudgeNetwork):
        raise ValueError(f"judge.network is a {type(network).__name__}: use gan_augment.networks.judge.Judge")
    stage = Stage(
        name="judge",
        version=VERSION,
        settings={"judge": judge, "classical": classical, **hardware.identity},
        inputs={"training": training.fingerprint, "validation": validation.fingerprint},
        seed=SEED,
        compute=partial(train_classifier, training, validation, ARM, build(classical), judge, SEED, hardware),
    )
    return Judge(stage, judge, validation, network.num_features, hardware)


def look(judge: TrainedClassifier, images: ImageSet) -> Features:
    """Return what a judge sees in images."""
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
    seen = look(judge, validation)
    metrics, refusals = judge_metrics(seen, look(judge, generated), validation.class_names)
    copied, _ = judge_metrics(seen, look(judge, copies), validation.class_names)
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
