"""Arms: the ways to train the classifier that a study compares, each a row of plain settings."""

from dataclasses import dataclass
from typing import Any

from gan_augment.data.views import SEES
from gan_augment.settings import check_choice, check_number

TRANSFORMS = ("none", "classical", "mixup", "cutmix")


@dataclass(frozen=True)
class Arm:
    """One way to train the classifier.

    Attributes:
        sees: What training may see: `labelled`, the labelled images alone; `pool_images`, the images of the pool too,
            without their labels; or `pool_labels`, the pool with its true labels.
        extra: What is mixed into each batch: `none`, or the name of an extra, such as `synthetic`.
        share: Share of each batch that is drawn from `extra`, in (0, 1]; null where `extra` is `none`.
        transform: What every training image goes through: `none`; `classical`, the transforms that preserve a label in
            this data set; or `mixup` or `cutmix`, which mix the images of a batch and their labels.
        method: What is trained: the configuration node of a method, `classifier` or `semi_supervised`.
        teacher: The method that labels images of the pool, for the classifier or for the GAN; null where none are
            labelled. It is trained on the labelled images under classical transforms.
    """

    sees: str
    extra: str
    share: float | None
    transform: str
    method: str
    teacher: str | None = None

    def __post_init__(self) -> None:
        """Refuse rows that mean nothing."""
        check_choice("augmentation.sees", self.sees, SEES)
        check_choice("augmentation.transform", self.transform, TRANSFORMS)
        if self.extra != "none":
            check_number("augmentation.share", self.share, 0, 1, open_low=True)
        elif self.share is not None:
            raise ValueError(f"augmentation.share={self.share}, but this arm has no extra images: leave share null")

    @property
    def identity(self) -> dict[str, Any]:
        """What a stage's key holds of the arm, under the names that the keys of stored stages have.

        The stage of its labels says who the teacher is.
        """
        row = {"sees": self.sees, "extra": self.extra, "share": self.share, "transform": self.transform}
        return {**row, "learner": self.method}
