import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    multilabel_confusion_matrix,
    roc_auc_score,
)

from gan_augment.metrics.operating_point import one_vs_rest, operating_point


def test_scikit_learn_agrees():
    random = torch.Generator().manual_seed(0)
    positive = torch.rand(90, generator=random) < 0.3
    probabilities = (0.3 * positive + torch.rand(90, generator=random).mul(0.7)).mul(20).round() / 20  # with ties
    found = operating_point(probabilities, positive, 0.42)
    (tn, fp), (fn, tp) = confusion_matrix(positive, probabilities > 0.42).tolist()
    assert found["auroc"] == pytest.approx(roc_auc_score(positive, probabilities))
    assert found["average_precision"] == pytest.approx(average_precision_score(positive, probabilities))
    assert found["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert found["specificity"] == pytest.approx(tn / (tn + fp))
    assert [found[f"{right}_{side}"] for right, side in (("true", "positive"), ("false", "negative"))] == [tp, fn]
    assert [found[f"{right}_{side}"] for right, side in (("true", "negative"), ("false", "positive"))] == [tn, fp]
    assert found["majority"] == pytest.approx(1 - positive.double().mean().item())


def test_an_absent_class_has_no_share():
    found = operating_point(torch.tensor([0.1, 0.7]), torch.tensor([False, False]), 0.5)
    unknown = {"auroc": None, "average_precision": None, "sensitivity": None}
    assert {name: found[name] for name in unknown} == unknown
    assert (found["specificity"], found["majority"], found["prevalence"]) == (0.5, 1, 0)


def test_scikit_learn_agrees_on_several_classes():
    random = torch.Generator().manual_seed(0)
    labels = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), 90, replacement=True, generator=random)
    logits = torch.randn(90, 3, generator=random) + torch.eye(3)[labels]
    probabilities = logits.softmax(dim=1)
    found, predicted = one_vs_rest(probabilities, labels), probabilities.argmax(dim=1)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, probabilities))
    assert found["sensitivity"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    counts = multilabel_confusion_matrix(labels, predicted)
    assert found["specificity"] == pytest.approx((counts[:, 0, 0] / counts[:, 0].sum(axis=1)).mean())
    assert found["majority"] == pytest.approx(labels.bincount().max().item() / 90)


def test_a_class_without_images_does_not_count():
    probabilities = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.1, 0.2, 0.7]])
    found = one_vs_rest(probabilities, torch.tensor([0, 1, 1]))
    values = {"auroc": (1 + 0.75) / 2, "average_precision": (1 + 5 / 6) / 2, "sensitivity": 0.75, "specificity": 1}
    assert found == pytest.approx(values | {"majority": 2 / 3})
    alone = {"auroc": None, "average_precision": 1, "sensitivity": 1 / 3, "specificity": None, "majority": 1}
    assert one_vs_rest(probabilities, torch.tensor([1, 1, 1])) == alone
