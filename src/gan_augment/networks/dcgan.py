"""The convolutional GAN of Radford et al. 2015, for any image size."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor, doublings, halvings
from gan_augment.settings import check_integer


@dataclass(frozen=True)
class DCGAN(Architecture):
    """Strided convolutions down, transposed convolutions up, and by default one plain convolution at full size.

    By default the discriminator has no batch norm, so that real and generated images can go through it in one batch.
    The convolution at full size is an addition to the paper: images of 8 pixels are halved only once, and one strided
    convolution alone sees too little of them. The paper's networks for 64x64 pixels (its figure 1, at half its width)
    are `channels=64, spectral_norm=False, batch_norm=True, kernel_size=5, full_size=False`.

    Sides are halved down to 4 or 3 pixels, rounded up, and restored exactly: 100 is made from 4, 7, 13, 25, 50.

    Attributes:
        channels: Feature maps at the largest size that has any; each halving doubles them, up to 8 times.
        batch_norm: Whether the discriminator has batch norm after each convolution but the first. The generator always
            has it after each layer but the last.
        kernel_size: Side of the strided kernels, in pixels: 5; or 4, with 3 where a size is odd.
        full_size: Whether the generator's last convolution and the discriminator's first are plain 3x3 ones at full
            size. Otherwise they are strided, and the largest feature maps have half the image's size.

    Raises:
        ValueError: If a setting is out of range.
    """

    channels: int = 32
    spectral_norm: bool = True
    batch_norm: bool = False
    batch_std: bool = False
    kernel_size: int = 4
    full_size: bool = True

    def __post_init__(self) -> None:
        check_integer("architecture.kernel_size", self.kernel_size, low=4, high=5)
        super().__post_init__()

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> images `[B, C, H, W]` in [-1, 1]."""
        sizes = halvings(shape.size)
        widths = self._widths(len(sizes), shape.channels)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(num_inputs, widths[0] * sizes[0] ** 2, bias=False),
            nn.Unflatten(1, (widths[0], sizes[0], sizes[0])),
        ]
        for size, (width, next_width) in zip(sizes[1:], pairwise(widths), strict=False):
            kernel = self._kernel(size)
            if self.kernel_size == 5:
                kernel["output_padding"] = 1 - size % 2
            last = not self.full_size and size == sizes[-1]
            growing = nn.ConvTranspose2d(width, next_width, stride=2, bias=last, **kernel)
            layers += [nn.BatchNorm2d(width), nn.ReLU(), growing]
        if self.full_size:
            layers += [nn.BatchNorm2d(self.channels), nn.ReLU(), nn.Conv2d(self.channels, shape.channels, 3, padding=1)]
        return nn.Sequential(*layers, nn.Tanh()).apply(_initialise)

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return images `[B, C, H, W]` -> features: the last feature maps, flattened."""
        sizes = halvings(shape.size)[::-1]
        widths = self._widths(len(sizes), shape.channels)
        # Keywords of each convolution; those of a strided one follow from the size that it halves.
        kernels: list[dict[str, Any]] = [{"kernel_size": 3, "padding": 1}] if self.full_size else []
        kernels += [{"stride": 2, **self._kernel(size)} for size in sizes[:-1]]
        layers: list[nn.Module] = []
        for number, (kernel, (width, next_width)) in enumerate(zip(kernels, pairwise(widths), strict=True)):
            norm = self.batch_norm and number > 0
            layers.append(nn.Conv2d(width, next_width, bias=not norm, **kernel))
            if norm:
                layers.append(nn.BatchNorm2d(next_width))
            layers.append(nn.LeakyReLU(0.2))
        num_features = widths[-1] * sizes[-1] ** 2
        return FeatureExtractor(*layers, nn.Flatten(), num_features=num_features, batch_std=self.batch_std)

    def finish(self, discriminator: nn.Module) -> nn.Module:
        """Draw the initial weights, then apply spectral norm to them."""
        return super().finish(discriminator.apply(_initialise))

    def _widths(self, num_sizes: int, image_channels: int) -> list[int]:
        """Return the image's channels, then the numbers of feature maps from the largest size to the smallest."""
        return [image_channels, *doublings(self.channels, num_sizes if self.full_size else num_sizes - 1)]

    def _kernel(self, size: int) -> dict[str, Any]:
        """Return the keywords of a convolution that halves `size`, or of a transposed one that doubles to it."""
        if self.kernel_size == 5:
            return {"kernel_size": 5, "padding": 2}
        # With stride 2 and padding 1, 4 pixels double n to 2n and 3 pixels to 2n - 1: every size is reached exactly.
        return {"kernel_size": 4 if size % 2 == 0 else 3, "padding": 1}


def _initialise(module: nn.Module) -> None:
    # Radford et al. 2015, section 4: weights from a normal distribution with standard deviation .02.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
