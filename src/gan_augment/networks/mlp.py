"""The fully connected GAN of Goodfellow et al. 2014."""

from dataclasses import astuple, dataclass
from itertools import pairwise
from math import prod

from torch import nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor


@dataclass(frozen=True)
class MLP(Architecture):
    """Generator and discriminator of fully connected layers with leaky ReLU.

    Attributes:
        width: Units of the generator's first layer; the next two have 2 and 4 times as many, the discriminator's 2 and
            1 times.
        generator_batch_norm: Whether the generator has batch norm after each layer but the last, which helps it match
            features.
    """

    width: int = 256
    spectral_norm: bool = True
    batch_std: bool = False
    generator_batch_norm: bool = False

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> images `[B, C, H, W]` in [-1, 1]."""
        widths = [num_inputs, self.width, 2 * self.width, 4 * self.width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            norm = [nn.BatchNorm1d(outputs)] if self.generator_batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, nn.LeakyReLU(0.2)]
        sides = astuple(shape)
        return nn.Sequential(*layers, nn.Linear(widths[-1], prod(sides)), nn.Tanh(), nn.Unflatten(1, sides))

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return images `[B, C, H, W]` -> features `[B, width]`."""
        return FeatureExtractor(
            nn.Flatten(),
            nn.Linear(prod(astuple(shape)), 2 * self.width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * self.width, self.width),
            nn.LeakyReLU(0.2),
            num_features=self.width,
            batch_std=self.batch_std,
        )
