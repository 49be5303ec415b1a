"""Arms: the ways to train the classifier that a study compares, each a row of plain settings."""

from dataclasses import dataclass

from gan_augment.settings import check_choice, check_number

EXTRA = ("none", "left_out", "labelled", "synthetic", "shuffled_synthetic", "pool_labelled")


@dataclass(frozen=True)
class Arm:
    """One way to train the classifier.

    Attributes:
        sees: What training may look at: `labelled`, the labelled images and nothing else; or `pool_labels`, the pool
            too, with its true labels.
        extra: What is mixed into each batch beside real images: `none`; `labelled`, the labelled images in equal
            numbers a class; `synthetic`; `shuffled_synthetic`, the same images with their labels shuffled;
            `pool_labelled`, real images of the pool with their true labels; or `left_out`: nothing, and the batch is
            that much smaller.
        share: Share of each batch that is drawn from `extra` or left out, in (0, 1]; null where `extra` is `none`.
        transform: What every training image goes through: `none`; `classical`, the transforms that preserve a label in
            this data set; or `mixup` or `cutmix`, which mix the images of a batch and their labels.
        learner: What is trained: `classifier`.
    """

    sees: str
    extra: str
    share: float | None
    transform: str
    learner: str

    def __post_init__(self) -> None:
        """Refuse rows that mean nothing."""
        check_choice("augmentation.sees", self.sees, ("labelled", "pool_labels"))
        check_choice("augmentation.extra", self.extra, EXTRA)
        check_choice("augmentation.transform", self.transform, ("none", "classical", "mixup", "cutmix"))
        check_choice("augmentation.learner", self.learner, ("classifier",))
        if self.extra != "none":
            check_number("augmentation.share", self.share, 0, 1, open_low=True)
        elif self.share is not None:
            raise ValueError(f"augmentation.share={self.share}, but this arm has no extra images: leave share null")
        if (self.sees == "pool_labels") != (self.extra == "pool_labelled"):
            raise ValueError(
                f"augmentation.sees={self.sees} with augmentation.extra={self.extra}: pool_labels is for "
                "pool_labelled, and for nothing else"
            )

    @property
    def needs_gan(self) -> bool:
        """Whether the arm trains on generated images."""
        return self.extra in ("synthetic", "shuffled_synthetic")
