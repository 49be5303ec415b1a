import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import ACCELERATORS
from gan_augment.app import CONF
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import file_hash, read_about
from gan_augment.data.split import draw_split
from gan_augment.energy import EnergyMeter
from gan_augment.measures.diversity import Diversity
from gan_augment.measures.judging import JudgeStage
from gan_augment.measures.pictures import Pictures
from gan_augment.methods.base import decoding_of
from gan_augment.plan import plan_trial
from gan_augment.recording import largest, make_record
from gan_augment.records.record import SCHEMA
from gan_augment.report.outcomes import read_folder
from gan_augment.stages import DivergedError, StageStore
from gan_augment.training.base import last_points
from gan_augment.training.hardware import Hardware
from gan_augment.trial import examine, run_trial


def read_row(name):
    """Read the row of an arm over that of the arm that it builds on; an arm may bring the settings of its method."""
    found = yaml.safe_load((CONF / "augmentation" / f"{name}.yaml").read_text())
    base = next((one for one in found.get("defaults", ()) if isinstance(one, str) and not one.startswith("row")), None)
    return ({} if base is None else read_row(base)) | found.get("augmentation", found)


# `given` needs images of its own: tests/extras/test_given.py has it.
ARMS = sorted(path.stem for path in (CONF / "augmentation").glob("*.yaml") if path.stem not in ("row", "given"))
ROWS = {arm: read_row("row") | read_row(arm) for arm in ARMS}
LABELLED_ARMS, POOL_IMAGES_ARMS, POOL_LABELS_ARMS = (
    [arm for arm, row in ROWS.items() if row["sees"] == sees] for sees in ("labelled", "pool_images", "pool_labels")
)
POOL_ARMS = POOL_IMAGES_ARMS + POOL_LABELS_ARMS
SUPERVISED = [arm for arm, row in ROWS.items() if row["method"] == "classifier"]
# Classes of which one is rare: an arm that evens them out refuses equal ones.
UNEQUAL = ("imbalance.classes=['3']", "imbalance.share=0.5")
# Settings without which an arm is refused.
NEEDED = {"batch_norm": ("classifier=cnn_batch_norm",)}
# A GAN that knows no classes, whose images a teacher labels.
UNLABELLED = ("conditioning=none", "synthesis=confident")


@pytest.fixture
def trial(plain_settings):
    def plan(*overrides):
        return plan_trial(plain_settings(*overrides))

    return plan


def settings_of(arm):
    """Return the settings that choose an arm."""
    return (f"augmentation={arm}", *NEEDED.get(arm, ()))


def run(trial, folder, store=None):
    """Run a trial, by default with a store of its own; return its record."""
    folder.mkdir()
    return run_trial(trial, folder, store or StageStore(folder / "store"), "trial")


@pytest.fixture
def shared_store(shared_outputs):
    """Return a store whose stages other tests may have made."""
    return StageStore(shared_outputs / "store")


@pytest.fixture(scope="module")
def gan_trial(plain_settings, tmp_path_factory):
    """Run the arm `gan` once; return its plan, its folder and its record."""
    planned, folder = plan_trial(plain_settings("augmentation=gan")), tmp_path_factory.mktemp("gan") / "trial"
    return planned, folder, run(planned, folder)


def stage_keys(trial):
    return {name: stage.key for name, stage in trial.stages.items()}


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_the_same_seeds_give_the_same_result_bit_for_bit(trial, tmp_path, accelerator):
    overrides = ("augmentation=gan_classical", f"trainer={accelerator}")
    records = [run(trial(*overrides), tmp_path / name) for name in ("one", "again")]
    predictions = [np.load(tmp_path / name / "predictions.npz") for name in ("one", "again")]
    for name in ("ids", "labels", "predicted", "probabilities"):
        assert predictions[0][name].tobytes() == predictions[1][name].tobytes()
    assert records[0]["metrics"] == records[1]["metrics"]  # computed from float32 probabilities
    assert records[0]["provenance"]["stages"] == records[1]["provenance"]["stages"]


@pytest.mark.gpu
@pytest.mark.parametrize("arm", POOL_ARMS)
def test_arms_that_see_the_pool_train_on_a_gpu(trial, tmp_path, arm):
    record = run(trial(*settings_of(arm), "trainer=gpu"), tmp_path / "trial")
    assert record["status"] == "ok"
    assert record["costs"]["device"] == torch.cuda.get_device_name()
    assert record["costs"]["peak_gpu_memory_mib"] > 0


def test_another_seed_gives_another_result(trial, tmp_path, shared_store):
    records = [run(trial("augmentation=none", f"seed={seed}"), tmp_path / str(seed), shared_store) for seed in (0, 1)]
    assert records[0]["provenance"]["split"] != records[1]["provenance"]["split"]
    assert records[0]["metrics"]["test"] != records[1]["metrics"]["test"]
    assert records[0]["provenance"]["test_images"] == records[1]["provenance"]["test_images"] == 360


def test_the_record_says_what_was_found_and_what_it_cost(gan_trial):
    planned, folder, record = gan_trial
    predictions = np.load(folder / "predictions.npz")
    right = predictions["predicted"] == predictions["labels"]
    assert record["status"] == "ok"
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(right.mean())
    assert np.trace(predictions["confusion_matrix"]) == round(360 * record["metrics"]["test"]["accuracy"])
    assert np.sum(predictions["confusion_matrix"]) == 360
    assert 0 < record["metrics"]["validation"]["accuracy"] < 1
    assert record["saw"] == {
        "labelled": 50,
        "pool_images": 0,
        "pool_labels": 0,
        "target_images": 0,
        "target_labels": 0,
        "pairs": 0,
        "validation": 0,
        "pretrained": False,
        "given": 0,
        "imbalance_ratio": 1.0,
        "rare_classes": [],
    }
    assert record["costs"]["threads"] == 1
    seconds, memory = record["costs"]["seconds"], record["costs"]["memory"]
    stages = ("gan", "synthesis", "classifier", "teacher", "judge")
    assert set(memory) == set(stages)
    assert 50 < max(one["peak_memory_mib"] for one in memory.values()) <= record["costs"]["peak_memory_mib"]
    assert set(seconds) == {*stages, "measures", "total"}
    assert seconds["total"]["spent"] == pytest.approx(sum(seconds[name]["spent"] for name in (*stages, "measures")))
    assert record["provenance"]["stages"] == {name: stage.key for name, stage in planned.stages.items()}
    assert json.loads(json.dumps(record)) == record


def test_answers_in_the_report_agree_with_the_record_where_float16_makes_probabilities_equal(trial, tmp_path):
    class Hesitant:
        def probabilities(self, images):
            """Prefer the true class, and every fifth time another one, by less than float16 tells apart."""
            said = torch.full((len(images), 10), 0.1)
            said[torch.arange(len(images)), (images.labels + (torch.arange(len(images)) % 5 == 0)) % 10] += 1e-6
            return said

    planned, folder = trial("augmentation=none"), tmp_path / "trials" / "none"
    folder.mkdir(parents=True)
    found = examine(planned, Hesitant(), "test", planned.split.test, folder)
    assert found.metrics["test"]["accuracy"] == pytest.approx(0.8)
    needed = {"status": "ok", "factors": {}, "metrics": {}, "provenance": {}}
    (folder / "record.json").write_text(json.dumps({"schema": SCHEMA, **needed}))
    _, (outcome,), damaged = read_folder(tmp_path)
    assert not damaged
    assert outcome.answers().right.tolist() == [number % 5 > 0 for number in range(360)]


def test_measures_are_part_of_what_a_trial_costs(trial, tmp_path, shared_store, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("gan_augment.trial.perf_counter", lambda: clock[0])

    def slow(self, finished):
        clock[0] += 7.0
        raise RuntimeError("also what fails takes its time")

    for measure in (Pictures, Diversity):
        monkeypatch.setattr(measure, "find", slow)
    planned = trial("augmentation=gan")
    seconds = [run(planned, tmp_path / name, shared_store)["costs"]["seconds"] for name in ("one", "two")][1]
    assert seconds["measures"] == {"spent": 14.0, "reused": 0.0}
    assert seconds["total"]["spent"] == 14.0  # every stage was there already
    assert seconds["total"]["reused"] == pytest.approx(sum(one["reused"] for one in seconds.values()) / 2)


def test_a_reused_stage_costs_nothing_now(trial, tmp_path):
    store = StageStore(tmp_path / "store")
    costs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        costs.append(run_trial(trial("augmentation=none"), tmp_path / name, store, name)["costs"]["seconds"])
    assert costs[0]["classifier"]["spent"] == costs[1]["classifier"]["reused"] > 0
    assert costs[0]["classifier"]["reused"] == costs[1]["classifier"]["spent"] == 0


def test_a_record_says_with_how_many_threads_a_reused_stage_was_made(trial, tmp_path):
    store, before = StageStore(tmp_path / "store"), torch.get_num_threads()
    try:
        records = [
            run(trial("augmentation=none", f"trainer.num_threads={threads}"), tmp_path / str(threads), store)
            for threads in (2, 1)
        ]
    finally:
        torch.set_num_threads(before)
    assert [one["costs"]["threads"] for one in records] == [2, 1]
    assert [one["provenance"]["made"]["classifier"]["threads"] for one in records] == [2, 2]


def test_a_stage_of_an_earlier_version_does_not_say_with_how_many_threads_it_was_made(trial, tmp_path):
    store, planned = StageStore(tmp_path / "store"), trial("augmentation=none")
    run(planned, tmp_path / "earlier", store)
    path = store.folder(planned.stages["classifier"]) / "stage.json"
    content = json.loads(path.read_text())
    assert content["made"].pop("threads") == 1
    path.write_text(json.dumps(content))
    path.with_name("manifest.json").unlink()
    assert run(planned, tmp_path / "now", store)["provenance"]["made"]["classifier"]["threads"] is None


def test_the_test_images_are_judged_with_the_threads_that_the_record_names(trial, tmp_path, monkeypatch):
    """Also when the classifier was trained by a process that was killed before it wrote the record."""
    threads, probabilities = [], TrainedClassifier.probabilities

    def noted(*arguments):
        threads.append(torch.get_num_threads())
        return probabilities(*arguments)

    monkeypatch.setattr(TrainedClassifier, "probabilities", noted)
    store = StageStore(tmp_path / "store")
    before = torch.get_num_threads()
    try:
        for name in ("trained", "reused"):
            (tmp_path / name).mkdir()
            torch.set_num_threads(2)
            record = run_trial(trial("augmentation=none"), tmp_path / name, store, name)
            assert record["costs"]["threads"] == 1
    finally:
        torch.set_num_threads(before)
    assert threads == [1] * 4  # validation and test, twice


def test_there_may_be_no_validation_images(trial, tmp_path, shared_store):
    enough_to_learn = "classifier.network.channels=32"
    record = run(
        trial("augmentation=none", "validation_per_class=0", enough_to_learn), tmp_path / "trial", shared_store
    )
    assert record["status"] == "ok"
    assert record["metrics"]["validation"] == {}
    assert record["metrics"]["test"]["accuracy"] > 0.4


@pytest.fixture
def trained(monkeypatch):
    """Plan an arm of seed 0, and note what its classifier would be trained on, without training anything."""
    notes = []
    monkeypatch.setattr(Hardware, "fit", lambda self, system, data, folder, **settings: notes.append((system, data)))

    def note(planned, folder):
        StageStore(folder).fetch(planned.stages["classifier"])
        return notes[-1]

    return note


def test_arms_of_one_seed_share_split_initial_weights_and_the_order_of_real_images(trial, trained, tmp_path):
    plans = {arm: trial(*settings_of(arm), *UNEQUAL) for arm in SUPERVISED}
    assert len({planned.split.hash for planned in plans.values()}) == 1
    sequences, weights = {}, {}
    for arm, planned in plans.items():
        system, data = trained(planned, tmp_path / arm)
        sequences[arm] = torch.cat([selection[0] for selection in data.train_dataloader()]).tolist()
        weights[arm] = hashlib.sha256(
            b"".join(value.numpy().tobytes() for value in system.network.state_dict().values())
        ).hexdigest()
    assert len(set(weights.values())) == 1
    for arm, planned in plans.items():
        share = planned.config.arm.share or 0
        if share < 1:  # else no image comes from the stream that the arms share
            assert len(sequences[arm]) == 20 * 64 * (1 - share)
            assert sequences[arm] == sequences["none"][: len(sequences[arm])]


@pytest.mark.parametrize("arm", SUPERVISED)
def test_every_supervised_arm_takes_the_same_number_of_steps_with_as_many_images(trial, trained, tmp_path, arm):
    _, data = trained(trial(*settings_of(arm), *UNEQUAL), tmp_path)
    sizes = [sum(map(len, selection.values())) for selection in data.train_dataloader()]
    assert sizes == [32 if arm == "half_batch" else 64] * 20


def test_a_trial_that_does_not_open_the_test_images_says_nothing_of_them(trial, tmp_path, shared_store):
    opened, closed = trial("augmentation=none"), trial("augmentation=none", "open_test=false")
    assert opened.name != closed.name
    assert stage_keys(opened) == stage_keys(closed)
    records = [run(one, tmp_path / one.name, shared_store) for one in (opened, closed)]
    assert records[1]["metrics"] == {"validation": records[0]["metrics"]["validation"]}
    assert records[1]["provenance"]["test_opened"] is None
    assert not (tmp_path / closed.name / "predictions.npz").exists()


def test_a_classifier_that_nothing_judges_is_refused(trial):
    with pytest.raises(ValueError, match="open_test=false, but there are no validation images: set"):
        trial("augmentation=none", "open_test=false", "validation_per_class=0")


@pytest.fixture
def nineteen_to_none(tmp_path):
    """An npz whose validation images are all of one class, and whose test images are all of the other."""
    labels = np.repeat([0, 1], 40)
    split = np.array(["train"] * 19 + ["validation"] * 21 + ["train"] * 19 + ["test"] * 21)
    images = np.random.default_rng(0).integers(0, 256, (80, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=labels, split=split)
    return f"data=arrays data.images={tmp_path / 'set.npz'} augmentation=none".split()


def test_a_class_that_a_part_lacks_is_named_and_nothing_is_chosen_without_it(trial, nineteen_to_none):
    planned = trial(*nineteen_to_none)
    assert [note for note in planned.notes if "shows" in note] == [
        "no validation image shows '1': 1 of 2 classes do not count in the validation results",
        "no test image shows '0': 1 of 2 classes do not count in the test results",
    ]
    assert make_record(planned, "ok", {})["provenance"]["test_imbalance_ratio"] is None  # not "all classes equal"
    with pytest.raises(ValueError, match="open_test=false, but there are no validation images of '1': set"):
        trial(*nineteen_to_none, "open_test=false")
    assert trial("augmentation=none").notes == ()


def test_one_validation_image_of_each_class_is_enough_to_leave_the_test_closed(trial, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (14, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.repeat([0, 1], [10, 4]))
    few = ("data=arrays", f"data.images={tmp_path / 'set.npz'}", "augmentation=none", "labels=1", "open_test=false")
    with pytest.raises(ValueError, match="no validation images of '1': set validation_per_class to 1 or more"):
        trial(*few)
    assert trial(*few, "validation_per_class=1").split.validation.class_counts.tolist() == [1, 1]


@pytest.fixture
def generator_alone(plain_settings):
    def plan(*overrides):
        return plan_trial(plain_settings(*overrides) | {"classifier": {"_target_": None}})

    return plan


def test_a_teacher_is_the_classifier_that_the_arm_would_have_without_a_gan(trial, generator_alone):
    taught = trial("augmentation=gan_classical", *UNLABELLED)
    assert list(taught.stages) == ["gan", "teacher", "synthesis", "classifier", "judge"]
    assert taught.stages["teacher"].key == trial("augmentation=classical").stages["classifier"].key
    alone = generator_alone("augmentation=gan", "conditioning=none")
    assert taught.stages["gan"].key == alone.stages["gan"].key  # the GAN does not know what becomes of its images


def test_the_threshold_is_the_teachers_and_not_the_gans(trial):
    keys = [
        stage_keys(trial("augmentation=gan", *UNLABELLED, f"synthesis.threshold={threshold}"))
        for threshold in (0.5, 0.6)
    ]
    assert [name for name in keys[0] if keys[0][name] != keys[1][name]] == ["synthesis", "classifier"]


def test_the_weights_of_generator_and_discriminator_lie_with_the_trial(gan_trial):
    _, folder, _ = gan_trial
    weights = torch.load(folder / "gan.pt", weights_only=True)["networks"]
    assert set(weights) == {"ema", "generator", "discriminator"}


def test_the_record_says_where_the_curves_of_the_gan_ended(trial, tmp_path, shared_store):
    record = run(trial("augmentation=gan", "generator.images_seen=6400"), tmp_path / "trial", shared_store)
    training = record["metrics"]["gan"]["training"]
    assert set(training) == {
        *("loss_discriminator", "loss_generator", "output_real", "output_fake", "accuracy_real", "accuracy_fake"),
        *("gradient_norm_discriminator", "gradient_norm_generator"),
    }
    events = EventAccumulator(str(tmp_path / "trial" / "tensorboard" / "gan")).Reload()
    for name, value in training.items():
        last = events.Scalars(name.replace("_", "/") if "norm" not in name else f"gradient_norm/{name[14:]}")[-1]
        assert (last.step, last.value) == (6400, pytest.approx(value))
    assert 0 < training["accuracy_real"] <= 1
    assert training["gradient_norm_generator"] > 0


def test_one_judge_measures_every_trial_on_a_data_set(trial):
    changes = [("seed=1",), ("labels=10",), ("loss=hinge",), ("imbalance.classes=[3]", "imbalance.share=0.5")]
    keys = {trial("augmentation=gan", *change).stages["judge"].key for change in [(), *changes]}
    assert len(keys) == 1
    assert trial("augmentation=gan", "validation_per_class=3").stages["judge"].key not in keys
    assert "judge" not in trial("augmentation=none").stages


def test_without_a_judge_nothing_is_measured_by_features(plain_settings, tmp_path, shared_store):
    settings = plain_settings("augmentation=gan")
    del settings["measures"]["judge"]
    planned = plan_trial(settings)
    assert list(planned.stages) == ["gan", "synthesis", "classifier"]
    found = run(planned, tmp_path / "trial", shared_store)["metrics"]["gan"]
    of_usable = {"usable", "told_apart", "told_apart_pixels", "told_apart_of", "variety", "variety_of_noise"}
    of_usable.add("sharpness")
    assert set(found) == {"diversity", "diversity_per_class", "training", *of_usable}


def test_the_judge_learns_from_what_is_neither_validation_nor_test(trial):
    split = trial("augmentation=gan", "imbalance.classes=[3]", "imbalance.share=0.5").split
    assert len(split.training) == 1797 - 360 - len(split.validation)
    assert len(split.training) > len(split.labelled) + len(split.pool)  # what rarity left out too

    def pixels(images):
        return {image.tobytes() for image in images.images.numpy()}

    assert pixels(split.labelled) <= pixels(split.training)
    assert not pixels(split.training) & (pixels(split.validation) | pixels(split.test))


def test_the_record_says_what_the_judge_saw(trial, tmp_path, shared_store):
    record = run(trial("augmentation=gan", "validation_per_class=30"), tmp_path / "trial", shared_store)
    found = record["metrics"]["gan"]
    assert (found["judged_real"], found["judged_generated"]) == (300, 2100)
    assert found["judge_frechet_distance"] > found["real"]["judge_frechet_distance"] >= 0
    assert set(found["per_class"]) == set("0123456789")
    assert np.sum(found["confusion_matrix"]) == 2100
    assert found["label_agreement"] == pytest.approx(np.trace(found["confusion_matrix"]) / 2100)
    assert 0 <= found["gan_test"] <= 1
    refused = [warning for warning in record["warnings"] if "refused" in warning]
    assert any("judge_frechet_distance" not in warning for warning in refused)
    assert len(refused) == 1  # precision and recall by class; of the tiny judge's 8 features 16 images will do


def test_pictures_of_the_generator_lie_with_the_trial(gan_trial):
    _, folder, _ = gan_trial
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {"samples.png", "interpolation.png", "class_walk.png", "nearest.png"}


@pytest.mark.parametrize(("metric", "others"), [("cas_validation", 0), ("label_agreement", 1797 - 360 - 200 - 50)])
def test_a_generator_that_is_kept_for_its_looks_has_used_validation(trial, tmp_path, shared_store, metric, others):
    record = run(
        trial("augmentation=gan", "measures.judge.every=320", f"measures.judge.best_by={metric}"),
        tmp_path / "trial",
        shared_store,
    )
    assert record["provenance"]["checkpoint"]["chosen_by"] == metric
    assert record["provenance"]["checkpoint"]["images_seen"] in (320, 640)
    saw = record["saw"]
    assert (saw["validation"], saw["pool_images"], saw["pool_labels"]) == (200, others, others)
    assert (
        f"The generator is the best of its looks by {metric}: results on validation images flatter it"
        in (record["warnings"])
    )
    events = EventAccumulator(str(tmp_path / "trial" / "tensorboard" / "gan")).Reload()
    assert [point.step for point in events.Scalars("judge/cas_validation")] == [320, 640]


def test_the_generator_of_the_last_step_is_the_usual_one(gan_trial):
    _, folder, record = gan_trial
    checkpoint = record["provenance"]["checkpoint"]
    assert (checkpoint["images_seen"], checkpoint["chosen_by"]) == (640, None)
    assert checkpoint["hash"] == file_hash(folder / "gan.pt")


def test_a_measure_that_diverges_does_not_end_the_trial(trial, tmp_path, monkeypatch):
    fit = Hardware.fit

    def diverge(self, system, data, folder, **settings):
        if folder.parent.name == "judge":
            raise DivergedError("not finite")
        return fit(self, system, data, folder, **settings)

    monkeypatch.setattr(Hardware, "fit", diverge)
    record = run(trial("augmentation=gan"), tmp_path / "trial")
    assert record["status"] == "ok"
    assert "label_agreement" not in record["metrics"]["gan"]
    assert "The judge's training diverged: nothing is measured by it" in record["warnings"]


def test_a_measure_that_fails_leaves_a_warning_and_the_trial_is_ok(trial, tmp_path, shared_store, monkeypatch):
    def broken(self, finished):
        raise RuntimeError("the pencil broke")

    monkeypatch.setattr(Pictures, "find", broken)
    record = run(trial("augmentation=gan"), tmp_path / "trial", shared_store)
    assert (record["status"], record["error"]) == ("ok", None)
    assert "The measure pictures failed: RuntimeError: the pencil broke" in record["warnings"]
    assert record["metrics"]["gan"]["diversity"] >= 0  # the others go on
    assert record["metrics"]["test"]["accuracy"] > 0
    assert not [*(tmp_path / "trial").glob("*.png")]


def test_a_measure_whose_own_stage_fails_leaves_a_warning_and_the_trial_is_ok(trial, tmp_path, monkeypatch):
    def broken(self, folder, made):
        raise RuntimeError("the gavel broke")

    monkeypatch.setattr(JudgeStage, "run", broken)
    record = run(trial("augmentation=gan"), tmp_path / "trial")
    assert (record["status"], record["error"]) == ("ok", None)
    assert "The measuring stage judge failed: RuntimeError: the gavel broke" in record["warnings"]
    assert "judge_frechet_distance" not in record["metrics"]["gan"]
    assert record["metrics"]["gan"]["diversity"] >= 0  # the others go on
    assert "judge" not in record["costs"]["seconds"]


def test_a_stage_that_diverges_ends_the_trial_where_it_is_needed(trial, tmp_path, monkeypatch):
    fit = Hardware.fit

    def diverge(self, system, data, folder, **settings):
        if folder.parent.name == "gan":
            raise DivergedError("not finite")
        return fit(self, system, data, folder, **settings)

    monkeypatch.setattr(Hardware, "fit", diverge)
    record = run(trial("augmentation=gan"), tmp_path / "trial")
    assert (record["status"], record["error"]) == ("diverged", "gan: not finite")
    assert record["metrics"] == {}
    assert set(record["costs"]["seconds"]) == {"gan", "total"}


def test_a_teacher_is_needed_where_it_selects(trial):
    assert "teacher" not in trial("augmentation=gan").needed
    assert "teacher" in trial("augmentation=gan", *UNLABELLED).needed
    assert "gan" in trial("augmentation=gan").needed
    assert "classifier" in trial("augmentation=none").needed
    assert "judge" not in trial("augmentation=gan").needed
    assert "judge" in trial("augmentation=gan", "measures.judge.every=320").needed


def test_pseudo_labels_go_through_a_whole_trial(trial, tmp_path, monkeypatch):
    def in_turns(self, images):  # a generator of a few steps does not make every class
        return torch.eye(10)[torch.arange(len(images)) % 10]

    monkeypatch.setattr(TrainedClassifier, "probabilities", in_turns)
    record = run(trial("augmentation=gan", *UNLABELLED), tmp_path / "trial")
    assert record["status"] == "ok"
    assert set(record["costs"]["seconds"]) == {
        *("gan", "teacher", "synthesis", "classifier", "judge", "measures", "total")
    }
    assert set(record["metrics"]["gan"]["diversity_per_class"]) == set("0123456789")


def test_images_without_labels_teach_no_classifier(trial, generator_alone):
    with pytest.raises(ValueError, match="conditioning=none makes images without labels"):
        trial("augmentation=gan", "conditioning=none")
    assert list(generator_alone("augmentation=gan", "conditioning=none").stages) == ["gan", "synthesis", "judge"]


def test_without_a_classifier_there_is_no_teacher(generator_alone):
    with pytest.raises(ValueError, match=r"synthesis\.selection=confident needs a classifier"):
        generator_alone("augmentation=gan", *UNLABELLED)


def test_another_seed_starts_from_other_weights_and_another_order(trial, trained, tmp_path):
    notes = [trained(trial("augmentation=none", f"seeds.classifier={seed}"), tmp_path / str(seed)) for seed in (0, 1)]
    (one, one_data), (other, other_data) = notes
    assert not torch.equal(one.network.layers[0].weight, other.network.layers[0].weight)
    assert not torch.equal(*(next(iter(data.train_dataloader()))[0] for data in (one_data, other_data)))


def noise(images):
    random = torch.Generator().manual_seed(99)
    return dataclasses.replace(
        images, images=torch.randint(0, 256, images.images.shape, generator=random, dtype=torch.uint8)
    )


def other_test_images(split):
    return dataclasses.replace(split, test=noise(split.test))


def other_validation_images(split):
    return dataclasses.replace(split, validation=noise(split.validation))


def other_pool_labels(split):
    pool = dataclasses.replace(split.pool, labels=split.pool.labels.roll(100))
    return dataclasses.replace(split, pool=pool)


def other_labelled_images(split):
    return dataclasses.replace(split, labelled=noise(split.labelled))


def all_weights(plain_settings, folder, change=None, arms=LABELLED_ARMS):
    """Train some arms, by default those that see labelled images only; return the hash of each network they leave."""
    found, store = {}, StageStore(folder)
    for arm in arms:
        with pytest.MonkeyPatch.context() as patch:
            if change is not None:
                patch.setattr("gan_augment.plan.draw_split", lambda *arguments: change(draw_split(*arguments)))
            planned = plan_trial(plain_settings(*settings_of(arm), *UNEQUAL))
        for name, stage in planned.stages.items():
            if name == "judge":  # it knows more, and only measures
                continue
            output = store.fetch(stage)
            if (output.folder / "weights.pt").exists():
                for network, state in torch.load(output.folder / "weights.pt", weights_only=True)["networks"].items():
                    content = b"".join(value.numpy().tobytes() for value in state.values())
                    found[arm, name, network] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def reference_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reference")


BEST = ("measures.judge.every=320", "measures.judge.best_by=cas_validation")


@pytest.mark.parametrize("overrides", [(), BEST, ("synthesis=confident", "conditioning=none")], ids=" ".join)
@pytest.mark.parametrize("arm", ARMS)
def test_no_stage_is_made_from_test_images_and_only_trainings_of_classifiers_from_validation(trial, arm, overrides):
    def pixels(images):
        return {image.tobytes() for image in images.images.numpy()}

    planned = trial(*settings_of(arm), *UNEQUAL, *overrides)
    split, test, validation = planned.split, pixels(planned.split.test), pixels(planned.split.validation)
    used = {(role, name): one for role, stage in planned.stages.items() for name, one in stage.image_sets.items()}
    assert not {where for where, images in used.items() if pixels(images) & test}
    evaluated = {where for where, images in used.items() if pixels(images) & validation}
    of_classifiers = ("classifier", "trained", "source", "teacher", "judge")
    assert evaluated == {(role, "validation") for role in of_classifiers if role in planned.stages}
    assert {used[where].fingerprint for where in evaluated} == {split.validation.fingerprint}
    if "judge" in planned.stages:
        assert used["judge", "training"].fingerprint == split.training.fingerprint
        watched = {role for role, stage in planned.stages.items() if "judge" in stage.inputs}
        assert watched == ({"gan"} if overrides == BEST else set())


@pytest.mark.parametrize("change", [other_test_images, other_validation_images, other_pool_labels])
def test_no_weight_depends_on_what_training_may_not_see(plain_settings, tmp_path, reference_folder, change):
    reference = all_weights(plain_settings, reference_folder)
    assert {one for *_, one in reference} == {"generator", "discriminator", "ema", "average", "classifier", "encoder"}
    assert all_weights(plain_settings, tmp_path, change) == reference


def test_every_weight_depends_on_the_labelled_images(plain_settings, tmp_path, reference_folder):
    reference = all_weights(plain_settings, reference_folder)
    changed = all_weights(plain_settings, tmp_path, other_labelled_images)
    untrained = {(arm, "encoder", "encoder") for arm in ("random_encoder", "raw_pixels")}
    assert {network for network in reference if changed[network] == reference[network]} == untrained


@pytest.mark.parametrize("change", [other_test_images, other_validation_images])
def test_whoever_sees_the_pool_sees_neither_test_nor_validation_images(plain_settings, tmp_path, change):
    reference, changed = (
        all_weights(plain_settings, tmp_path / name, one, POOL_ARMS)
        for name, one in (("reference", None), ("changed", change))
    )
    assert changed == reference != {}


def test_the_pool_s_labels_matter_to_the_arms_that_see_them(plain_settings, tmp_path):
    reference, changed = (
        all_weights(plain_settings, tmp_path / name, one, POOL_LABELS_ARMS)
        for name, one in (("reference", None), ("changed", other_pool_labels))
    )
    assert all(changed[network] != reference[network] for network in reference)


def other_pool_images(split):
    return dataclasses.replace(split, pool=noise(split.pool))


def test_arms_that_see_the_images_of_the_pool_see_none_of_its_labels(plain_settings, tmp_path):
    reference, other_labels, no_labels, other_images = (
        all_weights(plain_settings, tmp_path / str(number), one, POOL_IMAGES_ARMS)
        for number, one in enumerate((None, other_pool_labels, without_pool_labels, other_pool_images))
    )
    assert len({arm for arm, _, _ in reference}) == len(POOL_IMAGES_ARMS)
    assert other_labels == no_labels == reference

    def is_same(*key):
        return other_images[key] == reference[key]

    unmoved = {(ROWS[arm]["extra"], name) for arm, name, network in reference if is_same(arm, name, network)}
    # These see the labelled images alone.
    teachers = {(extra, "teacher") for extra in ("pseudo_labelled", "translated", "style")}
    assert unmoved == teachers | {("none", name) for name in ("trained", "source", "teacher")}


def without_pool_labels(split):
    return dataclasses.replace(split, pool=split.pool.without_labels())


@pytest.fixture
def bright_to_dark(plain_settings, image_set, tmp_path):
    """Plan an arm on two domains whose classes are levels of grey; images of the second are a quarter as bright."""

    def plan(arm, channels, size):
        nodes = {}
        for name, seed, divisor in (("from", 0, 1), ("to", 1, 4)):
            images = image_set(per_class=40, channels=channels, size=size, seed=seed)
            pixels = (images.images // divisor)[:, :, : size - 1]  # not square
            np.savez(tmp_path / f"{name}.npz", images=pixels.permute(0, 2, 3, 1).numpy(), labels=images.labels.numpy())
            nodes[name] = {"_target_": "gan_augment.data.arrays.arrays", "images": str(tmp_path / f"{name}.npz")}
        settings = plain_settings(
            f"augmentation={arm}",
            "classifier=cnn_batch_norm",
            "classifier.num_steps=100",
            "classifier.network.channels=16",
        )
        as_before = {name: settings["data"][name] for name in ("test_share", "classical")}
        return plan_trial(settings | {"data": {"_target_": "gan_augment.data.domains.domains", **nodes, **as_before}})

    return plan


@pytest.mark.parametrize(("channels", "size"), [(1, 9), (3, 10)])
def test_matched_levels_and_statistics_adapt_to_darker_images(bright_to_dark, tmp_path, channels, size):
    records = {}
    for arm in ("none", "matched", "batch_norm", "fourier"):
        planned = bright_to_dark(arm, channels, size)
        records[arm] = run(planned, tmp_path / arm)
        assert records[arm]["status"] == "ok"
        saw = records[arm]["saw"]
        assert (saw["labelled"], saw["pool_labels"]) == (len(planned.split.labelled), 0)
        assert saw["pool_images"] == (0 if arm == "none" else len(planned.split.pool))
    accuracy = {arm: one["metrics"]["test"]["accuracy"] for arm, one in records.items()}
    assert accuracy["none"] < 0.5  # dark images are of the darkest class
    assert accuracy["matched"] > 0.9
    assert accuracy["batch_norm"] > accuracy["none"] + 0.1
    assert len({one["metrics"]["test"]["nll"] for one in records.values()}) == len(records)  # no arm is another one


def test_beta_names_the_trials_of_fourier_and_no_others(trial):
    def named(arm, *overrides):
        return trial(f"augmentation={arm}", *overrides).name

    assert named("fourier", "fourier.beta=0.1") != named("fourier") == named("fourier", "fourier.beta=0.05")
    assert named("matched", "fourier.beta=0.1") == named("matched")


@pytest.mark.parametrize("arm", POOL_IMAGES_ARMS)
def test_an_empty_pool_is_refused(trial, arm):
    with pytest.raises(ValueError, match="sees=pool_images, but the pool is empty: every training image is labelled"):
        trial(*settings_of(arm), "labels=all")


def test_a_teacher_labels_the_pool_under_classical_transforms_and_is_shared(trial):
    plans = {arm: trial(*settings_of(arm)) for arm in ARMS if arm != "oversampling"}
    keys = {arm: stage_keys(plan) for arm, plan in plans.items()}
    assert keys["pseudo_label"]["teacher"] == keys["classical"]["classifier"]
    assert keys["gan_pool"]["teacher"] == keys["semi_supervised"]["classifier"]
    for name in ("teacher", "pseudo_labels", "gan", "synthesis"):
        assert keys["gan_pool"][name] == keys["gan_pool_classical"][name]
    assert keys["gan_pool"]["gan"] != keys["gan"]["gan"]
    by_classifier = trial("augmentation=gan_pool", "augmentation.teacher=classifier")
    assert stage_keys(by_classifier)["pseudo_labels"] == keys["pseudo_label"]["pseudo_labels"]


def test_a_gan_that_knows_no_classes_sees_the_whole_pool_and_needs_none_of_its_labels(trial):
    plan = trial("augmentation=gan_pool", *UNLABELLED, "augmentation.teacher=classifier")
    assert [*plan.stages] == ["gan", "teacher", "synthesis", "classifier", "judge"]
    assert plan.stages["gan"].image_sets["pool"].fingerprint == plan.split.pool.without_labels().fingerprint


def test_a_generator_alone_may_see_the_pool_with_a_teacher_that_is_no_classifier(generator_alone):
    plan = generator_alone("augmentation=gan_pool")
    assert [*plan.stages][:2] == ["teacher", "pseudo_labels"]
    with pytest.raises(ValueError, match=r"teacher=classifier, but there is no classifier that could label the pool"):
        generator_alone("augmentation=gan_pool", "augmentation.teacher=classifier")
    with pytest.raises(ValueError, match="trains a generator alone, but this arm has none"):
        generator_alone("augmentation=semi_supervised")


def test_generators_alone_with_a_pool_and_without_are_told_apart(generator_alone):
    plain, pool = (generator_alone(f"augmentation={arm}") for arm in ("gan", "gan_pool"))
    assert plain.factors["augmentation"] is None
    assert (pool.factors["augmentation"], pool.factors["augmentation.teacher"]) == ("gan_pool", "semi_supervised")
    assert plain.name != pool.name


def test_a_threshold_of_labels_that_nobody_gives_names_no_trial(trial):
    unlabelled = ("augmentation=gan_pool", *UNLABELLED)
    assert trial(*unlabelled, "pseudo_labels.threshold=0.5").name == trial(*unlabelled).name


def test_the_record_counts_the_pool_also_where_the_generator_was_chosen(trial, tmp_path, shared_store):
    planned = trial("augmentation=gan_pool", "measures.judge.every=320", "measures.judge.best_by=precision")
    record = run(
        dataclasses.replace(planned, split=without_pool_labels(planned.split)), tmp_path / "trial", shared_store
    )
    assert record["saw"]["pool_images"] == len(planned.split.pool)


def test_whoever_labelled_the_pool_does_not_judge_the_generator(trial, gan_trial, tmp_path, shared_store):
    _, _, record = gan_trial
    assert "gan_test" in record["metrics"]["gan"]
    assert "gan_test" not in run(trial("augmentation=gan_pool"), tmp_path / "pool", shared_store)["metrics"]["gan"]


def test_the_record_says_how_right_the_labels_of_the_teacher_were(trial, tmp_path, shared_store):
    plan = trial("augmentation=pseudo_label", "pseudo_labels.threshold=0.5", "classifier.num_steps=100")
    found = run(plan, tmp_path / "trial", shared_store)["metrics"]["pseudo_labels"]
    assert 0 < found["images"] < len(plan.split.pool)
    assert found["share"] == found["images"] / len(plan.split.pool)
    assert 0 < found["accuracy"] <= 1
    assert sum(found["per_class"].values()) == found["images"]


def test_settings_of_the_semi_supervised_gan_name_the_arms_that_train_one(trial):
    def name(arm, *overrides):
        return trial(f"augmentation={arm}", *overrides).name

    for change in ("semi_supervised.num_steps=21", "semi_supervised.entropy=0.2"):
        assert name("semi_supervised", change) != name("semi_supervised")
        assert name("gan_pool", change) != name("gan_pool")
        assert name("pseudo_label", change) == name("pseudo_label")
    assert name("pseudo_label", "pseudo_labels.threshold=0.5") != name("pseudo_label")
    assert name("semi_supervised", "pseudo_labels.threshold=0.5") == name("semi_supervised")
    assert name("semi_supervised", "classifier.num_steps=21") == name("semi_supervised")


GAN_CHANGES = [
    "generator.images_seen=1280",
    "generator.betas=[0.4,0.999]",
    "architecture.latent_dim=50",
    "synthesis.per_class=9",
    "seeds.gan=1",
    "seeds.synthesis=1",
]


@pytest.mark.parametrize("change", GAN_CHANGES)
def test_gan_settings_name_trials_with_a_gan_and_no_others(trial, change):
    def name(arm, *overrides):
        return trial(f"augmentation={arm}", *overrides).name

    assert name("gan", change) != name("gan")
    assert name("none", change) == name("none")


def test_of_the_gan_s_settings_the_quotas_alone_name_an_arm_that_takes_as_many_real_images(trial):
    def name(*overrides):
        return trial("augmentation=more_real", *overrides).name

    matter = ("synthesis.per_class=9", "synthesis.quotas=proportional", "seeds.split=1")
    assert len({name(), *map(name, matter)}) == 4
    others = [*(change for change in GAN_CHANGES if change not in matter), "loss=hinge", "synthesis=confident"]
    assert {name(change) for change in others} == {name()}


@pytest.mark.parametrize(
    ("overrides", "counts"),
    [
        ((), [8] * 10),
        (("synthesis.per_class=20", "synthesis.quotas=top_up", "labels=15"), [5] * 10),
        (("synthesis.per_class=1000",), None),  # more than there are: the whole pool
    ],
    ids=["as many as generated", "quotas", "all there are"],
)
def test_more_real_images_are_as_many_as_generated_ones_would_be(trial, trained, tmp_path, overrides, counts):
    planned = trial("augmentation=more_real", *overrides)
    pool = planned.split.pool
    counts = pool.class_counts.tolist() if counts is None else counts
    assert len(planned.stages["classifier"].image_sets["pool"]) == sum(counts)
    _, data = trained(planned, tmp_path)
    taken = {}
    for selection in data.train_dataloader():
        batch = data.transfer_batch_to_device(selection, torch.device("cpu"), 0)
        assert len(selection[0]) == len(selection[1]) == 32
        taken |= dict(zip(selection[1].tolist(), batch.labels[32:].tolist(), strict=True))
    if sum(counts) < 20 * 32:  # one epoch at least
        assert np.bincount([*taken.values()]).tolist() == counts


@pytest.mark.parametrize(
    ("arm", "seen"), [("none", (0, 0)), ("pseudo_label", (300, 0)), ("more_real", (80, 80))], ids=str
)
def test_the_record_says_how_many_images_and_labels_of_the_target_were_seen(trial, tmp_path, shared_store, arm, seen):
    digits = "{_target_:gan_augment.data.standard_sets.digits}"
    two = ("data=domains", f"data.from={digits}", f"data.to={digits}", "data.from_images=50", "data.to_images=300")
    record = run(trial(*two, f"augmentation={arm}"), tmp_path / "trial", shared_store)
    saw = record["saw"]
    assert (saw["target_images"], saw["target_labels"]) == seen
    assert (saw["labelled"], saw["pool_images"], saw["pool_labels"]) == (50, *seen)
    assert record["provenance"]["domains"] == "from to to"


PAIRED = ("data=edges_to_digits", "data.of.image_size=8", "translation=pix2pix")


def test_pairs_are_seen_by_pix2pix_alone(trial, tmp_path, shared_store):
    record = run(trial(*PAIRED, "augmentation=translated"), tmp_path / "trial", shared_store)
    saw = record["saw"]
    assert (saw["labelled"], saw["target_images"], saw["target_labels"], saw["pairs"]) == (50, 1187, 0, 1187)
    assert "teacher" not in record["costs"]["seconds"]
    other = run(trial(*PAIRED, "translation=cut", "augmentation=translated"), tmp_path / "other", shared_store)
    assert (other["saw"]["target_images"], other["saw"]["pairs"]) == (1437, 0)


def test_a_translator_that_stays_as_it_is_learns_from_nothing(trial, tmp_path, shared_store):
    before = run(trial(*PAIRED, "augmentation=translated"), tmp_path / "trial", shared_store)
    (tmp_path / "trial" / "record.json").write_text(json.dumps(before))
    start = (f"translation.start={tmp_path / 'trial'}", "translation.images_seen=0")
    later = trial(*PAIRED, "augmentation=translated", "labels=all", *start)  # which leaves no pair
    record = run(later, tmp_path / "later", shared_store)
    assert (record["saw"]["pairs"], record["saw"]["target_images"]) == (0, 0)
    assert record["factors"]["translation.start"] == later.stages["translator"].start.start
    abouts = [read_about(tmp_path / name / "translator.pt", "translator") for name in ("trial", "later")]
    assert abouts[0] == abouts[1]
    assert abouts[0]["images_seen"] == 640


@pytest.mark.parametrize("domain", ["from", "to"])
def test_files_are_read_as_those_of_the_inner_node(domain):
    node = {"of": {"from": {"fit": "crop", "white": 9}, "to": {"fit": "stretch"}}}
    assert decoding_of(node, domain)["fit"] == {"from": "crop", "to": "stretch"}[domain]
    assert decoding_of({"fit": "letterbox", "of": node}, domain)["fit"] == "letterbox"
    assert decoding_of({"root": "x"}, domain) == {"fit": None, "white": None, "background": None}


def test_a_teacher_of_a_translator_may_have_seen_the_pool(trial):
    usual, informed = (
        trial("augmentation=translated", f"translation.teacher={one}") for one in ("classifier", "consistency")
    )
    assert usual.stages["teacher"].name == "classifier"
    assert informed.stages["teacher"].name == "consistency"
    assert usual.stages["translator"].key != informed.stages["translator"].key
    with pytest.raises(ValueError, match=r"translation\.teacher=judge: use one of "):
        trial("augmentation=translated", "translation.teacher=judge")
    with pytest.raises(ValueError, match=r"translation\.teacher=consistency: images in low resolution have"):
        trial("augmentation=sr_task", "translation.teacher=consistency")


def test_a_classifier_sees_no_image_of_a_redrawn_set_twice(trial, tmp_path, shared_store):
    fixed, redrawn = trial("augmentation=gan"), trial("augmentation=gan", "synthesis.redraw=true")
    stage = redrawn.stages["classifier"]
    taken = stage.classifier.num_steps * stage.num_extra
    assert taken <= sum(redrawn.stages["synthesis"].images) < taken + 10
    assert fixed.stages["gan"].key == redrawn.stages["gan"].key
    assert fixed.stages["synthesis"].key != redrawn.stages["synthesis"].key
    labelled_by_a_classifier = (
        "augmentation.extra=synthetic",
        "augmentation.share=0.5",
        "augmentation.teacher=classifier",
    )
    with pytest.raises(ValueError, match=r"synthesis\.redraw=true makes as many images as the classifier takes, which"):
        trial("augmentation=dann", *labelled_by_a_classifier, "synthesis.redraw=true")


def test_several_generators_share_the_images(trial, tmp_path, shared_store):
    planned = trial("augmentation=gan", "synthesis.generators=3", "synthesis.per_class=8")
    generators = [role for role in planned.stages if role.endswith("gan")]
    assert len({planned.stages[role].key for role in generators}) == len(generators) == 3
    assert [
        planned.stages[role].settings.per_class for role in planned.stages if "images" in vars(planned.stages[role])
    ] == [*(2, 3, 3)]
    alone = trial("augmentation=gan", "synthesis.per_class=3")
    assert planned.stages["gan"].key == alone.stages["gan"].key
    record = run(planned, tmp_path / "trial", shared_store)
    assert record["status"] == "ok"
    made = planned.stages["synthesis"].load(shared_store.folder(planned.stages["synthesis"]))
    assert made.images.class_counts.tolist() == [8] * 10
    assert record["metrics"]["gan"]["training"] == last_points(shared_store.folder(planned.stages["gan"]))
    firsts = planned.stages["gan"].load(shared_store.folder(planned.stages["gan"])).images(0, torch.arange(3), seed=0)
    assert made.images.images[:3].equal(firsts)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("synthesis.quotas=top_up", "synthesis.generators=2", "synthesis.per_class=9"), "once, by one generator"),
        (("synthesis.quotas=top_up", "synthesis.redraw=true", "synthesis.per_class=9"), "once, by one generator"),
        (("synthesis.generators=3", "synthesis.per_class=2"), "is less than synthesis.generators=3"),
        (("synthesis.generators=0",), "synthesis.generators=0: use a whole number"),
    ],
)
def test_what_several_generators_or_redrawn_sets_cannot_do_is_refused(trial, overrides, message):
    with pytest.raises(ValueError, match=message):
        trial("augmentation=gan", *overrides)


def test_class_mates_need_no_pool(trial, tmp_path, shared_store):
    record = run(trial("augmentation=class_mates"), tmp_path / "trial", shared_store)
    assert (record["saw"]["labelled"], record["saw"]["pool_images"]) == (50, 0)
    assert {"translator", "classifier"} <= set(record["costs"]["seconds"])
    with pytest.raises(ValueError, match=r"extra=class_mates needs translation\.examples=class_mates, not domains"):
        trial("augmentation=class_mates", "translation=cut")
    with pytest.raises(ValueError, match=r"extra=translated needs translation\.examples=domains or pairs, not class_m"):
        trial("augmentation=translated", "translation=class_mates")


def test_pix2pix_needs_pairs(trial):
    digits = "{_target_:gan_augment.data.standard_sets.digits}"
    two = ("data=domains", f"data.from={digits}", f"data.to={digits}")
    with pytest.raises(ValueError, match=r"translation\.examples=pairs, but the images of this data set"):
        trial(*two, "augmentation=translated", "translation=pix2pix")


def test_the_record_says_how_many_images_of_the_pool_were_seen_with_their_labels(trial, tmp_path, shared_store):
    record = run(trial("augmentation=more_real"), tmp_path / "trial", shared_store)
    saw = record["saw"]
    assert (saw["labelled"], saw["pool_images"], saw["pool_labels"], saw["validation"]) == (50, 80, 80, 0)
    assert (saw["target_images"], saw["target_labels"], record["provenance"]["domains"]) == (0, 0, None)
    assert set(record["costs"]["seconds"]) == {"classifier", "measures", "total"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("labels=all",), "the pool has no labelled image to give"),
        (("synthesis.quotas=top_up", "synthesis.per_class=5"), "every class has as many labelled images already"),
    ],
)
def test_a_pool_without_images_is_refused(trial, overrides, message):
    with pytest.raises(ValueError, match=message):
        trial("augmentation=more_real", *overrides)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("labels=0", "labels=0: use a whole number of at least 1"),
        (
            "labels=500",
            "labels=500, but class '0' has 122 training images; use at most 122, or all",
        ),
        ("labels=many", "labels=many: use a whole number of at least 1"),
        ("validation_per_class=-1", "validation_per_class=-1: use a whole number of at least 0"),
        ("generator.discriminator_steps=50", "generator.images_seen=640: use a whole number of at least 3200"),
        ("augmentation.share=0.001", "augmentation.share=0.001 of classifier.batch_size=64 rounds to no image"),
        ("data.classical.flip=perhaps", "data.classical.flip=perhaps: use true or false"),
        ("data.test_share=0.0001", "data.test_share=0.0001 of 1797 images is 1, but test and training need"),
        ("seed=-1", "seeds.split=-1: use a whole number of at least 0"),
        ("seed=first", "seeds.split=first: use a whole number of at least 0"),
        ("generator.batch_size=0", "generator.batch_size=0: use a whole number of at least 1"),
        ("generator.betas=[0.5]", "generator.betas=[0.5]: use a list of two numbers"),
        ("generator.betas=0.5", "generator.betas=0.5"),
        ("+generator.foo=1", "generator has no setting foo: use images_seen, batch_size"),
        ("+architecture.foo=1", "foo"),
        ("+data.foo=1", "foo"),
        ("+foo=1", "foo"),
        ("classifier.batch_size=0", "classifier.batch_size=0: use a whole number of at least 1"),
        ("synthesis.per_class=0", "synthesis.per_class=0: use a whole number of at least 1"),
        ("augmentation.share=1.5", "augmentation.share=1.5: use a number above 0 and at most 1"),
        ("augmentation.share=-0.1", "augmentation.share=-0.1: use a number above 0 and at most 1"),
        ("data.classical.shift=2", "data.classical.shift=2: use a number from 0 to 1"),
        ("augmentation=none data.image_size=4", "a CNN needs images of at least 8x8 pixels, not 4x4"),
        ("data.image_size=4", "architecture DCGAN makes images of 8 to 128 pixels a side, not 4"),
        ("data.image_size=129", "architecture DCGAN makes images of 8 to 128 pixels a side, not 129"),
        ("data.image_size=0", "data.image_size=0: use a whole number of at least 1"),
        ("trainer.precision=16", "trainer.precision=16: use one of 32-true, bf16-mixed"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(trial, setting, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        trial(*setting.split())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("augmentation=half_batch", "augmentation.share=1"), "no image in a batch of classifier.batch_size=64: use a"),
        (("augmentation=none", "augmentation.share=0.5"), "this arm has no extra images: leave share null"),
        (("augmentation=gan", "augmentation.extra=pool_labelled"), "pool_labelled is for augmentation.sees="),
        (("augmentation=mixup", "classifier.batch_size=1"), "augmentation.transform=mixup mixes images, but"),
    ],
)
def test_an_arm_that_would_be_another_one_or_none_is_refused(trial, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        trial(*settings)


def test_oversampling_of_equal_classes_is_refused(trial):
    with pytest.raises(ValueError, match=r"^augmentation\.extra=labelled .* each has 5 labelled images"):
        trial("augmentation=oversampling")


def test_a_trial_without_a_gan_has_one_name_whatever_settings_an_architecture_has(trial):
    assert trial("augmentation=none", "architecture=resnet").name == trial("augmentation=none").name


@pytest.mark.parametrize(
    "change",
    ["labels=6", "validation_per_class=3", "classifier.num_steps=21", "seed=1", "data.image_size=9"],
)
@pytest.mark.parametrize("arm", ["none", "gan"])
def test_what_every_arm_reads_names_every_trial(trial, arm, change):
    assert trial(f"augmentation={arm}", change).name != trial(f"augmentation={arm}").name


def test_the_strength_of_transforms_names_classical_arms_alone(trial):
    def name(arm, *overrides):
        return trial(f"augmentation={arm}", *overrides).name

    assert name("classical", "data.classical.shift=0.2") != name("classical")
    assert name("none", "data.classical.shift=0.2") == name("none")


@pytest.mark.parametrize(
    "change",
    [
        *("paths.data_dir=elsewhere", "paths.output_dir=elsewhere", "study=other"),
        *("trainer.num_threads=2", "trainer.checkpoint_every=7"),
    ],
)
@pytest.mark.parametrize("arm", ["none", "gan_classical"])
def test_where_things_lie_and_how_fast_they_go_names_no_trial(trial, arm, change):
    planned, moved = trial(f"augmentation={arm}"), trial(f"augmentation={arm}", change)
    assert moved.name == planned.name
    assert stage_keys(moved) == stage_keys(planned)


def test_a_data_set_may_be_moved(trial, mnist_folder, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(mnist_folder)
    names = [trial("data=mnist", "augmentation=none", f"paths.data_dir={path}").name for path in (mnist_folder, moved)]
    assert names[0] == names[1]


def test_arms_with_a_gan_share_the_generator(trial):
    gan, both = trial("augmentation=gan"), trial("augmentation=gan_classical")
    assert list(gan.stages) == ["gan", "synthesis", "classifier", "teacher", "judge"]
    differ = [name for name, key in stage_keys(gan).items() if stage_keys(both)[name] != key]
    assert differ == ["classifier", "teacher"]


@pytest.mark.parametrize("name", ["test_share", "classical"])
def test_a_data_set_that_leaves_something_out_is_told(plain_settings, name):
    settings = plain_settings("augmentation=none")
    data = {key: value for key, value in settings["data"].items() if key != name}
    with pytest.raises(ValueError, match=f"^data lacks {name}: a file of conf/data/ sets"):
        plan_trial({**settings, "data": data})


def test_a_trial_is_named_for_the_reader(trial):
    assert trial("augmentation=gan", "seed=3").name.startswith("gan-seed3-")
    assert list(trial("augmentation=none").stages) == ["classifier"]


@pytest.mark.parametrize(
    ("joules", "recorded"),
    [
        ({"cpu_joules": None, "gpu_joules": 0.0}, {"classifier": {"cpu_joules": None, "gpu_joules": 0.0}}),
        ({"cpu_joules": None, "gpu_joules": None}, {}),
    ],
)
def test_energy_is_recorded_where_it_is_known(trial, tmp_path, monkeypatch, joules, recorded):
    monkeypatch.setattr(EnergyMeter, "joules", lambda self: joules)
    record = run(trial("augmentation=none"), tmp_path / "trial")
    assert record["costs"]["energy"] == recorded


def test_a_trial_takes_as_much_memory_as_its_largest_part():
    stages = (
        {"peak_memory_mib": 900, "peak_gpu_memory_mib": 2000},
        {"peak_memory_mib": 500, "peak_gpu_memory_mib": None},
    )
    assert largest({"peak_memory_mib": 300, "peak_gpu_memory_mib": None}, *stages) == stages[0]
    assert largest({"peak_memory_mib": 300, "peak_gpu_memory_mib": None}) == {
        "peak_memory_mib": 300,
        "peak_gpu_memory_mib": None,
    }
