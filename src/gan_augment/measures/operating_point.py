"""The measure `operating_point`: how well a classifier detects one of two classes, or each of several."""

from collections.abc import Mapping
from dataclasses import dataclass

from gan_augment.contracts import Plan
from gan_augment.data.names import find_class
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.metrics.operating_point import COMPARED, one_vs_rest, operating_point
from gan_augment.records.findings import Findings
from gan_augment.settings import check_number
from gan_augment.stages import Stage

HALF = 0.5  # the threshold by which one of two classes has the larger probability


@dataclass(frozen=True)
class OperatingPoint(Measure):
    """The metrics of `operating_point`, or of `one_vs_rest` for several classes, on the images that evaluate it.

    Attributes:
        positive: The class to detect, of two; None for the second one.
        threshold: An image tests positive if its probability of this class is above it, in [0, 1]. Of several classes,
            an image tests positive for the one with the largest probability.
    """

    positive: str | None
    threshold: float

    needs = "classifier"

    def __post_init__(self) -> None:
        check_number("measures.operating_point.threshold", self.threshold, 0, 1)

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Return no stages; raise a ValueError if an option does not fit the classes."""
        names = split.training.class_names
        for name, value, unset in (("positive", self.positive, None), ("threshold", self.threshold, HALF)):
            if len(names) > 2 and value != unset:
                raise ValueError(
                    f"measures.operating_point.{name}={value} is for two classes, but there are {len(names)}: leave it "
                    f"at {'null' if unset is None else unset}"
                )
        if self.positive is not None and find_class(self.positive, names) is None:
            raise ValueError(f"measures.operating_point.positive={self.positive}: use {' or '.join(names)}")
        return super().stages(plan, split, stages)

    def find(self, finished: Finished) -> Findings:
        """Measure the classifier on the test images, or on the validation images while test stays closed."""
        assert finished.classifier is not None
        images = finished.measured
        names, probabilities = [*images.class_names], finished.classifier.probabilities(images)
        if len(names) > 2:
            metrics = one_vs_rest(probabilities, images.labels)
        else:
            label = 1 if self.positive is None else names.index(str(find_class(self.positive, names)))
            metrics = operating_point(probabilities[:, label], images.labels == label, self.threshold)
        return Findings(
            {"operating_point": metrics},
            compared={f"operating_point.{name}": words for name, words in COMPARED.items()},
        )
