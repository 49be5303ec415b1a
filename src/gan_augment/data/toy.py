"""Toy densities: points in the plane with known modes, so that a mode that a GAN drops is easy to see."""

import math

import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Modes, Source
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer

NUM_TEST = 2500  # points held out from the GAN


def ring(num_points: int = 100_000) -> Source:
    """Draw from 8 Gaussians on a circle of radius 1, of standard deviation .01 (Metz et al. 2017; Lin et al. 2018)."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return _draw(torch.stack([angles.cos(), angles.sin()], dim=1), 0.01, half_width=1.1, num_points=num_points)


def grid(num_points: int = 100_000) -> Source:
    """Draw from 25 Gaussians at {-4, -2, 0, 2, 4}^2, of standard deviation .05 (Lin et al. 2018)."""
    steps = torch.arange(-4.0, 5.0, 2.0)
    return _draw(torch.cartesian_prod(steps, steps), 0.05, half_width=4.5, num_points=num_points)


def _draw(centres: torch.Tensor, std: float, half_width: float, num_points: int) -> Source:
    """Draw points, `[N, 2, 1, 1]`, all of one class; `half_width` becomes 1, as the networks' range is [-1, 1]."""
    check_integer("data.num_points", num_points, low=1)
    random, number = Stream(0, "toy").at(0), num_points + NUM_TEST
    which = torch.randint(len(centres), (number,), generator=random)
    points = (centres[which] + std * torch.randn(number, 2, generator=random)) / half_width
    return Source(
        ImageSet(points[:, :, None, None], torch.zeros(number, dtype=torch.int64), ["points"]),
        test=torch.arange(num_points, number),
        modes=Modes(centres / half_width, std / half_width),
    )
