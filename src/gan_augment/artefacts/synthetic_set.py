"""Synthetic sets: generated images with labels, each traceable to generator, seed and number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet

FILE = "images.npz"


@dataclass(frozen=True)
class Refused:
    """What was refused of a set without copies.

    Attributes:
        copies: How many images, as copies of training images.
        detection_limit: The smallest share of copies that would have been found, as of `Audit`; None if not even 5 %.
    """

    copies: int
    detection_limit: float | None


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """Generated images, class after class.

    Attributes:
        images: The images, with the labels they are meant to show.
        numbers: The number of each image among the generator's images of its label, int64 `[N]`.
        confidence: The teacher's probability of the label, float32 `[N]`; NaN without a teacher.
        candidates: How many images were made to select these.
        refused: What was refused, if copies were; None if they were not looked for.
    """

    images: ImageSet
    numbers: Tensor
    confidence: Tensor
    candidates: int
    refused: Refused | None = None

    def subset(self, places: Tensor) -> "SyntheticSet":
        """Return the images at some places, int64 `[M]`, as a set of as many candidates."""
        found = self.images.subset(places), self.numbers[places], self.confidence[places]
        return SyntheticSet(*found, self.candidates, self.refused)

    def joined(self, other: "SyntheticSet") -> "SyntheticSet":
        """Return the images of both sets, class after class."""
        images = self.images.joined(other.images)
        order = images.labels.argsort(stable=True)
        numbers, confidence = torch.cat([self.numbers, other.numbers]), torch.cat([self.confidence, other.confidence])
        candidates, refused = self.candidates + other.candidates, None
        if self.refused is not None and other.refused is not None:
            limits = [one.detection_limit for one in (self.refused, other.refused)]
            worst = None if None in limits else max(limit for limit in limits if limit is not None)
            refused = Refused(self.refused.copies + other.refused.copies, worst)
        return SyntheticSet(images.subset(order), numbers[order], confidence[order], candidates, refused)

    def write(self, folder: Path) -> None:
        """Write the set into a folder."""
        images, labels = self.images.images, self.images.labels
        assert isinstance(images, Tensor)
        selection: dict[str, Any] = {
            "numbers": self.numbers,
            "sureness": self.confidence,
            "candidates": self.candidates,
        }
        if self.refused is not None:
            limit = self.refused.detection_limit
            selection |= {"refused": self.refused.copies, "detection_limit": np.nan if limit is None else limit}
        np.savez(folder / FILE, images=images, labels=labels, **selection)

    @classmethod
    def read(cls, folder: Path, class_names: Sequence[str]) -> "SyntheticSet":
        """Read the set in a folder."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            names = ("images", "labels", "numbers", "sureness")
            images, labels, numbers, confidence = (torch.from_numpy(stored[name]) for name in names)
            refused = None
            if "refused" in stored:
                limit = float(stored["detection_limit"])
                refused = Refused(int(stored["refused"]), None if limit != limit else limit)
            return cls(ImageSet(images, labels, class_names), numbers, confidence, int(stored["candidates"]), refused)
