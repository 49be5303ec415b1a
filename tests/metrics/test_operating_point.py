import pytest
import torch
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from gan_augment.metrics.operating_point import operating_point


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
