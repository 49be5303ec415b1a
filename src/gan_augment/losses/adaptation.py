"""Losses of domain adaptation: scalars from features or logits of two domains.

A discriminator gives one logit per image: positive for the domain of the labelled images.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softmax


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].neg() * ctx.weight, None


def reverse_gradient(features: Tensor, weight: float) -> Tensor:
    """Return the features; their gradient gets the factor -weight (Ganin et al. 2016, equations 15 to 18).

    Example:
        >>> features = torch.ones(1, requires_grad=True)
        >>> reverse_gradient(3 * features, 0.5).sum().backward()
        >>> features.grad
        tensor([-1.5000])
    """
    return _Reversal.apply(features, weight)


def reversal_weight(progress: float, slope: float = 10.0) -> float:
    """Return the weight of the reversed gradient after a share of the training: from 0 to 1 (Ganin et al. 2016, 5.2.2).

    Example:
        >>> reversal_weight(0.0), round(reversal_weight(0.5), 3), round(reversal_weight(1.0), 3)
        (0.0, 0.987, 1.0)
    """
    return 2 / (1 + torch.tensor(-slope * progress).exp().item()) - 1


def domain_loss(first: Tensor, second: Tensor, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Tell the domains apart: the mean of both mean cross-entropies, from logits `[B]` and `[M]`.

    Images may have weights, `[B]` and `[M]`; those of a domain count in proportion.

    Example:
        >>> round(domain_loss(torch.zeros(2), torch.zeros(3)).item(), 4)  # log 2: nothing is known
        0.6931
    """
    losses = []
    for number, (logits, target) in enumerate(((first, 1.0), (second, 0.0))):
        weight = torch.ones_like(logits) if weights is None else weights[number]
        each = binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), reduction="none")
        losses.append((weight * each).sum() / weight.sum())
    return (losses[0] + losses[1]) / 2


def domain_accuracy(first: Tensor, second: Tensor) -> Tensor:
    """Return the share of images whose domain is recognised, the mean of both domains, from logits `[B]` and `[M]`.

    Example:
        >>> domain_accuracy(torch.tensor([1.0, -1.0]), torch.tensor([-1.0])).item()
        0.75
    """
    return ((first > 0).float().mean() + (second <= 0).float().mean()) / 2


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return how far two classifiers disagree: the mean difference of their probabilities, from logits `[B, K]` each.

    Saito et al. 2018, equation 9.

    Example:
        >>> discrepancy(torch.tensor([[9.0, -9.0]]), torch.tensor([[-9.0, 9.0]])).round().item()
        1.0
    """
    return (softmax(first, dim=1) - softmax(second, dim=1)).abs().mean()


def marginal_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the mean prediction, in nats, from logits `[B, K]`: largest for equal classes.

    Example:
        >>> round(marginal_entropy(torch.tensor([[9.0, -9.0], [-9.0, 9.0]])).item(), 4)  # log 2
        0.6931
    """
    mean = softmax(logits, dim=1).mean(dim=0)
    return -(mean * mean.clamp(min=1e-12).log()).sum()
