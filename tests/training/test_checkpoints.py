"""A stage that was interrupted ends bit for bit as if it had not been."""

import dataclasses
import itertools
import json
import logging
import math
import os

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from conftest import GAN_NODES, JUDGE_NODE, NO_TRANSFORM, gan_stage
from gan_augment.app import CONF
from gan_augment.arm import Arm
from gan_augment.augmentation.degrading import Degrading
from gan_augment.contracts import NoExtra
from gan_augment.encoders.base import EncoderSettings, TrainEncoder
from gan_augment.generators.single import SingleSettings
from gan_augment.generators.translation import TrainTranslator
from gan_augment.generators.translation_design import TranslationSettings
from gan_augment.measures.judge import Judge, JudgeStage, JudgeWatch
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.networks.encoded import effective
from gan_augment.parts import parts
from gan_augment.settings import build
from gan_augment.stages import BEGUN, CHECKPOINTS, StageStore, checkpoints
from gan_augment.training.hardware import Hardware

EVERY = 10  # seconds, and each step takes one
NUM_STEPS = 60  # of every stage here


PROJECTED = GAN_NODES | {
    "architecture": {
        "_target_": "gan_augment.networks.projected.Projected",
        "latent_dim": 5,
        "channels": 4,
        "width": 4,
    },
    "penalty": {"_target_": "gan_augment.losses.diversity.Diversity"},
    "generator": GAN_NODES["generator"] | {"images_seen": 4 * NUM_STEPS, "batch_size": 4},
    "discriminator_augmentation": GAN_NODES["discriminator_augmentation"]
    | {"_target_": "gan_augment.augmentation.discriminator.Adaptive", "translation": 0.125, "flip": True, "group": 4},
}


class InterruptionError(Exception):
    """Stands in for a process that is killed."""


class Watch(Callback):
    """Note the steps that are taken, and interrupt one."""

    def __init__(self):
        self.steps = []
        self.stop_at = None

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.steps.append(batch_idx)
        if batch_idx == self.stop_at:
            self.stop_at = None
            raise InterruptionError


@pytest.fixture(autouse=True)
def _event_files_in_order(monkeypatch):
    """Name them so that they sort as they are written, as those of different processes do."""
    monkeypatch.setattr(event_file_writer._global_uid, "_value", 10**6)


@pytest.fixture(autouse=True)
def _a_second_a_step(monkeypatch):
    monkeypatch.setattr("gan_augment.training.checkpoints.monotonic", itertools.count().__next__)


@pytest.fixture
def watch(monkeypatch):
    """Watch the trainings of stages; not those for a look, which leave nothing."""
    one, fit = Watch(), Hardware.fit

    def watched(self, system, data, folder, *arguments, callbacks=(), **settings):
        more = (one,) if folder.suffix == ".partial" else ()
        return fit(self, system, data, folder, *arguments, callbacks=(*callbacks, *more), **settings)

    monkeypatch.setattr(Hardware, "fit", watched)
    return one


@pytest.fixture
def lay_out(image_set, cpu, tiny_backbone):
    """Lay out a stage of 60 steps."""
    images, validation = image_set(), image_set(per_class=25, seed=1)
    moved = NO_TRANSFORM | {"shift": 0.1, "rotation": 15.0}

    def make(kind, every=EVERY, **changes):
        hardware = dataclasses.replace(cpu, checkpoint_every=every, **changes)
        judge = JudgeStage(
            training=image_set(per_class=20, seed=2),
            validation=validation,
            judge=build(JUDGE_NODE, "measures.judge", Judge).training,
            classical=moved,
            seed=0,
            hardware=hardware,
        )
        if kind == "judge":
            return judge
        if kind == "classifier":
            network = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
            return Supervised(
                labelled=images,
                validation=validation,
                classical=moved,
                arm=Arm(sees="labelled", extra="none", share=None, transform="classical", method="classifier"),
                extra=NoExtra(),
                classifier=ClassifierSettings(network, NUM_STEPS, 16, learning_rate=0.01, weight_decay=0.01),
                seed=0,
                hardware=hardware,
            )
        if kind.startswith("translator"):
            node = yaml.safe_load((CONF / "translation" / "cut.yaml").read_text())
            small = {"channels": 4, "blocks": 2}, {"channels": 4}
            node |= {"translator": node["translator"] | small[0], "discriminator": node["discriminator"] | small[1]}
            node |= {"task": 0.0, "match_prior": False, "images_seen": 4 * NUM_STEPS, "batch_size": 4}
            has_teacher = kind in ("translator with a way back", "translator of classes")
            teacher = make("classifier", every=None) if has_teacher else None
            if teacher is not None:
                node |= {"task": 1.0, "match_prior": True}
                way = {"patch_nce": 0.0, "cycle": 10.0}
                node |= {"class_conditional": True} if kind == "translator of classes" else way
            if kind == "translator with styles":
                node |= {"style": 1.0, "translator": node["translator"] | {"styled": True}}
            mates = {}
            if kind == "translator of small images":
                node |= {"examples": "low_resolution", "patch_nce": 0.0, "identity_mapping": 0.0, "l1": 10.0}
                mates = {"degrading": Degrading(2, "area")}
            if kind == "translator of class mates":
                node |= {"examples": "class_mates", "patch_nce": 0.0, "identity_mapping": 0.0, "conditional": True}
                node["translator"] |= {"latents": 16}
                mates = {"pool": None}
            return TrainTranslator(
                labelled=images,
                **{"pool": validation.without_labels()} | mates,
                settings=build(node, "translation", TranslationSettings),
                teacher=teacher,
                seed=0,
                hardware=hardware,
            )
        if kind in ("autoencoder", "adversarial_autoencoder", "bigan", "infogan"):
            node = yaml.safe_load((CONF / "encoder" / "autoencoder.yaml").read_text())
            node |= yaml.safe_load((CONF / "encoder" / f"{kind}.yaml").read_text())
            node |= {"codes": 3, "images_seen": 4 * NUM_STEPS, "batch_size": 4}
            node.pop("defaults", None)
            encoder = build(node, "encoder", EncoderSettings)
            planned = {
                "images": images.as_one_class(),
                "pool": images,
                "architecture": effective(GAN_NODES["architecture"]),
            }
            return TrainEncoder(encoder=encoder, seed=0, hardware=hardware, **planned)
        if kind in ("flow", "vae"):
            node = yaml.safe_load((CONF / "generator" / f"{kind}.yaml").read_text())
            node |= {"network": node["network"] | {"channels": 4}, "images_seen": 4 * NUM_STEPS, "batch_size": 4}
            settings = build(node | {"transformed": 0.5}, "generator", SingleSettings)
            planned = {"labelled": images, "generator": settings, "classical": moved}
            return settings.kind(**planned, watch=JudgeWatch(judge, 72, "cas_validation"), seed=0, hardware=hardware)
        nodes = GAN_NODES | {"generator": GAN_NODES["generator"] | {"decay": True, "discriminator_steps": 2}}
        if kind == "projected gan":
            nodes = PROJECTED | {"architecture": PROJECTED["architecture"] | {"backbone": tiny_backbone}}
        watch = JudgeWatch(judge, 288, "cas_validation") if kind == "gan with looks" else None  # every 18 steps
        return gan_stage(images, nodes, hardware=hardware, watch=watch)

    return make


def left_by(folder):
    """Read all that a stage leaves and that does not tell the time: weights, signals, curves and pictures."""
    found = {}
    for path in sorted(folder.rglob("*.pt")):
        for network, state in torch.load(path, weights_only=True)["networks"].items():
            found |= {(path.name, network, name): value.numpy().tobytes() for name, value in state.items()}
        found[path.name] = torch.load(path, weights_only=True)["about"]
    if (folder / "signals.json").exists():
        found["signals.json"] = json.loads((folder / "signals.json").read_text())
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()
    for tag in events.Tags()["scalars"]:
        if tag != "images_per_second":
            found[tag] = [(point.step, point.value) for point in events.Scalars(tag)]
    for tag in events.Tags()["images"]:
        found[tag] = [(point.step, point.encoded_image_string) for point in events.Images(tag)]
    return found


@pytest.fixture
def interrupt(lay_out, watch, tmp_path):
    """Make a stage with a store of its own, interrupted at some steps; return its folder."""
    numbers = itertools.count()

    def make(kind, *steps, every=EVERY, between=lambda partial: None, **changes):
        store, stage = StageStore(tmp_path / f"store{next(numbers)}"), lay_out(kind, every, **changes)
        for one in stage.inputs.values():
            store.fetch(one)
        watch.steps.clear()
        for step in steps:
            watch.stop_at = step
            with pytest.raises(InterruptionError):
                store.fetch(stage)
            (part,) = parts(store.folder(stage))
            between(part)
        return store.fetch(stage).folder

    return make


INTERRUPTIONS = {  # before the first checkpoint, just before and after one, at the end, and twice
    "gan": [(5,), (19,), (20,), (59,), (34, 58)],
    "projected gan": [(34, 58)],
    "gan with looks": [(40,), (53,)],  # between two looks, and at the very step of one
    "flow": [(34, 58)],
    "vae": [(34, 58)],
    "autoencoder": [(19,)],
    "adversarial_autoencoder": [(19,)],
    "bigan": [(34, 58)],
    "infogan": [(19,)],
    "classifier": [(5,), (19,), (20,), (59,), (34, 58)],
    "judge": [(34, 58)],
    "translator": [(19,)],
    "translator with a way back": [(34, 58)],
    "translator of class mates": [(19,)],
    "translator with styles": [(19,)],
    "translator of classes": [(19,)],
    "translator of small images": [(19,)],
}


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_an_interrupted_stage_ends_as_if_it_had_not_been(interrupt, watch, kind):
    whole = left_by(interrupt(kind, every=None))
    assert watch.steps == [*range(NUM_STEPS)]
    for steps in INTERRUPTIONS[kind]:
        folder = interrupt(kind, *steps)
        assert len(watch.steps) <= NUM_STEPS + EVERY * len(steps)
        assert left_by(folder) == whole, steps
        assert not (folder / CHECKPOINTS).exists()


def test_a_resumed_training_has_its_channels_where_they_were(interrupt):
    whole, resumed = (interrupt("classifier", *steps, channels_last=True) for steps in ((), (34,)))
    assert left_by(resumed) == left_by(whole)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["gan", "gan with looks", "classifier"])
def test_an_interrupted_stage_on_a_gpu_ends_as_if_it_had_not_been(interrupt, kind):
    whole, resumed = (interrupt(kind, *steps, accelerator="gpu") for steps in ((), (34, 58)))
    assert left_by(resumed) == left_by(whole)


@pytest.mark.parametrize("kind", ["gan", "classifier"])
def test_a_checkpoint_may_stand_before_the_last_step(interrupt, watch, kind):
    whole, resumed = interrupt(kind, every=None), interrupt(kind, NUM_STEPS - 1, every=NUM_STEPS - 1)
    assert watch.steps == [*range(NUM_STEPS), NUM_STEPS - 1]
    assert left_by(resumed) == left_by(whole)


def test_the_newest_checkpoint_and_the_one_before_are_kept(interrupt):
    def look(partial):
        assert [path.name for path in checkpoints(partial / CHECKPOINTS)] == ["40.ckpt", "30.ckpt"]
        assert not list(partial.rglob("*.partial"))

    interrupt("classifier", 45, between=look)


def tear(*names):
    def damage(partial):
        for name in names:
            path = partial / CHECKPOINTS / name
            path.write_bytes(path.read_bytes()[:-100])

    return damage


@pytest.mark.parametrize(("torn", "resumes_at"), [(("40.ckpt",), 30), (("40.ckpt", "30.ckpt"), 0)])
def test_a_torn_checkpoint_is_left_out(interrupt, watch, caplog, torn, resumes_at):
    caplog.set_level(logging.INFO)
    whole, resumed = interrupt("classifier", every=None), interrupt("classifier", 45, between=tear(*torn))
    assert watch.steps == [*range(46), *range(resumes_at, NUM_STEPS)]
    assert left_by(resumed) == left_by(whole)
    assert sum("cannot be read" in message for message in caplog.messages) == len(torn)


@pytest.mark.parametrize("otherwise", [{"commit": "another"}, {"sources": "edited"}, {"threads": 99}])
def test_a_checkpoint_that_was_begun_otherwise_is_left_out(interrupt, watch, otherwise):
    def change(partial):
        begun = json.loads((partial / CHECKPOINTS / BEGUN).read_text())
        begun["same"] |= otherwise
        (partial / CHECKPOINTS / BEGUN).write_text(json.dumps(begun))

    interrupt("classifier", 45, between=change)
    assert watch.steps == [*range(46), *range(NUM_STEPS)]


def test_the_cost_of_a_stage_counts_what_led_to_its_last_checkpoint(interrupt):
    def age(partial):
        begun, *written = (partial / CHECKPOINTS / BEGUN, *checkpoints(partial / CHECKPOINTS))
        then = begun.stat().st_mtime
        for path in written:
            os.utime(path, (then + 1000, then + 1000))

    folder = interrupt("classifier", 25, 45, between=age)
    assert 2000 < json.loads((folder / "stage.json").read_text())["seconds"] < 2500


def test_a_training_that_diverges_after_an_interruption_leaves_no_checkpoint(lay_out, watch, tmp_path, monkeypatch):
    store, stage = StageStore(tmp_path), lay_out("classifier")
    watch.stop_at = 25
    with pytest.raises(InterruptionError):
        store.fetch(stage)
    monkeypatch.setattr("gan_augment.methods.supervised.cross_entropy", lambda logits, labels: logits.sum() * math.nan)
    output = store.fetch(stage)
    assert output.diverged == "a loss was not finite within the first 50 steps"
    assert not (output.folder / CHECKPOINTS).exists()
