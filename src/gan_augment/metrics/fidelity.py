"""Distances between generated and real images in the features of a judge, a classifier that only measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_kernel

SUBSET_SIZE = 1000  # images of each kind in one kernel distance
NUM_SUBSETS = 10  # subsets to average if there are more images
NEIGHBOURS = 5  # k of precision, recall, density and coverage (Naeem et al. 2020)
MAX_IMAGES = 5000  # of each kind for these four: 4 times 25 million distances take 4 seconds on one core
CHUNK = 500  # rows of the distance matrix computed at once: 20 MB with 5,000 images


@dataclass(frozen=True, eq=False)
class Features:
    """A judge's outputs for N images of K classes.

    Attributes:
        features: Float `[N, F]`.
        predicted: The classes that the judge predicts, int64 `[N]` in [0, K).
        labels: The true classes, or those that generated images are meant to show, int64 `[N]` in [0, K).
    """

    features: Tensor
    predicted: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def of_class(self, label: int) -> "Features":
        """Return the outputs for the images of one class."""
        members = self.labels == label
        return Features(self.features[members], self.predicted[members], self.labels[members])


def judge_metrics(real: Features, generated: Features, class_names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Compare generated images with real ones from which neither the generator nor the judge has learned.

    Class proportions are not corrected: if those of the generated images differ from the real ones, all metrics over
    all images get worse. A single class name stands for images without classes: then labels are ignored and there are
    no metrics by class.

    Returns:
        Metrics: those that need only the judge, over all images and in `per_class` by name, None for a refused one;
        `judged_real` and `judged_generated`, the numbers of images; `confusion_matrix`, the `[K][K]` counts of
        generated images, one row per class that they are meant to show, one column per class that the judge predicts.
        And the refusals, one sentence each: of metrics with too few images of either kind, or with features that are
        not finite.
    """
    metrics: dict[str, Any] = _measure(real, generated)
    metrics |= {"judged_real": len(real), "judged_generated": len(generated)}
    known = class_names if len(class_names) > 1 else ()
    classes = [(real.of_class(label), generated.of_class(label)) for label in range(len(known))]
    if known:
        metrics["per_class"] = {name: _measure(*pair) for name, pair in zip(known, classes, strict=True)}
        confusion = multiclass_confusion_matrix(generated.predicted, generated.labels, len(known))
        metrics["confusion_matrix"] = confusion.tolist()
    else:
        del metrics["label_agreement"]

    refusals, needs = [], fewest_images(real.features.shape[1])
    for fewest in dict.fromkeys(needs.values()):
        names = [name for name, needed in needs.items() if needed == fewest]
        refusals += _refusal(names, fewest, [(real, generated)]) or _refusal(names, fewest, classes)
    broken_real, broken_generated = (int((~kind.features.isfinite()).any(1).sum()) for kind in (real, generated))
    if broken_real or broken_generated:
        refusals.append(
            f"{_listed(list(needs))} are refused where the judge's features are not finite: over all images, and in "
            f"the classes of these {broken_real} real and {broken_generated} generated ones; check the judge"
        )
    return metrics, refusals


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Measure the distance between two samples' means and covariances (Heusel et al. 2017, equation 6).

    For normal distributions with means m, n and covariances C, D: |m - n|^2 + tr(C + D - 2 (C D)^(1/2)). The samples
    are floats `[N, F]` and `[M, F]` of at least 2 rows, better 2 F, below which the covariance is mostly noise.

    Returns:
        The distance, at least 0, in squared units of the features; computed in float64.

    Raises:
        ValueError: If a feature is not finite.
    """
    if not (real.isfinite().all() and generated.isfinite().all()):  # the eigenvalue routine would end the process
        raise ValueError("features of real or generated images are not finite; check the network that they are from")
    # torchmetrics sums squares, whose difference loses digits if means are large relative to spreads; shifting the
    # origin does not change the distance. It computes in float64 and returns the type of the features.
    real, generated = real.double(), generated.double()
    origin = real.mean(dim=0)
    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1])).to(real.device)
    metric.update(real - origin, real=True)
    metric.update(generated - origin, real=False)
    return float(metric.compute().clamp_min(0))  # rounding takes equal samples just below


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Estimate the squared maximum mean discrepancy without bias (Binkowski et al. 2018, section 4).

    With k(x, y) = (xy / F + 1)^3 over different images: mean k(x, x') + mean k(y, y') - 2 mean k(x, y). The samples are
    floats `[N, F]` and `[M, F]` of at least 2 rows. With more than 1,000 of a kind it is the mean over 10 fixed subsets
    of 1,000.

    Returns:
        The estimate, 0 on average for two samples of one distribution, so it can be negative; computed in float64.
    """
    generator = torch.Generator().manual_seed(0)
    num_subsets = NUM_SUBSETS if max(len(real), len(generated)) > SUBSET_SIZE else 1
    real, generated, estimates = real.double(), generated.double(), []
    for _ in range(num_subsets):
        x, y = (_draw(features, SUBSET_SIZE, generator) for features in (real, generated))
        # torchmetrics' own `poly_mmd` is right only for equal numbers: it divides every sum by the number of x.
        within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (poly_kernel(x, x), poly_kernel(y, y)))
        estimates.append(within - 2 * poly_kernel(x, y).mean())
    return float(torch.stack(estimates).mean())


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Measure how realistic generated images are, and how much of the real images' variety they cover.

    An image's ball reaches to its k-th nearest neighbour of its own kind. Precision is the share of generated images in
    the ball of a real one, recall that of real images in the ball of a generated one (Kynkaanniemi et al. 2019,
    equations 1 and 2); density is the mean number of real balls that a generated image is in, over k, and coverage the
    share of real balls with a generated image (Naeem et al. 2020, section 3). A ball includes its border, as in
    equation 1; the code of Naeem et al., `prdc`, leaves it out, which differs only where distances are equal.

    Both samples, floats `[N, F]` and `[M, F]`, are cut to the smaller size, at most 5,000, because balls shrink as a
    sample grows. The images are drawn with a fixed seed, because the first ones may all be of one class.

    Returns:
        `precision`, `recall` and `coverage` in [0, 1]; `density`, at least 0. For two samples of one distribution the
        density is 1 and the coverage 1 - 2^-k on average, .97 for k = 5.

    Raises:
        ValueError: If there are not more than k images of each kind.
    """
    size = min(len(real), len(generated), MAX_IMAGES)
    if size <= k:
        raise ValueError(
            f"k={k}, but there are {len(real)} real and {len(generated)} generated images; "
            f"use at least {k + 1} of each kind"
        )
    generator = torch.Generator().manual_seed(0)
    real, generated = (_draw(features.double(), size, generator) for features in (real, generated))
    in_real_balls = _in_balls(generated, real, k)  # [generated, real]
    in_generated_balls = _in_balls(real, generated, k)  # [real, generated]
    return {
        "precision": float(in_real_balls.any(dim=1).double().mean()),
        "recall": float(in_generated_balls.any(dim=1).double().mean()),
        "density": float(in_real_balls.sum()) / (k * size),
        "coverage": float(in_real_balls.any(dim=0).double().mean()),
    }


class _AsTheyAre(torch.nn.Identity):
    """A feature network that returns its input; torchmetrics reads the number of features from it."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _draw(features: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw `size` rows without replacement, or return all of them in order if there are no more."""
    if len(features) <= size:
        return features
    return features[torch.randperm(len(features), generator=generator)[:size].to(features.device)]


def _in_balls(points: Tensor, centres: Tensor, k: int) -> Tensor:
    """Return `[N, M]`: whether a point `[N, F]` lies in a centre's ball, to its k-th neighbour among the `[M, F]`."""
    # The nearest of the k + 1 is the centre itself, at distance 0.
    nearest = [_distances(rows, centres).topk(k + 1, largest=False).values for rows in centres.split(CHUNK)]
    radii = torch.cat(nearest)[:, -1]
    return torch.cat([_distances(rows, centres) <= radii for rows in points.split(CHUNK)])


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # A matrix product would be faster, but equal points would have a small distance.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def fewest_images(num_features: int) -> dict[str, int]:
    """Return the smallest number of images of each kind that each metric of features needs."""
    # With fewer than twice as many images as dimensions a covariance is mostly noise; a ball should hold a small share
    # of all images.
    neighbours = dict.fromkeys(("precision", "recall", "density", "coverage"), 10 * NEIGHBOURS)
    return {"judge_frechet_distance": 2 * num_features, "judge_kernel_distance": 20, **neighbours}


def _measure(real: Features, generated: Features) -> dict[str, float | None]:
    """Compute the judge's metrics, None for each that is refused."""
    kinds = real.features, generated.features
    fewest = fewest_images(real.features.shape[1])
    metrics: dict[str, float | None] = dict.fromkeys(fewest)
    images = min(len(real), len(generated)) if all(kind.isfinite().all() for kind in kinds) else 0
    if images >= fewest["judge_frechet_distance"]:
        metrics["judge_frechet_distance"] = frechet_distance(*kinds)
    if images >= fewest["judge_kernel_distance"]:
        metrics["judge_kernel_distance"] = kernel_distance(*kinds)
    if images >= fewest["precision"]:
        metrics.update(precision_recall(*kinds))
    agrees = (generated.predicted == generated.labels).double()
    metrics["label_agreement"] = float(agrees.mean()) if len(agrees) else None
    return metrics


def _refusal(names: list[str], fewest: int, pairs: Sequence[tuple[Features, Features]]) -> list[str]:
    """Return a sentence on metrics that need more images than there are; none if there are enough.

    It is over all images or, given a pair for each class, by class.
    """
    refused = [(len(there), len(made)) for there, made in pairs if min(len(there), len(made)) < fewest]
    if not refused:
        return []
    real, generated = zip(*refused, strict=True)
    settings = {"validation_per_class": real, "synthesis.per_class": generated}
    be, need = ("are", "they need") if len(names) > 1 else ("is", "it needs")
    scope, among, have = "", "", "there are"
    if len(pairs) > 1:
        scope, among, have = " by class", f" for {len(refused)} of {len(pairs)} classes", "the classes have"
    return [
        f"{_listed(names)}{scope} {be} refused{among}: {need} {fewest} images of each kind, {have} {_range(real)} real "
        f"and {_range(generated)} generated ones; raise "
        + " and ".join(setting for setting, numbers in settings.items() if min(numbers) < fewest)
    ]


def _listed(names: list[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
