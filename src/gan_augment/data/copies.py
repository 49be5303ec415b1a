"""Copies: images that a source contains more than once, pixel for pixel."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gan_augment.data.image_set import HASH_BYTES, ImageSet
from gan_augment.data.source import Source, abridged


def find_copies(source: Source) -> list[list[int]]:
    """Find the groups of identical images that matter to a result, as their indices.

    For a source with parts of its own these are the groups that span several parts, which make results too good.
    """
    first = source.images.first_copy
    copied = (torch.bincount(first, minlength=len(first)) > 1)[first].nonzero()[:, 0]
    part = source.given_part
    groups: dict[int, list[int]] = {}
    for index in copied.tolist():
        groups.setdefault(int(first[index]), []).append(index)
    was_split = bool(part.any())
    return [group for group in groups.values() if not was_split or len(set(part[group].tolist())) > 1]


def copies_of(images: ImageSet, among: ImageSet) -> Tensor:
    """Return the indices of those images of a set that are identical to one of some images, int64 `[M]`."""
    there, here = (np.ascontiguousarray(one.hashes).view(f"V{HASH_BYTES}").ravel() for one in (images, among))
    return torch.from_numpy(np.flatnonzero(np.isin(here, there)))


def copy_notes(source: Source, groups: Sequence[Sequence[int]]) -> list[str]:
    """Return notes, one sentence each, on what the groups from `find_copies` mean for a result."""
    notes = []

    def say(what: str, some: Sequence[Sequence[int]]) -> None:
        if some:
            number = f"{len(some)} group{'s' if len(some) > 1 else ''}"
            named = [" = ".join(source.name(index) for index in group) for group in some]
            notes.append(f"identical images {what} ({number}): {abridged(named, '; ')}")  # the record names all

    if source.pool is not None:
        say("are in both domains, or in pool and test; where one is tested, no copy of it has a label", groups)
    elif source.test is None and source.validation is None:
        say("stay in one part of every split", groups)
    else:
        say("are in more than one of training, validation and test, so results may be too good", groups)
    labels = source.images.labels
    unlike = [group for group in groups if len({label for label in labels[list(group)].tolist() if label >= 0}) > 1]
    say("have different labels", unlike)
    return notes
