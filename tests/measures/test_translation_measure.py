from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gan_augment.data.image_set import ImageSet
from gan_augment.measures.translation import WHY_NO_JUDGE, distance, mean_changes, section, with_labels
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

NODE = {
    "_target_": "gan_augment.measures.translation.TranslationMeasure",
    "network": {
        "_target_": "gan_augment.networks.judge.Judge",
        "_partial_": True,
        "channels": 4,
        "num_features": 8,
    },
    **{"num_steps": 60, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.01},
}
DIGITS = "{_target_:gan_augment.data.standard_sets.digits}"
TWO = ("data=domains", f"data.from={DIGITS}", f"data.to={DIGITS}", "data.from_images=50", "data.to_images=200")


@pytest.fixture
def settings(plain_settings):
    """Return the settings of a trial with the measure alone."""

    def make(*overrides, **changes):
        return plain_settings(*overrides) | {"measures": {"translation": NODE | changes}}

    return make


def test_a_trial_records_it_with_a_picture_and_a_section(settings, tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    trial = plan_trial(settings(*TWO, "augmentation=translated", "labels=all"))
    record = run_trial(trial, folder, StageStore(tmp_path / "store"), "trial")
    assert record["warnings"] == []
    found = record["metrics"]["translation"]
    flips = np.array(found["flips"])
    assert flips.sum() == 50
    assert found["label_agreement"] == pytest.approx(np.trace(flips) / 50)
    assert 0.3 < found["judge_accuracy"] <= 1  # of 60 steps
    assert record["sections"]["Translation"]["picture"] == "translations.png"
    assert np.unique(np.array(Image.open(folder / "translations.png").convert("L"))).size > 10


def test_the_judge_learns_from_the_labels_of_the_pool_and_takes_part_in_no_training(settings):
    words = (*TWO, "augmentation=translated", "labels=all")
    trial = plan_trial(settings(*words))
    other = plan_trial(settings(*words, num_steps=9))
    assert trial.stages["classifier"].key == other.stages["classifier"].key
    judge = trial.stages["target_judge"]
    assert judge.training.labels.equal(trial.split.pool.labels)
    assert not len(judge.validation)
    assert not (trial.stages["translator"].pool.labels >= 0).any()


def test_it_applies_to_trials_with_a_translator(settings):
    assert "target_judge" not in plan_trial(settings(*TWO, "augmentation=none", "labels=all")).stages


def test_a_pool_that_lacks_labels_has_no_judge(settings, image_set):
    trial = plan_trial(settings(*TWO, "augmentation=translated", "labels=all"))
    measure = trial.config.measures["translation"]
    pool = image_set(per_class=2)
    split = SimpleNamespace(pool=replace(pool, labels=torch.tensor([0, 0, 1, -1, -1, -1])))
    assert measure.stages(trial, split, trial.stages) is None
    assert measure.notes(split, trial.stages) == (WHY_NO_JUDGE,)
    assert measure.notes(SimpleNamespace(pool=pool), trial.stages) == ()
    assert measure.notes(split, {}) == ()
    assert with_labels(split.pool).labels.tolist() == [0, 0, 1]


def test_changes_by_hand():
    black = ImageSet(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"])
    grey = replace(black, images=torch.tensor([[[[0, 0], [0, 51]]], [[[51, 51], [51, 51]]]], dtype=torch.uint8))
    assert mean_changes(black, grey).tolist() == pytest.approx([0.05, 0.2])


def test_a_distance_needs_twenty_images_and_finite_features():
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert abs(distance(features[:20], features[20:])) < 0.5
    assert distance(features[:20], features[20:] + 3) > 0.5
    assert distance(features[:19], features[20:]) is None
    assert distance(features[:20], features[20:] * float("nan")) is None


@pytest.fixture
def measured(settings, tmp_path, monkeypatch):
    """Measure translations of digits by a function, with the labels of another; return metrics, section and rows."""
    rows = []
    monkeypatch.setattr("gan_augment.measures.translation.draw_rows", lambda *given: rows.append(given))

    def measure(translate):
        trial = plan_trial(settings(*TWO, "augmentation=translated", "labels=all"))
        store = StageStore(tmp_path / "store")
        judge = trial.stages["target_judge"]
        loads = {
            "target_judge": lambda: judge.load(store.fetch(judge).folder),
            "translator": lambda: SimpleNamespace(translate=translate),
        }
        finished = SimpleNamespace(
            **{"split": trial.split, "part": "test", "folder": tmp_path},
            **{"has": lambda role: True, "load": lambda role: loads[role]()},
        )
        found = trial.config.measures["translation"].find(finished)
        return found.metrics["translation"], trial.split, rows[-1][0]

    return measure


def test_images_that_stay_as_they_are_are_unchanged(measured):
    found, _split, rows = measured(lambda images: images)
    assert found["unchanged"] == 1
    assert found["kernel_distance"] == found["kernel_distance_before"]
    assert rows[:16].equal(rows[16:32])


def test_images_of_another_class_count_as_flips_and_those_in_negative_are_further_away(measured):
    same, *_ = measured(lambda images: images)
    negative, *_ = measured(lambda images: replace(images, images=255 - images.images))
    assert negative["kernel_distance"] > negative["kernel_distance_before"] == same["kernel_distance"]
    assert negative["unchanged"] == 0

    def turned(images):  # each image in the place of another, with the label that it had there
        order = torch.arange(len(images)).roll(7)
        return replace(images, images=images.images[order])

    found, split, _rows = measured(turned)
    labels = split.labelled.labels
    expected = np.zeros((10, 10), dtype=int)
    np.add.at(expected, (labels.numpy(), labels.roll(7).numpy()), 1)
    right = same["label_agreement"]
    assert abs(np.array(found["flips"]) - expected).sum() <= 2 * round(50 * (1 - right))
    assert found["label_agreement"] < right


def test_the_report_names_the_commonest_flips():
    metrics = {"label_agreement": 0.9, "judge_accuracy": 0.975, "flips": [[30, 3, 0], [0, 28, 4], [0, 2, 33]]}
    assert section(metrics, ["a", "b", "c"]).sentences == (
        "10.0 % of the translated images changed their class; the judge itself is wrong on 2.5 % of the test images.",
        "Most often: b to c (4), a to b (3), c to b (2).",
    )
    none = {"label_agreement": 1.0, "judge_accuracy": None, "flips": [[1, 0], [0, 1]]}
    assert section(none, ["a", "b"]).sentences == ("0.0 % of the translated images changed their class.",)
