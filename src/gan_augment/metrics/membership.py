"""Membership: whether a score tells the images that a model was trained on from others of the same kind.

An attacker who has the model may compute such a score (Shokri et al. 2017; for GANs, Hayes et al. 2019 and Chen et al.
2020). An attack that fails proves nothing: a better one may succeed.
"""

from dataclasses import dataclass
from math import log

import torch
from scipy.special import expit
from scipy.stats import norm, rankdata
from torch import Tensor

from gan_augment.metrics.copies import permutation_p
from gan_augment.randomness import Stream

FALSE = 0.01  # share of the decoys that may be taken for seen images


@dataclass(frozen=True)
class Membership:
    """How well a score tells seen images from decoys.

    Attributes:
        auc: The probability that a seen image has the larger score of the two; .5 by chance.
        auc_interval: Its 95 % bounds (DeLong et al. 1988, on the scale of log odds).
        tpr: The share of the seen images that are named where at most 1 % of the decoys are, the measure of
            Carlini et al. (2022): an attack on few images is an attack.
        p: p value of the AUC, by permutation of seen images and decoys within each class.
    """

    auc: float
    auc_interval: tuple[float, float]
    tpr: float
    p: float


def membership(scores: Tensor, is_seen: Tensor, labels: Tensor, seed: int = 0) -> Membership:
    """Evaluate scores, float `[R]`, larger for images that seem to be seen; which ones are is bool `[R]`.

    The classes are int64 `[R]`.

    Example:
        >>> found = membership(torch.tensor([0.9, 0.6, 0.7, 0.1]), torch.arange(4) < 2, torch.zeros(4).long())
        >>> found.auc, found.tpr
        (0.75, 0.5)
    """
    seen, decoys = scores[is_seen].double(), scores[~is_seen].double()
    wins = (seen[:, None] > decoys).double() + 0.5 * (seen[:, None] == decoys).double()
    auc = float(wins.mean())
    variance = float(wins.mean(dim=1).var() / len(seen) + wins.mean(dim=0).var() / len(decoys))
    interval = auc, auc  # of an AUC of 0 or 1, whose variance is 0
    if 0 < auc < 1:
        middle, width = log(auc / (1 - auc)), norm.ppf(0.975) * variance**0.5 / (auc * (1 - auc))
        interval = float(expit(middle - width)), float(expit(middle + width))
    threshold = decoys.sort(descending=True).values[int(FALSE * len(decoys))]
    ranks = torch.from_numpy(rankdata(scores.double().numpy()))
    p = permutation_p(ranks, is_seen, labels, Stream(seed, "membership").at(0))
    return Membership(auc, interval, float((seen > threshold).double().mean()), p)
