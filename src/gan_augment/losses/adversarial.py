"""Adversarial losses. A new one is one class here, one YAML under `conf/loss/`, one test."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gan_augment.settings import check_number


class AdversarialLoss(ABC):
    """What the discriminator and the generator minimise, as functions of the discriminator's logits `[B]`.

    Attributes:
        pairs: Whether the generator's loss uses real images too.
        weight_clip: Bound to which the discriminator's weights are clipped after each of its steps; None: no clipping.
        zero_divides: Whether a logit above 0 means "real"; otherwise only differences of logits mean something.
    """

    pairs: bool = False
    zero_divides: ClassVar[bool] = True
    weight_clip: float | None = None

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss, a scalar, from its logits `[B]` on real and on generated images."""

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the generator's loss, a scalar, from logits `[B]` on its images and on real ones.

        The real ones are empty unless `pairs`.
        """

    def output(self, logits: Tensor) -> Tensor:
        """Turn logits into the outputs D that the curves show; by default the logits themselves."""
        return logits


@dataclass(frozen=True)
class _CrossEntropy(AdversarialLoss):
    """A discriminator D = sigmoid(logit) that estimates the probability of "real" by cross-entropy.

    It minimises -log D(x) - log(1 - D(G(z))), written with softplus(a) = log(1 + exp(a)), which does not overflow.
    With one-sided label smoothing s, at most 0.5, its target on real images is 1 - s in place of 1, and the first term
    becomes -(1 - s) log D(x) - s log(1 - D(x)) (Salimans et al. 2016, section 3.4), which keeps D from overconfidence
    on real images. The target on generated ones stays 0: any other would reward the generator for staying where it is
    wrong.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_number("loss.label_smoothing", self.label_smoothing, 0, 0.5)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean (1 - s) softplus(-real) + s softplus(real), plus mean softplus(fake)."""
        smoothing = self.label_smoothing
        return ((1 - smoothing) * softplus(-real) + smoothing * softplus(real)).mean() + softplus(fake).mean()

    def output(self, logits: Tensor) -> Tensor:
        """Return D = sigmoid(logit), the probability of "real"."""
        return logits.sigmoid()


class Minimax(_CrossEntropy):
    """The minimax loss, which saturates (Goodfellow et al. 2014, eq. 1).

    With D = sigmoid(logit), the generator minimises log(1 - D(G(z))), whose slope in the logit is -D(G(z)): zero where
    the discriminator is confident.

    Example:
        >>> import torch
        >>> unsure, sure = torch.tensor([0.0], requires_grad=True), torch.tensor([-9.0], requires_grad=True)
        >>> Minimax().generator(torch.cat([unsure, sure]), torch.empty(0)).backward()
        >>> round(2 * unsure.grad.item(), 4), round(2 * sure.grad.item(), 4)
        (-0.5, -0.0001)
    """

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -mean softplus(fake)."""
        return -softplus(fake).mean()


class NonSaturating(_CrossEntropy):
    """The non-saturating loss (Goodfellow et al. 2014, section 3).

    With D = sigmoid(logit), the generator minimises -log D(G(z)), whose slope in the logit is D(G(z)) - 1: steepest
    where the discriminator is confident.

    Example:
        >>> import torch
        >>> loss, undecided = NonSaturating(), torch.zeros(4)
        >>> round(loss.discriminator(undecided, undecided).item(), 4)
        1.3863
        >>> round(loss.generator(undecided, torch.empty(0)).item(), 4)
        0.6931
    """

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return mean softplus(-fake)."""
        return softplus(-fake).mean()


class LeastSquares(AdversarialLoss):
    """The least squares loss (Mao et al. 2017, eq. 8).

    With the paper's targets a = -1 for generated images and b = 1 for real ones, and c = 0 for the generator's, the
    generator minimises a Pearson chi^2 divergence, and a logit above 0 means "real", as in the other losses; with 0, 1
    and 1, its eq. 9, neither holds.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return 1/2 mean (real - 1)^2 + 1/2 mean (fake + 1)^2."""
        return ((real - 1).square().mean() + (fake + 1).square().mean()) / 2

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return 1/2 mean fake^2."""
        return fake.square().mean() / 2


class Hinge(AdversarialLoss):
    """The hinge loss, without a slope beyond the margin (Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean max(0, 1 - real) + mean max(0, 1 + fake)."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -mean fake."""
        return -fake.mean()


@dataclass(frozen=True)
class Wasserstein(AdversarialLoss):
    """The Wasserstein loss (Arjovsky et al. 2017, eqs. 2 and 3).

    The discriminator is a critic: the negative of its loss is at most the earth mover's distance while its slope is at
    most 1, and equal to it for the best critic. Clipped weights or spectral norm hold the slope below some constant, a
    gradient penalty (Gulrajani et al. 2017) holds it near 1; without any of them the loss has no lower bound.

    Attributes:
        weight_clip: Bound of the critic's weights, at most 1; None with a gradient penalty or spectral norm.

    Raises:
        ValueError: If it is out of range.
    """

    weight_clip: float | None = 0.01
    zero_divides = False

    def __post_init__(self) -> None:
        if self.weight_clip is not None:
            check_number("loss.weight_clip", self.weight_clip, 0, 1, open_low=True)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean fake - mean real."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -mean fake."""
        return -fake.mean()


class Relativistic(AdversarialLoss):
    """The relativistic pairing loss, RpGAN (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2).

    With C the logit, each real image of a batch is paired with a generated one: the discriminator minimises
    -log sigmoid(C(x) - C(G(z))), the generator the reverse. The loss has no minimum that drops modes (Sun et al. 2020),
    but without R1 and R2 it need not converge.

    Example:
        >>> import torch
        >>> real, fake = torch.tensor([3.0, 2.0]), torch.tensor([2.0, 3.0])
        >>> loss = Relativistic()
        >>> loss.discriminator(real, fake).item() == loss.discriminator(real + 100, fake + 100).item()
        True
    """

    pairs, zero_divides = True, False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean softplus(fake - real)."""
        return softplus(-_lead(real, fake)).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return mean softplus(real - fake)."""
        return softplus(_lead(real, fake)).mean()


def _lead(real: Tensor, fake: Tensor) -> Tensor:
    """Return by how much each real image's logit `[B]` exceeds that of the generated one it is paired with."""
    assert len(real) == len(fake), "pairs of images: a single one would be broadcast"
    return real - fake
