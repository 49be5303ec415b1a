"""Refusing copies: more images are drawn, until as many as wanted are no copies of training images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

import torch
from torch import Tensor

from gan_augment.artefacts.synthetic_set import Refused, SyntheticSet
from gan_augment.data.copies import copies_of
from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.copies import FEWEST, Auditor, number_of_decoys, too_few_decoys
from gan_augment.stages import Bundle

REFUSING = "synthesis.refuse_copies=true"
MOST = 10  # images drawn at most for each image of the set


@dataclass(frozen=True, eq=False)
class AuditedAgainst(Bundle):
    """The images by which copies are found (`metrics/copies.py`).

    Attributes:
        seen: The images that the generator has seen, each once.
        decoys: Validation images, which it has not seen, each once. If the classes of some seen images are hidden, all
            images here are of one class.
    """

    seen: ImageSet
    decoys: ImageSet

    @classmethod
    def of(cls, parts: Sequence[ImageSet], validation: ImageSet) -> Self:
        """Return the image sets that a generator has seen, as one, and validation images that it has not.

        Raises:
            ValueError: If they are points, or there are too few.
        """
        if validation.shape.is_point:
            raise ValueError(f"{REFUSING}, but the data are points: there is nothing to copy")
        if any([*one.class_names] != [*validation.class_names] or (one.labels < 0).any() for one in parts):
            parts, validation = [one.as_one_class() for one in parts], validation.as_one_class()
        seen, others = (one.subset(one.first_copy.unique()) for one in (reduce(ImageSet.joined, parts), validation))
        is_decoy = torch.ones(len(others), dtype=torch.bool)
        is_decoy[copies_of(seen, among=others)] = False
        decoys = others.subset(is_decoy.nonzero()[:, 0])
        if (number := number_of_decoys(seen, decoys)) < FEWEST:
            raise ValueError(too_few_decoys(REFUSING, number, seen))
        return cls(seen, decoys)

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
    refused: set[tuple[int, int]] = set()  # label and number
    times = torch.ones_like(wanted)
    while True:
        made = make(times * wanted)
        images, labels = made.images.images[:], made.images.labels
        attached, names = auditor.attach(images), [*zip(labels.tolist(), made.numbers.tolist(), strict=True)]
        while True:
            free = torch.tensor([name not in refused for name in names])
            members = [((labels == label) & free).nonzero()[:, 0] for label in range(len(wanted))]
            if (is_short := torch.tensor([*map(len, members)]) < wanted).any():
                break
            kept = torch.cat([some[:count] for some, count in zip(members, wanted.tolist(), strict=True)])
            copied = kept[auditor.copies(attached.at(kept), by_any=True)].tolist()
            if not copied:
                limit = auditor.audit(images[kept]).detection_limit
                return replace(made.subset(kept), refused=Refused(len(refused), limit))
            refused |= {names[place] for place in copied}
        if (times[is_short] == MOST).any():
            raise ValueError(
                f"{REFUSING}, but {len(refused):,} of {len(names):,} generated images are copies of training images, "
                "and the others are too few: train the generator for shorter, on more images or with "
                "discriminator_augmentation=diffaugment"
            )
        times = torch.where(is_short, (2 * times).clamp_max(MOST), times)
