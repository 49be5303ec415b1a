"""Pseudo-labelling: a teacher labels the pool images that it is confident of (Lee 2013)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import check_number
from gan_augment.stages import Stage


@dataclass(frozen=True)
class PseudoLabelSettings:
    """The selection of the teacher's labels.

    Attributes:
        threshold: Smallest probability of its label for an image to be used, in [0, 1).

    Raises:
        ValueError: If it is out of range.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_number("pseudo_labels.threshold", self.threshold, 0, 0.9999)


@dataclass(frozen=True, eq=False, kw_only=True)
class PseudoLabelling(Stage):
    """Labels the images of the pool for which the teacher's largest probability reaches the threshold."""

    name, version = "pseudo_labels", 1
    reads = ("pseudo_labels",)

    teacher: Stage
    pool: ImageSet
    threshold: float

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Write the labels that the teacher is confident of; raise a ValueError if there are none."""
        confidence, labels = self.teacher.load(made["teacher"]).probabilities(self.pool).max(dim=1)
        taken = (confidence >= self.threshold).nonzero()[:, 0]
        if not len(taken):
            raise ValueError(
                f"the teacher is confident of none of the {len(self.pool)} images of the pool (largest probability "
                f"{confidence.max():.3f}): lower pseudo_labels.threshold={self.threshold}"
            )
        PseudoLabels(taken, labels[taken], confidence[taken]).write(folder)

    def load(self, folder: Path) -> PseudoLabels:
        """Read the labels."""
        return PseudoLabels.read(folder)


def plan_pseudo_labels(plan: Plan) -> PseudoLabelling:
    """Plan the labels of the arm's teacher."""
    return PseudoLabelling(
        teacher=plan.teacher(),
        pool=plan.views.pool,
        threshold=plan.config.part("pseudo_labels", PseudoLabelSettings).threshold,
        seed=0,  # nothing is drawn
        hardware=plan.config.hardware,
    )
