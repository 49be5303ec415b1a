"""Inversion: the latent vector whose image is nearest to a given one (Zhu et al. 2016, by optimisation)."""

from collections.abc import Callable

import torch
from torch import Tensor

STARTS = 64  # random latent vectors, of which the best is the start
STEPS, RATE = 300, 0.05  # of Adam


def invert(
    generate: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    latent_dim: int,
    random: torch.Generator,
) -> Tensor:
    """Find latent vectors `[N, latent_dim]` whose images are near to images `[N, C, H, W]` in [-1, 1].

    The mean squared error of the pixels is minimised, from the best of 64 random latent vectors each. The vectors stay
    within the usual length of a normal one, where the generator was trained.

    Args:
        generate: (latents, labels) -> images in [-1, 1], differentiable.
        images: What to find.
        labels: The class that each image is to show, int64 `[N]`.
        latent_dim: Length of a latent vector.
        random: Draws the starts, on the CPU.
    """
    drawn = torch.randn(STARTS, len(images), latent_dim, generator=random).to(images.device)
    with torch.no_grad():
        errors = torch.stack([error(generate(some, labels), images) for some in drawn])
    latents = drawn[errors.argmin(dim=0), torch.arange(len(images))].clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=RATE)
    most = latent_dim**0.5
    for _ in range(STEPS):
        loss = error(generate(latents, labels), images).sum()
        (latents.grad,) = torch.autograd.grad(loss, [latents])
        adam.step()
        with torch.no_grad():
            latents.mul_((most / latents.norm(dim=1, keepdim=True).clamp_min(1e-9)).clamp_max(1))
    return latents.detach()


def error(made: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared error of each image, `[N]`."""
    return (made - images).square().flatten(1).mean(dim=1)


def fit(made: Tensor, images: Tensor) -> Tensor:
    """Return how well images are met: the correlation of their pixels, `[N]`, 1 if they are equal.

    Example:
        >>> fit(torch.tensor([[0.0, 1.0]]), torch.tensor([[-1.0, 1.0]])).round()
        tensor([1.])
    """
    one, other = (some.flatten(1) - some.flatten(1).mean(dim=1, keepdim=True) for some in (made, images))
    return torch.nn.functional.cosine_similarity(one, other)
