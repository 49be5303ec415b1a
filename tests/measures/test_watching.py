from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import GAN_NODES, JUDGE_NODE, NO_TRANSFORM, gan_stage
from gan_augment.artefacts.weights import read_about
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.judge import Judge
from gan_augment.measures.watching import Measurements
from gan_augment.settings import build
from gan_augment.stages import StageStore

UNCONDITIONAL = {"conditioning": {"_target_": "gan_augment.networks.conditioning.Unconditional"}}


@pytest.fixture
def plan_watch(cpu):
    """Plan what measures a generator while it trains."""

    def plan(training, validation, **changes):
        config = SimpleNamespace(classical=NO_TRANSFORM, hardware=cpu)
        judge = build(JUDGE_NODE | changes, "measures.judge", Judge)
        return judge.watch(config, SimpleNamespace(training=training, validation=validation))

    return plan


@pytest.fixture
def train(image_set, cpu, tmp_path, plan_watch):
    """Train a GAN of 60 steps, in a store; return its stage's folder."""

    def make(images=None, design=(), **changes):
        watch = plan_watch(image_set(per_class=20, seed=2), image_set(per_class=25, seed=1), **changes)
        stage = gan_stage(images or image_set(), GAN_NODES | dict(design), 0, cpu, watch=watch)
        stage.check()
        return StageStore(tmp_path / "store").fetch(stage).folder

    return make


def curves(folder):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("judge/")]
    return {tag.removeprefix("judge/"): [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags}


def test_the_judge_looks_at_its_interval_and_at_the_end(train):
    found = curves(train(every=400))  # 60 steps of 16 images
    assert set(found) == {
        *("judge_frechet_distance", "judge_kernel_distance", "precision", "recall", "density", "coverage"),
        *("label_agreement", "cas_validation"),
    }
    for points in found.values():
        assert [step for step, _ in points] == [400, 800, 960]
    assert all(0 <= value <= 1 for _, value in found["cas_validation"])


def test_a_training_that_is_looked_at_takes_the_same_course(train):
    seen, unseen = (torch.load(train(**how) / "weights.pt")["networks"] for how in ({"every": 200}, {}))
    for name, state in unseen.items():
        for key, value in state.items():
            assert torch.equal(seen[name][key], value)


@pytest.mark.parametrize(("metric", "better"), [("judge_frechet_distance", min), ("recall", max)])
def test_the_best_look_is_kept_beside_the_last(train, metric, better):
    folder = train(every=200, best_by=metric)
    points = curves(folder)[metric]
    step, value = next(point for point in points if point[1] == better(value for _, value in points))
    best, last = (read_about(folder / name, "gan") for name in ("best.pt", "weights.pt"))
    assert (best["images_seen"], best["chosen_by"]) == (step, metric)
    assert best["value"] == pytest.approx(value, rel=1e-5)
    assert last["images_seen"] == 960
    assert "chosen_by" not in last


def test_nothing_is_kept_unless_asked_for(train):
    assert not (train(every=400) / "best.pt").exists()


def test_a_generator_without_classes_is_measured_without_labels(train, image_set):
    found = curves(train(image_set().as_one_class(), UNCONDITIONAL, every=960))
    assert set(found) == {
        *("judge_frechet_distance", "judge_kernel_distance", "precision", "recall", "density", "coverage"),
    }


def test_a_metric_that_is_not_a_number_is_never_the_best(train, monkeypatch):
    values = iter([float("nan"), 0.5, float("nan"), 0.7, 0.6, float("nan")])
    monkeypatch.setattr(Measurements, "measure", lambda self, system: {"recall": next(values)})
    folder = train(every=160, best_by="recall")
    assert read_about(folder / "best.pt", "gan")["value"] == 0.7


def test_looks_need_a_judge_and_images_to_compare_with(image_set, plan_watch):
    points = ImageSet(torch.zeros(5, 2, 1, 1), torch.zeros(5, dtype=torch.int64), ["a", "b"])
    for images, reason in ((points, "these are points"), (image_set().as_one_class(), "its images are of one class")):
        with pytest.raises(ValueError, match=rf"judge\.every=400, but there is no judge\. The generator .*: {reason}"):
            plan_watch(images, images, every=400)
    nothing = image_set().subset(torch.arange(0))
    with pytest.raises(ValueError, match="every=400, but there are no validation images: set validation_per_class"):
        plan_watch(image_set(), nothing, every=400)


def test_a_generator_is_not_chosen_by_images_that_lack_a_class(image_set, plan_watch):
    two_of_three = image_set().subset(torch.arange(20))
    assert plan_watch(image_set(), two_of_three, every=400) is not None
    with pytest.raises(ValueError, match=r"best_by=recall, but there are no validation images of 'class2': set"):
        plan_watch(image_set(), two_of_three, every=400, best_by="recall")


def test_a_judge_that_does_not_look_does_not_count(image_set, cpu, plan_watch):
    plain = gan_stage(image_set(), hardware=cpu).key
    idle, watching = (plan_watch(image_set(), image_set(seed=1), every=every) for every in (None, 400))
    assert idle is None
    assert gan_stage(image_set(), hardware=cpu, watch=idle).key == plain
    assert gan_stage(image_set(), hardware=cpu, watch=watching).key != plain
