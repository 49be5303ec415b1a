"""Arms: the ways to train the classifier that a study compares, each a row of settings."""

from dataclasses import dataclass
from typing import Any

from gan_augment.data.views import SEES
from gan_augment.settings import check_choice, check_number

TRANSFORMS = ("none", "classical", "mixup", "cutmix")


@dataclass(frozen=True)
class Arm:
    """One way to train the classifier.

    Attributes:
        sees: What training may see: `labelled`, only the labelled images; `pool_images`, also the images of the pool,
            without their labels; or `pool_labels`, the pool with its true labels.
        extra: The source of further images in each batch: `none`, or the name of an extra, such as `synthetic`.
        share: Share of each batch from `extra`, in (0, 1]; null if `extra` is `none`.
        transform: The transform of every training image: `none`; `classical`, the label-preserving transforms of this
            data set; or `mixup` or `cutmix`, which mix the images of a batch and their labels.
        method: The configuration node of the method to train, such as `classifier` or `semi_supervised`.
        teacher: The method that labels images of the pool, for the classifier or for the GAN; null if none are
            labelled. It is trained on the labelled images under classical transforms.

    Raises:
        ValueError: If a value is not allowed, or there is a share without an extra or the reverse.
    """

    sees: str
    extra: str
    share: float | None
    transform: str
    method: str
    teacher: str | None = None

    def __post_init__(self) -> None:
        check_choice("augmentation.sees", self.sees, SEES)
        check_choice("augmentation.transform", self.transform, TRANSFORMS)
        if self.extra != "none":
            check_number("augmentation.share", self.share, 0, 1, open_low=True)
        elif self.share is not None:
            raise ValueError(f"augmentation.share={self.share}, but this arm has no extra images: leave share null")

    @property
    def identity(self) -> dict[str, Any]:
        """The arm's part of a stage's key, under the names in keys of stored stages.

        The key of the pseudo-labels' stage holds the teacher.
        """
        row = {"sees": self.sees, "extra": self.extra, "share": self.share, "transform": self.transform}
        return {**row, "learner": self.method}
