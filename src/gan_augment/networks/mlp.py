"""The fully connected GAN of Goodfellow et al. 2014, with labels."""

from dataclasses import dataclass

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, LabelledLatent, ProjectionHead, with_spectral_norm
from gan_augment.settings import check_integer


@dataclass(frozen=True)
class MLP(Architecture):
    """Generator and discriminator of fully connected layers with leaky ReLU.

    Attributes:
        latent_dim: Length of a latent vector.
        width: Units of the generator's first layer; the next two have 2 and 4 times as many, and the
            discriminator has 2 and 1 times as many.
        spectral_norm: Whether the discriminator's weights are divided by their largest singular values.
    """

    latent_dim: int = 100
    width: int = 256
    spectral_norm: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        check_integer("architecture.latent_dim", self.latent_dim, low=1)
        check_integer("architecture.width", self.width, low=1)

    def generator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the generator."""
        return MLPGenerator(shape, num_classes, self.latent_dim, self.width)

    def discriminator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return the discriminator."""
        network = MLPDiscriminator(shape, num_classes, self.width)
        return with_spectral_norm(network) if self.spectral_norm else network


class MLPGenerator(nn.Module):
    """Latents `[B, latent_dim]`, labels `[B]` -> images `[B, C, H, W]` in [-1, 1]."""

    def __init__(self, shape: ImageShape, num_classes: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.latent = LabelledLatent(latent_dim, num_classes)
        self.layers = nn.Sequential(
            nn.Linear(self.latent.num_features, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(4 * width, shape.channels * shape.height * shape.width),
            nn.Tanh(),
            nn.Unflatten(1, (shape.channels, shape.height, shape.width)),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Make one image a latent vector."""
        return self.layers(self.latent(latents, labels))


class MLPDiscriminator(nn.Module):
    """Images `[B, C, H, W]`, labels `[B]` -> logits `[B]`."""

    def __init__(self, shape: ImageShape, num_classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.channels * shape.height * shape.width, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, width),
            nn.LeakyReLU(0.2),
        )
        self.head = ProjectionHead(width, num_classes)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge whether images are real and show what their labels say."""
        return self.head(self.layers(images), labels)
