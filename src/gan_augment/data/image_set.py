"""Image sets: images, labels, class names and a fingerprint of their content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of one image, in pixels."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """The side of a square image, in pixels.

        Raises:
            ValueError: If the images are not square.
        """
        if self.height != self.width:
            raise ValueError(f"images are {self.height}x{self.width} pixels: only square images can be generated")
        return self.height


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    A whole data set is one, and so is each part of a split: whoever holds a part can see nothing else.

    Attributes:
        images: uint8 `[N, C, H, W]`.
        labels: int64 `[N]`, each an index into `class_names`.
        class_names: One name a class.
    """

    images: Tensor
    labels: Tensor
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse what the rest of the code must be able to rely on."""
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images are {self.images.dtype} {list(self.images.shape)}: use uint8 [N, C, H, W]")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{len(self.images)} images but labels of shape {list(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width of each image."""
        return ImageShape(*self.images.shape[1:])

    @property
    def num_classes(self) -> int:
        """How many classes there are, those without an image included."""
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of shape, pixels, labels and class names, in this order of the images."""
        digest = hashlib.blake2b(repr((tuple(self.images.shape), tuple(self.class_names))).encode(), digest_size=16)
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> "ImageSet":
        """Return the images at some indices, int64 `[M]`, as a set of their own."""
        return ImageSet(self.images[indices], self.labels[indices], self.class_names)


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 pixels in [0, 255] into floats in [-1, 1], the range of every network here."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Turn floats in [-1, 1] into uint8 pixels in [0, 255]: the inverse of `to_float`.

    Example:
        >>> to_uint8(to_float(torch.tensor([0, 1, 128, 255], dtype=torch.uint8))).tolist()
        [0, 1, 128, 255]
    """
    return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
