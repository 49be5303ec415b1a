"""Pseudo-labels: a teacher's labels of unlabelled images (Lee 2013)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet

FILE = "labels.npz"  # in a stage's folder


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Labels of some images of a set.

    Attributes:
        indices: Indices of these images in the set, int64 `[M]`.
        labels: Their labels, int64 `[M]`.
        confidence: The teacher's probabilities of these labels, float32 `[M]`.
    """

    indices: Tensor
    labels: Tensor
    confidence: Tensor

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        np.savez(folder / FILE, indices=self.indices, labels=self.labels, sureness=self.confidence)

    @classmethod
    def read(cls, folder: Path) -> "PseudoLabels":
        """Read them from a folder."""
        with np.load(folder / FILE, allow_pickle=False) as content:
            return cls(*(torch.from_numpy(content[name]) for name in ("indices", "labels", "sureness")))

    def of(self, images: ImageSet) -> ImageSet:
        """Return the images of the set that have a pseudo-label, with it."""
        return replace(images.subset(self.indices), labels=self.labels)
