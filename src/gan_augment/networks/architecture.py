"""What a GAN architecture is: a generator and a discriminator that fit each other and the images."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_augment.data.image_set import ImageShape


class Architecture(ABC):
    """A family of generators and discriminators; subclasses are one class and one YAML each.

    Attributes:
        latent_dim: Length of a latent vector.
        image_sizes: Smallest and largest side of an image that the family is made for, in pixels.
    """

    latent_dim: int
    image_sizes: tuple[int, int] = (8, 64)

    @abstractmethod
    def generator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return a network (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1]."""

    @abstractmethod
    def discriminator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return a network (images `[B, C, H, W]` in [-1, 1], labels `[B]`) -> logits `[B]`, high where real."""

    def check(self, shape: ImageShape) -> None:
        """Refuse images that the family cannot make.

        Raises:
            ValueError: If they are not square, or of a size or a number of channels outside the family's.
        """
        name, (low, high) = type(self).__name__, self.image_sizes
        if not low <= shape.size <= high:
            raise ValueError(
                f"architecture {name} makes images of {low} to {high} pixels a side, not {shape.size}: "
                "set data.image_size, or take another architecture"
            )
        if shape.channels not in (1, 3):
            raise ValueError(f"architecture {name} makes images of 1 or 3 channels, not {shape.channels}")


def halvings(size: int, smallest: int) -> list[int]:
    """Return the sizes from the smallest feature map up to the image; each is half the next, rounded up.

    Args:
        size: Side of the image, in pixels.
        smallest: Largest side, in pixels, that is not halved any more.

    Example:
        >>> halvings(8, 4), halvings(28, 4), halvings(64, 4), halvings(28, 7)
        ([4, 8], [4, 7, 14, 28], [4, 8, 16, 32, 64], [7, 14, 28])
    """
    sizes = [size]
    while sizes[0] > smallest:
        sizes.insert(0, (sizes[0] + 1) // 2)
    return sizes


def with_spectral_norm(discriminator: nn.Module) -> nn.Module:
    """Divide every weight of a discriminator by its largest singular value (Miyato et al. 2018).

    The discriminator's slope is bounded, so with few images it cannot run away from the generator.
    """
    for module in list(discriminator.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            spectral_norm(module)
    return discriminator


class LabelledLatent(nn.Module):
    """Put a learned embedding of the label behind the latent vector (concatenation, Mirza and Osindero 2014).

    Args:
        latent_dim: Length of the latent vector.
        num_classes: Number of labels.
        embedding_dim: Length of the embedding.
    """

    def __init__(self, latent_dim: int, num_classes: int, embedding_dim: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, embedding_dim)
        self.num_features = latent_dim + embedding_dim

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Map latents `[B, Z]` and labels `[B]` to features `[B, num_features]`."""
        return torch.cat([latents, self.embedding(labels)], dim=1)


class ProjectionHead(nn.Module):
    """The logit of a conditional discriminator, w . h + e_y . h + b (Miyato and Koyama 2018, eq. 3).

    Args:
        num_features: Length of the features h.
        num_classes: Number of labels y.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, 1)
        self.embedding = nn.Embedding(num_classes, num_features)
        # As small as the weights of the linear part, so that neither part drowns the other at the start.
        nn.init.normal_(self.embedding.weight, std=num_features**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map features `[B, num_features]` and labels `[B]` to logits `[B]`."""
        return self.linear(features).squeeze(1) + (self.embedding(labels) * features).sum(dim=1)
