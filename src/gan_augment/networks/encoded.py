"""Classifiers on the features of an encoder."""

from collections.abc import Mapping
from dataclasses import astuple, fields, replace
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


def encoder_architecture(node: Mapping[str, Any], shape: ImageShape) -> Architecture:
    """Return the architecture of a node, without what makes an image's features depend on its batch.

    Raises:
        ValueError: If its discriminator does not see images of this shape, or not the images themselves.
    """
    found = build(node, "architecture", Architecture)
    found.check(shape)
    if found.num_maps:
        raise ValueError(
            f"architecture {type(found).__name__} sees images through a pretrained network, which needs no other "
            "encoder: use architecture=dcgan, or classifier=probe"
        )
    known = {one.name for one in fields(found)}
    return replace(found, **{name: False for name in ("batch_std", "batch_norm") if name in known})
