"""Refusing copies: more images are drawn, until as many as wanted are no copies of training images."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

import torch
from torch import Tensor

from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.data.copies import copies_of
from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.copies import FEWEST, Auditor, number_of_decoys, too_few_decoys
from gan_augment.stages import Bundle, Stage

REFUSING = "synthesis.refuse_copies=true"
MOST = 10  # images drawn at most for each image of the set


@dataclass(frozen=True, eq=False)
class AuditedAgainst(Bundle):
    """The images by which copies are found (`metrics/copies.py`).

    Attributes:
        seen: The images that the generator has seen.
        decoys: Validation images, which it has not seen. If the classes of some seen images are hidden, all images here
            are of one class.
    """

    seen: ImageSet
    decoys: ImageSet

    @classmethod
    def of(cls, gan: Stage, validation: ImageSet) -> Self:
        """Return what a GAN has seen, and validation images that it has not.

        Raises:
            ValueError: If they are points, or there are too few.
        """
        if validation.shape.is_point:
            raise ValueError(f"{REFUSING}, but the data are points: there is nothing to copy")
        parts = [*gan.image_sets.values()]
        if any([*one.class_names] != [*validation.class_names] or (one.labels < 0).any() for one in parts):
            parts, validation = [one.as_one_class() for one in parts], validation.as_one_class()
        seen = reduce(ImageSet.joined, parts)
        decoys = torch.ones(len(validation), dtype=torch.bool)
        decoys[copies_of(seen, among=validation)] = False
        found = cls(seen, validation.subset(decoys.nonzero()[:, 0]))
        if (number := number_of_decoys(found.seen, found.decoys)) < FEWEST:
            raise ValueError(too_few_decoys(REFUSING, number, seen))
        return found

    def auditor(self) -> Auditor:
        """Return what finds the copies."""
        return Auditor.of(self.seen, self.decoys)


def without_copies(make: Callable[[Tensor], SyntheticSet], wanted: Tensor, auditor: Auditor) -> SyntheticSet:
    """Make images until so many of each class, int64 `[K]`, are without copies; keep the first ones.

    `make` returns the first images of each class, in so many numbers as it is asked for. Images are audited, copies
    replaced by later images, and so on, until an audit names no copy in any draw of decoys. Most of the draws would not
    do: another audit, with other decoys, still named one in twenty images of a generator that had learned 50 by heart.

    Raises:
        ValueError: If there are still too few among ten times as many.
    """
    asked, made = wanted, make(wanted)
    refused: set[tuple[int, int]] = set()  # label and number
    while True:
        names = [*zip(made.images.labels.tolist(), made.numbers.tolist(), strict=True)]
        free = torch.tensor([name not in refused for name in names])
        members = [((made.images.labels == label) & free).nonzero()[:, 0] for label in range(len(wanted))]
        counts = torch.tensor([*map(len, members)])
        if (missing := (wanted - counts).clamp_min(0)).any():
            if (asked[missing > 0] >= MOST * wanted[missing > 0]).any():
                raise ValueError(
                    f"{REFUSING}, but {len(refused):,} of {len(names):,} generated images are copies of training "
                    "images, and the others are too few: train the generator for shorter, on more images or with "
                    "discriminator_augmentation=diffaugment"
                )
            asked = torch.minimum(asked + (missing * asked / counts.clamp_min(1)).ceil().long(), MOST * wanted)
            made = make(asked)
            continue
        kept = torch.cat([some[:count] for some, count in zip(members, wanted.tolist(), strict=True)])
        is_copy = auditor.copies(auditor.attach(made.images.images[kept]), by_any=True)
        if not is_copy.any():
            return replace(made.subset(kept), refused=len(refused))
        refused |= {names[place] for place in kept[is_copy].tolist()}
