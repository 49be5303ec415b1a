"""Classical transforms: random shifts, rotations and scales of whole batches on the device."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from gan_augment.settings import check_boolean, check_number

UNMOVED = (0.0, 0.0, 0.0, 0.0, 1.0)  # draws that leave an image as it is
NUM_CHANGES = len(UNMOVED)


@dataclass(frozen=True)
class ClassicalTransform:
    """A random affine map for each image, bilinear, black outside the image.

    Attributes:
        shift: Largest shift in each direction, as a share of the image's side.
        rotation: Largest rotation either way, in degrees.
        scale: Largest relative change of size: .1 draws factors from .9 to 1.1.
        flip: Whether to mirror half of the images left to right; wrong for digits.
    """

    shift: float
    rotation: float
    scale: float
    flip: bool

    def __post_init__(self) -> None:
        check_number("data.classical.shift", self.shift, 0, 1)
        check_number("data.classical.rotation", self.rotation, 0, 180)
        check_number("data.classical.scale", self.scale, 0, 0.9)
        check_boolean("data.classical.flip", self.flip)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Transform each image, float `[B, C, H, W]` in [-1, 1], with its own random draws, on the images' device."""
        return self.move(images, _draw(images, generator))

    def some(self, images: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Map a share of the images; return all, and numbers that tell how: `[B, NUM_CHANGES]`, 0 for not at all."""
        draws = _draw(images, generator)
        chosen = torch.rand(len(images), generator=generator, device=images.device) < share
        draws = torch.where(chosen, draws, draws.new_tensor(UNMOVED)[:, None])
        mirrored = (draws[4] < 0) & self.flip
        return self.move(images, draws), torch.cat([draws[:4], mirrored[None].to(draws.dtype)]).T

    def move(self, images: Tensor, draws: Tensor) -> Tensor:
        """Map each image by its draws `[5, B]` in [-1, 1]: of rotation, scale, shifts across and down, mirroring."""
        angle, zoom = draws[0] * math.radians(self.rotation), 1 + draws[1] * self.scale
        mirror = draws[4].sign() if self.flip else torch.ones_like(zoom)
        # affine_grid wants the map from output to input coordinates, in [-1, 1] along both sides: a shift of one side
        # is 2, and the shares of the other coordinate depend on the sides' ratio.
        cos, sin, ratio = angle.cos() / zoom, angle.sin() / zoom, images.shape[2] / images.shape[3]
        rows = [
            torch.stack([mirror * cos, -sin * ratio, 2 * self.shift * draws[2]], dim=1),
            torch.stack([mirror * sin / ratio, cos, 2 * self.shift * draws[3]], dim=1),
        ]
        with torch.autocast(images.device.type, enabled=False):  # coordinates need more bits than bf16 has
            grid = affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
            # grid_sample returns 0 outside the image: shift the images so that 0 is black.
            return grid_sample(images + 1, grid, align_corners=False) - 1


def _draw(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(NUM_CHANGES, len(images), generator=generator, device=images.device).mul_(2).sub_(1)
