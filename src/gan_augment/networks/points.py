"""Fully connected networks for points instead of images: the toy densities."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor
from gan_augment.settings import check_number


@dataclass(frozen=True)
class Points(Architecture):
    """Three hidden layers each; the discriminator sees a point through random Fourier features.

    A plain network of two coordinates learns smooth functions first, and modes as narrow as those of the toy densities
    last; sines and cosines of random frequencies fix that (Tancik et al. 2020).

    Attributes:
        width: Units of every hidden layer.
        num_frequencies: Number of sines, and of cosines, that the discriminator sees.
        bandwidth: Standard deviation of their frequencies, in cycles per unit; the range [-1, 1] is two units long.
    """

    latent_dim: int = 2
    width: int = 128
    num_frequencies: int = 64
    bandwidth: float = 0.6
    batch_std: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("architecture.bandwidth", self.bandwidth, 0, 1000, open_low=True)

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> points `[B, D, 1, 1]`."""
        return nn.Sequential(
            *self._hidden(num_inputs), nn.Linear(self.width, shape.channels), nn.Unflatten(1, (shape.channels, 1, 1))
        )

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return points `[B, D, 1, 1]` -> features `[B, width]`."""
        return FeatureExtractor(
            nn.Flatten(),
            FourierFeatures(shape.channels, self.num_frequencies, self.bandwidth),
            *self._hidden(shape.channels + 2 * self.num_frequencies),
            num_features=self.width,
            batch_std=self.batch_std,
        )

    def check(self, shape: ImageShape) -> None:
        """Refuse images of more than one pixel."""
        if not shape.is_point:
            raise ValueError(
                f"architecture Points makes points, not images of {shape.height}x{shape.width} pixels: it is for "
                "data=ring and data=grid; use another architecture"
            )

    def _hidden(self, num_inputs: int) -> list[nn.Module]:
        pairs = pairwise([num_inputs, self.width, self.width, self.width])
        return [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]


class FourierFeatures(nn.Module):
    """Coordinates x and their random Fourier features sin(2 pi W x) and cos(2 pi W x), W fixed (Tancik et al. 2020).

    W has a row for each of `num_frequencies`; the standard deviation of its entries is `bandwidth`.
    """

    frequencies: Tensor

    def __init__(self, num_inputs: int, num_frequencies: int, bandwidth: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", bandwidth * torch.randn(num_inputs, num_frequencies))

    def forward(self, points: Tensor) -> Tensor:
        """Map `[B, num_inputs]` to `[B, num_inputs + 2 * num_frequencies]`."""
        angles = 2 * math.pi * points @ self.frequencies
        return torch.cat([points, angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class Vectors(Points):
    """The same for vectors of many numbers, such as features, which the discriminator sees as they are."""

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return vectors `[B, D, 1, 1]` -> features `[B, width]`."""
        hidden = self._hidden(shape.channels)
        return FeatureExtractor(nn.Flatten(), *hidden, num_features=self.width, batch_std=self.batch_std)
