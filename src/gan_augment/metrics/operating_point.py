"""Metrics of a test for one of two classes, or for each of several, as medicine uses them."""

from statistics import fmean

from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_confusion_matrix

COMPARED = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def operating_point(probabilities: Tensor, positive: Tensor, threshold: float) -> dict[str, float | None]:
    """Evaluate probabilities of the positive class, float `[N]`, for images that are of it or not, bool `[N]`.

    An image tests positive if its probability is above the threshold.

    Returns:
        In [0, 1], higher is better: `auroc`, the area under the ROC curve, which is the probability that a positive
        image has the larger probability of two; `average_precision`, the mean precision over all recalls (Davis and
        Goadrich 2006), `prevalence` for a random order; `sensitivity` and `specificity`, the shares of the positive and
        of the other images that are recognised. None if there is no image to compute it from. Then `prevalence`, the
        share of positive images, and `majority`, the accuracy of always naming the larger class; and the numbers
        `true_positive`, `false_negative`, `true_negative` and `false_positive`.

    Example:
        >>> import torch
        >>> found = operating_point(torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([True, True, False, False]), 0.5)
        >>> found["auroc"], found["sensitivity"], found["specificity"]
        (0.75, 0.5, 0.5)
    """
    labels = positive.long()
    counts = binary_confusion_matrix(probabilities, labels, threshold)
    (true_negative, false_positive), (false_negative, true_positive) = counts.tolist()
    there, others = int(labels.sum()), int((1 - labels).sum())
    prevalence = there / len(labels)
    return {
        "auroc": float(binary_auroc(probabilities, labels)) if there and others else None,
        "average_precision": float(binary_average_precision(probabilities, labels)) if there else None,
        "sensitivity": true_positive / there if there else None,
        "specificity": true_negative / others if others else None,
        "prevalence": prevalence,
        "majority": max(prevalence, 1 - prevalence),
        "true_positive": true_positive,
        "false_negative": false_negative,
        "true_negative": true_negative,
        "false_positive": false_positive,
    }


def one_vs_rest(probabilities: Tensor, labels: Tensor) -> dict[str, float | None]:
    """Evaluate probabilities of several classes, float `[N, K]`, for images with labels, int64 `[N]`.

    Each class is tested for against all others. An image tests positive for the class with its largest probability.

    Returns:
        `auroc`, `average_precision`, `sensitivity` and `specificity` as in `operating_point`: unweighted means over the
        classes that have images (macro averages), as scikit-learn computes them with `multi_class="ovr"`. The
        sensitivity is then the balanced accuracy. None if there is no image to compute it from. Then `majority`, the
        accuracy of always naming the largest class.

    Example:
        >>> import torch
        >>> found = one_vs_rest(torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]), torch.arange(3))
        >>> found["auroc"], found["sensitivity"], found["specificity"]
        (1.0, 0.6666666666666666, 0.8333333333333334)
    """
    named = one_hot(probabilities.argmax(dim=1), probabilities.shape[1]).to(probabilities.dtype)
    found = []
    for label in labels.unique().tolist():
        ranked, decided = (operating_point(one[:, label], labels == label, 0.5) for one in (probabilities, named))
        found.append({**decided, "auroc": ranked["auroc"], "average_precision": ranked["average_precision"]})
    known = {name: [value for one in found if (value := one[name]) is not None] for name in COMPARED}
    means = {name: fmean(values) if values else None for name, values in known.items()}
    return {**means, "majority": float(labels.bincount().max()) / len(labels)}
