"""Autoencoders: an image becomes a short code, and the code becomes the image again."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.encoders.base import EncoderTraining, LearnedEncoder
from gan_augment.networks.architecture import Architecture


class AutoencoderTraining(EncoderTraining):
    """Minimises the mean squared error of pixels."""

    CURVES: ClassVar[tuple[str, ...]] = ("loss/reconstruction",)

    def build(self, architecture: Architecture, shape: ImageShape) -> None:
        """Make the other networks."""
        settings, num_features = self.settings, self.body.num_features
        self.code = nn.Linear(num_features, settings.codes)
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


@dataclass(frozen=True)
class Autoencoder(LearnedEncoder):
    """How an autoencoder learns. The generator of the architecture is its decoder."""

    trains: ClassVar[type[EncoderTraining]] = AutoencoderTraining
