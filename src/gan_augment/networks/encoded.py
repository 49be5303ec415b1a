"""Classifiers on the features of an encoder."""

from collections.abc import Mapping
from dataclasses import astuple
from math import prod
from typing import Any

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor
from gan_augment.settings import build


class Encoded(nn.Module):
    """A linear layer on the features of an encoder: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.

    Args:
        shape: Of the images.
        architecture: The node of the architecture whose discriminator, without its head, is the encoder; None for the
            pixels themselves.

    Attributes:
        body: Images -> features `[B, F]`.
        head: Features -> logits.

    Raises:
        ValueError: If there is no such encoder of images of this shape.
    """

    def __init__(self, shape: ImageShape, num_classes: int, architecture: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.body = encoder_of(shape, architecture)
        self.head = nn.Linear(self.body.num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return features `[B, F]`."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.head(self.body(images))


def encoder_of(shape: ImageShape, architecture: Mapping[str, Any] | None) -> FeatureExtractor:
    """Return an encoder, images `[B, C, H, W]` in [-1, 1] -> features `[B, F]`, as `Encoded` has it."""
    if architecture is None:
        return FeatureExtractor(nn.Flatten(), num_features=prod(astuple(shape)), batch_std=False)
    return encoder_architecture(architecture, shape).discriminator(shape)


WITHOUT = ("spectral_norm", "latent_dim", "batch_norm", "batch_std")  # settings that an encoder does not have


def effective(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node of an architecture without settings that have no effect on encoders.

    Raises:
        ValueError: If an image's features would depend on the others of its batch.
    """
    for name in ("batch_norm", "batch_std"):
        if node.get(name):
            raise ValueError(
                f"architecture.{name}=true: an image would have other features in another batch, so encoders have no "
                f"{name}: set it to false"
            )
    return {name: value for name, value in node.items() if name not in WITHOUT}


def encoder_architecture(node: Mapping[str, Any], shape: ImageShape) -> Architecture:
    """Return the architecture of an `effective` node.

    Raises:
        ValueError: If its discriminator does not see images of this shape, or not the images themselves.
    """
    found = build(node, "architecture", Architecture)
    found.check(shape)
    if found.num_maps:
        raise ValueError(
            f"architecture {type(found).__name__} sees images through a pretrained network, which needs no other "
            "encoder: use architecture=dcgan, or augmentation=none classifier=probe"
        )
    return found
