from types import SimpleNamespace

import pytest
import torch

from gan_augment.measures.operating_point import OperatingPoint
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

NODE = {"_target_": "gan_augment.measures.operating_point.OperatingPoint", "positive": None, "threshold": 0.5}


@pytest.mark.parametrize(("positive", "sensitivity", "specificity"), [(None, 0.5, 1.0), ("CLASS0", 1.0, 0.5)])
def test_the_positive_class_is_the_second_or_the_named_one(image_set, positive, sensitivity, specificity):
    images = image_set(per_class=2, num_classes=2)
    says = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]])
    classifier = SimpleNamespace(probabilities=lambda asked: says)
    found = OperatingPoint(positive, 0.5).find(SimpleNamespace(classifier=classifier, measured=images))
    metrics = found.metrics["operating_point"]
    assert (metrics["sensitivity"], metrics["specificity"], metrics["auroc"]) == (sensitivity, specificity, 1)
    assert found.compared["operating_point.auroc"] == "AUROC"


@pytest.fixture
def two_classes(plain_settings, image_set, monkeypatch):
    """Plan a trial on images of two classes."""
    from gan_augment.data.source import Source

    def plan(num_classes=2, **changes):
        monkeypatch.setattr(
            "gan_augment.plan.load_source", lambda node: Source(image_set(per_class=60, num_classes=num_classes))
        )
        settings = plain_settings("augmentation=none")
        settings["measures"] = {"operating_point": NODE | changes}
        return plan_trial(settings)

    return plan


def test_a_trial_records_it_and_shows_it_in_tensorboard(two_classes, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        "gan_augment.training.hardware.Events.log_hyperparams", lambda self, factors, results: shown.update(results)
    )
    planned, folder = two_classes(), tmp_path / "trial"
    folder.mkdir()
    record = run_trial(planned, folder, StageStore(tmp_path / "store"), "trial")
    metrics = record["metrics"]["operating_point"]
    assert record["status"] == "ok"
    assert metrics["majority"] == 0.5
    assert metrics["true_positive"] + metrics["false_negative"] == 12
    assert record["compared"]["operating_point.sensitivity"] == "sensitivity"
    assert shown["operating_point/auroc"] == metrics["auroc"]
    assert shown["test/accuracy"] == record["metrics"]["test"]["accuracy"]


def test_of_three_classes_each_is_tested_for_against_the_others(two_classes, image_set):
    (measure,) = two_classes(num_classes=3).measures.values()
    images = image_set(per_class=1, num_classes=3)
    classifier = SimpleNamespace(
        probabilities=lambda asked: torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0, 0, 1]])
    )
    found = measure.find(SimpleNamespace(classifier=classifier, measured=images))
    values = {"auroc": 1, "average_precision": 1, "sensitivity": 2 / 3, "specificity": 5 / 6, "majority": 1 / 3}
    assert found.metrics["operating_point"] == pytest.approx(values)
    assert found.compared == {
        "operating_point.auroc": "AUROC",
        "operating_point.average_precision": "average precision",
        "operating_point.sensitivity": "sensitivity",
        "operating_point.specificity": "specificity",
    }


def test_what_does_not_fit_is_refused(two_classes):
    for name, value, unset in (("positive", "class1", "null"), ("threshold", 0.3, 0.5)):
        refused = f"^measures.operating_point.{name}={value} is for two classes, but there are 3: leave it at {unset}$"
        with pytest.raises(ValueError, match=refused):
            two_classes(3, **{name: value})
    with pytest.raises(ValueError, match=r"measures.operating_point.positive=dog: use class0 or class1"):
        two_classes(positive="dog")
    with pytest.raises(ValueError, match=r"measures.operating_point.threshold=2: use a number from 0 to 1"):
        two_classes(threshold=2)
