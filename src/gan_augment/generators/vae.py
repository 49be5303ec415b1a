"""A variational autoencoder of images with labels, as a generator (Kingma and Welling 2014)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gan_augment.generators.single import SingleSettings, SingleTraining, TrainSingle
from gan_augment.networks.generative import GenerativeNetwork
from gan_augment.networks.vae import VAENetwork
from gan_augment.settings import check_number

FOLLOWING = 0.01  # how far the standard deviation of pixels moves in a step


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainVAE(TrainSingle):
    """Trains a variational autoencoder."""

    name, version = "vae", 2


class VAETraining(SingleTraining):
    r"""Maximises the evidence lower bound, with the standard deviation of pixels that fits best.

    With D pixels and the mean squared error $\epsilon$ of a batch, an image's term of the reconstruction is
    $\frac{D}{2} \ln \epsilon$, up to a constant (Rybkin et al. 2021). The loss is divided by D.
    """

    CURVES = (*SingleTraining.CURVES, "vae/squared_error", "vae/divergence")

    settings: "VAE"

    def terms(self, images: Tensor, labels: Tensor, changes: Tensor | None, step: int) -> dict[str, Tensor]:
        """Return the loss, the squared error of a pixel, and the divergence of a code in nats."""
        means, log_variances = (one.float() for one in self.network.encode(images, labels))
        noise = torch.randn(means.shape, generator=self.draws["noise"].at(step), device=self.device)
        made = self.network.decode(means + (log_variances / 2).exp() * noise, labels, changes).float()
        error = (made - images).square().mean()
        divergence = (means.square() + log_variances.exp() - 1 - log_variances).sum(dim=1).mean() / 2
        with torch.no_grad():
            self.network.deviation.lerp_(error.sqrt(), FOLLOWING)
        pixels = images[0].numel()
        loss = error.clamp_min(1e-8).log() / 2 + self.settings.divergence * divergence / pixels
        return {"loss/generator": loss, "vae/squared_error": error, "vae/divergence": divergence}


@dataclass(frozen=True)
class VAE(SingleSettings):
    """How a variational autoencoder is trained.

    Attributes:
        divergence: Weight of the codes' divergence from a normal distribution; 1 in the evidence lower bound.

    Raises:
        ValueError: If a value is out of range.
    """

    kind: ClassVar[type[TrainSingle]] = TrainVAE
    of: ClassVar[type[GenerativeNetwork]] = VAENetwork
    trains: ClassVar[type[SingleTraining]] = VAETraining

    divergence: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("generator.divergence", self.divergence, 0, 1000)
