"""Adversarial losses. A new one is one class here, one YAML under `conf/loss/`, one test."""

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import softplus


class AdversarialLoss(ABC):
    """What the discriminator and the generator minimise, as functions of the discriminator's logits `[B]`."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss, a scalar, from its logits `[B]` on real and on generated images."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Return the generator's loss, a scalar, from the discriminator's logits `[B]` on its images."""

    def output(self, logits: Tensor) -> Tensor:
        """Turn logits into what the discriminator is said to answer, for the curves; the logits themselves here."""
        return logits


class NonSaturating(AdversarialLoss):
    """The non-saturating loss (Goodfellow et al. 2014, section 3).

    With D = sigmoid(logit), the discriminator minimises -log D(x) - log(1 - D(G(z))) and the generator
    -log D(G(z)), written with softplus(a) = log(1 + exp(a)), which does not overflow.

    Example:
        >>> import torch
        >>> loss, undecided = NonSaturating(), torch.zeros(4)
        >>> round(loss.discriminator(undecided, undecided).item(), 4), round(loss.generator(undecided).item(), 4)
        (1.3863, 0.6931)
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean softplus(-real) + mean softplus(fake)."""
        return softplus(-real).mean() + softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Return mean softplus(-fake)."""
        return softplus(-fake).mean()

    def output(self, logits: Tensor) -> Tensor:
        """Return D = sigmoid(logit), the probability of "real"."""
        return logits.sigmoid()
