"""A training that a clock ends."""

import dataclasses
import itertools

import pytest
from test_checkpoints import InterruptionError

from conftest import GAN_NODES, gan_stage
from gan_augment.artefacts.generator import Generator
from gan_augment.artefacts.weights import read_about
from gan_augment.stages import StageStore
from gan_augment.training.rehearsal import Rehearsed, rehearsal

BATCH = GAN_NODES["generator"]["batch_size"]


def timed(images, seconds, hardware=None, **settings):
    node = GAN_NODES["generator"] | {"images_seen": None, "seconds": seconds, **settings}
    return gan_stage(images, GAN_NODES | {"generator": node}, hardware=hardware)


@pytest.fixture(autouse=True)
def _a_second_each_time_one_looks(monkeypatch):
    monkeypatch.setattr("gan_augment.training.budget.monotonic", itertools.count().__next__)
    monkeypatch.setattr("gan_augment.training.base.monotonic", lambda: 0.0)


def test_a_training_ends_when_its_seconds_are_spent_and_says_what_it_saw(image_set, tmp_path):
    stage = timed(image_set(), seconds=20, decay=True)
    output = StageStore(tmp_path).fetch(stage)
    about = read_about(stage.checkpoint(output.folder), "gan")
    assert about["images_seen"] == 20 * BATCH
    assert stage.findings(output.folder).metrics["gan"]["training"]["images_seen"] == 20 * BATCH
    assert isinstance(stage.load(output.folder), Generator)


def test_the_images_may_end_it_before(image_set, tmp_path):
    stage = timed(image_set(), seconds=20, images_seen=5 * BATCH)
    output = StageStore(tmp_path).fetch(stage)
    assert read_about(stage.checkpoint(output.folder), "gan")["images_seen"] == 5 * BATCH


def test_seconds_before_an_interruption_count(image_set, tmp_path, cpu, monkeypatch):
    monkeypatch.setattr("gan_augment.training.checkpoints.monotonic", itertools.count().__next__)
    stage = timed(image_set(), seconds=40, hardware=dataclasses.replace(cpu, checkpoint_every=10))
    taken = itertools.count(1)

    def interrupt(*_):
        if next(taken) == 25:
            raise InterruptionError

    with monkeypatch.context() as patched:
        patched.setattr("gan_augment.generators.gan_training.GAN.average", interrupt)
        with pytest.raises(InterruptionError):
            StageStore(tmp_path).fetch(stage)
    output = StageStore(tmp_path).fetch(stage)
    about = read_about(stage.checkpoint(output.folder), "gan")
    assert about["images_seen"] == 40 * BATCH


def test_the_estimate_is_at_most_its_seconds(image_set, tmp_path):
    with rehearsal(1), pytest.raises(Rehearsed) as found:
        timed(image_set(), seconds=0.5).run(tmp_path, {})
    assert found.value.seconds == 0.5


def test_without_seconds_the_key_is_what_it_was(image_set):
    images = image_set()
    untimed = gan_stage(images, GAN_NODES | {"generator": GAN_NODES["generator"] | {"seconds": None}})
    assert untimed.key == gan_stage(images).key != timed(images, seconds=20).key


@pytest.mark.parametrize("seconds", [0, -1, "long"])
def test_seconds_are_a_positive_number(image_set, seconds):
    with pytest.raises(ValueError, match=r"generator\.seconds"):
        timed(image_set(), seconds)


def test_something_must_end_a_training(image_set):
    with pytest.raises(ValueError, match="nothing would end the training: set one"):
        timed(image_set(), seconds=None)


def test_pictures_take_no_time_of_the_budget(image_set, tmp_path, monkeypatch):
    now, drawn = [0.0], []

    def look():  # each step takes a second
        now[0] += 1
        return now[0]

    def draw(*given):  # and each picture five
        now[0] += 5
        drawn.append(given)

    monkeypatch.setattr("gan_augment.training.budget.monotonic", look)
    monkeypatch.setattr("gan_augment.training.base.monotonic", lambda: now[0])
    monkeypatch.setattr("gan_augment.generators.samples.SampleGrid._draw", draw)
    stage = timed(image_set(), seconds=20)
    output = StageStore(tmp_path).fetch(stage)
    assert len(drawn) == 12
    assert read_about(stage.checkpoint(output.folder), "gan")["images_seen"] == 20 * BATCH


def test_several_processes_have_no_common_clock(image_set, cpu):
    together = dataclasses.replace(cpu, devices=2)
    with pytest.raises(ValueError, match=r"each process has a clock of its own: set generator.seconds=null"):
        timed(image_set(), seconds=20, hardware=together).check()
