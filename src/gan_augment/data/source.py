"""What a source of images is."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_augment.data.image_set import ImageSet
from gan_augment.settings import check_integer

# What users call the parts that they set apart, and what they are called here.
UNLABELLED = "unlabelled"
PARTS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"validation": "validation", "val": "validation", "valid": "validation"},
    **{"unlabelled": UNLABELLED, "unlabeled": UNLABELLED},
}
MOST_NAMED = 5  # in a note


@dataclass(frozen=True, eq=False)
class Modes:
    """A density that is known: Gaussians of one standard deviation in every direction, equally likely.

    Attributes:
        centres: Their means, float `[M, D]`.
        std: Their standard deviation.
    """

    centres: Tensor
    std: float


@dataclass(frozen=True, eq=False)
class Source:
    """An image set, and what its makers say of it.

    Attributes:
        images: Everything there is.
        test: Indices of the source's own test images, int64 `[M]`; None if it has none.
        validation: Indices of its own validation images, likewise.
        names: What a user calls each image, such as its file; None if they have no names.
        notes: What whoever reads a result on these images must know, a sentence each.
        modes: The density that they were drawn from, where it is known.
        copies: Names of identical images, a group each; found when the source is loaded.
    """

    images: ImageSet
    test: Tensor | None = None
    validation: Tensor | None = None
    names: Sequence[str] | None = None
    notes: Sequence[str] = ()
    modes: Modes | None = None
    copies: Sequence[Sequence[str]] = ()

    def name(self, index: int) -> str:
        """Say what an image is called."""
        return self.names[index] if self.names is not None else f"image {index}"


def unknown_class_notes(said: Iterable[str], class_names: Collection[str]) -> list[str]:
    """Say that some unlabelled images seem to be of classes that no labelled image shows.

    Args:
        said: What is said of each unlabelled image: a folder's name or a label; empty where nothing is.
        class_names: The classes that have labelled images.

    Returns:
        A sentence, if there are some.

    Example:
        >>> print(unknown_class_notes(["", "cats", "emus", "emus"], ["cats", "dogs"])[0].split(":")[0])
        unlabelled images lie under names that are no class of the labelled ones ('emus', 2 images)
    """
    counts = Counter(name for name in said if name and name not in class_names)
    if not counts:
        return []
    named = [f"{name!r}, {number} image{'s' * (number > 1)}" for name, number in sorted(counts.items())]
    shown = "; ".join(named[:MOST_NAMED]) + ("; ..." if len(named) > MOST_NAMED else "")
    return [
        f"unlabelled images lie under names that are no class of the labelled ones ({shown}): if these are classes, "
        "whatever learns from the pool takes each such image for one of another class; label some, or leave them out"
    ]


def resize(images: Tensor, image_size: int | None) -> Tensor:
    """Resize uint8 images `[N, C, H, W]` to a square, antialiased; None leaves them as they are.

    Raises:
        ValueError: If the size is not at least 1.
    """
    if image_size is None:
        return images
    check_integer("data.image_size", image_size, low=1)
    resized = [
        interpolate(chunk.float(), size=(image_size, image_size), mode="bilinear", antialias=True)
        for chunk in images.split(4096)
    ]
    return torch.cat([chunk.round().clamp(0, 255).to(torch.uint8) for chunk in resized])
