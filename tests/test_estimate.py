"""What a study says before it starts, and what is left of it: estimates from rehearsals."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from conftest import TINY, gan_stage
from gan_augment.data.batches import TrainingSteps
from gan_augment.estimate import Cost, Estimate, in_words, rehearsed
from gan_augment.job import left
from gan_augment.records.record import read_study
from gan_augment.stages import StageStore
from gan_augment.training.rehearsal import Rehearsed, rehearsal, rehearse_share
from gan_augment.workers import num_workers

STUDY = ("-m", "augmentation=none,gan", "seed=0,1", "study=s", *TINY)


@pytest.mark.parametrize(
    ("launcher", "workers"),
    [
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, 1),
        ({"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 3}, 3),
        ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}, float("inf")),
    ],
)
def test_the_workers_of_a_launcher(launcher, workers):
    assert num_workers(launcher) == workers


@pytest.mark.parametrize(
    ("seconds", "workers", "said"),
    [
        ([1.0, 1.0], 1, "under a minute and 3 MB"),
        ([300.0, 300.0], 1, "about 10 minutes and 3 MB"),
        ([300.0, 300.0], 2, "about 5 minutes with 2 workers and 3 MB"),
        ([300.0, 7200.0], 2, "about 2 hours with 2 workers and 3 MB"),  # no worker can share a trial
        ([300.0, 7200.0], float("inf"), "about 2 hours with a worker for each trial and 3 MB"),
    ],
)
def test_costs_in_words(seconds, workers, said):
    assert in_words([Cost(one, 1.5e6) for one in seconds], workers) == said


def test_a_study_says_what_it_will_cost_and_runs_seed_by_seed(cli, tmp_path):
    ended = cli(*STUDY, f"paths.output_dir={tmp_path}")
    lines = ended.out.splitlines()
    assert lines[0] == "study s: 4 trials"
    assert lines[1] == (
        "images: 1797 in 10 classes (0 178, 1 182, 2 177, 3 183, 4 181, ...): 1237 to train on, of which labels=5 "
        "takes 50 (labels=all: 1237); 200 for validation, 360 for the test"
    )
    assert lines[2] == "this will take under a minute and 3 MB"
    done = [line.split(" ")[2] for line in lines if ": validation accuracy" in line]
    assert [one.rpartition("-")[0] for one in done] == ["none-seed0", "gan-seed0", "none-seed1", "gan-seed1"]
    to_go = [line.partition("; ")[2] for line in lines if ": validation accuracy" in line]
    assert to_go == [*(f"{number} to go, under a minute" for number in (3, 2, 1)), ""]

    again = cli(*STUDY, f"paths.output_dir={tmp_path}")
    assert "this will take" not in again.out

    path = next((tmp_path / "studies" / "s" / "trials").glob("none-seed0-*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed", "error": "no luck"}))
    assert "this will take under a minute" in cli(*STUDY, f"paths.output_dir={tmp_path}").out


@pytest.mark.parametrize(
    ("workers", "done", "elapsed", "said"),
    [
        (1, "a", 200, "2 to go, about 9 minutes"),  # 205 seconds for 15 of 50, so 40 take 547
        (1, "ab", 200, "1 to go, about 4 minutes"),  # 205 seconds for 25
        (2, "ab", 20, "1 to go, under a minute"),
        (2, "a", 20000, "2 to go, about 15 hours"),
    ],
)
def test_what_is_left_of_a_study(tmp_path, monkeypatch, workers, done, elapsed, said):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    launch, trials = tmp_path / "launches" / "now", tmp_path / "trials"
    launch.mkdir(parents=True)
    seconds = {"a": 10.0, "b": 10.0, "c": 30.0, "later": 5.0}
    estimate = {"started": 1000.0 - elapsed, "workers": workers, "seconds": seconds}
    (launch / "estimate.json").write_text(json.dumps(estimate))
    for name in done:
        (trials / name).mkdir(parents=True)
        (trials / name / "record.json").touch()
    assert left(launch, {"requested": ["a", "b", "c"]}) == f"; {said}"
    assert left(launch, {"requested": [*done]}) == ""
    assert left(launch, {"requested": None}) == ""


def test_a_first_trial_that_others_left_behind_says_little_about_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 30.0)  # for the start of the workers
    launch, first = tmp_path / "launches" / "now", tmp_path / "trials" / "0"
    for folder in (launch, first):
        folder.mkdir(parents=True)
    (first / "record.json").touch()
    seconds = {str(number): 1.0 if number < 20 else 400.0 for number in range(40)}
    (launch / "estimate.json").write_text(json.dumps({"started": 0.0, "workers": 2, "seconds": seconds}))
    assert left(launch, {"requested": [*seconds]}) == "; 39 to go, about 72 minutes"  # estimated: 67


def test_a_single_trial_ends_with_its_folder_and_its_warnings(cli, tmp_path, caplog):
    ended = cli("augmentation=gan", "study=s", *TINY, f"paths.output_dir={tmp_path}")
    (folder,) = (tmp_path / "studies" / "s" / "trials").iterdir()
    (warning, *_) = read_study(folder / "record.json")["warnings"]
    said = ended.out.splitlines()
    assert f"warning: {warning}" in said
    assert said[-1] == f"folder: {folder}, with samples.png"
    assert said[1] == "this will take under a minute and 1 MB"


class Clock:
    """A clock that only moves with the steps of a training."""

    def __init__(self, monkeypatch):
        self.steps = 0
        monkeypatch.setattr("gan_augment.training.rehearsal.time.perf_counter", lambda: 0.5 * self.steps)
        take = TrainingSteps.__getitem__

        def counted(steps, step):
            self.steps += 1
            return take(steps, step)

        monkeypatch.setattr(TrainingSteps, "__getitem__", counted)


def test_a_rehearsal_takes_a_few_steps_and_tells_the_cost_of_all(monkeypatch, image_set, tmp_path):
    clock, threads = Clock(monkeypatch), torch.get_num_threads()
    stage = gan_stage(image_set())
    found = rehearsed(stage, 2, tmp_path)
    assert [*tmp_path.iterdir()] == []
    assert clock.steps == 13
    assert found.seconds == 0.5 * stage.design.settings.num_steps
    networks = [stage.design.generator(stage.labelled.shape, 3), stage.design.discriminator(stage.labelled.shape, 3)]
    sizes = [sum(weight.nbytes for weight in network.state_dict().values()) for network in networks]
    assert found.size == pytest.approx(2 * sizes[0] + sizes[1], rel=0.02)
    assert torch.get_num_threads() == threads


def test_stages_in_the_store_cost_nothing_and_shared_ones_count_once(monkeypatch, image_set, tmp_path):
    Clock(monkeypatch)
    store, stage = StageStore(tmp_path), gan_stage(image_set())
    trials = [SimpleNamespace(name=name, stages={"gan": stage}) for name in "aab"]
    estimate = Estimate(store)
    for trial in trials:
        estimate.add(trial)
    assert {name: cost.seconds for name, cost in estimate.costs(1).items()} == {"a": 31.0, "b": 1.0}
    store.folder(stage).mkdir(parents=True)
    estimate = Estimate(store)
    estimate.add(trials[0])
    assert estimate.costs(1) == {"a": Cost(1.0, 500_000)}


def test_other_work_is_rehearsed_by_a_share_of_it():
    done = []
    rehearse_share(lambda: done.append(1), 10)
    assert not done  # not in a rehearsal
    with rehearsal(1), pytest.raises(Rehearsed) as cost:
        rehearse_share(lambda: time.sleep(0.01), 10)
    assert cost.value.seconds >= 0.1


def test_a_stage_that_cannot_be_rehearsed_is_left_to_its_trial_and_named(tmp_path, caplog):
    def fail(folder, made):
        raise RuntimeError("out of memory\nwith details")

    here = SimpleNamespace(is_here=True)
    assert rehearsed(SimpleNamespace(run=fail, name="gan", hardware=here), 1, tmp_path) == Cost(0.0, 0.0)
    assert caplog.messages == ["the estimate lacks the stage gan, whose rehearsal failed: RuntimeError: out of memory"]
