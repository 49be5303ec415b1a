"""Calibration: whether a classifier is right as often as its probabilities say."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import one_hot

from gan_augment.metrics.classification import LEAST, NUM_BINS, nll
from gan_augment.randomness import Stream

COLDEST, HOTTEST = -3.0, 3.0  # logarithms of the temperatures to choose from: 1/20 to 20
RESAMPLES = 1000


@dataclass(frozen=True)
class Calibration:
    """How well a classifier's confidence, the probability of the class that it names, matches its accuracy.

    Attributes:
        ece: The expected calibration error, in [0, 1], lower is better: the mean distance of confidence and accuracy
            over 15 bins of the confidence (Guo et al. 2017).
        ece_interval: Its 95 % bounds.
        ece_by_chance: The mean error of a calibrated classifier with these confidences on as many images: above 0.
        overconfidence: Mean confidence less accuracy, in [-1, 1]: above 0 for a classifier that claims too much.
        overconfidence_interval: Its 95 % bounds.
    """

    ece: float
    ece_interval: tuple[float, float]
    ece_by_chance: float
    overconfidence: float
    overconfidence_interval: tuple[float, float]


def calibration(probabilities: Tensor, labels: Tensor, groups: Tensor | None = None, seed: int = 0) -> Calibration:
    """Compare the confidence with the accuracy, with bootstrap intervals over the images or their groups.

    Few images make any classifier look badly calibrated, and resampled ones even more so. So the bounds of the error
    are those of the basic bootstrap, twice the estimate less the quantiles (Davison and Hinkley 1997, 5.6), and the
    lower one is 0 unless the error is larger than those of 97.5 % of calibrated classifiers with these confidences
    (consistency resampling: Bröcker and Smith 2007).

    Args:
        probabilities: Of each class, float `[N, K]`.
        labels: True classes, int64 `[N]`.
        groups: Which images belong together, int64 `[N]`; None if each stands for itself.
        seed: Of the bootstrap.
    """
    confidence, named = probabilities.double().max(dim=1)
    excess = confidence - (named == labels).double()
    in_bin = _one_hot_bins(confidence)
    owners = torch.arange(len(labels)) if groups is None else groups.unique(return_inverse=True)[1]
    sums = excess.new_zeros(int(owners.max()) + 1, NUM_BINS).index_add_(0, owners, in_bin * excess[:, None])
    sizes, bootstrap, by_chance = owners.bincount().double(), [], []
    for number in range(RESAMPLES):
        random = Stream(seed, "calibration").at(number)
        drawn = torch.randint(len(sums), (len(sums),), generator=random)
        bootstrap.append(sums[drawn].sum(dim=0) / sizes[drawn].sum())
        is_right = torch.rand(len(sums), generator=random)[owners] < confidence
        by_chance.append((confidence - is_right.double()) @ in_bin / len(labels))
    again, calibrated = torch.stack(bootstrap), torch.stack(by_chance).abs().sum(dim=1)
    ece, overconfidence = float(sums.sum(dim=0).abs().sum() / len(labels)), float(excess.mean())
    low, high = (max(0.0, 2 * ece - bound) for bound in reversed(_bounds(again.abs().sum(dim=1))))
    return Calibration(
        ece,
        (low if ece > _bounds(calibrated)[1] else 0.0, high),
        float(calibrated.mean()),
        overconfidence,
        _bounds(again.sum(dim=1)),
    )


def bins(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean confidence, the accuracy and the number of images of each bin that has some, float64 `[B, 3]`.

    The probabilities are float `[N, K]`, the labels int64 `[N]`.

    Example:
        >>> bins(torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]), torch.tensor([0, 0, 1])).round(decimals=2)
        tensor([[0.6000, 1.0000, 1.0000],
                [0.9000, 0.5000, 2.0000]], dtype=torch.float64)
    """
    confidence, named = probabilities.double().max(dim=1)
    in_bin = _one_hot_bins(confidence)
    number = in_bin.sum(dim=0)
    sums = torch.stack([confidence @ in_bin, (named == labels).double() @ in_bin], dim=1)
    return torch.cat([sums / number[:, None], number[:, None]], dim=1)[number > 0]


def cooled(probabilities: Tensor, temperature: float) -> Tensor:
    """Return probabilities, float `[N, K]`, as the softmax of their logits divided by a temperature."""
    return (probabilities.double().clamp_min(LEAST).log() / temperature).softmax(dim=1)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """Return the temperature with the least negative log-likelihood, from 1/20 to 20 (Guo et al. 2017).

    Above 1 it takes confidence away. The accuracy stays the same.

    Args:
        probabilities: Of each class, float `[N, K]`, for images that took no part in the training.
        labels: Their true classes, int64 `[N]`.
    """

    def loss(logarithm: float) -> float:
        return nll(cooled(probabilities, float(np.exp(logarithm))), labels)

    return float(np.exp(minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded").x))


def _bounds(values: Tensor) -> tuple[float, float]:
    low, high = values.quantile(values.new_tensor([0.025, 0.975])).tolist()
    return low, high


def _one_hot_bins(confidence: Tensor) -> Tensor:
    """Return which of 15 equally wide bins holds each confidence, float64 `[N, 15]`."""
    return one_hot((confidence * NUM_BINS).long().clamp_max(NUM_BINS - 1), NUM_BINS).double()
