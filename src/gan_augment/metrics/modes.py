"""The modes of a known density that a generator covers."""

import math
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.source import Modes

NEAR = 3.0  # standard deviations from a mode within which a sample is of high quality


def mode_metrics(samples: Tensor, modes: Modes) -> dict[str, Any]:
    """Count the M modes that samples, float `[N, D]`, come from, and how evenly (Lin et al. 2018, section 4.1).

    Returns:
        `modes_found`: the modes, of M, with at least one high-quality sample, less than 3 standard deviations away.
        `high_quality`: the share of high-quality samples, in [0, 1]; .989 for the density itself in two dimensions.
        `reverse_kl`: the Kullback-Leibler divergence in nats of the histogram of high-quality samples over the modes
        from the uniform one, log M - H, at least 0; None without such samples.
        `spread`: the RMS distance of the high-quality samples from their modes, relative to samples of the density: 1
        if the modes are as wide as they should be, 0 if they are points or there are no such samples.

    Example:
        >>> modes = Modes(torch.tensor([[-1.0], [1.0]]), std=0.1)
        >>> mode_metrics(torch.tensor([[-1.0], [-0.9], [0.0], [5.0]]), modes)  # doctest: +ELLIPSIS
        {'modes_found': 1, 'high_quality': 0.5, 'reverse_kl': 0.6931..., 'spread': 0.7167...}
    """
    distances = torch.cdist(samples.double(), modes.centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    nearest, which = distances.min(dim=1)
    high = nearest < NEAR * modes.std
    counts = which[high].bincount(minlength=len(modes.centres)).double()
    shares = counts / counts.sum()
    divergence = math.log(len(counts)) + float(torch.special.xlogy(shares, shares).sum())
    # Of |x|^2 for a standard normal x in D dimensions with |x| < 3: D P(chi^2_(D+2) < 9) / P(chi^2_D < 9).
    half, bound = torch.tensor([samples.shape[1] / 2, NEAR**2 / 2], dtype=torch.float64)
    expected = 2 * half * torch.special.gammainc(half + 1, bound) / torch.special.gammainc(half, bound)
    spread = (nearest[high] / modes.std).square().mean() / expected
    return {
        "modes_found": int((counts > 0).sum()),
        "high_quality": float(high.double().mean()),
        "reverse_kl": max(0.0, divergence) if high.any() else None,
        "spread": float(spread.sqrt()) if high.any() else 0.0,
    }
