from types import SimpleNamespace

import pytest
import torch

from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.measures.pseudo_labels import PseudoLabelAccuracy


def pseudo_label_metrics(found, pool):
    return PseudoLabelAccuracy().find(SimpleNamespace(load=lambda role: found, split=SimpleNamespace(pool=pool)))


def test_pseudo_labels_are_measured_by_labels_that_are_known(image_set):
    pool = image_set(per_class=2)  # labels 0, 0, 1, 1, 2, 2
    pool.labels[5] = -1
    found = PseudoLabels(torch.tensor([0, 1, 2, 5]), torch.tensor([0, 1, 1, 1]), torch.ones(4))
    measured = pseudo_label_metrics(found, pool)
    assert measured.metrics["pseudo_labels"] == {
        "images": 4,
        "share": pytest.approx(4 / 6),
        "accuracy": pytest.approx(2 / 3),
        "per_class": {"class0": 1, "class1": 3, "class2": 0},
    }
    assert measured.warnings == ("Of 1 of 3 classes (class2) the teacher finds no image in the pool",)
    measured = pseudo_label_metrics(
        PseudoLabels(torch.tensor([0, 2, 4]), torch.arange(3), torch.ones(3)), pool.without_labels()
    )
    assert measured.metrics["pseudo_labels"]["accuracy"] is None
    assert measured.warnings == ()
