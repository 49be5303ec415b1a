"""Sources of images: an image set with its own test and validation images."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import center_crop

from gan_augment.data.image_set import ImageSet
from gan_augment.settings import check_integer

Place = tuple[str, str]  # of an image: part and class; the part is "" if the user set no parts apart
UNLABELLED = "unlabelled"
# The words that users may write for a part of their images, and the part's name in this package.
PART_BY_WORD = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"validation": "validation", "val": "validation", "valid": "validation"},
    **{"unlabelled": UNLABELLED, "unlabeled": UNLABELLED},
}

FLAT = 4  # levels, of 255, between the darkest and the brightest pixel of an image in which nothing can be seen
HALVES = ("left", "right")  # of two pictures side by side
FITS = ("letterbox", "crop", "stretch")  # ways to make an image square: black bars, the middle, another shape


@dataclass(frozen=True, eq=False)
class Modes:
    """A known density: equally likely Gaussians with means `[M, D]` and one standard deviation in every direction."""

    centres: Tensor
    std: float


@dataclass(frozen=True, eq=False)
class Source:
    """An image set with what is known about it.

    Attributes:
        test: Indices of the source's own test images, int64 `[M]`; None if it has none.
        validation: Indices of its own validation images, int64 `[M]`; None if it has none.
        pool: Indices of the images that are its own pool, with labels or without, int64 `[M]`; None for a pool that the
            labelled images leave. Test images that it has not set apart are then drawn from the pool.
        sizes: How many images each seed draws for `labelled` and for `pool`; without an entry, all.
        domains: The names of two domains: the labelled and validation images are of the first, pool and test of the
            second; None for images of one domain.
        partner: The index of the image in the other domain that shows the same thing, int64 `[N]`, -1 for none; None
            if the domains have no pairs.
        names: The user's name of each image, such as its file; None if they have no names.
        notes: Notes for the reader of a result on these images, one sentence each.
        modes: The density that they were drawn from, if it is known.
        facts: Facts of the images' files by their name, such as `size`, each a word per image; empty without files.
        copies: Names of identical images, one group each; found when the source is loaded.
        groups: The group of each image, such as its patient, empty for an image that is alone; None without groups.
        licence: The licence of the images, such as `MIT`, if their makers gave one.
        is_own: Whether these are the user's own images, whose labels are all used by default, except in pairs.
    """

    images: ImageSet
    test: Tensor | None = None
    validation: Tensor | None = None
    pool: Tensor | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    domains: tuple[str, str] | None = None
    partner: Tensor | None = None
    names: Sequence[str] | None = None
    notes: Sequence[str] = ()
    modes: Modes | None = None
    copies: Sequence[Sequence[str]] = ()
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Sequence[str] | None = None
    licence: str = "unknown"
    is_own: bool = False

    @cached_property
    def together(self) -> Tensor | None:
        """A number for each image, int64 `[N]`, equal if they are identical or of one group; None without groups."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if self.groups is None:
            return None
        names = [group or f"/{index}" for index, group in enumerate(self.groups)]
        _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
        number = len(names)
        ends = np.concatenate([first[inverse], self.images.first_copy.numpy()])
        links = coo_array((np.ones(2 * number), (np.tile(np.arange(number), 2), ends)), shape=(number, number))
        return torch.from_numpy(connected_components(links, directed=False)[1].astype(np.int64))

    @property
    def given_part(self) -> Tensor:
        """The part that each image was set apart for, int64 `[N]`: 1 validation, 2 test, 3 pool, 0 none."""
        part = torch.zeros(len(self.images), dtype=torch.int64)
        for number, given in enumerate((self.validation, self.test, self.pool), start=1):
            if given is not None:
                part[given] = number
        return part

    def subset(self, chosen: Tensor) -> "Source":
        """Return the images at some indices, int64 `[M]`, in that order, with what is known about them."""
        assert self.partner is None, "pairs are made last"
        place = torch.full((len(self.images),), -1)
        place[chosen] = torch.arange(len(chosen))

        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else place[part][place[part] >= 0]

        indices = chosen.tolist()
        return replace(
            self,
            images=self.images.subset(chosen),
            test=moved(self.test),
            validation=moved(self.validation),
            pool=moved(self.pool),
            names=[self.name(index) for index in indices],
            facts={name: [words[index] for index in indices] for name, words in self.facts.items()},
            groups=None if self.groups is None else [self.groups[index] for index in indices],
        )

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self.names[index] if self.names is not None else f"image {index}"


def abridged(names: Sequence[str], separator: str = ", ", most: int = 5) -> str:
    """Join names, or the first few of many, with dots for the others."""
    return separator.join([*names[:most], "..."] if len(names) > most else names)


def unknown_class_notes(found: Iterable[str], class_names: Collection[str]) -> list[str]:
    """Return a note, or nothing, on unlabelled images that seem to show classes that no labelled image shows.

    `found` has the folder's name or the label of each unlabelled image, empty for none.

    Example:
        >>> print(unknown_class_notes(["", "cats", "emus", "emus"], ["cats", "dogs"])[0].split(":")[0])
        unlabelled images have names that are no class of the labelled ones ('emus', 2 images)
    """
    counts = Counter(name for name in found if name and name not in class_names)
    if not counts:
        return []
    named = [f"{name!r}, {number} image{'s' * (number > 1)}" for name, number in sorted(counts.items())]
    return [
        f"unlabelled images have names that are no class of the labelled ones ({abridged(named, '; ')}): if these are "
        "classes, a model that learns from the pool takes each such image for another class; label some, or leave "
        "them out"
    ]


def resize(images: Tensor, image_size: int | None, fit: str = "stretch") -> Tensor:
    """Resize uint8 images `[N, C, H, W]` to a square in one of `FITS`, antialiased; None leaves them as they are.

    Raises:
        ValueError: If the size is not at least 1.
    """
    if image_size is None:
        return images
    check_integer("data.image_size", image_size, low=1)
    size, long = [image_size, image_size], max(images.shape[2:])
    if fit == "letterbox":
        size = [max(1, round(image_size * side / long)) for side in images.shape[2:]]
    elif fit == "crop":
        images = center_crop(images, [min(images.shape[2:])])
    resized = []
    for chunk in images.split(4096):
        chunk = interpolate(chunk.float(), size=size, mode="bilinear", antialias=True)
        resized.append(center_crop(chunk.round().clamp(0, 255).to(torch.uint8), [image_size]))  # adds black bars
    return torch.cat(resized)
