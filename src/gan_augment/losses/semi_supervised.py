"""Losses of a discriminator that is a classifier: scalars from its logits `[B, K]` or its features.

An image is real and of class k with probability exp(l_k) / (Z + 1), Z = sum_j exp(l_j), and generated with probability
1 / (Z + 1): a softmax over K + 1 logits of which the last is fixed at 0. Adding a constant to all K + 1 logits changes
no probability, so K of them suffice (Salimans et al. 2016, section 5).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import kl_div, normalize, softplus

FIRST_STEP = 0.03  # size of the random step that starts the search for the worst direction, as a share of the radius


def real_loss(logits: Tensor) -> Tensor:
    """Classify images without labels as real: the mean of -log Z / (Z + 1) = softplus(log Z) - log Z, at least 0.

    Example:
        >>> round(real_loss(torch.zeros(1, 3)).item(), 4)  # Z = 3
        0.2877
    """
    return softplus(-logits.logsumexp(dim=1)).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Classify images as generated: the mean of -log 1 / (Z + 1) = softplus(log Z), at least 0.

    Example:
        >>> round(fake_loss(torch.zeros(1, 3)).item(), 4)  # Z = 3
        1.3863
    """
    return softplus(logits.logsumexp(dim=1)).mean()


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """Match the mean features of generated images to those of real ones (Salimans et al. 2016, section 3.1).

    The mean square of the F differences of means, from the discriminator's features `[B, F]`. No gradient flows through
    those of real images, the target.

    Example:
        >>> feature_matching(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
        2.0
    """
    return (real.detach().mean(dim=0) - fake.mean(dim=0)).square().mean()


def conditional_entropy(logits: Tensor) -> Tensor:
    """Reward confident predictions: the mean entropy of the K class probabilities (Dai et al. 2017, eq. 9).

    The result is in nats, between 0 and log K. The logits are those of real images without labels.

    Example:
        >>> round(conditional_entropy(torch.zeros(1, 2)).item(), 4)
        0.6931
    """
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()


def pull_away(features: Tensor) -> Tensor:
    """Make generated images differ: the mean squared cosine between the features of two (Zhao et al. 2017, eq. 4).

    The result is between 0 and 1. Features are `[B, F]`, B at least 2. Dai et al. 2017, section 5, use it to
    spread the generator over the low-density regions between classes.

    Example:
        >>> pull_away(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).item(), round(pull_away(torch.ones(2, 3)).item(), 4)
        (0.0, 1.0)
    """
    directions, number = normalize(features, dim=1), len(features)
    squares = (directions @ directions.T).square()
    return (squares.sum() - squares.diagonal().sum()) / (number * (number - 1))


def virtual_adversarial(
    network: Callable[[Tensor], Tensor], images: Tensor, logits: Tensor, radius: float, random: torch.Generator
) -> Tensor:
    """Keep predictions constant around each image, in the worst direction (Miyato et al. 2018, eqs. 5, 6 and 12).

    The mean of KL(p || p(x + r)), in nats, where r has a length of `radius` and the direction of the divergence's
    gradient at a small random step. If p is the network's own prediction at x, this is one power iteration towards the
    direction in which the prediction changes most; otherwise it is the direction in which the two diverge fastest.

    Args:
        network: Images `[B, C, H, W]` -> logits `[B, K]`.
        images: x, float `[B, C, H, W]` in [-1, 1], without labels.
        logits: Logits of p, `[B, K]`, through which no gradient flows. In the paper they are the same network's on the
            same images; those of a better network, or on other views of the images, make predictions agree with them.
        radius: Root mean square of the pixels of r.
        random: Source of the random step, on the images' device.
    """
    target = logits.detach().log_softmax(dim=1)

    def divergence(step: Tensor) -> Tensor:
        moved = network(images + step).float().log_softmax(dim=1)
        return kl_div(moved, target, log_target=True, reduction="batchmean")

    start = torch.randn(images.shape, generator=random, device=images.device)
    step = _scaled(start, FIRST_STEP * radius).requires_grad_()
    (worst,) = torch.autograd.grad(divergence(step), step)
    return divergence(_scaled(worst, radius))


def _scaled(steps: Tensor, size: float) -> Tensor:
    """Scale each step `[C, H, W]` of a batch to a root mean square of its pixels."""
    flat = steps.flatten(1)
    return (size * flat.shape[1] ** 0.5 * normalize(flat, dim=1)).view_as(steps)
