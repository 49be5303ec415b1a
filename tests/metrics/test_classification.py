from math import log

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from gan_augment.metrics.classification import classification_metrics, confusion_matrix

NAMES = ["a", "b", "c", "d"]


def random_data(seed, present=range(4), length=300):
    random = np.random.default_rng(seed)
    labels = random.choice(list(present), length)
    probabilities = random.dirichlet(np.ones(4), length)
    probabilities[np.arange(length), labels] += random.uniform(0, 1, length)  # right more often than not
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def metrics(probabilities, labels, rare=()):
    return classification_metrics(torch.as_tensor(probabilities).float(), torch.as_tensor(labels), NAMES, rare)


@pytest.mark.parametrize("present", [range(4), (0, 1, 3)], ids=["all classes", "one absent"])
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_agrees(seed, present):
    probabilities, labels = random_data(seed, present)
    predicted = probabilities.argmax(axis=1)
    found = metrics(probabilities, labels)
    here = {"labels": list(present), "average": None}
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(recall_score(labels, predicted, **here).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, **here).mean())
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities, labels=range(4)), rel=1e-5)
    recalls = dict(zip(present, recall_score(labels, predicted, **here), strict=True))
    assert found["per_class"] == {
        name: pytest.approx(recalls[label]) if label in recalls else None for label, name in enumerate(NAMES)
    }
    matrix = confusion_matrix(torch.as_tensor(probabilities), torch.as_tensor(labels))
    assert matrix.tolist() == sklearn_confusion_matrix(labels, predicted, labels=range(4)).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_brier_score_from_its_definition(seed):
    probabilities, labels = random_data(seed)
    reference = np.mean([sum((row - np.eye(4)[label]) ** 2) for row, label in zip(probabilities, labels, strict=True)])
    assert metrics(probabilities, labels)["brier"] == pytest.approx(reference, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_from_its_definition(seed):
    probabilities, labels = random_data(seed)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    reference = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            reference += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics(probabilities, labels)["ece"] == pytest.approx(reference, rel=1e-4)


def test_perfect_predictions():
    labels = torch.tensor([0, 1, 2, 3, 3])
    found = metrics(torch.eye(4)[labels], labels)
    best = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), 1) | dict.fromkeys(("nll", "brier", "ece"), 0)
    assert found == best | {"rare_recall": None, "per_class": dict.fromkeys(NAMES, 1)}


def test_the_worst_predictions_are_finite():
    labels = torch.tensor([0, 1, 2, 3])
    found = metrics(torch.eye(4)[(labels + 1) % 4], labels)
    worst = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), 0) | {"brier": 2, "ece": 1}
    worst |= {"nll": pytest.approx(-log(1e-12)), "rare_recall": None, "per_class": dict.fromkeys(NAMES, 0)}
    assert found == worst


def test_knowing_nothing():
    found = metrics(torch.full((4, 4), 0.25), torch.tensor([0, 1, 2, 3]))
    assert found["nll"] == pytest.approx(log(4))
    assert found["brier"] == pytest.approx(0.75)


def test_balanced_accuracy_counts_every_class_alike():
    labels = torch.tensor([0] * 9 + [1])
    found = metrics(torch.eye(4)[torch.zeros(10, dtype=torch.long)], labels)
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["balanced_accuracy"] == pytest.approx(0.5)
    assert found["per_class"] == {"a": 1, "b": 0, "c": None, "d": None}


@pytest.mark.parametrize(
    ("rare", "recall"), [(["b", "c"], 3 / 8), (["c", "d"], 1 / 4), (["a"], 1), (["d"], None), ([], None)]
)
def test_rare_recall_is_the_mean_over_rare_classes_that_have_a_test_image(rare, recall):
    labels, predicted = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2]), torch.tensor([0, 0, 0, 1, 0, 2, 0, 0, 1])
    assert metrics(torch.eye(4)[predicted], labels, rare)["rare_recall"] == recall
