"""Metrics of a classifier's probabilities."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import nll_loss, one_hot
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

LEAST = 1e-12  # probability that has a logarithm
NUM_BINS = 15  # of the calibration error (Guo et al. 2017)


def classification_metrics(
    probabilities: Tensor, labels: Tensor, class_names: Sequence[str], rare: Sequence[str] = ()
) -> dict[str, Any]:
    """Compare probabilities, float `[N, K]`, with labels, int64 `[N]`; the rare classes are given by name.

    Returns:
        Fractions in [0, 1], higher is better: `accuracy`, `balanced_accuracy` (mean recall of the classes),
        `rare_recall` (mean recall of the rare classes, None without any), `macro_f1`, and `per_class`, the recall by
        class name. Lower is better: `nll` in nats, `brier` (summed over the classes, in [0, 2]) and `ece` (15 bins, in
        [0, 1]). A class without images has no recall (None) and does not count in the means.
    """
    probabilities, num_classes = probabilities.double(), len(class_names)
    counts = confusion_matrix(probabilities, labels).double()
    right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    present = true > 0
    recall, f1 = right / true, 2 * right / (true + predicted)
    by_class = zip(class_names, recall, present, strict=True)
    is_rare = present & torch.tensor([name in rare for name in class_names], device=present.device)
    return {
        "accuracy": float(right.sum() / counts.sum()),
        "balanced_accuracy": float(recall[present].mean()),
        "rare_recall": float(recall[is_rare].mean()) if is_rare.any() else None,
        "macro_f1": float(f1[present].mean()),
        "nll": nll(probabilities, labels),
        "brier": float((probabilities - one_hot(labels, num_classes)).square().sum(dim=1).mean()),
        "ece": float(multiclass_calibration_error(probabilities, labels, num_classes, n_bins=NUM_BINS)),
        "per_class": {name: float(value) if there else None for name, value, there in by_class},
    }


def nll(probabilities: Tensor, labels: Tensor) -> float:
    """Return the mean negative log-likelihood of labels, int64 `[N]`, in nats; probabilities are float `[N, K]`."""
    # A probability of 0, after rounding to float32, would make the mean infinite.
    return float(nll_loss(probabilities.double().clamp_min(LEAST).log(), labels))


def confusion_matrix(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Count predictions: int64 `[K, K]`, one row per true class, one column per predicted class."""
    return multiclass_confusion_matrix(probabilities, labels, probabilities.shape[1])
