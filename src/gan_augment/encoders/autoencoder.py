"""Autoencoders: an image becomes a short code, and the code becomes the image again."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.encoders.base import EncoderTraining, LearnedEncoder
from gan_augment.networks.architecture import Architecture, FeatureExtractor


@dataclass(frozen=True)
class Autoencoder(LearnedEncoder):
    """How an autoencoder learns. The generator of the architecture is its decoder."""

    def training(
        self, body: FeatureExtractor, architecture: Architecture, shape: ImageShape, seed: int
    ) -> "AutoencoderTraining":
        """Return the training of a network."""
        return AutoencoderTraining(body, architecture, shape, self, seed)


class AutoencoderTraining(EncoderTraining):
    """Minimises the mean squared error of pixels."""

    CURVES: ClassVar[tuple[str, ...]] = ("loss/reconstruction",)

    def __init__(
        self,
        body: FeatureExtractor,
        architecture: Architecture,
        shape: ImageShape,
        settings: Any,
        seed: int,
    ) -> None:
        super().__init__(body, settings, seed)
        self.code = nn.Linear(body.num_features, settings.codes)
        self.decoder = architecture.generator(shape, settings.codes)

    def players(self) -> list[list[nn.Module]]:
        """Return encoder and decoder together."""
        return [[self.body, self.code, self.decoder]]

    def error(self, images: Tensor, codes: Tensor) -> Tensor:
        """Return the mean squared error of pixels, a scalar, of images and what their codes become."""
        return (self.decoder(codes).float() - images).square().mean()

    def play(self, optimizers: list[torch.optim.Optimizer], images: Tensor, step: int) -> list[Tensor]:
        """Take a step."""
        error = self.error(images, self.code(self.body(images)))
        self.minimise(error, optimizers[0])
        return [error]
