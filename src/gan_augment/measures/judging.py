"""The judge: a classifier that only measures, shared by all trials on a data set and used in no training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import FILE
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet, first_of_each
from gan_augment.methods.supervised import ClassifierSettings, train_classifier
from gan_augment.metrics.fidelity import Features, judge_metrics
from gan_augment.metrics.inception import inception_distances, inception_features
from gan_augment.networks.judge import Judge as JudgeNetwork
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import build
from gan_augment.stages import Stage
from gan_augment.training.hardware import Hardware

JUDGED = 2000  # least number of generated images to compare with validation images
SEED = 0  # of every judge, so that all trials are measured alike


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgeStage(Stage):
    """Trains a judge.

    Attributes:
        training: Its training images: all labelled images outside validation and test.
        validation: The images it compares generated ones with.
        judge: How it is trained.
        classical: The node of the data set's transforms, applied to its training images.
    """

    name, version = "judge", 2

    training: ImageSet
    validation: ImageSet
    judge: ClassifierSettings
    classical: Mapping[str, Any]

    @cached_property
    def num_features(self) -> int:
        """The number of features it compares images by.

        Raises:
            ValueError: If its network cannot take such images, or is not a judge's network.
        """
        where = "measures.judge"
        try:
            network = self.judge.build(self.training.shape, self.training.num_classes)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error
        if not isinstance(network, JudgeNetwork):
            raise ValueError(
                f"{where}.network is of type {type(network).__name__}: use gan_augment.networks.judge.Judge"
            )
        return network.num_features

    def check(self) -> None:
        """Check that the network is a judge's and can take such images."""
        assert self.num_features

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the judge and write its weights."""
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
    """Train a judge's network on images and write its weights into a folder."""
    parts = [Part(images, settings.batch_size, "order")]
    data = ImageBatches(parts, settings.num_steps, SEED, validation, settings.batch_size)
    train_classifier(data, images, validation, settings, SEED, hardware, folder, transform)


def features_of(judge: TrainedClassifier, images: ImageSet) -> Features:
    """Return a judge's features and predictions of images."""
    network = judge.network
    assert isinstance(network, JudgeNetwork)
    features = judge.outputs(network.body, images)
    with torch.no_grad():
        logits = network.head(features.to(judge.device)).cpu()
    return Features(features, logits.argmax(dim=1), images.labels)


def how_many_to_judge(validation: ImageSet) -> Tensor:
    """Return how many images of each class the judge measures, int64 `[K]`.

    A multiple of the validation images, so that the classes have the same proportions: 2,000 images or a few more.
    Without validation images it is as many of each class, since their labels can still be evaluated.
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
    """Compare generated images with real ones that no training has seen.

    Args:
        judge: The judge.
        generated: Unselected images of the generator, in the proportions of the validation images.
        validation: Real images outside the training of judge, generator and teacher.
        training: The judge's training images.
        teacher: The classifier trained only on the labelled images; None if there is none or if it labelled the
            generator's training images.
        inception: Whether to compare them by the features of Inception too.

    Returns:
        Metrics: those of `judge_metrics`; `gan_test`, the teacher's accuracy on the generated images; `judge_accuracy`
        on the validation images; `real`, the score of as many training images, and so of a generator that copied them.
        And a sentence for each refused metric.
    """
    if generated.num_classes == 1:  # from a generator that knows no classes
        validation, training, teacher = validation.as_one_class(), training.as_one_class(), None
    copies = first_of_each(training, generated.class_counts)
    seen = features_of(judge, validation)
    metrics, refusals = judge_metrics(seen, features_of(judge, generated), validation.class_names)
    copied, _ = judge_metrics(seen, features_of(judge, copies), validation.class_names)
    metrics["real"] = {name: copied[name] for name in GENERATOR_METRICS if name in copied}
    if teacher is not None:
        predicted = teacher.probabilities(generated).argmax(dim=1)
        metrics["gan_test"] = float((predicted == generated.labels).double().mean())
    if generated.num_classes > 1 and len(seen):
        metrics["judge_accuracy"] = float((seen.predicted == seen.labels).double().mean())
    if inception:
        reference = inception_features(validation, judge.device)
        metrics["real"] |= inception_distances(reference, inception_features(copies, judge.device))[0]
        distances, refused = inception_distances(reference, inception_features(generated, judge.device))
        metrics, refusals = metrics | distances, [*refusals, *refused]
    return metrics, refusals
