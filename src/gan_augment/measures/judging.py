"""The judge: a classifier that only measures, shared by all trials on a data set and used in no training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.config import Config
from gan_augment.data.batches import Part
from gan_augment.data.image_set import ImageSet, first_of_each
from gan_augment.methods.base import ClassifierStage
from gan_augment.methods.supervised import ClassifierSettings, train_classifier
from gan_augment.metrics.fidelity import Features, judge_metrics
from gan_augment.metrics.inception import inception_distances, inception_features
from gan_augment.networks.judge import Judge as JudgeNetwork
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import check_integer, check_type, errors_of
from gan_augment.stages import implied

JUDGED = 2000  # least number of generated images to compare with validation images
SEED = 0  # of every judge, so that all trials are measured alike


@dataclass(frozen=True)
class JudgeSettings:
    """How a measure trains its judge.

    Attributes:
        where: The name of these settings in the configuration.
        network: The node of its network.
        num_steps: Optimizer steps.
        batch_size: Images per step.
        learning_rate: Of AdamW, decays to 0.
        weight_decay: Of AdamW.

    Raises:
        ValueError: If a value is out of range.
    """

    where: ClassVar[str]

    network: Mapping[str, Any]
    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        check_integer(f"{self.where}.batch_size", self.batch_size, low=2)  # features are normalised over a batch
        assert self.training is not None  # its settings are checked

    @cached_property
    def training(self) -> ClassifierSettings:
        """The same, as settings of a classifier."""
        return ClassifierSettings(
            self.network, self.num_steps, self.batch_size, self.learning_rate, self.weight_decay, self.where
        )

    def judge(self, config: Config, training: ImageSet, validation: ImageSet) -> "JudgeStage":
        """Plan the stage that trains the judge."""
        assert config.classical is not None, "points have no judge"
        return JudgeStage(
            training=training,
            validation=validation,
            judge=self.training,
            classical=config.classical,
            where=self.where,
            seed=SEED,
            hardware=config.hardware,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgeStage(ClassifierStage):
    """Trains a judge, which compares generated images with the validation images.

    Attributes:
        training: Its training images: all labelled images outside validation and test.
        judge: How it is trained.
        where: The name of its settings in the configuration.
    """

    name, version = "judge", 2

    training: ImageSet
    judge: ClassifierSettings
    where: str = implied(default="measures.judge")

    @cached_property
    def num_features(self) -> int:
        """The number of features; raises a ValueError if the network cannot take such images or is no judge's."""
        with errors_of(self.where):
            network = self.judge.build(self.training.shape, self.training.num_classes)
        use = "gan_augment.networks.judge.Judge"
        return check_type(f"{self.where}.network", network, JudgeNetwork, use).num_features

    def check(self) -> None:
        """Check that the network is a judge's and can take such images."""
        assert self.num_features
        self.check_sharing(self.judge, self.training, self.judge.batch_size)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the judge and write its weights."""
        parts = [Part(self.training, self.judge.batch_size, "order")]
        train_classifier(self, parts, self.training, self.judge, folder)


def features_of(judge: TrainedClassifier, images: ImageSet) -> Features:
    """Return a judge's features and predictions of images."""
    network = judge.network
    assert isinstance(network, JudgeNetwork)
    features = judge.outputs(network.body, images)
    with torch.no_grad():
        logits = network.head(features.to(judge.device)).cpu()
    return Features(features, logits.argmax(dim=1), images.labels)


def share_right(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of right predictions, in [0, 1]."""
    return float((predicted == labels).double().mean())


def how_many_to_judge(validation: ImageSet) -> Tensor:
    """Return how many images of each class the judge measures, int64 `[K]`: 2,000 or a few more in all.

    A multiple of the validation images, so that the classes have the same proportions; without validation images as
    many of each class, since their labels can still be evaluated.
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
    """Compare generated images with validation images, which no training has seen.

    Args:
        judge: The judge.
        generated: Unselected images of the generator, in the proportions of the validation images.
        validation: Real images outside the training of judge, generator and teacher.
        training: The judge's training images.
        teacher: A classifier trained only on the labelled images, which labelled none for the generator.
        inception: Whether to compare them by the features of Inception too.

    Returns:
        Metrics: those of `judge_metrics`; `gan_test`, the teacher's accuracy on the generated images; `judge_accuracy`
        on the validation images; `real`, the score of as many training images, and so of a generator that copied them
        (new real images may score differently). And a sentence for each refused metric.
    """
    if generated.num_classes == 1:  # from a generator that knows no classes
        validation, training, teacher = validation.as_one_class(), training.as_one_class(), None
    copies = first_of_each(training, generated.class_counts)
    seen = features_of(judge, validation)
    metrics, refusals = judge_metrics(seen, features_of(judge, generated), validation.class_names)
    copied, _ = judge_metrics(seen, features_of(judge, copies), validation.class_names)
    metrics["real"] = {name: copied[name] for name in GENERATOR_METRICS if name in copied}
    if teacher is not None:
        metrics["gan_test"] = share_right(teacher.probabilities(generated).argmax(dim=1), generated.labels)
    if generated.num_classes > 1 and len(seen):
        metrics["judge_accuracy"] = share_right(seen.predicted, seen.labels)
    if inception:
        reference = inception_features(validation, judge.device)
        metrics["real"] |= inception_distances(reference, inception_features(copies, judge.device))[0]
        distances, refused = inception_distances(reference, inception_features(generated, judge.device))
        metrics, refusals = metrics | distances, [*refusals, *refused]
    return metrics, refusals
