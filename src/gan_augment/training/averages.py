"""The running average of a network's weights."""

import torch
from torch import nn


@torch.no_grad()
def update_average(
    average: nn.Module, current: nn.Module, images: int, images_seen: int, half_life: int, ramp_up: float
) -> None:
    """Move a running average towards the current network.

    After n images the average keeps 2^(-n / half-life) of what it was. Weights are averaged; the statistics of batch
    norm are averages already and are copied.

    Args:
        average: What is moved.
        current: The network, of the same build.
        images: Images seen since the last move.
        images_seen: Images seen in all.
        half_life: Half-life of the average, in images.
        ramp_up: The half-life is at most this share of the images seen so far, so that the average forgets the start.
    """
    kept = 0.5 ** (images / min(half_life, ramp_up * images_seen))
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - kept)
    for mean, value in zip(average.buffers(), current.buffers(), strict=True):
        mean.copy_(value)
