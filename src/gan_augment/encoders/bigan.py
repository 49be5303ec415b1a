"""The bidirectional GAN (BiGAN, Donahue et al. 2017; ALI, Dumoulin et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.encoders.base import EncoderTraining, LearnedEncoder
from gan_augment.losses.adversarial import NonSaturating
from gan_augment.networks.architecture import Architecture
from gan_augment.training.base import without_gradients


class JointDiscriminator(nn.Module):
    """Images `[B, C, H, W]` and codes `[B, D]` -> logits `[B]`, high for a real image with its code.

    Two layers see the features of both together. There is no spectral norm.
    """

    def __init__(self, architecture: Architecture, shape: ImageShape, codes: int) -> None:
        super().__init__()
        self.of_image = architecture.discriminator(shape)
        width = self.of_image.num_features
        self.of_code = nn.Sequential(nn.Linear(codes, width), nn.LeakyReLU(0.2))
        self.of_both = nn.Sequential(nn.Linear(2 * width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Flatten(0))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Return logits."""
        return self.of_both(torch.cat([self.of_image(images), self.of_code(codes)], dim=1))


class BiGANTraining(EncoderTraining):
    r"""A discriminator tells pairs of an image and a code apart: real images x with E(x), and G(z) with z.

    Encoder E and generator G share one loss, $\text{softplus}(D(x, E(x))) + \text{softplus}(-D(G(z), z))$: that of the
    paper (its equation 3 with the labels exchanged, section 3.4), which does not saturate. z is uniform in [-1, 1].
    """

    CURVES = ("loss/discriminator", "loss/encoder", "loss/generator")

    def build(self, architecture: Architecture, shape: ImageShape) -> None:
        """Make the other networks."""
        settings, num_features = self.settings, self.body.num_features
        self.loss = NonSaturating()
        self.code = nn.Linear(num_features, settings.codes)
        self.generator = architecture.generator(shape, settings.codes)
        self.discriminator = JointDiscriminator(architecture, shape, settings.codes)

    def players(self) -> list[list[nn.Module]]:
        """Return the discriminator, then encoder and generator."""
        return [[self.discriminator], [self.body, self.code, self.generator]]

    def play(self, optimizers: list[torch.optim.Optimizer], images: Tensor, step: int) -> list[Tensor]:
        """Train the discriminator for a step, then encoder and generator."""
        draws = self.draws["latents"].at(step)
        latents = 2 * torch.rand(len(images), self.settings.codes, generator=draws, device=self.device) - 1
        codes, made = self.code(self.body(images)), self.generator(latents)
        real, fake = self.judge(images, codes.detach(), made.detach(), latents)
        judged = self.loss.discriminator(real, fake)
        self.minimise(judged, optimizers[0])
        with without_gradients([*self.discriminator.parameters()]):
            real, fake = self.judge(images, codes, made, latents)
        nothing = real.new_empty(0)
        of_encoder, of_generator = self.loss.generator(-real, nothing), self.loss.generator(fake, nothing)
        self.minimise(of_encoder + of_generator, optimizers[1])
        return [judged, of_encoder, of_generator]

    def judge(self, images: Tensor, codes: Tensor, made: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `[B]` of real images with their codes, and of generated ones with theirs."""
        real, fake = self.discriminator(torch.cat([images, made]), torch.cat([codes, latents])).float().chunk(2)
        return real, fake


@dataclass(frozen=True)
class BiGAN(LearnedEncoder):
    """How a bidirectional GAN learns. Its generator is that of the architecture."""

    trains: ClassVar[type[EncoderTraining]] = BiGANTraining
