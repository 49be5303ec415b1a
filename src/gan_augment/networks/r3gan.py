"""The modernised residual GAN of Huang et al. 2024 (R3GAN), for any image size."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor, Residual, doublings, halvings
from gan_augment.settings import check_integer

EXPANSION = 2  # width inside a block, relative to its ends
GROUP = 16  # feature maps that a 3x3 convolution sees together
SLOPE = 0.2  # of leaky ReLU below zero


@dataclass(frozen=True)
class R3GAN(Architecture):
    """Residual blocks without normalisation layers; generator and discriminator mirror each other (section 4).

    Each block starts as the identity, which keeps so deep a network trainable (Zhang et al. 2019, Fixup). The paper
    trains it with `loss=relativistic`, with a width of 768 at every size up to 32x32 pixels and without the final tanh
    of the generator; here the widths are small, for a CPU.

    Attributes:
        channels: Feature maps at full size, a multiple of 8; each halving doubles them, up to 8 times.
        num_blocks: Residual blocks at each size; 2 in the paper.
    """

    latent_dim: int = 64
    channels: int = 16
    num_blocks: int = 1
    batch_std: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("architecture.num_blocks", self.num_blocks, low=1, high=100)
        if EXPANSION * self.channels % GROUP:
            raise ValueError(f"architecture.channels={self.channels}: use a multiple of {GROUP // EXPANSION}")

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> images `[B, C, H, W]` in [-1, 1]."""
        sizes = halvings(shape.size)
        widths = doublings(self.channels, len(sizes))[::-1]
        layers: list[nn.Module] = [Basis(num_inputs, widths[0], sizes[0]), *self._blocks(widths[0], len(sizes))]
        for size, (width, next_width) in zip(sizes[1:], pairwise(widths), strict=True):
            layers += [_mix(width, next_width), _resize(size), *self._blocks(next_width, len(sizes))]
        return nn.Sequential(*layers, _mix(self.channels, shape.channels), nn.Tanh())

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return images `[B, C, H, W]` -> features: a weighted sum over the pixels of each of the last maps."""
        sizes = halvings(shape.size)[::-1]
        widths = doublings(self.channels, len(sizes))
        layers: list[nn.Module] = [_mix(shape.channels, self.channels), *self._blocks(self.channels, len(sizes))]
        for size, (width, next_width) in zip(sizes[1:], pairwise(widths), strict=True):
            layers += [_resize(size), _mix(width, next_width), *self._blocks(next_width, len(sizes))]
        width = widths[-1]
        layers += [_scaled(nn.Conv2d(width, width, sizes[-1], groups=width, bias=False)), nn.Flatten()]
        return FeatureExtractor(*layers, num_features=width, batch_std=self.batch_std)

    def _blocks(self, width: int, num_sizes: int) -> list[nn.Module]:
        """Return the residual blocks of one size, 1x1 - grouped 3x3 - 1x1; each starts as the identity."""
        inside = EXPANSION * width
        # With L blocks in the whole network and m = 3 layers in each, all but a block's last start scaled by
        # L^(-1 / (2m - 2)), so that a step moves a deep network no further than a shallow one.
        gain = nn.init.calculate_gain("leaky_relu", SLOPE) * (self.num_blocks * num_sizes) ** (-1 / 4)
        blocks: list[nn.Module] = []
        for _ in range(self.num_blocks):
            layers = (
                _scaled(nn.Conv2d(width, inside, 1), gain),
                nn.LeakyReLU(SLOPE),
                _scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=inside // GROUP), gain),
                nn.LeakyReLU(SLOPE),
                _scaled(nn.Conv2d(inside, width, 1, bias=False), gain=0),
            )
            blocks.append(Residual(nn.Identity(), nn.Sequential(*layers)))
        return blocks


class Basis(nn.Module):
    """Learned maps of `size` pixels a side, each weighted by a linear function of the features."""

    def __init__(self, num_inputs: int, channels: int, size: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(channels, size, size))
        self.linear = _scaled(nn.Linear(num_inputs, channels, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, num_inputs]` to the weighted maps `[B, channels, size, size]`."""
        return self.maps * self.linear(features)[:, :, None, None]


def _scaled(layer: nn.Linear | nn.Conv2d, gain: float = 1) -> nn.Module:
    """Draw weights of variance gain^2 / fan-in, so the layer multiplies the scale by the gain; set biases to zero."""
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _mix(num_inputs: int, num_outputs: int) -> nn.Module:
    """Return a 1x1 convolution that changes the number of feature maps, or the identity if the number stays."""
    if num_inputs == num_outputs:
        return nn.Identity()
    return _scaled(nn.Conv2d(num_inputs, num_outputs, 1, bias=False))


def _resize(size: int) -> nn.Module:
    # When it halves a size exactly, this averages 2x2 pixels.
    return nn.Upsample(size, mode="bilinear")
