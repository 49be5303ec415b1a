"""Extras that need only the labelled images: drawn evenly, or fewer of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gan_augment.contracts import Extra
from gan_augment.data.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class Labelled(Extra):
    """The labelled images again, with every class equally often."""

    name = "labelled"
    balanced = True

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse classes of equal sizes."""
        counts = labelled.class_counts.unique().tolist()
        if len(counts) == 1:
            raise ValueError(
                f"augmentation.extra=labelled draws every class equally often, but each has {counts[0]} labelled "
                "images, so this changes nothing: leave this arm out"
            )

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the labelled images."""
        return labelled


@dataclass(frozen=True, eq=False)
class LeftOut(Extra):
    """No images: each batch is smaller by the share."""

    name = "left_out"

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse a batch without images."""
        if num_extra == batch_size:
            raise ValueError(
                f"augmentation.extra=left_out leaves no image in a batch of classifier.batch_size={batch_size}: use a "
                "smaller share"
            )
