"""Degrading: images that lose resolution, and ways without training to bring them back to their size."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate

from gan_augment.data.image_set import ImageShape, from_float, to_float
from gan_augment.settings import check_choice, check_integer
from gan_augment.stages import Bundle

KERNELS = ("area", "bicubic")
FEWEST_PIXELS = 2  # a side of a small image


@dataclass(frozen=True, eq=False)
class Degrading(Bundle):
    """How images lose resolution.

    Attributes:
        scale: How many times smaller each side becomes; a side that it does not divide is rounded.
        kernel: `area`, the mean of the pixels that become one; or `bicubic`, with antialiasing.

    Raises:
        ValueError: If a value is out of range.
    """

    reads = ("degrade",)

    scale: int
    kernel: str

    def __post_init__(self) -> None:
        check_integer("degrade.scale", self.scale, low=2, high=64)
        check_choice("degrade.kernel", self.kernel, KERNELS)

    def check(self, shape: ImageShape) -> None:
        """Raise a ValueError if images of this shape would become too small."""
        if shape.is_point:
            raise ValueError("degrade changes the size of images, and these are points: use another arm")
        if min(self.small_size(shape.height, shape.width)) < FEWEST_PIXELS:
            raise ValueError(
                f"degrade.scale={self.scale} leaves fewer than {FEWEST_PIXELS} pixels a side of "
                f"{shape.height}x{shape.width}: use a smaller number, or larger images"
            )

    def small_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the small images."""
        return round(height / self.scale), round(width / self.scale)

    def degrade(self, images: Tensor) -> Tensor:
        """Make images small, uint8 `[B, C, H, W]` -> uint8 `[B, C, h, w]`.

        Example:
            >>> import torch
            >>> step = torch.tensor([0, 0, 255, 255], dtype=torch.uint8).expand(1, 1, 4, 4)
            >>> Degrading(2, "area").degrade(step)[0, 0].tolist()
            [[0, 255], [0, 255]]
        """
        size = self.small_size(*images.shape[-2:])
        if self.kernel == "area":
            return from_float(interpolate(to_float(images), size, mode="area"))
        return from_float(interpolate(to_float(images), size, mode="bicubic", antialias=True))

    def bicubic(self, images: Tensor) -> Tensor:
        """Make images small and enlarge them to their size again, uint8 `[B, C, H, W]`, by bicubic interpolation."""
        return from_float(interpolate(to_float(self.degrade(images)), images.shape[-2:], mode="bicubic"))

    def repeated(self, images: Tensor) -> Tensor:
        """Make images small and enlarge them to their size again, uint8 `[B, C, H, W]`, by repeated pixels."""
        return interpolate(self.degrade(images), images.shape[-2:], mode="nearest-exact")
