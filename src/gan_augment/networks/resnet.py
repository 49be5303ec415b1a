"""The residual GAN of Miyato et al. 2018 (SNGAN), for any image size."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor, Residual, doublings, halvings


@dataclass(frozen=True)
class ResNet(Architecture):
    """Residual blocks of two 3x3 convolutions: batch norm in the generator, spectral norm in the discriminator.

    The generator repeats pixels to grow (nearest neighbour), the discriminator averages 2x2 pixels to shrink, as in the
    paper's appendix B.4. In the paper all blocks for 32x32 pixels are 256 or 128 wide; here they widen as the size
    shrinks, which a CPU can afford.

    Attributes:
        channels: Feature maps of the largest size; each halving doubles them, up to 8 times.
    """

    channels: int = 16
    spectral_norm: bool = True
    batch_std: bool = False

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> images `[B, C, H, W]` in [-1, 1]."""
        sizes = halvings(shape.size)
        widths = doublings(self.channels, len(sizes))[::-1]
        seed = nn.Linear(num_inputs, widths[0] * sizes[0] ** 2)
        nn.init.xavier_uniform_(seed.weight)
        return nn.Sequential(
            seed,
            nn.Unflatten(1, (widths[0], sizes[0], sizes[0])),
            *(_growing(*pair, size) for size, pair in zip(sizes[1:], pairwise(widths), strict=True)),
            nn.BatchNorm2d(self.channels),
            nn.ReLU(),
            _convolution(self.channels, shape.channels, gain=1),
            nn.Tanh(),
        )

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return images `[B, C, H, W]` -> features: the last feature maps, each summed over its pixels."""
        widths = doublings(self.channels, len(halvings(shape.size)) - 1)
        return FeatureExtractor(
            _first(shape.channels, self.channels),
            *(_shrinking(*pair) for pair in pairwise(widths)),
            Residual(nn.Identity(), nn.Sequential(*_convolutions(widths[-1], widths[-1]))),
            nn.ReLU(),
            SumOverPixels(),
            num_features=widths[-1],
            batch_std=self.batch_std,
        )


class SumOverPixels(nn.Module):
    """Global sum pooling: feature maps `[B, C, H, W]` -> features `[B, C]`."""

    def forward(self, maps: Tensor) -> Tensor:
        """Sum each feature map over its pixels."""
        return maps.sum(dim=(2, 3))


def _convolution(width: int, next_width: int, kernel_size: int = 3, gain: float = 2**0.5) -> nn.Conv2d:
    """Return a convolution that keeps the size, with Glorot weights; the gain as in Miyato et al.'s own code."""
    layer = nn.Conv2d(width, next_width, kernel_size, padding=kernel_size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _convolutions(width: int, next_width: int) -> list[nn.Module]:
    """Return the residual path of a discriminator's block."""
    return [nn.ReLU(), _convolution(width, width), nn.ReLU(), _convolution(width, next_width)]


def _halve() -> nn.Module:
    return nn.AvgPool2d(2, ceil_mode=True)  # at an odd size, the last averages are over fewer pixels


def _growing(width: int, next_width: int, size: int) -> nn.Module:
    """Return a block of the generator that grows to a size, in pixels."""
    start = nn.BatchNorm2d(width), nn.ReLU(), nn.Upsample(size), _convolution(width, next_width)
    end = nn.BatchNorm2d(next_width), nn.ReLU(), _convolution(next_width, next_width)
    # A 1x1 convolution and the repetition of pixels commute: convolving first costs less.
    shortcut = nn.Sequential(_convolution(width, next_width, 1, gain=1), nn.Upsample(size))
    return Residual(shortcut, nn.Sequential(*start, *end))


def _shrinking(width: int, next_width: int) -> nn.Module:
    """Return a block of the discriminator that halves the size."""
    # A 1x1 convolution and the average of pixels commute: averaging first costs less.
    shortcut = nn.Sequential(_halve(), _convolution(width, next_width, 1, gain=1))
    return Residual(shortcut, nn.Sequential(*_convolutions(width, next_width), _halve()))


def _first(width: int, next_width: int) -> nn.Module:
    """Return the discriminator's first block, without a ReLU on the image, which has negative values."""
    residual = nn.Sequential(_convolution(width, next_width), nn.ReLU(), _convolution(next_width, next_width), _halve())
    return Residual(nn.Sequential(_halve(), _convolution(width, next_width, 1, gain=1)), residual)
