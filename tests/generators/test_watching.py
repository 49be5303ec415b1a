import pytest
import torch
from gan_augment.generators.watching import Looks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import GAN_NODES, JUDGE_NODE, NO_TRANSFORM
from gan_augment.artefacts.weights import read_about
from gan_augment.generators.gan import gan_stage
from gan_augment.measures.judge import lay_out_judge
from gan_augment.stages import StageStore

UNCONDITIONAL = {"conditioning": {"_target_": "gan_augment.networks.conditioning.Unconditional"}}


@pytest.fixture
def train(image_set, cpu, tmp_path):
    """Train a GAN of 60 steps, in a store; return its stage's folder."""
    validation = image_set(per_class=25, seed=1)
    judge = lay_out_judge(image_set(per_class=20, seed=2), validation, NO_TRANSFORM, JUDGE_NODE, cpu)

    def make(images=None, design=(), **changes):
        nodes = GAN_NODES | dict(design)
        stage = gan_stage(images or image_set(), nodes | {"gan": GAN_NODES["gan"] | changes}, 0, cpu, judge)
        return StageStore(tmp_path / "store").fetch(stage).folder

    return make


def curves(folder):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("judge/")]
    return {tag.removeprefix("judge/"): [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags}


def test_the_judge_looks_at_its_interval_and_at_the_end(train):
    found = curves(train(judge_every=400))  # 60 steps of 16 images
    assert set(found) == {
        *("judge_frechet_distance", "judge_kernel_distance", "precision", "recall", "density", "coverage"),
        *("label_agreement", "cas_validation"),
    }
    for points in found.values():
        assert [step for step, _ in points] == [400, 800, 960]
    assert all(0 <= value <= 1 for _, value in found["cas_validation"])


def test_a_training_that_is_looked_at_takes_the_same_course(train):
    seen, unseen = (torch.load(train(**how) / "weights.pt")["networks"] for how in ({"judge_every": 200}, {}))
    for name, state in unseen.items():
        for key, value in state.items():
            assert torch.equal(seen[name][key], value)


@pytest.mark.parametrize(("metric", "better"), [("judge_frechet_distance", min), ("recall", max)])
def test_the_best_look_is_kept_beside_the_last(train, metric, better):
    folder = train(judge_every=200, best_by=metric)
    points = curves(folder)[metric]
    step, value = next(point for point in points if point[1] == better(value for _, value in points))
    best, last = (read_about(folder / name, "gan") for name in ("best.pt", "weights.pt"))
    assert (best["images_seen"], best["chosen_by"]) == (step, metric)
    assert best["value"] == pytest.approx(value, rel=1e-5)
    assert last["images_seen"] == 960
    assert "chosen_by" not in last


def test_nothing_is_kept_unless_asked_for(train):
    assert not (train(judge_every=400) / "best.pt").exists()


def test_a_generator_without_classes_is_measured_without_labels(train, image_set):
    found = curves(train(image_set().as_one_class(), UNCONDITIONAL, judge_every=960))
    assert set(found) == {
        *("judge_frechet_distance", "judge_kernel_distance", "precision", "recall", "density", "coverage"),
    }


def test_a_metric_that_is_not_a_number_is_never_the_best(train, monkeypatch):
    values = iter([float("nan"), 0.5, float("nan"), 0.7, 0.6, float("nan")])
    monkeypatch.setattr(Looks, "measure", lambda self, system: {"recall": next(values)})
    folder = train(judge_every=160, best_by="recall")
    assert read_about(folder / "best.pt", "gan")["value"] == 0.7


def test_looks_need_a_judge_and_images_to_compare_with(image_set, cpu):
    nodes = GAN_NODES | {"gan": GAN_NODES["gan"] | {"judge_every": 400}}
    with pytest.raises(ValueError, match=r"gan\.judge_every=400, but there is no judge: choose one, such as judge=cnn"):
        gan_stage(image_set(), nodes, 0, cpu)
    nothing = image_set().subset(torch.arange(0))
    judge = lay_out_judge(image_set(), nothing, NO_TRANSFORM, JUDGE_NODE, cpu)
    with pytest.raises(ValueError, match="but there is no validation image for it to compare with"):
        gan_stage(image_set(), nodes, 0, cpu, judge)


def test_a_judge_that_does_not_look_does_not_count(image_set, cpu):
    judge = lay_out_judge(image_set(), image_set(seed=1), NO_TRANSFORM, JUDGE_NODE, cpu)
    assert gan_stage(image_set(), GAN_NODES, 0, cpu, judge).key == gan_stage(image_set(), GAN_NODES, 0, cpu).key
