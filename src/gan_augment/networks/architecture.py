"""What a GAN architecture is: bodies of a generator and a discriminator that fit each other and the images.

The bodies know nothing of labels: a `Conditioning` turns them into whole networks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_augment.data.image_set import ImageShape
from gan_augment.settings import check_integer
from gan_augment.training import replicas


@dataclass(frozen=True)
class Architecture(ABC):
    """A family of generators and discriminators; each is one subclass and one YAML.

    Attributes:
        latent_dim: Length of a latent vector.
        image_sizes: Smallest and largest side of an image that the family is made for, in pixels.
        spectral_norm: Whether the discriminator's weights are divided by their largest singular values.
        batch_norm: Whether there is batch norm in the discriminator.
        batch_std: Whether the discriminator sees the standard deviation of its batch (`BatchStd`).
        generator_batch_norm: Whether the generator has batch norm that a single image is too little for.

    Raises:
        ValueError: If a setting is out of range. Every whole number must be at least 1.
    """

    image_sizes = (8, 128)
    spectral_norm = False  # these four are settings of the families that declare them
    batch_norm = False
    batch_std = False
    generator_batch_norm = False

    latent_dim: int = 100

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.type in (int, "int"):
                check_integer(f"architecture.{one.name}", getattr(self, one.name), low=1)

    @abstractmethod
    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return a body that maps features `[B, num_inputs]` to images `[B, C, H, W]` in [-1, 1]."""

    @abstractmethod
    def discriminator(self, shape: ImageShape) -> "FeatureExtractor":
        """Return a body that maps images `[B, C, H, W]` to features; label planes add to the channels C."""

    def finish(self, discriminator: nn.Module) -> nn.Module:
        """Apply what concerns the whole discriminator with its head: here spectral norm (Miyato et al. 2018), if on.

        It bounds the discriminator's slope, so with few images it cannot run away from the generator.
        """
        if self.spectral_norm:
            for module in list(discriminator.modules()):
                is_layer = isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)
                if is_layer and isinstance(module.weight, nn.Parameter):  # a frozen one stays as it is
                    spectral_norm(module)
        return discriminator

    @property
    def num_maps(self) -> int:
        """Frozen feature maps in which the discriminator sees an image; 0 if it sees the image itself."""
        return 0

    def features(self, images: Tensor) -> nn.Module:
        """Return the frozen network through which the discriminator sees images; by default it sees them as they are.

        `images`, some of the training images, `[N, C, H, W]` in [-1, 1], may set the scale of its outputs, a buffer
        `scale` with a number for each map.
        """
        return nn.Identity()

    def origin(self) -> str | None:
        """Return a sentence on the source of pretrained weights that it uses; None without any.

        Raises:
            ValueError: If they are missing.
        """
        return None

    @property
    def couples_images(self) -> bool:
        """Whether an image's logit depends on its batch: real and generated images then need separate batches."""
        return self.batch_norm or self.batch_std

    def check(self, shape: ImageShape) -> None:
        """Raise a ValueError for images that are not square, or of a size or a number of channels out of range."""
        name, (low, high) = type(self).__name__, self.image_sizes
        if shape.is_point:
            raise ValueError(f"architecture {name} makes images, but these are points: use architecture=points")
        if not low <= shape.size <= high:
            raise ValueError(
                f"architecture {name} makes images of {low} to {high} pixels a side, not {shape.size}: "
                "set data.image_size, or use another architecture"
            )
        if shape.channels not in (1, 3):
            raise ValueError(f"architecture {name} makes images of 1 or 3 channels, not {shape.channels}")


def halvings(size: int, smallest: int = 4) -> list[int]:
    """Return the sides from the smallest feature map, of at most `smallest` pixels, up to the image.

    Each is half the next, rounded up. With 4 pixels at the end, a discriminator sees the whole image at once.

    Example:
        >>> halvings(8), halvings(28), halvings(64), halvings(28, 7)
        ([4, 8], [4, 7, 14, 28], [4, 8, 16, 32, 64], [7, 14, 28])
    """
    sizes = [size]
    while sizes[0] > smallest:
        sizes.insert(0, (sizes[0] + 1) // 2)
    return sizes


def doublings(channels: int, count: int) -> list[int]:
    """Return `count` numbers of feature maps; each is twice the one before, up to 8 times the first.

    Example:
        >>> doublings(16, 5)
        [16, 32, 64, 128, 128]
    """
    return [channels * 2 ** min(level, 3) for level in range(count)]


class FeatureExtractor(nn.Sequential):
    """A discriminator without its head: images `[B, C, H, W]` -> features `[B, num_features]`.

    One that judges each image several times returns `[B, judgements, num_features]`. With `batch_std`, a `BatchStd`
    follows the layers and makes the features one longer.
    """

    def __init__(self, *layers: nn.Module, num_features: int, batch_std: bool) -> None:
        super().__init__(*layers, *([BatchStd()] if batch_std else []))
        self.num_features = num_features + batch_std

    @property
    def layers(self) -> list[nn.Module]:
        """Its layers with weights, from the image side."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


class BatchStd(nn.Module):
    """Append the standard deviation of the batch to its features (Karras et al. 2018, section 3).

    It gives away a batch of images that resemble each other, which counters mode collapse. The standard deviation of
    each feature over the batch is averaged over the features: one number for the whole batch.

    Example:
        >>> BatchStd()(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
        tensor([[1.0000, 0.0000, 1.5000],
                [3.0000, 4.0000, 1.5000]])
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, F]` to `[B, F + 1]`."""
        # At a variance of 0 the slope of the square root is infinite.
        std = (replicas.variance(features) + 1e-8).sqrt().mean()
        return torch.cat([features, std.expand(len(features), 1)], dim=1)


class Residual(nn.Module):
    """The sum of a path through the layers and a shortcut around them, as short as the change of shape allows."""

    def __init__(self, shortcut: nn.Module, residual: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.residual = residual

    def forward(self, features: Tensor) -> Tensor:
        """Map feature maps `[B, C, H, W]` to the sum of both paths."""
        return self.shortcut(features) + self.residual(features)
