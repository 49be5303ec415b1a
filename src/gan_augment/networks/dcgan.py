"""The convolutional GAN of Radford et al. 2015, with labels, for any image size."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, LabelledLatent, ProjectionHead, halvings, with_spectral_norm
from gan_augment.settings import check_integer

# The discriminator must see the whole image at once.
SMALLEST_SIDE = 4  # pixels of the smallest feature map


@dataclass(frozen=True)
class DCGAN(Architecture):
    """Strided convolutions down, transposed convolutions up, and one plain convolution at full size.

    The discriminator has no batch norm: real and generated images go through it in one batch, and their
    statistics must not mix. The convolution at full size is an addition to the paper: images of 8 pixels are halved
    only once, and one strided convolution alone sees too little of them.

    Attributes:
        latent_dim: Length of a latent vector.
        channels: Feature maps at full size; each halving doubles them, up to 8 times.
        spectral_norm: Whether the discriminator's weights are divided by their largest singular values.
    """

    latent_dim: int = 100
    channels: int = 32
    spectral_norm: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        check_integer("architecture.latent_dim", self.latent_dim, low=1)
        check_integer("architecture.channels", self.channels, low=1)

    def generator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the generator."""
        return DCGANGenerator(shape, num_classes, self.latent_dim, self.channels)

    def discriminator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the discriminator."""
        network = DCGANDiscriminator(shape, num_classes, self.channels)
        return with_spectral_norm(network) if self.spectral_norm else network


def _kernel(size: int) -> int:
    # With stride 2 and padding 1, a kernel of 4 doubles n to 2n and one of 3 to 2n - 1: every size is reached exactly.
    return 4 if size % 2 == 0 else 3


def _initialise(module: nn.Module) -> None:
    # Radford et al. 2015, section 4: weights from a normal distribution with standard deviation .02.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)


class DCGANGenerator(nn.Module):
    """Latents `[B, latent_dim]`, labels `[B]` -> images `[B, C, H, W]` in [-1, 1]."""

    def __init__(self, shape: ImageShape, num_classes: int, latent_dim: int, channels: int) -> None:
        super().__init__()
        sizes = halvings(shape.size, SMALLEST_SIDE)
        widths = [channels * 2 ** min(level, 3) for level in reversed(range(len(sizes)))]
        self.latent = LabelledLatent(latent_dim, num_classes)
        layers: list[nn.Module] = [
            nn.Linear(self.latent.num_features, widths[0] * sizes[0] ** 2, bias=False),
            nn.Unflatten(1, (widths[0], sizes[0], sizes[0])),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for size, (width, next_width) in zip(sizes[1:], pairwise(widths), strict=True):
            layers += [
                nn.ConvTranspose2d(width, next_width, _kernel(size), stride=2, padding=1, bias=False),
                nn.BatchNorm2d(next_width),
                nn.ReLU(),
            ]
        layers += [nn.Conv2d(channels, shape.channels, 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Make one image a latent vector."""
        return self.layers(self.latent(latents, labels))


class DCGANDiscriminator(nn.Module):
    """Images `[B, C, H, W]`, labels `[B]` -> logits `[B]`."""

    def __init__(self, shape: ImageShape, num_classes: int, channels: int) -> None:
        super().__init__()
        sizes = halvings(shape.size, SMALLEST_SIDE)[::-1]
        widths = [channels * 2 ** min(level, 3) for level in range(len(sizes))]
        layers: list[nn.Module] = [nn.Conv2d(shape.channels, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        for size, (width, next_width) in zip(sizes[:-1], pairwise(widths), strict=True):
            layers += [nn.Conv2d(width, next_width, _kernel(size), stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = ProjectionHead(widths[-1] * sizes[-1] ** 2, num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge whether images are real and show what their labels say."""
        return self.head(self.layers(images), labels)
