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


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """Generated images, class after class.

    Attributes:
        images: The images, with the labels they are meant to show.
        numbers: The number of each image among the generator's images of its label, int64 `[N]`.
        confidence: The teacher's probability of the label, float32 `[N]`; NaN without a teacher.
        candidates: How many images were made to select these.
        refused: How many of them were refused as copies of training images.
    """

    images: ImageSet
    numbers: Tensor
    confidence: Tensor
    candidates: int
    refused: int = 0

    def subset(self, places: Tensor) -> "SyntheticSet":
        """Return the images at some places, int64 `[M]`, as a set of as many candidates."""
        found = self.images.subset(places), self.numbers[places], self.confidence[places]
        return SyntheticSet(*found, self.candidates, self.refused)

    def write(self, folder: Path) -> None:
        """Write the set into a folder."""
        images, labels = self.images.images, self.images.labels
        assert isinstance(images, Tensor)
        selection: dict[str, Any] = {
            "numbers": self.numbers,
            "sureness": self.confidence,
            "candidates": self.candidates,
            "refused": self.refused,
        }
        np.savez(folder / FILE, images=images, labels=labels, **selection)

    @classmethod
    def read(cls, folder: Path, class_names: Sequence[str]) -> "SyntheticSet":
        """Read the set in a folder."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            names = ("images", "labels", "numbers", "sureness")
            images, labels, numbers, confidence = (torch.from_numpy(stored[name]) for name in names)
            refused = int(stored["refused"]) if "refused" in stored else 0  # sets of earlier versions lack it
            return cls(ImageSet(images, labels, class_names), numbers, confidence, int(stored["candidates"]), refused)
