"""Penalties on the slope of the discriminator: pure functions of the gradients of its logits in its images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_augment.settings import check_integer, check_number

# Images [B, C, H, W] -> logits [B], or [B, judgements], each a function of its own image. If it takes labels, they are
# bound already: one for each place in the batch, so the real and the generated image at the same place have the same
# label.
Critic = Callable[[Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Hold the slope at 1 between real and generated images (Gulrajani et al. 2017, eq. 3).

    The mean of (||grad D(x^)|| - 1)^2 at x^ = mix * x + (1 - mix) * G(z), x in `real` and G(z) in `fake`, with the
    Euclidean norm and draws `mix` `[B]`, uniform in [0, 1]. It penalises a slope below 1 too. Differentiable in the
    critic's weights.

    Example:
        >>> images = torch.zeros(2, 1, 1, 1)
        >>> gradient_penalty(lambda images: 3 * images.flatten(), images, images, torch.rand(2)).item()
        4.0
    """
    return (_gradients(critic, torch.lerp(fake, real, mix.view(-1, 1, 1, 1))).norm(dim=1) - 1).square().mean()


def zero_centred(critic: Critic, images: Tensor) -> Tensor:
    """Flatten the discriminator: R1 at real images, R2 at generated ones (Mescheder et al. 2018, eqs. 9 and 10).

    The mean of 1/2 ||grad D(x)||^2, without the paper's weight gamma. Differentiable in the critic's weights.

    Example:
        >>> zero_centred(lambda images: 3 * images.flatten(), torch.zeros(2, 1, 1, 1)).item()
        4.5
    """
    return _gradients(critic, images).square().sum(dim=1).mean() / 2


def _gradients(critic: Critic, images: Tensor) -> Tensor:
    """Return the gradient `[B, C * H * W]` of each image's logit in that image, differentiable in the weights.

    Of several logits of an image it is the gradient of their sum.
    """
    images = images.detach().requires_grad_()
    # The gradient of the sum is that of each logit, as none depends on another's image.
    (gradients,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradients.flatten(1)


@dataclass(frozen=True)
class Penalties:
    """Penalties on the discriminator's slope, added to its adversarial loss.

    Computed lazily (Karras et al. 2020, section 3.1): in one of `interval` steps, and then times `interval`, which
    does not change the mean over the steps.

    Attributes:
        diversity: Weight of the generator's diversity hinge, a setting of `losses.diversity.Diversity`.
        gradient_penalty: Weight lambda of the gradient penalty.
        r1: Weight gamma of R1.
        r2: Weight gamma of R2.
        interval: Discriminator steps from one computation to the next.

    Raises:
        ValueError: If a setting is out of range.
    """

    diversity = 0.0

    gradient_penalty: float = 0.0
    r1: float = 0.0
    r2: float = 0.0
    interval: int = 1

    def __post_init__(self) -> None:
        for name in ("gradient_penalty", "r1", "r2"):
            check_number(f"penalty.{name}", getattr(self, name), 0, 10_000)
        check_integer("penalty.interval", self.interval, low=1)

    @property
    def are_on(self) -> bool:
        """Whether any penalty of the discriminator has a weight above 0."""
        return any((self.gradient_penalty, self.r1, self.r2))

    def are_due(self, step: int) -> bool:
        """Return whether the penalties are computed in this discriminator step, counted from 0."""
        return self.are_on and step % self.interval == 0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """Return the penalty, a scalar, to add to the discriminator's loss in a step in which it is due.

        Computed in float32 at any precision of the training: the gradient of a gradient loses too much in bfloat16.
        """
        with torch.autocast(real.device.type, enabled=False):
            real, fake, mix = real.float(), fake.float(), mix.float()
            total = real.new_zeros(())
            if self.gradient_penalty:
                total = total + self.gradient_penalty * gradient_penalty(critic, real, fake, mix)
            if self.r1:
                total = total + self.r1 * zero_centred(critic, real)
            if self.r2:
                total = total + self.r2 * zero_centred(critic, fake)
        return self.interval * total
