"""The measure `operating_point`: how well a classifier of two classes detects one of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from gan_augment.contracts import Plan
from gan_augment.data.names import find_class
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.metrics.operating_point import operating_point
from gan_augment.records.findings import Findings
from gan_augment.settings import check_number
from gan_augment.stages import Stage

COMPARED = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


@dataclass(frozen=True)
class OperatingPoint(Measure):
    """The metrics of `operating_point` on the images that evaluate the classifier, for two classes.

    Attributes:
        positive: The class to detect; None for the second one.
        threshold: An image tests positive if its probability of this class is above it; in [0, 1].
    """

    positive: str | None
    threshold: float

    needs = "classifier"

    def __post_init__(self) -> None:
        check_number("measures.operating_point.threshold", self.threshold, 0, 1)

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Return no stages; raise a ValueError unless there are two classes, the positive one among them."""
        names = split.training.class_names
        if len(names) != 2:
            raise ValueError(f"measures=[operating_point] is for two classes, but there are {len(names)}: leave it out")
        if self.positive is not None and find_class(self.positive, names) is None:
            raise ValueError(f"measures.operating_point.positive={self.positive}: use {' or '.join(names)}")
        return super().stages(plan, split, stages)

    def find(self, finished: Finished) -> Findings:
        """Measure the classifier on the test images, or on the validation images while test stays closed."""
        assert finished.classifier is not None
        images = finished.measured
        names = [*images.class_names]
        label = 1 if self.positive is None else names.index(str(find_class(self.positive, names)))
        probabilities = finished.classifier.probabilities(images)[:, label]
        metrics = operating_point(probabilities, images.labels == label, self.threshold)
        return Findings(
            {"operating_point": metrics},
            compared={f"operating_point.{name}": words for name, words in COMPARED.items()},
        )
