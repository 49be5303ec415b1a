"""Image sets: images, labels, class names and a fingerprint of their content."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HASH_BYTES = 16  # of one image
AT_ONCE = 2**22  # pixels that are changed at a time


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of one image, in pixels."""

    channels: int
    height: int
    width: int

    @property
    def is_point(self) -> bool:
        """Whether an image is a point, with one dimension per channel, instead of a picture."""
        return self.height == self.width == 1

    @property
    def words(self) -> str:
        """The shape in words."""
        return f"{self.height}x{self.width} pixels with {self.channels} channel{'s' * (self.channels > 1)}"

    @property
    def size(self) -> int:
        """The side of a square image, in pixels; raises a ValueError if the images are not square."""
        if self.height != self.width:
            raise ValueError(f"images are {self.height}x{self.width} pixels: only square images can be generated")
        return self.height


@dataclass(frozen=True, eq=False)
class MappedImages:
    """Images in a file, read on demand, so that a set may be larger than memory.

    Attributes:
        path: An `.npy` file of uint8 `[M, C, H, W]`, or `[M, H, W]` for one channel.
        rows: Indices of the images in the file, int64 `[N]`.
        hashes: The hash of each image, uint8 `[N, 16]`, from `hash_images`.
    """

    path: Path
    rows: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        channels, height, width = self._open().shape[1:]
        return len(self.rows), channels, height, width

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Read some images, uint8 `[B, C, H, W]`."""
        # The file is mapped anew each time: the pages of a lasting mapping would count as this process's memory.
        rows = self.rows[indices if isinstance(indices, slice) else indices.numpy()]
        return torch.from_numpy(self._open()[rows])

    def subset(self, indices: Tensor) -> "MappedImages":
        """Return the images at some indices, without reading them."""
        return MappedImages(self.path, self.rows[indices.numpy()], self.hashes[indices.numpy()])

    def joined(self, other: "MappedImages") -> "MappedImages":
        """Return these images followed by others of the same file, without reading them."""
        assert self.path == other.path, "parts of one source lie in one file"
        rows, hashes = np.concatenate([self.rows, other.rows]), np.concatenate([self.hashes, other.hashes])
        return MappedImages(self.path, rows, hashes)

    def _open(self) -> np.ndarray:
        images = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return images if images.ndim == 4 else images[:, None]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels: a whole data set, or one part of a split, which shows nothing of the others.

    Attributes:
        images: uint8 `[N, C, H, W]`, in memory or in a file; `images[indices]` works for both. Points, `[N, D, 1, 1]`,
            are float32 in [-1, 1]: 256 levels are too coarse for them.
        labels: int64 `[N]`, each an index into `class_names`, or -1 for an image without a label.
        class_names: One name per class.
    """

    images: Tensor | MappedImages
    labels: Tensor
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        if isinstance(self.images, Tensor):
            points = self.images.shape[2:] == (1, 1) and self.images.dtype == torch.float32
            if self.images.ndim != 4 or not (points or self.images.dtype == torch.uint8):
                raise ValueError(f"images are {self.images.dtype} {list(self.images.shape)}: use uint8 [N, C, H, W]")
        if self.labels.shape != (len(self.images),):
            raise ValueError(f"{len(self.images)} images but labels of shape {list(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def shape(self) -> ImageShape:
        """Channels, height and width of each image."""
        return ImageShape(*self.images.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The type of the pixels' values."""
        return self.images.dtype if isinstance(self.images, Tensor) else torch.uint8

    @property
    def num_classes(self) -> int:
        """Number of classes, including those without images."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> Tensor:
        """Images per class, int64 `[K]`; images without a label do not count."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=self.num_classes)

    @cached_property
    def hashes(self) -> np.ndarray:
        """The hash of each image's pixels, uint8 `[N, 16]`."""
        return hash_images(self.images) if isinstance(self.images, Tensor) else self.images.hashes

    @cached_property
    def fingerprint(self) -> str:
        """A hash of shape, pixels, labels and class names, which depends on the order of the images."""
        digest = hashlib.blake2b(repr((self.shape, tuple(self.class_names))).encode(), digest_size=16)
        digest.update(self.hashes.tobytes())
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def first_copy(self) -> Tensor:
        """Index of the first image that is identical to each, pixel for pixel, int64 `[N]`."""
        whole = np.ascontiguousarray(self.hashes).view(f"V{HASH_BYTES}").ravel()
        _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
        return torch.from_numpy(first[inverse].astype(np.int64))

    def members(self, label: int) -> Tensor:
        """Return the indices of the images of a class, int64 `[M]`."""
        return (self.labels == label).nonzero()[:, 0]

    def subset(self, indices: Tensor) -> "ImageSet":
        """Return the images at some indices, int64 `[M]`, as a new set."""
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.subset(indices)
        return ImageSet(images, self.labels[indices], self.class_names)

    def joined(self, other: "ImageSet") -> "ImageSet":
        """Return these images followed by others of the same source."""
        if isinstance(self.images, Tensor):
            assert isinstance(other.images, Tensor)
            images: Tensor | MappedImages = torch.cat([self.images, other.images])
        else:
            assert isinstance(other.images, MappedImages)
            images = self.images.joined(other.images)
        return ImageSet(images, torch.cat([self.labels, other.labels]), self.class_names)

    def without_labels(self) -> "ImageSet":
        """Return the same images without labels, so that code that gets them cannot use any."""
        return replace(self, labels=torch.full_like(self.labels, -1))

    def as_one_class(self) -> "ImageSet":
        """Return the same images with all of them in a single class."""
        return ImageSet(self.images, torch.zeros_like(self.labels), ["any"])


def imbalance_ratio(images: ImageSet) -> float | None:
    """Return the size of the largest class over that of the smallest one, at least 1; None if a class has no image."""
    counts = images.class_counts
    return float(counts.max() / counts.min()) if counts.all() else None


def absent_classes(images: ImageSet) -> list[str]:
    """Name the classes that have no image."""
    return [name for name, count in zip(images.class_names, images.class_counts.tolist(), strict=True) if not count]


def rare_classes(images: ImageSet) -> list[str]:
    """Name the classes that have less than half of an equal share of the images.

    Example:
        >>> images = torch.zeros(9, 1, 1, 1, dtype=torch.uint8)
        >>> rare_classes(ImageSet(images, torch.tensor([0] * 4 + [1] * 4 + [2]), ["cat", "dog", "emu"]))
        ['emu']
    """
    few = 2 * images.class_counts < images.class_counts.float().mean()
    return [name for name, is_rare in zip(images.class_names, few.tolist(), strict=True) if is_rare]


def first_of_each(images: ImageSet, counts: Tensor) -> ImageSet:
    """Return the first images of each class: a number per class, int64 `[K]`, or all if there are fewer.

    Example:
        >>> images = ImageSet(torch.zeros(6, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1, 1]), ["a", "b"])
        >>> first_of_each(images, torch.tensor([1, 20])).labels.tolist()
        [0, 1, 1, 1]
    """
    return images.subset(torch.cat([images.members(label)[:count] for label, count in enumerate(counts.tolist())]))


def in_proportion(images: ImageSet, counts: Tensor) -> ImageSet:
    """Return the first images of each class, as many as possible in the proportions of some counts, int64 `[K]`.

    Example:
        >>> images = ImageSet(torch.zeros(6, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1, 1]), ["a", "b"])
        >>> in_proportion(images, torch.tensor([10, 20])).labels.tolist()
        [0, 1, 1, 1]
    """
    pairs = zip(images.class_counts.tolist(), counts.tolist(), strict=True)
    share = min((Fraction(there, count) for there, count in pairs if count), default=Fraction(0))  # the scarcest class
    return first_of_each(images, counts * share.numerator // share.denominator)


def changed(images: ImageSet, change: Callable[[Tensor], Tensor]) -> ImageSet:
    """Return the images, in memory, after a change of their pixels `[B, C, H, W]`, about `AT_ONCE` pixels at a time."""
    number = max(1, AT_ONCE // max(1, images.images[:1].numel()))
    made = [change(images.images[chunk]) for chunk in torch.arange(len(images)).split(number)]
    return replace(images, images=torch.cat(made))


def hash_images(images: Tensor) -> np.ndarray:
    """Hash the pixels of each image `[N, C, H, W]` into uint8 `[N, 16]`."""
    hashes = b"".join(hash_image(image) for image in images.contiguous().numpy())
    return np.frombuffer(hashes, dtype=np.uint8).reshape(len(images), HASH_BYTES)


def hash_image(image: np.ndarray) -> bytes:
    """Hash the pixels of one image, `[C, H, W]`."""
    return hashlib.blake2b(image.data, digest_size=HASH_BYTES).digest()


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 pixels in [0, 255] into floats in [-1, 1], the range of every network; floats are in it already."""
    return images if images.is_floating_point() else images.float().div_(127.5).sub_(1.0)


def from_float(images: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Turn floats in [-1, 1] into pixel values of an image set's type: the inverse of `to_float`.

    Example:
        >>> from_float(to_float(torch.tensor([0, 1, 128, 255], dtype=torch.uint8))).tolist()
        [0, 1, 128, 255]
    """
    return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8) if dtype == torch.uint8 else images
