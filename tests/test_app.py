"""The command line: studies from the launch to the report, what a user does wrong, and what breaks on the way."""

import csv
import gzip
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from keyword import iskeyword
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import OmegaConf
from PIL import Image

from conftest import TINY
from gan_augment.app import CONF
from gan_augment.generators.gan import PARTS
from gan_augment.job import plain
from gan_augment.launch import check_against, compose_jobs
from gan_augment.records.record import SCHEMA
from gan_augment.records.request import read_requests

STUDY = ("-m", "experiment=digits", *TINY)
ARMS = ("none", "classical", "gan", "gan_classical")
RECIPES = sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - {"confirm"})  # it needs a search


def start(*arguments, **settings):
    """Start `gan-augment` in a process of its own."""
    command = [sys.executable, "-m", "gan_augment", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes | settings)


def records(folder):
    """Read the records of a study, by trial."""
    paths = sorted((folder / "trials").glob("*/record.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def requested(folder):
    """Return the names of the trials that the last launch of a study asks for."""
    return read_requests(folder)[-1]["requested"]


def statuses(folder):
    """Return the status of each trial by arm; each arm has one seed."""
    return {record["factors"]["augmentation"]: record["status"] for record in records(folder).values()}


def results(folder, without=()):
    """Read results.csv, without the columns whose names start with some words."""
    rows = csv.DictReader(io.StringIO((folder / "report" / "results.csv").read_text()))
    return [{name: value for name, value in row.items() if not name.startswith(without)} for row in rows]


def unwrapped(said):
    """Join the lines that were broken for a narrow screen."""
    return " ".join(said.split())


# ---------------------------------------------------------------------------------------------------- a tiny study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Run four arms on two seeds in a process of its own; return the output folder and what was said."""
    output = tmp_path_factory.mktemp("outputs")
    process = start(*STUDY, "seed=0,1", f"paths.output_dir={output}")
    out, err = process.communicate()
    assert process.returncode == 0, err
    return output, out


def test_a_study_leaves_a_record_and_its_predictions_for_every_trial(study):
    folder = study[0] / "studies" / "digits"
    found = records(folder)
    assert sorted((one["factors"]["augmentation"], one["factors"]["seeds.split"]) for one in found.values()) == sorted(
        (arm, seed) for arm in ARMS for seed in (0, 1)
    )
    for name, record in found.items():
        assert (record["trial"], record["status"], record["error"]) == (name, "ok", None)
        predictions = np.load(folder / "trials" / name / "predictions.npz")
        assert predictions["probabilities"].shape == (360, 10)
        assert predictions["probabilities"].dtype == np.float16
        assert predictions["ids"].shape == predictions["labels"].shape == (360,)
        assert len(set(predictions["ids"].tolist())) == 360
        right = predictions["predicted"] == predictions["labels"]
        assert right.mean() == pytest.approx(record["metrics"]["test"]["accuracy"])
    assert requested(folder) == [
        next(name for name in found if name.startswith(f"{arm}-seed{seed}-")) for seed in (0, 1) for arm in ARMS
    ]


def test_only_arms_with_a_gan_have_pictures_of_its_images(study):
    for trial in (study[0] / "studies" / "digits" / "trials").iterdir():
        picture = trial / "samples.png"
        assert picture.exists() == trial.name.startswith("gan")
        if picture.exists():
            assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_trial_shows_its_stages_in_tensorboard_reused_ones_too(study):
    for trial in (study[0] / "studies" / "digits" / "trials").iterdir():
        stages = ("gan", "classifier") if trial.name.startswith("gan") else ("classifier",)
        for stage in stages:
            assert list((trial / "tensorboard" / stage).glob("events.out.tfevents.*"))
        assert list((trial / "tensorboard").glob("events.out.tfevents.*"))


def test_arms_share_a_generator(study):
    store = study[0] / "store"
    made = {
        stage.name: [path for path in stage.iterdir() if path.is_dir() and path.suffix != ".partial"]
        for stage in store.iterdir()
    }
    numbers = {stage: len(folders) for stage, folders in made.items()}
    assert numbers == {"judge": 1, "gan": 2, "synthesis": 2, "classifier": 8}  # teachers are the arms without a GAN
    assert not list(store.glob("*/*.partial"))
    by_name = records(study[0] / "studies" / "digits")
    for seed in (0, 1):
        first, second = (
            next(one for name, one in by_name.items() if name.startswith(f"{arm}-seed{seed}"))
            for arm in ("gan", "gan_classical")
        )
        assert first["provenance"]["stages"]["gan"] == second["provenance"]["stages"]["gan"]
        assert first["costs"]["seconds"]["gan"]["spent"] == second["costs"]["seconds"]["gan"]["reused"] > 0


def test_the_report_is_written_and_told(study):
    output, out = study
    report = output / "studies" / "digits" / "report"
    assert "<html" in (report / "report.html").read_text()
    rows = results(output / "studies" / "digits")
    assert len(rows) == 8
    assert {row["factors.augmentation"] for row in rows} == set(ARMS)
    assert "study digits: 8 trials" in out
    assert "The generator's images are not usable yet (" in unwrapped(out)  # after so short a training
    assert "gan against none, with this generator: too few splits (n = 2" in unwrapped(out)
    assert f"report: {report / 'report.html'}" in out.replace("\n", "")


def test_a_study_that_is_launched_again_is_reused(study, cli):
    folder = study[0] / "studies" / "digits"
    before = (folder / "report" / "results.csv").read_bytes()
    written = {path: path.stat().st_mtime_ns for path in (folder / "trials").glob("*/record.json")}
    ended = cli(*STUDY, "seed=0,1", f"paths.output_dir={study[0]}")
    assert ended.code == 0
    assert ended.out.count(", reused\n") == 8
    assert "trial 8/8" in ended.out
    assert "steps" not in ended.out
    launch = max((folder / "launches").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert not [path for path in launch.iterdir() if path.is_dir() and path.name.isdigit()]  # no job was started
    assert (folder / "report" / "results.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in written} == written


# ------------------------------------------------------------------------------------------------- smaller commands


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("gan_augment.app", ["torch", "lightning", "pandas", "matplotlib", "sklearn"]),
        ("gan_augment.report.page", ["torch", "lightning"]),
    ],
)
def test_a_command_answers_before_the_heavy_libraries_are_imported(module, heavy):
    loaded = python(f"import {module}, sys; print(*sys.modules)")
    assert module in loaded
    assert not set(heavy) & set(loaded)


@pytest.mark.parametrize(("option", "answer"), [("--help", "augmentation: "), ("--cfg=job", "folds: auto")])
def test_help_and_configuration_are_shown(option, answer):
    process = start(option)
    out, err = process.communicate()
    assert process.returncode == 0
    assert err == ""
    assert answer in out


def test_a_recipe_without_m_runs_one_trial_and_says_how_to_run_them_all(cli, tmp_path):
    ended = cli("experiment=digits", "augmentation=none", *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 0
    assert "experiment=digits is a study of many trials: -m runs them all." in ended.out
    assert statuses(tmp_path / "studies" / "digits") == {"none": "ok"}
    assert not (tmp_path / "studies" / "digits" / "report").exists()


def test_a_trial_without_a_recipe_gets_no_hint(cli, tmp_path):
    ended = cli("augmentation=none", *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 0
    assert "-m" not in ended.out
    assert ended.err == ""
    (folder,) = (tmp_path / "studies").glob("untitled-*")
    assert statuses(folder) == {"none": "ok"}


# What training sees in each arm: images of the pool and labels of the pool, and in which stages.
WITH_GAN = {"teacher", "judge", "gan", "synthesis", "classifier", "total"}
WITHOUT = {"classifier", "total"}
LABELLING = {"teacher", "pseudo_labels"}
POOL_OF_DIGITS = 1187
POOL = 1126  # images: 1,187 less half of those of the rare class
EVERY_ARM = {
    "none": (0, 0, WITHOUT),
    "half_batch": (0, 0, WITHOUT),
    "classical": (0, 0, WITHOUT),
    "mixup": (0, 0, WITHOUT),
    "cutmix": (0, 0, WITHOUT),
    "oversampling": (0, 0, WITHOUT),
    "more_real": (80, 80, WITHOUT),
    "more_real_classical": (80, 80, WITHOUT),
    "matched": (POOL, 0, WITHOUT),
    "fourier": (POOL, 0, WITHOUT),
    "random_convolution": (0, 0, WITHOUT),
    "random_convolution_classical": (0, 0, WITHOUT),
    "translated": (POOL, 0, WITHOUT | {"teacher", "translator"}),
    "translated_classical": (POOL, 0, WITHOUT | {"teacher", "translator"}),
    "style": (POOL, 0, WITHOUT | {"teacher", "translator"}),
    "style_classical": (POOL, 0, WITHOUT | {"teacher", "translator"}),
    "class_mates": (0, 0, WITHOUT | {"translator"}),
    "class_mates_classical": (0, 0, WITHOUT | {"translator"}),
    "low": (0, 0, WITHOUT),
    "bicubic": (0, 0, WITHOUT),
    "sr_l1": (POOL, 0, WITHOUT | {"translator"}),
    "sr_gan": (POOL, 0, WITHOUT | {"translator"}),
    "sr_task": (POOL, 0, WITHOUT | {"teacher", "translator"}),
    "gan": (0, 0, WITH_GAN),
    "gan_classical": (0, 0, WITH_GAN),
    "placebo": (0, 0, WITH_GAN),
    "synthetic_only": (0, 0, WITH_GAN),
    "synthetic_features": (0, 0, WITHOUT | {"trained"}),
    "gaussian_features": (0, 0, WITHOUT | {"trained"}),
    "adda": (POOL, 0, WITHOUT | {"source"}),
    "cdan": (POOL, 0, WITHOUT),
    "dann": (POOL, 0, WITHOUT),
    "information_maximisation": (POOL, 0, WITHOUT),
    "mcd": (POOL, 0, WITHOUT),
    "semi_supervised": (POOL, 0, WITHOUT),
    "consistency": (POOL, 0, WITHOUT),
    "pseudo_label": (POOL, 0, WITHOUT | LABELLING),
    "pseudo_label_gan": (POOL, 0, WITHOUT | LABELLING),
    "gan_pool": (POOL, 0, WITH_GAN | LABELLING),
    "gan_pool_classical": (POOL, 0, WITH_GAN | LABELLING),
}


def test_every_arm_runs_and_says_what_it_saw(cli, tmp_path):
    others = {"row", "given", "batch_norm"}  # images of its own, another classifier: tests/test_trial.py has these
    others |= {*ENCODERS}
    assert {*EVERY_ARM, *others} == {path.stem for path in (CONF / "augmentation").glob("*.yaml")}
    rare = ("imbalance.classes=['3']", "imbalance.share=0.5")  # oversampling refuses equal classes
    arms = f"augmentation={','.join(EVERY_ARM)}"
    ended = cli("-m", "study=arms", arms, "seed=0", *rare, *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    found = {one["factors"]["augmentation"]: one for one in records(tmp_path / "studies" / "arms").values()}
    assert set(found) == set(EVERY_ARM)
    assert len({one["metrics"]["test"]["nll"] for one in found.values()}) == len(EVERY_ARM)  # no arm is another one
    for arm, (pool, pool_labels, stages) in EVERY_ARM.items():
        saw, seconds = found[arm]["saw"], found[arm]["costs"]["seconds"]
        assert found[arm]["status"] == "ok"
        assert (saw["labelled"], saw["pool_images"], saw["pool_labels"]) == (47, pool, pool_labels)
        assert set(seconds) == stages | {"measures"}
    keys = {arm: one["provenance"]["stages"] for arm, one in found.items()}
    assert len({stages["gan"] for stages in keys.values() if "gan" in stages}) == 2  # one has seen the pool
    assert keys["gan_pool"]["gan"] == keys["gan_pool_classical"]["gan"]
    assert keys["gan_pool"]["teacher"] == keys["semi_supervised"]["classifier"]
    assert keys["pseudo_label"]["teacher"] == keys["classical"]["classifier"]
    assert keys["pseudo_label_gan"]["pseudo_labels"] == keys["gan_pool"]["pseudo_labels"]
    rows = {row["factors.augmentation"]: row for row in results(tmp_path / "studies" / "arms")}
    assert {arm: row["saw.pool_labels"] for arm, row in rows.items()} == {
        arm: str(pool_labels) for arm, (_, pool_labels, _) in EVERY_ARM.items()
    }


ENCODERS = {
    "raw_pixels": "pixels",
    "random_encoder": "random",
    **{name: name for name in ("autoencoder", "adversarial_autoencoder", "bigan", "infogan")},
}


@pytest.mark.parametrize("arm", ENCODERS)
def test_every_encoder_s_arm_runs_and_says_what_it_saw(cli, shared_outputs, arm):
    learns = ("encoder.images_seen=640",) if arm == ENCODERS[arm] else ()
    study = f"encoder-{arm}"
    words = (*TINY, *learns, f"augmentation={arm}", "measures=[neighbours]", f"study={study}")
    ended = cli(*(word for word in words if not word.startswith("measures.")), f"paths.output_dir={shared_outputs}")
    assert ended.code == 0, ended.err
    (record,) = records(shared_outputs / "studies" / study).values()
    assert (record["saw"]["pool_images"], record["saw"]["pool_labels"]) == (POOL_OF_DIGITS if learns else 0, 0)
    assert record["metrics"]["neighbours"]["accuracy"] > 0.5
    assert bool(record["metrics"].get("encoder")) == (arm == ENCODERS[arm])


def test_a_translator_trains_without_a_classifier(cli, tmp_path):
    small = ("translation.images_seen=640", "translation.translator.channels=4", "data.of.image_size=8")
    alone = ("data=edges_to_digits", "augmentation=translated", "classifier=none", *small)
    ended = cli(*alone, "translation=pix2pix", "study=alone", f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    (record,) = records(tmp_path / "studies" / "alone").values()
    assert record["metrics"]["translation"]["training"]["content_l1"] > 0
    (folder,) = (tmp_path / "studies" / "alone" / "trials").iterdir()
    assert (folder / "translator.pt").exists()
    refused = cli(*alone, f"paths.output_dir={tmp_path}")
    assert "classifier=none, but this translation asks a classifier whether classes are kept" in refused.err


# ------------------------------------------------------------------------------------------- what breaks on the way


def test_a_study_that_was_killed_goes_on_where_it_was(cli, tmp_path):
    command = (*STUDY, "seed=0", "generator.images_seen=4800")
    process = start(*command, f"paths.output_dir={tmp_path / 'killed'}", start_new_session=True)
    killed = tmp_path / "killed"
    while not (list(killed.glob("store/gan/*.partial")) and records(killed / "studies" / "digits")):
        assert process.poll() is None, "the study ended before it was killed: give the GAN more work"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list(killed.glob("store/gan/*.partial"))) == 1
    assert 0 < len(records(killed / "studies" / "digits")) < 4

    again = cli(*command, f"paths.output_dir={killed}")
    whole = cli(*command, f"paths.output_dir={tmp_path / 'whole'}")
    assert again.code == whole.code == 0
    assert 0 < again.out.count(", reused\n") < 4
    assert whole.out.count(", reused\n") == 0
    assert not list(killed.glob("store/*/*.partial"))
    rows = [results(folder / "studies" / "digits", without="costs.") for folder in (killed, tmp_path / "whole")]
    assert len(rows[0]) == 4
    assert rows[0] == rows[1]


def test_trials_in_parallel_processes_share_a_generator(tmp_path):
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "augmentation=gan,gan_classical", "seed=0")
    process = start(*STUDY, *parallel, f"paths.output_dir={tmp_path}")
    out, err = process.communicate()
    assert process.returncode == 0, err
    found = list(records(tmp_path / "studies" / "digits").values())
    assert [record["status"] for record in found] == ["ok", "ok"]
    assert sorted(record["costs"]["seconds"]["gan"]["spent"] > 0 for record in found) == [False, True]
    assert len([path for path in (tmp_path / "store" / "gan").iterdir() if path.is_dir()]) == 1
    assert "report: " in out
    for record in found:  # made in a worker process
        assert record["provenance"]["command"].startswith("gan-augment -m experiment=digits")


def test_two_studies_on_one_store_share_a_generator(tmp_path):
    launch = (*STUDY, "augmentation=gan", "seed=0", f"paths.output_dir={tmp_path}")
    processes = [start(*launch, f"study={name}") for name in ("one", "other")]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    found = [record for name in ("one", "other") for record in records(tmp_path / "studies" / name).values()]
    for stage in ("judge", "gan", "synthesis", "classifier"):
        assert sorted(record["costs"]["seconds"][stage]["spent"] > 0 for record in found) == [False, True]
    assert found[0]["metrics"] == found[1]["metrics"]


def parent_and_state(number):
    """Return the number of a process's parent, and the process's state as one letter; without the process, none."""
    try:
        state, parent = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None, None
    return int(parent), state


def workers_of(process):
    """Return the numbers of the worker processes that a launch has started."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    children = [number for number in numbers if parent_and_state(number)[0] == process.pid]
    return [number for number in children if b"popen_loky" in Path(f"/proc/{number}/cmdline").read_bytes()]


def is_running(number):
    """Whether there is such a process, and not only its exit code, which nobody has asked for."""
    return parent_and_state(number)[1] not in (None, "Z")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("victim", ["launch", "worker"])
def test_a_launch_and_its_workers_end_together_and_the_study_goes_on(cli, tmp_path, victim):
    command = (*STUDY, "augmentation=gan", "seed=0,1", "generator.images_seen=64000", f"paths.output_dir={tmp_path}")
    process = start(*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    while len(list(tmp_path.glob("store/gan/*.partial"))) < 2:
        assert process.poll() is None, "the study ended before it was killed: give the GAN more work"
        time.sleep(0.05)
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(process.pid if victim == "launch" else workers[0], signal.SIGKILL)
    _, err = process.communicate()
    if victim == "worker":
        assert process.returncode == 1
        assert "gan-augment: a worker process was killed, perhaps for lack of memory" in err
        assert "Traceback" not in err
    for _ in range(600):
        if not any(map(is_running, workers)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, workers))
    assert cli(*command, "generator.images_seen=640").code == 0  # nothing is locked or in the way


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        (("experiment=digits", "loss=hinge", "seed=0,1"), [(arm, seed, "hinge") for seed in (0, 1) for arm in ARMS]),
        (
            ("experiment=digits", "augmentation=gan,none", "loss=hinge,minimax", "seed=0"),
            [(arm, 0, loss) for arm in ("gan", "none") for loss in ("hinge", "minimax")],
        ),
        (
            ("seed=1,0", "loss=hinge,minimax", "augmentation=gan,none"),
            [(arm, seed, loss) for seed in (1, 0) for arm in ("gan", "none") for loss in ("hinge", "minimax")],
        ),
    ],
    ids=["recipe", "recipe and command", "command"],
)
def test_trials_that_share_a_generator_do_not_start_together(cli, tmp_path, monkeypatch, sweep, expected):
    ran = []

    def note(config):
        choices = HydraConfig.get().runtime.choices
        ran.append((choices.augmentation, config.seed, choices.loss))

    monkeypatch.setattr("gan_augment.app.run_job", note)
    cli("-m", *sweep, f"paths.output_dir={tmp_path}")
    assert ran == expected


@pytest.fixture
def faulty_gan_arm(monkeypatch):
    """Make the trial of the arm `gan` raise."""
    from gan_augment import trial

    run_trial = trial.run_trial

    def run(planned, *arguments):
        if planned.factors["augmentation"] == "gan":
            raise RuntimeError("the disk caught fire")
        return run_trial(planned, *arguments)

    monkeypatch.setattr(trial, "run_trial", run)


def test_the_other_trials_run_when_one_fails(cli, tmp_path, faulty_gan_arm, monkeypatch):
    command = (*STUDY, "seed=0", f"paths.output_dir={tmp_path}")
    folder = tmp_path / "studies" / "digits"
    ended = cli(*command)
    assert ended.code == 1
    assert statuses(folder) == {"none": "ok", "classical": "ok", "gan": "failed", "gan_classical": "ok"}
    (failed,) = (record for record in records(folder).values() if record["status"] == "failed")
    assert failed["error"] == "RuntimeError: the disk caught fire"
    assert f"{failed['trial']}: failed: RuntimeError: the disk caught fire" in ended.out
    assert "the disk caught fire" in (folder / "report" / "report.html").read_text()
    assert {row["factors.augmentation"]: row["status"] for row in results(folder)}["gan"] == "failed"

    monkeypatch.undo()
    again = cli(*command)
    assert again.code == 0
    assert again.out.count(", reused\n") == 3
    assert statuses(folder)["gan"] == "ok"
    assert "the disk caught fire" not in (folder / "report" / "report.html").read_text()


def test_a_gan_that_diverges_is_an_outcome(cli, tmp_path, monkeypatch):
    from gan_augment.losses.adversarial import NonSaturating

    monkeypatch.setattr(NonSaturating, "generator", lambda self, fake, real: fake.mean() * float("nan"))
    command = (*STUDY, "seed=0", f"paths.output_dir={tmp_path}")
    folder = tmp_path / "studies" / "digits"
    ended = cli(*command)
    assert statuses(folder) == {"none": "ok", "classical": "ok", "gan": "diverged", "gan_classical": "diverged"}
    assert ended.code == 0
    assert "Traceback" not in ended.err
    for record in records(folder).values():
        if record["status"] == "diverged":
            assert record["error"] == "gan: a loss or a weight was not finite at the end of the training"
            assert record["metrics"] == {}
    assert (folder / "report" / "report.html").exists()

    monkeypatch.undo()
    again = cli(*command)
    assert again.code == 0
    assert again.out.count(", reused\n") == 4
    assert statuses(folder)["gan"] == "diverged"


@pytest.fixture
def small_disk(tmp_path):
    """Mount a small file system; return its folder and what mounts it anew, with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode

    if mount("size=440k"):
        pytest.skip("a small disk cannot be mounted here: that takes the rights of an administrator")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("checkpoints", [0.001, "null"])
def test_a_study_on_a_full_disk_goes_on_when_there_is_room(cli, small_disk, checkpoints):
    folder, remount = small_disk
    command = (*STUDY, "seed=0", f"trainer.checkpoint_every={checkpoints}", f"paths.output_dir={folder}")
    full = cli(*command)
    assert full.code == 1
    assert "gan-augment: [Errno 28] No space left on device" in full.err
    assert "Traceback" not in full.out + full.err

    assert remount("size=30m") == 0
    again = cli(*command)
    assert again.code == 0
    assert 0 < again.out.count(", reused\n") < 4
    assert set(statuses(folder / "studies" / "digits").values()) == {"ok"}
    assert not list(folder.glob("**/*.partial"))


def test_a_disk_that_is_full_or_read_only_is_refused(cli, small_disk):
    folder, remount = small_disk
    command = (*STUDY, "augmentation=none", "seed=0", f"paths.output_dir={folder}")
    with suppress(OSError):
        (folder / "ballast").write_bytes(bytes(2**20))
    assert_refused(cli(*command), folder, f"{folder}/studies/digits cannot be written (No space left on device)")
    (folder / "ballast").unlink()
    assert remount("ro") == 0
    assert_refused(cli(*command), folder, f"{folder}/studies/digits cannot be written (Read-only file system)")
    assert remount("rw") == 0
    assert cli(*command).code == 0


def test_a_store_that_is_removed_meanwhile_fails_a_trial_and_no_more(cli, tmp_path, monkeypatch):
    from gan_augment.generators.gan import TrainGAN

    train_gan = TrainGAN.run

    def removed(self, folder, made):
        train_gan(self, folder, made)
        shutil.rmtree(tmp_path / "store")

    command = (*STUDY, "augmentation=none,gan", "seed=0", f"paths.output_dir={tmp_path}")
    monkeypatch.setattr(TrainGAN, "run", removed)
    ended = cli(*command)
    assert ended.code == 1
    assert "gan-augment: [Errno 2] No such file or directory: " in ended.err
    assert "Traceback" not in ended.out + ended.err
    assert statuses(tmp_path / "studies" / "digits") == {"none": "ok", "gan": "failed"}

    monkeypatch.undo()
    again = cli(*command)
    assert again.code == 0
    assert again.out.count(", reused\n") == 1
    assert statuses(tmp_path / "studies" / "digits") == {"none": "ok", "gan": "ok"}


def test_a_report_that_fails_is_told(cli, tmp_path, monkeypatch):
    from gan_augment.report import page as report

    def broken(folders):
        raise ValueError("the printer is out of paper")

    monkeypatch.setattr(report, "write_report", broken)
    ended = cli(*STUDY, "augmentation=none", "seed=0", f"paths.output_dir={tmp_path}")
    folder = tmp_path / "studies" / "digits"
    assert ended.code == 1
    assert statuses(folder) == {"none": "ok"}
    assert "gan-augment: the printer is out of paper\n" in ended.err
    assert f"gan-augment: the report failed; run gan-augment-report {folder} to try again\n" in ended.err


# -------------------------------------------------------------------------------------------------- a user's slips

launches = pytest.mark.parametrize("launch", [(), ("-m",)], ids=["trial", "study"])


def assert_refused(ended, output, *said):
    """Make sure that a command ended in one or two clear lines before anything was trained."""
    assert ended.code == 1
    for words in said:
        assert words in ended.err + ended.out
    assert "Traceback" not in ended.err + ended.out
    assert not list(output.glob("store/*"))


# What planning refuses; the rest of the command line's refusals is tested at `plan_trial`.
@launches
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("labels=0", "labels=0: use a whole number of at least 1"),
        (
            "labels=500",
            "labels=500, but class '0' has 122 training images; use at most 122, or all",
        ),
        ("generator.discriminator_steps=50", "generator.images_seen=640: use a whole number of at least 3200"),
        ("augmentation.share=0.001", "augmentation.share=0.001 of classifier.batch_size=64 rounds to no image"),
        ("study=../elsewhere", "study=../elsewhere: use a valid folder name"),
        ("study='a\x1b[31mb'", "study=a[31mb: use a valid folder name"),
        ("labels='a\nb'", "labels=a b: use a whole number"),
        ("generator='a\nb'", "generator=a b: use one of flow, gan, vae"),
        ("seed=first", "seeds.split=first: use a whole number of at least 0"),
        ("generator.betas=[0.5]", "generator.betas=[0.5]: use a list of two numbers"),
        ("+generator.foo=1", "generator has no setting foo: use images_seen, batch_size"),
        ("+foo=1", "foo"),
        ("data.image_size=4", "architecture DCGAN makes images of 8 to 128 pixels a side, not 4"),
        ("augmentation=oversampling", "each has 5 labelled images, so this changes nothing"),
        ("trainer.precision=16", "trainer.precision=16: use one of 32-true, bf16-mixed"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_trains(cli, tmp_path, launch, setting, message):
    ended = cli(*launch, *TINY, setting, f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, message)
    assert len(ended.err.splitlines()) == 1


@launches
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generator.foo=1", "Could not override 'generator.foo'. generator.foo: Key 'foo' is not in struct"),
        ("generator.images_sen=1", "Did you mean: 'images_seen'"),
        (
            "augmentation=flip",
            "augmentation=flip: use one of adda, adversarial_autoencoder, autoencoder, batch_norm, bicubic, bigan, ",
        ),
        ("experiment=nothing", "experiment=nothing: use one of architectures, "),
        ("hydra/launcher=nothing", "hydra/launcher=nothing: use one of basic, joblib"),
        ("augmentation=3", "Config group override must be a string or a list. Got int"),
        ("loss@x=hinge", "Could not override 'loss@x'. Did you mean to override loss?"),
        ("~generator.foo", "Could not delete from config. 'generator.foo' does not exist."),
        ("+x=${..}", "Error merging override +x=${..} x: extraneous input '}'"),
        ("labels", "labels is not a setting"),
        ("--config-name=x", "Cannot find primary config 'x'."),
        ("--config-dir=nowhere", "nowhere' not found"),
        ("--cfg=x", "argument --cfg/-c: invalid choice: 'x' (choose from 'job', 'hydra', 'all')"),
        ("--experiment=digits", "unrecognized arguments: --experiment=digits"),
    ],
)
def test_what_hydra_does_not_know_it_refuses_in_one_line(cli, tmp_path, launch, setting, message):
    ended = cli(*launch, *TINY, setting, f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, message)
    assert ended.err.startswith("gan-augment: ")
    assert len(ended.err.splitlines()) == 1


@launches
def test_a_gpu_that_is_not_there_is_refused(cli, tmp_path, launch, monkeypatch):
    import torch

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    ended = cli(*launch, *TINY, "trainer=gpu", f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, "trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu")


@launches
def test_an_output_folder_below_a_file_is_refused(cli, tmp_path, launch):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "outputs"
    ended = cli(*launch, *TINY, "experiment=digits", f"paths.output_dir={output}")
    assert_refused(
        ended, output, f"{output}/studies/digits cannot be written", "set paths.output_dir to a writable folder"
    )
    assert len(ended.err.splitlines()) == 1


@launches
def test_a_store_that_cannot_be_written_is_refused(cli, tmp_path, launch):
    (tmp_path / "store").touch()
    ended = cli(*launch, *TINY, f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, f"{tmp_path}/store cannot be written")


def test_one_launch_is_one_study(cli, tmp_path):
    ended = cli("-m", *TINY, "study=a,b", f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, "study and paths.output_dir cannot be swept: one launch is one study")


def test_a_record_of_a_newer_schema_is_found_before_anything_trains(cli, tmp_path):
    study = ("-m", "study=s", *TINY, f"paths.output_dir={tmp_path}")
    assert cli(*study, "augmentation=none").code == 0
    (path,) = tmp_path.glob("studies/*/trials/*/record.json")
    path.write_text(path.read_text().replace(f'"schema": "{SCHEMA}"', '"schema": "2.0"'))
    shutil.rmtree(tmp_path / "store")
    ended = cli(*study, "augmentation=classical,none")
    assert_refused(ended, tmp_path, f"{path} has schema 2.0, this version reads up to {SCHEMA}")


def test_one_bad_trial_among_good_ones_is_found_before_anything_trains(cli, tmp_path):
    ended = cli("-m", *TINY, "augmentation=none", "labels=5,500", f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, "labels=500, but class '0' has 122 training images")
    assert not list(tmp_path.glob("studies/*/trials"))
    assert not list(tmp_path.glob("studies/*/report"))


def test_the_full_story_is_told_to_whoever_asks(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    ended = cli("-m", *TINY, "labels=0", f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert "labels=0: use a whole number of at least 1" in ended.err


@pytest.fixture
def offline(monkeypatch):
    """Let every download fail at once."""

    def no_network(*arguments, **settings):
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)


def cut_off_file(raw):
    (raw / "train-images-idx3-ubyte").write_bytes((raw / "train-images-idx3-ubyte").read_bytes()[:100_000])


def cut_off_archive(raw):
    for path in list(raw.iterdir()):
        content = gzip.compress(path.read_bytes()[:100_000])
        path.with_suffix(".gz").write_bytes(content[: len(content) // 2])
        path.unlink()


def nothing(raw):
    shutil.rmtree(raw)


@launches
@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (cut_off_file, "delete the broken files there, and they are downloaded again"),
        (cut_off_archive, "delete the broken files there, and they are downloaded again"),
        (nothing, "put its four files there, or set paths.data_dir to a folder that has MNIST/raw"),
    ],
)
def test_mnist_that_cannot_be_read_or_downloaded_is_refused(
    cli, tmp_path, mnist_folder, offline, launch, damage, remedy
):
    raw = tmp_path / "data" / "MNIST" / "raw"
    shutil.copytree(mnist_folder / "MNIST" / "raw", raw)
    damage(raw)
    output = tmp_path / "outputs"
    ended = cli(*launch, *TINY, "data=mnist", f"paths.data_dir={tmp_path / 'data'}", f"paths.output_dir={output}")
    assert_refused(ended, output, f"MNIST could not be downloaded to or read from {raw}", remedy)


# ------------------------------------------------------------------------------------- recipes and configuration


@pytest.fixture
def composed():
    """Compose the configuration with some overrides."""

    def configuration(*overrides):
        with initialize_config_dir(str(CONF)):
            return compose("config", overrides=list(overrides))

    return configuration


@pytest.fixture
def photographs(tmp_path):
    """Class folders of photographs of any size."""
    for number in range(12):
        path = tmp_path / "photographs" / ["cats", "dogs"][number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (50 + number, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    for domain in ("source", "target"):
        shutil.copytree(tmp_path / "photographs", tmp_path / domain)
    return tmp_path / "photographs"


# What a recipe needs beside the usual: files, or less work still.
PHOTOGRAPHS = (
    "data.root={photographs}",
    "architecture.backbone.weights=null",
    "generator.images_seen=64",
    "data.image_size=32",
)
FOR_RECIPES = {
    "domains": (
        "data.root={photographs}/..",
        "data.image_size=32",
        "classifier.network.backbone.weights=null",
        "classifier.network.input_size=32",
    ),
    "dcgan_64": ("data.root={photographs}", "architecture.channels=2", "generator.images_seen=256"),
    "photographs": PHOTOGRAPHS,
    "photographs_128": (*PHOTOGRAPHS, "trainer=cpu", "architecture.channels=2", "generator.batch_size=16"),
    "photographs_arms": (
        *PHOTOGRAPHS,
        "classifier.network.backbone.weights=null",
        "classifier.network.input_size=32",
        "classifier.views=2",
    ),
    **dict.fromkeys(("mnist_arms", "mnist_100_labels", "mnist_precision"), ("data.image_size=8",)),
    **dict.fromkeys(("fashion_few_labels", "rare_classes", "super_resolution"), ("data.image_size=8",)),
    **dict.fromkeys(
        ("mnist_to_usps", "usps_to_mnist"),
        ("data.from.image_size=12", "data.to.image_size=12", "data.from_images=100", "data.to_images=100"),
    ),
}


def first_values(recipe):
    """Return a setting for each thing that a recipe sweeps, its first value; not for what it compares, nor the seed."""
    config = OmegaConf.load(CONF / "experiment" / f"{recipe}.yaml")
    compared = {"augmentation", "seed", *config.get("against", ())}
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    swept = [f"{name}={values}" for name, values in params.items() if name not in compared]
    overrides = OverridesParser.create().parse_overrides(swept)
    return [f"{override.key_or_group}={next(override.sweep_string_iterator())}" for override in overrides]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs(cli, shared_outputs, recipe, mnist_folder, photographs, monkeypatch):
    # A recipe may sweep architectures and classifiers, which do not all have channels; it may have neither.
    text = (CONF / "experiment" / f"{recipe}.yaml").read_text()
    for base in re.findall(r"^  - (\w+)$", text, re.MULTILINE):  # it stands on that recipe
        text += (CONF / "experiment" / f"{base}.yaml").read_text()
    measures = re.search(r"override /measures: \[(.*?)\]", text)
    without = [
        "channels",
        *(["classifier"] if "override /classifier: none" in text else []),
        *(["judge"] if measures and "judge" not in measures[1] else []),
    ]
    tiny = [setting for setting in TINY if not any(name in setting for name in without)]
    tiny += ["validation_per_class=20"] if "validation_per_class" in text else []
    tiny += [setting.format(photographs=photographs) for setting in FOR_RECIPES.get(recipe, ())]
    folders = (f"paths.data_dir={mnist_folder}", f"paths.output_dir={shared_outputs}")
    seeds, first = ("seed=0", "seeds.split=0"), first_values(recipe)
    if first:  # all of its trials can be planned
        with monkeypatch.context() as patch:
            patch.setattr("hydra_plugins.study_sweeper.StudySweeper.sweep", lambda self, arguments: None)
            said = cli("-m", f"experiment={recipe}", *seeds, *tiny, *folders).out
        assert f"study {recipe}: " in said

    ended = cli("-m", f"experiment={recipe}", *first, *seeds, *tiny, *folders)
    assert ended.code == 0, ended.err
    assert f"study {recipe}: " in ended.out
    folder = shared_outputs / "studies" / recipe
    found = records(folder)
    assert sorted(found) == sorted(requested(folder))
    assert {record["status"] for record in found.values()} == {"ok"}
    assert (folder / "report" / "report.html").exists()


MEMBERS = [
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name != "hydra"
]


def targets(node):
    """Find the nodes that name an object, and in them those of their arguments."""
    if isinstance(node, dict):
        if node.get("_target_") is not None:
            yield node
        for inner in node.values():
            yield from targets(inner)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_of_every_group_composes_and_builds(composed, member, monkeypatch):
    import torch

    from gan_augment.networks.backbone import Backbone
    from gan_augment.settings import build, build_later

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)  # for trainer=gpu
    group, name = member.split("=")
    if group == "backbone":  # a part of other members; to build it may download weights
        config = composed("classifier=probe", f"backbone@classifier.network.backbone={name}")
        node = OmegaConf.to_container(config.classifier.network.backbone)
        assert build_later(node, member, Backbone).func.__name__ == node["_target_"].rpartition(".")[2]
        return
    inner = ("+data@data.of=digits",) if member in ("data=made_pairs", "data=some_classes") else ()
    config = composed(f"{group}=[{name}]" if group == "measures" else member, *inner)  # several measures are chosen
    if group == "experiment":  # its own package is the whole configuration
        assert set(config) >= {"data", "augmentation", "seeds"}
        return
    node = OmegaConf.to_container(config[group], resolve=True)
    if group == "data":  # to call a source takes files
        source, node = node, {name: node.pop(name) for name in ("test_share", "classical")}
        make = get_object(source.pop("_target_"))
        inspect.signature(make).bind(**{f"{key}_" if iskeyword(key) else key: value for key, value in source.items()})
    for target in targets(node):
        make = build_later if target.get("_partial_") else build
        built = make(target, member, object)
        made = built.func if make is build_later else type(built)
        assert made.__name__ == target["_target_"].rpartition(".")[2]


DESIGN_MEMBERS = [member for member in MEMBERS if member.split("=")[0] in (*PARTS, "generator", "synthesis")]


# What a member goes with, if not with a generator of digits that is trained alone for ten steps.
ALONE = ("classifier=none", "data.image_size=8", "generator.images_seen=640", "measures.judge.num_steps=10")
PROJECTED = (*ALONE, "architecture=projected", "architecture.backbone.weights=null", "generator.images_seen=64")
COMPANY = {
    **dict.fromkeys(("architecture=projected", "penalty=diversity"), PROJECTED),
    "architecture=points": ("classifier=none", "data=ring", "generator.images_seen=640"),
    "synthesis=diverse": (
        *("data.image_size=8", "generator.images_seen=640", "classifier.num_steps=20", "measures.judge.num_steps=10"),
    ),
    "synthesis=confident": (
        *("data=arrays", "data.images={halves}", "generator.images_seen=640", "classifier.num_steps=20"),
        *("conditioning=none", "synthesis.threshold=0", "measures.judge.num_steps=10"),
    ),
}


@pytest.fixture
def halves(tmp_path):
    """Noise in two classes that differ by chance alone, so that a teacher finds both anywhere."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "halves.npz", images=noise, labels=np.arange(60) % 2)
    return tmp_path / "halves.npz"


@pytest.mark.parametrize("member", DESIGN_MEMBERS)
def test_every_member_of_a_gan_s_groups_trains(cli, shared_outputs, member, halves):
    company, study = COMPANY.get(member, ALONE), member.replace("=", "-")
    ended = cli(
        *(setting.format(halves=halves) for setting in company),
        *("augmentation=gan", "synthesis.per_class=4"),
        *(member, f"study={study}", "trainer.num_threads=1", f"paths.output_dir={shared_outputs}"),
    )
    assert ended.code == 0, ended.err
    (record,) = records(shared_outputs / "studies" / study).values()
    assert record["status"] == "ok"
    assert record["metrics"]["gan"]["modes_found" if member == "architecture=points" else "diversity"] >= 0
    assert record["factors"][member.split("=")[0]] == member.split("=")[1]


def test_a_sweep_over_parts_of_a_gan_is_compared_part_by_part(cli, tmp_path):
    ended = cli(
        *(
            "-m",
            "study=which",
            "architecture=mlp",
            "loss=hinge,relativistic",
            "discriminator_augmentation=none,diffaugment",
        ),
        *(
            "augmentation=none,gan",
            "seed=0",
            "generator.images_seen=640",
            "synthesis.per_class=4",
            "classifier.num_steps=5",
            "classifier.network.channels=4",
            "measures.judge.num_steps=5",
            "measures.judge.network.channels=4",
        ),
        *("trainer.num_threads=1", f"paths.output_dir={tmp_path}"),
    )
    assert ended.code == 0, ended.err
    assert "study which: 5 trials" in ended.out  # one without a GAN, whatever the GAN is
    page = (tmp_path / "studies" / "which" / "report" / "report.html").read_text()
    assert "gan (loss=hinge, discriminator_augmentation=diffaugment" in page


@pytest.mark.parametrize(
    ("against", "reason"),
    [
        ("{loss: hinge}", "against={loss: hinge}, but of loss the study has non_saturating: sweep it"),
        ("{folds: 5}", "against={folds: 5}: another number of folds has other test images"),
        ("{los: hinge}", "against={los: hinge}, but of los the study has none of this name"),
        ("{augmentation: mixup}", "of augmentation the study has classical, gan, gan_classical, none"),
        ("loss", "against=loss: use settings and values, such as 'against={loss: hinge}'"),
        ("{loss: hinge},{loss: minimax}", "against cannot be swept"),
    ],
)
def test_a_comparison_with_what_a_study_does_not_hold_is_refused(cli, tmp_path, against, reason):
    ended = cli("-m", "experiment=digits", "seed=0", f"against={against}", f"paths.output_dir={tmp_path}")
    assert_refused(ended, tmp_path, reason)


def test_a_baseline_can_be_added_to_those_of_a_recipe(cli, tmp_path):
    recipe = ("-m", "experiment=digits_generators", "seed=0", f"paths.output_dir={tmp_path}")
    added = cli(*recipe, "++against={labels: 7}")
    assert_refused(added, tmp_path, "against={labels: 7}, but of labels the study has 5: sweep it")
    both = cli(*recipe, "generator=gan,vae", "labels=5,7", "++against={generator: flow, labels: 7}")
    assert_refused(both, tmp_path, "against={generator: flow}, but of generator the study has gan, vae")


def test_a_baseline_may_be_of_an_earlier_launch(cli, tmp_path):
    folder = tmp_path / "studies" / "some"
    launch = ("-m", "study=some", "augmentation=none", "seed=0", *TINY, f"paths.output_dir={tmp_path}")
    first, second = cli(*launch, "labels=5"), cli(*launch, "labels=7", "against={labels: 5}")
    assert (first.code, second.code) == (0, 0), second.err
    assert len(records(folder)) == 2
    assert "none (labels=7) against none (labels=5)" in unwrapped(second.out)


def test_a_baseline_may_be_a_setting_that_is_null_and_that_old_records_lack():
    check_against({"generator.start": None}, [{"generator.start": "f" * 16}, {}])
    with pytest.raises(ValueError, match=r"^against=\{generator.start: None\}, but of generator.start the study has f"):
        check_against({"generator.start": None}, [{"generator.start": "f" * 16}, {"generator.start": "f"}])


def test_there_are_members_to_test():
    assert {member.split("=")[0] for member in MEMBERS} >= {
        "data",
        "architecture",
        "loss",
        "augmentation",
        "experiment",
    }


@pytest.mark.parametrize(
    "sweep",
    [
        ("experiment=digits", "seed=0,1", "labels=10%", "study=other"),
        (
            "augmentation=none,gan",
            "generator.batch_size=32,64",
            "seed=range(0,2)",
            "generator.decay=true",
            "classifier=none,cnn",
        ),
        ("augmentation=none,gan", "generator.betas=[0.5,0.9],[0.1,0.9]", "seed=0,1"),
        ("seed=0,1", "+architecture.depth=1,2", "~imbalance.share"),
    ],
    ids=["recipe", "groups and values", "lists", "additions"],
)
def test_the_jobs_of_a_study_are_composed_as_hydra_composes_them(cli, tmp_path, monkeypatch, sweep):
    compared = []

    def compare(config, jobs):
        loader = GlobalHydra.instance().config_loader()
        for job, settings in compose_jobs(config, jobs):
            compared.append(settings == plain(loader.load_sweep_config(config, job)))
        raise SystemExit

    monkeypatch.setattr("gan_augment.launch.compose_jobs", compare)
    cli("-m", *sweep, f"paths.output_dir={tmp_path}")
    assert len(compared) >= 4
    assert all(compared)


@pytest.mark.parametrize(
    ("sweep", "most", "refused"),
    [(["seed=range(0,5)", "labels=1,2"], 9, True), (["seed=range(0,5)", "labels=1,2"], 10, False),
     (["experiment=digits", "augmentation=none", "seed=range(0,10)"], 10, False),
     (["seed=range(0,1000000000)"], 10000, True)],
)  # fmt: skip
def test_a_study_of_more_trials_than_meant_is_refused(cli, tmp_path, monkeypatch, sweep, most, refused):
    def planned(config, jobs):
        raise ValueError(f"{len(jobs)} jobs")

    monkeypatch.setattr("gan_augment.launch.compose_jobs", planned)
    said = cli("-m", *sweep, f"max_trials={most}", f"paths.output_dir={tmp_path}").err
    assert (f"more than {most} trials: sweep fewer values, or set max_trials" in said) == refused
    assert ("10 jobs" in said) == (not refused)


def test_nothing_is_printed_after_the_end_of_a_command():
    code = "import atexit, torchvision, gan_augment.app, sys; atexit.register(print, 'last', file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "last\n"  # and not what Triton's objects say when Python deletes them
