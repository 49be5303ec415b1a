"""The measure `neighbours`: a classifier of nearest neighbours in the features of the trained one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.records.findings import Findings, Section
from gan_augment.settings import check_integer
from gan_augment.stages import Stage

SECTION = Section(
    "Do features say the class by themselves? Each image gets the class of its nearest labelled image, or of most "
    "of the nearest, in the features before the classifier's last layer, which takes no part.",
    {"neighbours.accuracy": "k-nearest-neighbour accuracy"},
)


@dataclass(frozen=True)
class NeighboursInFeatures(Measure):
    """The accuracy of nearest neighbours among the labelled images, on the images that evaluate the classifier.

    `neighbours.accuracy`, in [0, 1]. Distances are Euclidean, between inputs of the last linear layer.

    Attributes:
        num_neighbours: Neighbours that decide, the k of k-NN.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """

    needs = "classifier"

    num_neighbours: int

    def __post_init__(self) -> None:
        check_integer("measures.neighbours.num_neighbours", self.num_neighbours, low=1)

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Check that there are so many labelled images, for trials with a classifier."""
        found, number = super().stages(plan, split, stages), len(split.labelled)
        if found is not None and self.num_neighbours > number:
            raise ValueError(
                f"measures.neighbours.num_neighbours={self.num_neighbours}, but there are {number} labelled images: "
                "use fewer"
            )
        return found

    def find(self, finished: Finished) -> Findings:
        """Classify the images by their neighbours."""
        assert finished.classifier is not None
        labelled, images = finished.split.labelled, finished.measured
        neighbours = KNeighborsClassifier(self.num_neighbours, algorithm="brute")
        neighbours.fit(_features(finished.classifier, labelled), labelled.labels.numpy())
        accuracy = neighbours.score(_features(finished.classifier, images), images.labels.numpy())
        metrics = {"neighbours": {"accuracy": float(accuracy)}}
        words = "k-nearest-neighbour accuracy"
        return Findings(metrics, compared={"neighbours.accuracy": words}, sections={"Nearest neighbours": SECTION})


def _features(classifier: TrainedClassifier, images: ImageSet) -> np.ndarray:
    return classifier.features(images, torch.arange(len(images))).numpy()
