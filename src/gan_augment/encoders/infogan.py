"""InfoGAN (Chen et al. 2016): the discriminator also predicts the latent codes of generated images."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from gan_augment.data.image_set import ImageShape
from gan_augment.encoders.base import EncoderTraining, LearnedEncoder
from gan_augment.losses.adversarial import NonSaturating
from gan_augment.networks.architecture import Architecture
from gan_augment.settings import check_integer, check_number
from gan_augment.training.base import without_gradients

NOISE = 50  # incompressible noise: latent numbers that are not predicted


class InfoGANTraining(EncoderTraining):
    """A GAN whose discriminator, the encoder, has heads that predict the latent codes of generated images (Q).

    The errors are the cross-entropy of the category and the mean squared error of the continuous codes, which is the
    likelihood of a normal distribution with a fixed variance. Both networks minimise them.
    """

    CURVES = ("loss/discriminator", "loss/generator", "info/categorical", "info/continuous")

    def build(self, architecture: Architecture, shape: ImageShape) -> None:
        """Make the other networks."""
        settings, num_features = self.settings, self.body.num_features
        self.loss = NonSaturating()
        self.categorical = nn.Linear(num_features, settings.categories)
        self.continuous = nn.Linear(num_features, settings.codes)
        self.score = nn.Sequential(nn.Linear(num_features, 1), nn.Flatten(0))
        self.generator = architecture.generator(shape, NOISE + settings.categories + settings.codes)

    def players(self) -> list[list[nn.Module]]:
        """Return the discriminator with its heads, then the generator."""
        return [[self.body, self.categorical, self.continuous, self.score], [self.generator]]

    def play(self, optimizers: list[torch.optim.Optimizer], images: Tensor, step: int) -> list[Tensor]:
        """Train the discriminator for a step, then the generator."""
        settings, draws = self.settings, self.draws["latents"].at(step)
        number, device = len(images), self.device
        labels = torch.randint(settings.categories, (number,), generator=draws, device=device)
        codes = 2 * torch.rand(number, settings.codes, generator=draws, device=device) - 1
        noise = torch.randn(number, NOISE, generator=draws, device=device)
        made = self.generator(torch.cat([noise, one_hot(labels, settings.categories), codes], dim=1))

        features = self.body(torch.cat([images, made.detach()]))
        real, fake = self.score(features).float().chunk(2)
        judged = self.loss.discriminator(real, fake)
        errors = self.errors(features[number:], labels, codes)
        self.minimise(judged + settings.information * (errors[0] + errors[1]), optimizers[0])

        with without_gradients([weight for network in self.players()[0] for weight in network.parameters()]):
            features = self.body(made)
            scores = self.score(features).float()
            of_categorical, of_continuous = self.errors(features, labels, codes)
        fooled = self.loss.generator(scores, scores.new_empty(0))
        self.minimise(fooled + settings.information * (of_categorical + of_continuous), optimizers[1])
        return [judged, fooled, of_categorical, of_continuous]

    def errors(self, features: Tensor, labels: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the errors of both predictions, scalars, from features `[B, F]` of generated images."""
        errors = (self.continuous(features).float() - codes).square().mean()
        return cross_entropy(self.categorical(features).float(), labels), errors


@dataclass(frozen=True)
class InfoGAN(LearnedEncoder):
    """How an InfoGAN learns. Its `codes` are continuous latent codes, uniform in [-1, 1].

    Attributes:
        categories: Values of the categorical latent code.
        information: Weight of the mutual information between codes and images, of which the errors are a bound.

    Raises:
        ValueError: If a value is out of range.
    """

    trains: ClassVar[type[EncoderTraining]] = InfoGANTraining

    categories: int
    information: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("encoder.categories", self.categories, low=2)
        check_number("encoder.information", self.information, 0, 1000, open_low=True)
