"""The measure `neighbours`: a classifier of nearest neighbours in the features of the trained one."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.base import Finished, Measure
from gan_augment.records.findings import Findings, Section
from gan_augment.settings import check_integer

SECTION = Section(
    "Do features say the class by themselves? Each image gets the class of its nearest labelled image, or of most "
    "of the nearest, in the features before the classifier's last layer, which takes no part.",
    {"neighbours.accuracy": "accuracy of nearest neighbours"},
)


@dataclass(frozen=True)
class NeighboursInFeatures(Measure):
    """The accuracy of nearest neighbours among the labelled images, on the images that evaluate the classifier.

    `neighbours.accuracy`, in [0, 1]. Distances are Euclidean, between inputs of the last linear layer.

    Attributes:
        number: Neighbours that decide.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """

    needs = "classifier"

    number: int

    def __post_init__(self) -> None:
        check_integer("measures.neighbours.number", self.number, low=1)

    def find(self, finished: Finished) -> Findings:
        """Classify the images by their neighbours."""
        assert finished.classifier is not None
        labelled, images = finished.split.labelled, finished.measured
        neighbours = KNeighborsClassifier(min(self.number, len(labelled)), algorithm="brute")
        neighbours.fit(_features(finished.classifier, labelled), labelled.labels.numpy())
        accuracy = neighbours.score(_features(finished.classifier, images), images.labels.numpy())
        metrics = {"neighbours": {"accuracy": float(accuracy)}}
        words = "accuracy of nearest neighbours"
        return Findings(metrics, compared={"neighbours.accuracy": words}, sections={"Nearest neighbours": SECTION})


def _features(classifier: TrainedClassifier, images: ImageSet) -> np.ndarray:
    return classifier.features(images, torch.arange(len(images))).numpy()
