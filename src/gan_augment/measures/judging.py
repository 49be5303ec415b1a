"""The judge: a classifier that only measures. One for all trials on a data set; it has no part in any training."""

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
