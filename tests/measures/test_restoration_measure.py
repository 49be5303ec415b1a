from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio

from gan_augment.artefacts.front import Front
from gan_augment.augmentation.degrading import Degrading
from gan_augment.measures.restoration import WHY_NO_JUDGE, closeness, section
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

NODE = {
    "_target_": "gan_augment.measures.restoration.RestorationMeasure",
    "network": {
        "_target_": "gan_augment.networks.judge.Judge",
        "_partial_": True,
        "channels": 4,
        "num_features": 8,
    },
    **{"num_steps": 60, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.01},
}


@pytest.fixture
def settings(plain_settings):
    """Return the settings of a trial with the measure alone."""

    def make(*overrides, **changes):
        return plain_settings("degrade.scale=2", *overrides) | {"measures": {"restoration": NODE | changes}}

    return make


def test_a_trial_records_it_with_a_picture_and_a_section(settings, tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    trial = plan_trial(settings("augmentation=sr_l1"))
    record = run_trial(trial, folder, StageStore(tmp_path / "store"), "trial")
    assert record["warnings"] == []
    found = record["metrics"]["restoration"]
    assert found["psnr"] > 10
    assert found["ssim"] is None  # images of 8 pixels
    assert 0 <= found["hallucinated"] <= found["bicubic_accuracy"]
    assert 0 <= found["recovered"] <= min(found["restored_accuracy"], found["judge_accuracy"])
    assert 0.3 < found["judge_accuracy"] <= 1  # of 60 steps
    assert record["sections"]["Restored images"]["picture"] == "restored.png"
    assert np.unique(np.array(Image.open(folder / "restored.png").convert("L"))).size > 10


def test_the_judge_learns_from_the_labels_of_the_pool_and_takes_part_in_no_training(settings):
    trial, other = (
        plan_trial(settings("augmentation=sr_task")),
        plan_trial(settings("augmentation=sr_task", num_steps=9)),
    )
    assert trial.stages["classifier"].key == other.stages["classifier"].key
    judge = trial.stages["native_judge"]
    assert judge.training.labels.equal(trial.split.pool.labels)
    assert not len(judge.validation)
    assert trial.stages["translator"].pool.labels.eq(-1).all()


def test_it_applies_to_trials_with_a_front(settings):
    assert "native_judge" in plan_trial(settings("augmentation=low")).stages
    trial = plan_trial(settings("augmentation=none"))
    assert "native_judge" not in trial.stages
    assert trial.notes == ()


def test_without_labels_of_the_pool_there_is_no_judge(settings, tmp_path):
    trial = plan_trial(settings("augmentation=bicubic"))
    measure = trial.config.measures["restoration"]
    split = replace(trial.split, pool=trial.split.pool.without_labels())
    assert measure.stages(trial, split, trial.stages) == {}
    assert measure.notes(split, trial.stages) == (WHY_NO_JUDGE,)
    assert measure.notes(trial.split, trial.stages) == ()
    finished = SimpleNamespace(
        measured=trial.split.test,
        classifier=SimpleNamespace(front=Front(Degrading(2, "area"), "bicubic")),
        folder=tmp_path,
        has=lambda role: False,
        stages={},
    )
    found = measure.find(finished)
    assert found.metrics["restoration"]["hallucinated"] is None
    assert found.sections["Restored images"].sentences == ()
    assert (tmp_path / "restored.png").exists()


def test_nothing_is_hallucinated_by_images_as_they_were(settings, tmp_path):
    trial = plan_trial(settings("augmentation=bicubic"))
    judge, store = trial.stages["native_judge"], StageStore(tmp_path / "store")
    trained = judge.load(store.fetch(judge).folder)

    def measure(change):
        front = SimpleNamespace(degrading=Degrading(2, "area"), change=change)
        finished = SimpleNamespace(
            **{"measured": trial.split.test, "classifier": SimpleNamespace(front=front), "folder": tmp_path},
            **{"has": lambda role: True, "load": lambda role: trained},
        )
        return trial.config.measures["restoration"].find(finished).metrics["restoration"]

    same = measure(lambda pixels: pixels)
    assert same["hallucinated"] == 0 < same["recovered"] <= same["judge_accuracy"] == same["restored_accuracy"]
    black = measure(torch.zeros_like)
    assert black["hallucinated"] > 0.1


def test_a_judge_that_diverged_is_missed(settings, tmp_path):
    trial = plan_trial(settings("augmentation=low"))
    finished = SimpleNamespace(
        **{"measured": trial.split.test, "folder": tmp_path, "stages": trial.stages, "has": lambda role: False},
        classifier=SimpleNamespace(front=Front(Degrading(2, "area"), "repeat")),
    )
    found = trial.config.measures["restoration"].find(finished)
    assert "is not measured" in found.warnings[0]
    assert found.metrics["restoration"]["consistency"] == 0  # pixels that were repeated are repeated again


def test_closeness_by_hand_and_as_torchmetrics_has_it(image_set):
    images = image_set(per_class=4)
    assert closeness(images, images) == {"psnr": None, "ssim": None}
    other = replace(images, images=images.images // 2)
    expected = peak_signal_noise_ratio(other.images.float(), images.images.float(), data_range=255.0)
    assert closeness(other, images)["psnr"] == pytest.approx(float(expected), abs=1e-3)
    large = replace(images, images=torch.nn.functional.interpolate(images.images, (16, 12)))
    assert closeness(large, large)["ssim"] == pytest.approx(1.0)
    assert closeness(replace(large, images=255 - large.images), large)["ssim"] < 0.5


def test_the_sentence_counts_what_was_lost_and_what_was_won():
    said = section({"hallucinated": 0.031, "recovered": 0.2}).sentences
    assert said == (
        "Of the images that the judge classifies correctly in full resolution, 3.1 % of all are also right after "
        "bicubic interpolation but wrong when restored, and 20.0 % the reverse.",
    )
