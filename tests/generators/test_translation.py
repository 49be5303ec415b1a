import dataclasses

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_augment.app import CONF
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.data.batches import Batch
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.extras.translated import Translated
from gan_augment.generators.translation import (
    WEIGHTS,
    Domain,
    TrainTranslator,
    Translation,
    TranslationSettings,
    with_prior,
)
from gan_augment.settings import build
from gan_augment.stages import StageStore

SMALL = {"images_seen": 160, "batch_size": 8, "ema_half_life": 40}
MEMBERS = ("cut", "fastcut", "cyclegan")


def node_of(member="cut", **changes):
    """Read a small row of conf/translation/."""
    node = yaml.safe_load((CONF / "translation" / "cut.yaml").read_text())
    node |= yaml.safe_load((CONF / "translation" / f"{member}.yaml").read_text())
    node.pop("defaults", None)
    node["translator"] = node["translator"] | {"channels": 4, "blocks": 2}
    node["discriminator"] = node["discriminator"] | {"channels": 4}
    return node | SMALL | changes


@pytest.fixture
def lay_out(image_set, cpu):
    """Lay out a stage; the second domain is the first in negative."""

    def make(member="cut", **changes):
        settings = build(
            node_of(member, **{"task": 0.0, "match_prior": False} | changes), "translation", TranslationSettings
        )
        others = image_set(per_class=12, seed=2)
        pool = dataclasses.replace(others, images=255 - others.images).without_labels()
        return TrainTranslator(labelled=image_set(), pool=pool, settings=settings, seed=3, hardware=cpu)

    return make


@pytest.mark.parametrize("member", MEMBERS)
def test_each_translator_trains_and_draws_its_curves_and_pictures(lay_out, tmp_path, member):
    stage = lay_out(member)
    stage.check()
    folder = StageStore(tmp_path).fetch(stage).folder
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {*Translation.CURVES} < {*events.Tags()["scalars"]}
    assert events.Tags()["images"] == ["samples"]
    ended = {name: events.Scalars(f"content/{name}")[-1].value for name in WEIGHTS}
    used = {name for name in WEIGHTS if getattr(stage.settings, name)}
    assert {name for name, value in ended.items() if value} == used
    made = Translated(stage).images(stage.labelled, {"translator": folder}, seed=0)
    assert made.labels.equal(stage.labelled.labels)
    assert made.images.dtype == torch.uint8
    assert not made.images.equal(stage.labelled.images)
    assert made.images.equal(Translated(stage).images(stage.labelled, {"translator": folder}, seed=1).images)


def test_translations_get_the_look_of_the_pool(lay_out, tmp_path):
    stage = lay_out("fastcut", images_seen=2400, patch_nce=0.0, learning_rate=0.002)
    dark, bright = (dataclasses.replace(some, images=some.images // 4) for some in (stage.labelled, stage.pool))
    bright = dataclasses.replace(bright, images=255 - bright.images)
    stage = dataclasses.replace(stage, labelled=dark, pool=bright)
    made = Translated(stage).images(dark, {"translator": StageStore(tmp_path).fetch(stage).folder}, seed=0)
    levels = [float(some.images.float().mean()) for some in (dark, made, bright)]
    assert levels[1] - levels[0] > 0.8 * (levels[2] - levels[0])


def test_a_step_trains_every_player(lay_out, image_set):
    stage = lay_out("cyclegan", task=1.0)
    shape = ImageShape(1, 8, 8)
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).requires_grad_(False)
    target, source = Domain(stage.settings, shape), Domain(stage.settings, shape)
    system = Translation(target, source, teacher, stage.settings, stage.labelled, seed=0)
    optimizers = system.configure_optimizers()
    system.optimizers_at = lambda *rates: optimizers
    system.draws = {"patches": None}
    before = {name: value.clone() for name, value in system.state_dict().items()}
    images = image_set(per_class=2).images.float() / 127.5 - 1
    both = torch.cat([images, -images])
    labels = torch.tensor([0, 0, 1, 1, 2, 2, *[-1] * 6])
    system.training_step(Batch(both, labels, {"labelled": slice(0, 6), "pool": slice(6, 12)}), 0)
    same = {name for name, value in system.state_dict().items() if value.equal(before[name])}
    apart = ("teacher", "finite"), ("_u",)  # of a layer with one output, a spectral norm's vector is 1
    assert not {
        one for one in same if "heads" not in one and not one.startswith(apart[0]) and not one.endswith(apart[1])
    }
    assert any("heads" in name for name in same)  # nothing contrasts patches


def test_the_cycle_is_the_distance_after_there_and_back(lay_out, image_set):
    stage = lay_out("cyclegan")
    domains = [Domain(stage.settings, ImageShape(1, 8, 8)) for _ in range(2)]
    system = Translation(*domains, None, stage.settings, stage.labelled, seed=0)
    known = Batch(image_set(per_class=2).images.float() / 127.5 - 1, torch.arange(3).repeat_interleave(2))
    pool = -known.images
    there, back = domains[0](known.images), domains[1](pool)
    terms = system.content(known, pool, domains[0].translator.maps(known.images), [there, back], 0)
    expected = (domains[1](there) - known.images).abs().mean() + (domains[0](back) - pool).abs().mean()
    torch.testing.assert_close(terms["cycle"], expected)
    kept = (domains[0](pool) - pool).abs().mean() + (domains[1](known.images) - known.images).abs().mean()
    torch.testing.assert_close(terms["identity"], kept)
    assert terms["patch_nce"] == terms["task"] == 0


def test_classes_are_repeated_as_often_as_the_prior_says(image_set):
    images = image_set(per_class=10)
    found = with_prior(images, torch.tensor([0.5, 0.25, 0.25]))
    assert found.class_counts.tolist() == [20, 10, 10]
    assert found.labels.sort().values.equal(found.labels)
    assert found.images[:10].equal(found.images[10:20])
    assert with_prior(images, torch.full((3,), 1 / 3)).class_counts.tolist() == [10, 10, 10]
    assert with_prior(images, torch.tensor([0.9, 0.1, 0.0])).class_counts.tolist() == [90, 10, 0]


def test_a_translator_is_read_without_its_training(lay_out, tmp_path, cpu):
    stage = lay_out()
    folder = StageStore(tmp_path).fetch(stage).folder
    read = TrainedTranslator.load(folder / "weights.pt", torch.device("cpu"))
    assert read.translate(stage.labelled).images.equal(stage.load(folder).translate(stage.labelled).images)
    other = ImageSet(torch.zeros(1, 1, 9, 9, dtype=torch.uint8), torch.tensor([0]), stage.labelled.class_names)
    with pytest.raises(ValueError, match=r"takes images of 1x8x8 .*, but these are 1x9x9"):
        read.translate(other)


def test_golden_numbers(lay_out, tmp_path):
    # A change of these numbers is a change of mathematics: raise the version and put the new ones here.
    stage = lay_out()
    folder = StageStore(tmp_path).fetch(stage).folder
    made = stage.load(folder).translate(stage.labelled).images.float()
    assert TrainTranslator.version == 1
    assert [float(made.mean()), float(made.std())] == pytest.approx([108.6, 40.4], abs=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[({name: -1}, f"translation.{name}=-1: use a number") for name in WEIGHTS],
        ({"match_prior": "yes"}, "translation.match_prior=yes: use true or false"),
        ({"batch_size": 0}, "translation.batch_size=0: use a whole number of at least 1"),
        ({"images_seen": 7}, "translation.images_seen=7: use a whole number of at least 8"),
        ({"learning_rate": 0}, "translation.learning_rate=0: use a number above 0"),
        ({"betas": [0.5]}, "translation.betas=.*use a list of two numbers"),
        ({"ema_half_life": 0}, "translation.ema_half_life=0"),
        ({"depth": 3}, "translation has no setting depth"),
        ({"translator": {"_target_": "gan_augment.networks.cnn.CNN"}}, "translation.translator"),
        ({"loss": {"_target_": "gan_augment.losses.adversarial.Relativistic"}}, "translation.loss compares pairs"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build(node_of() | change, "translation", TranslationSettings)


def test_points_are_refused(lay_out):
    points = ImageSet(torch.zeros(2, 2, 1, 1), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match="translation changes images, and these are points"):
        dataclasses.replace(lay_out(), labelled=points).check()
