"""Synthetic sets: generated images with labels, each traceable to generator, seed and number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """

    images: ImageSet
    numbers: Tensor
    confidence: Tensor
    candidates: int

    def write(self, folder: Path) -> None:
        """Write the set into a folder."""
        assert isinstance(self.images.images, Tensor)
        np.savez(
            folder / FILE,
            images=self.images.images.numpy(),
            labels=self.images.labels.numpy(),
            numbers=self.numbers.numpy(),
            sureness=self.confidence.numpy(),
            candidates=self.candidates,
        )

    @classmethod
    def read(cls, folder: Path, class_names: Sequence[str]) -> "SyntheticSet":
        """Read the set in a folder."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            names = ("images", "labels", "numbers", "sureness")
            images, labels, numbers, confidence = (torch.from_numpy(stored[name]) for name in names)
            return cls(ImageSet(images, labels, class_names), numbers, confidence, int(stored["candidates"]))
