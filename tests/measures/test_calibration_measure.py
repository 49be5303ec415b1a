from types import SimpleNamespace

import pytest
import torch

from gan_augment.measures.calibration import ClassifierCalibration
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial


def test_a_trial_records_it_with_a_diagram_and_a_section(plain_settings, tmp_path):
    settings = plain_settings("augmentation=none")
    settings["measures"] = {"calibration": {"_target_": "gan_augment.measures.calibration.ClassifierCalibration"}}
    folder = tmp_path / "trial"
    folder.mkdir()
    record = run_trial(plan_trial(settings), folder, StageStore(tmp_path / "store"), "trial")
    metrics = record["metrics"]["calibration"]
    assert record["warnings"] == []
    assert metrics["ece"] == pytest.approx(record["metrics"]["test"]["ece"], abs=1e-6)
    assert metrics["calibrated"] == 1 - metrics["ece"]
    assert metrics["ece_low"] <= metrics["ece"] <= metrics["ece_high"]
    assert metrics["overconfidence_low"] < metrics["overconfidence"] < metrics["overconfidence_high"]
    assert metrics["nll_cooled"] > 0
    assert metrics["temperature_of"] == record["provenance"]["validation_images"]
    assert record["compared"] == {"calibration.calibrated": "calibration (1 less the calibration error)"}
    assert set(record["sections"]["Calibration"]["columns"]) <= {f"calibration.{name}" for name in metrics}
    assert (folder / "reliability.png").stat().st_size > 1000


def test_few_validation_images_give_no_temperature(image_set, tmp_path):
    images = image_set(per_class=4, num_classes=2)
    split = SimpleNamespace(validation=images, test_groups=None)
    classifier = SimpleNamespace(probabilities=lambda some: torch.full((len(some), 2), 0.5))
    finished = SimpleNamespace(classifier=classifier, measured=images, split=split, part="test", folder=tmp_path)
    found = ClassifierCalibration().find(finished)
    assert found.metrics["calibration"]["temperature"] is None
    assert found.metrics["calibration"]["overconfidence"] == 0
    assert found.warnings == ("calibration has no temperature: it needs 20 validation images, of 8",)


def test_while_test_stays_closed_a_temperature_is_not_judged_on_the_images_that_fitted_it(image_set, tmp_path):
    images = image_set(per_class=20, num_classes=2)
    split = SimpleNamespace(validation=images, test_groups=None)
    classifier = SimpleNamespace(probabilities=lambda some: torch.tensor([[0.6, 0.4]]).expand(len(some), 2))
    finished = SimpleNamespace(classifier=classifier, measured=images, split=split, part="validation", folder=tmp_path)
    metrics = ClassifierCalibration().find(finished).metrics["calibration"]
    assert metrics["temperature"] > 1
    assert metrics["ece_cooled"] is None
    assert metrics["nll_cooled"] is None
