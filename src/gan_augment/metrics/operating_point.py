"""Metrics of a test for one of two classes, as medicine uses them."""

from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_confusion_matrix


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
