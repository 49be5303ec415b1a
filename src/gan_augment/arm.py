"""Arms: the ways to train the classifier that a study compares, each a row of plain settings."""

from dataclasses import dataclass

from gan_augment.settings import check_choice, check_number

EXTRA = ("none", "left_out", "labelled", "synthetic", "shuffled_synthetic", "pseudo_labelled", "pool_labelled")
LEARNERS = ("classifier", "semi_supervised")


@dataclass(frozen=True)
class Arm:
    """One way to train the classifier.

    Attributes:
        sees: What training may look at: `labelled`, the labelled images and nothing else; `pool_images`, the images of
            the pool too, without their labels; or `pool_labels`, the pool with its true labels.
        extra: What is mixed into each batch beside real images: `none`; `labelled`, the labelled images in equal
            numbers a class; `synthetic`, from a GAN that saw what the arm sees; `shuffled_synthetic`, the same images
            with their labels shuffled; `pseudo_labelled`, images of the pool with the labels of a teacher;
            `pool_labelled`, images of the pool with their true labels; or `left_out`: nothing, and the batch is that
            much smaller.
        share: Share of each batch that is drawn from `extra` or left out, in (0, 1]; null where `extra` is `none`.
        transform: What every training image goes through: `none`; `classical`, the transforms that preserve a label in
            this data set; or `mixup` or `cutmix`, which mix the images of a batch and their labels.
        learner: What is trained: `classifier`; or `semi_supervised`, a GAN whose discriminator is the classifier.
        teacher: Who labels images of the pool, for the classifier or for the GAN: a `classifier` trained on the
            labelled images, or a `semi_supervised` GAN, either under classical transforms; null where none are
            labelled.
    """

    sees: str
    extra: str
    share: float | None
    transform: str
    learner: str
    teacher: str | None = None

    def __post_init__(self) -> None:
        """Refuse rows that mean nothing."""
        check_choice("augmentation.sees", self.sees, ("labelled", "pool_images", "pool_labels"))
        check_choice("augmentation.extra", self.extra, EXTRA)
        check_choice("augmentation.transform", self.transform, ("none", "classical", "mixup", "cutmix"))
        check_choice("augmentation.learner", self.learner, LEARNERS)
        if self.teacher is not None:
            check_choice("augmentation.teacher", self.teacher, LEARNERS)
        if self.extra != "none":
            check_number("augmentation.share", self.share, 0, 1, open_low=True)
        elif self.share is not None:
            raise ValueError(f"augmentation.share={self.share}, but this arm has no extra images: leave share null")
        row = f"augmentation.sees={self.sees} with augmentation.extra={self.extra}"
        if (self.sees == "pool_labels") != (self.extra == "pool_labelled"):
            raise ValueError(f"{row}: pool_labels is for pool_labelled, and for nothing else")
        if self.learner == "semi_supervised":
            alone = self.sees == "pool_images" and self.extra == "none" and self.transform in ("none", "classical")
            if not alone or self.teacher is not None:
                raise ValueError(
                    "augmentation.learner=semi_supervised learns from labelled images and those of the pool, and from "
                    "nothing else: use sees=pool_images, extra=none, share=null, teacher=null and transform=none or "
                    "classical"
                )
            return
        uses_pool = self.extra == "pseudo_labelled" or (self.sees == "pool_images" and self.needs_gan)
        if uses_pool != (self.sees == "pool_images"):
            raise ValueError(
                f"{row}: pool_images is for pseudo_labelled, for synthetic and shuffled_synthetic, or for "
                "learner=semi_supervised"
            )
        if uses_pool != (self.teacher is not None):
            raise ValueError(
                f"{row} and augmentation.teacher={self.teacher}: "
                + (f"say who labels the pool, {' or '.join(LEARNERS)}" if uses_pool else "leave teacher null")
            )

    @property
    def needs_gan(self) -> bool:
        """Whether the arm trains on generated images."""
        return self.extra in ("synthetic", "shuffled_synthetic")
