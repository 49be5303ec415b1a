"""The adversarial autoencoder (Makhzani et al. 2016): codes become such that they look like random numbers."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.encoders.autoencoder import Autoencoder, AutoencoderTraining
from gan_augment.losses.adversarial import NonSaturating
from gan_augment.networks.architecture import Architecture
from gan_augment.settings import check_number
from gan_augment.training.base import without_gradients

WIDTH = 256  # units of the two hidden layers of the discriminator of codes


class AdversarialAutoencoderTraining(AutoencoderTraining):
    """An autoencoder whose codes a discriminator should not be able to tell from standard normal numbers."""

    CURVES = (*AutoencoderTraining.CURVES, "loss/discriminator", "loss/adversarial")

    def build(self, architecture: Architecture, shape: ImageShape) -> None:
        """Make the other networks."""
        super().build(architecture, shape)
        settings = self.settings
        self.loss = NonSaturating()
        self.discriminator = nn.Sequential(
            *(nn.Linear(settings.codes, WIDTH), nn.LeakyReLU(0.2)),
            *(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, 1), nn.Flatten(0)),
        )

    def players(self) -> list[list[nn.Module]]:
        """Return the discriminator, then encoder and decoder."""
        return [[self.discriminator], *super().players()]

    def play(self, optimizers: list[torch.optim.Optimizer], images: Tensor, step: int) -> list[Tensor]:
        """Train the discriminator for a step, then encoder and decoder."""
        codes = self.code(self.body(images))
        prior = torch.randn(codes.shape, generator=self.draws["latents"].at(step), device=self.device)
        judged = self.loss.discriminator(self.discriminator(prior).float(), self.discriminator(codes.detach()).float())
        self.minimise(judged, optimizers[0])
        error = self.error(images, codes)
        with without_gradients([*self.discriminator.parameters()]):
            scores = self.discriminator(codes).float()
        fooled = self.loss.generator(scores, scores.new_empty(0))
        self.minimise(error + self.settings.adversarial * fooled, optimizers[1])
        return [error, judged, fooled]


@dataclass(frozen=True)
class AdversarialAutoencoder(Autoencoder):
    """How an adversarial autoencoder learns.

    Attributes:
        adversarial: Weight of the adversarial loss next to the mean squared error of pixels.

    Raises:
        ValueError: If it is out of range.
    """

    trains: ClassVar[type[AutoencoderTraining]] = AdversarialAutoencoderTraining

    adversarial: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("encoder.adversarial", self.adversarial, 0, 1000, open_low=True)
