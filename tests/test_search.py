"""A search for settings: the space, the candidates, the rungs, and what it must not do."""

import errno
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from conftest import TINY
from gan_augment.job import plain, study_folder
from gan_augment.plan import plan_trial
from gan_augment.records.record import write_json
from gan_augment.report.contrasts import contrasts
from gan_augment.report.searches import Candidate
from gan_augment.report.trials import collect, facts
from gan_augment.search import Rung, Search, distribution
from test_until import record

SPACE = {"rate": FloatDistribution(1e-4, 1e-2, log=True), "loss": CategoricalDistribution(["hinge", "minimax"])}
RUNGS = [Rung(1), Rung(3)]


def search(tried=(), space=SPACE, rungs=RUNGS, seed=0):
    return Search(space, rungs, seed, tried=[*tried])


def complete(gain, settings=None):
    return Candidate(settings or {"rate": 1e-3, "loss": "hinge"}, [[gain], [gain, gain, gain]], "complete")


def dropped(gain):
    return Candidate({"rate": 1e-3, "loss": "hinge"}, [[gain]], "dropped")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a=x,y", CategoricalDistribution(["x", "y"])),
        ("a=choice(1,2)", CategoricalDistribution(["1", "2"])),
        ("a=range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("a=interval(0.1,0.5)", FloatDistribution(0.1, 0.5)),
        ("a=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=int(interval(1,9))", IntDistribution(1, 9)),
    ],
)
def test_a_sweep_is_a_space(text, wanted):
    assert distribution(OverridesParser.create().parse_override(text)) == wanted


@pytest.mark.parametrize("text", ["a=glob(*)", "a=range(0,1,0.1)"])
def test_a_sweep_that_is_no_space_is_refused(text):
    with pytest.raises(ValueError, match="a search takes a,b,c, range"):
        distribution(OverridesParser.create().parse_override(text))


def test_the_next_candidate_follows_from_the_seed_and_those_before():
    tried = [complete(0.01 * number, {"rate": 1e-3 + 1e-4 * number, "loss": "hinge"}) for number in range(12)]
    found = search(tried).next()
    assert found == search(tried).next()
    assert found != search(tried, seed=1).next()
    assert search(tried[:1]).next() != search(seed=1).next()  # seeds that are neighbours share nothing
    assert found != search(tried[:11]).next()
    assert 1e-4 <= found["rate"] <= 1e-2
    assert found["rate"] == float(f"{found['rate']:.3g}")


def test_later_candidates_are_drawn_where_the_gains_were():
    def gain(settings):
        return -abs(math.log10(settings["rate"]) + 3) + 0.2 * (settings["loss"] == "minimax")

    one = search(rungs=[Rung(1)])
    for _ in range(40):
        settings = one.next()
        one.tried.append(Candidate(settings, [[gain(settings)]], "complete"))
    first, last = ([gain(candidate.settings) for candidate in some] for some in (one.tried[:10], one.tried[-10:]))
    assert np.mean(last) > np.mean(first) + 0.1
    assert one.best.gain == max(map(gain, (candidate.settings for candidate in one.tried)))


@pytest.mark.parametrize(
    ("before", "gain", "goes_on"),
    [
        ([], -0.5, True),
        ([0.1], 0.2, True),
        ([0.1], 0.0, False),
        ([0.1, 0.2], 0.15, False),
        ([0.1, 0.2, 0.3], 0.25, True),  # the second of four
        ([0.1, 0.2, 0.3], 0.15, False),
    ],
)
def test_the_best_third_of_a_rung_goes_on(before, gain, goes_on):
    assert search([dropped(one) for one in before]).goes_on([[gain]]) is goes_on


def test_after_the_last_rung_nothing_comes():
    assert search().goes_on([[1.0], [1.0, 1.0, 1.0]]) is False


def test_a_candidate_that_diverged_counts_as_the_worst_so_far():
    lost = replace(dropped(0.5), state="diverged")
    assert search([dropped(-0.3), complete(0.1), lost])._told(lost).value == -0.3


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ([], "hydra.sweeper.splits=[]: use "),
        ([Rung(3), Rung(1)], "hydra.sweeper.splits=[3, 1]: use "),
        ([Rung(0)], "hydra.sweeper.splits=[0]: use "),
        ([Rung(1, 0.0), Rung(3)], "hydra.sweeper.images=0.0: use "),
        ([Rung(1), Rung(3, 0.5)], "hydra.sweeper.images end with 0.5: the last must be 1"),
    ],
)
def test_rungs_that_do_not_rise_are_refused(rungs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        search(rungs=rungs)


# Through the command line, with jobs that only write a record.

ran = []


def noisy(config, rate=0.0):
    """Write a record: the gain grows with the learning rate, and each split has a level of its own."""
    settings = plain(config)
    trial = plan_trial(settings)
    arm, seed, rate = trial.factors["augmentation"], config.seed, config.generator.generator_learning_rate
    assert config.open_test is False
    ran.append((arm, seed, rate, config.generator.images_seen))
    accuracy = 0.5 + 0.1 * np.random.default_rng(seed).normal() + (10 * rate if arm == "gan" else 0)
    made = record(arm, seed, accuracy) | {"trial": trial.name}
    made["metrics"]["validation"] = {"accuracy": accuracy}
    if rate > 0.009:
        made |= {"status": "diverged", "metrics": {}}
    folder = study_folder(config) / "trials" / trial.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(made, folder / "record.json")


@pytest.fixture
def searching(cli, tmp_path, monkeypatch):
    """Search through the command line; return what it said, and what was tried."""
    ran.clear()
    monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)
    monkeypatch.setattr("gan_augment.app.run_job", noisy)

    def run(*settings, number=6, rate="generator.generator_learning_rate=tag(log,interval(1e-4,1e-2))", study="s"):
        words = ["-m", f"study={study}", "hydra/sweeper=search", f"hydra.sweeper.n_trials={number}", "augmentation=gan"]
        ended = cli(*words, *TINY, rate, *settings, f"paths.output_dir={tmp_path}")
        file = tmp_path / "studies" / study / "search.json"
        return ended, json.loads(file.read_text())["tried"] if file.exists() else []

    return run


def test_a_search_tries_candidates_next_to_the_reference(searching):
    ended, tried = searching()
    assert ended.code == 0, ended.err
    assert len(tried) == 6
    assert [job[:2] for job in ran[:6]] == [
        *(("none", 1000), ("gan", 1000)),
        *(("none", 1001), ("none", 1002), ("gan", 1001), ("gan", 1002)),
    ]
    assert len({job for job in ran if job[0] == "none"}) == len([job for job in ran if job[0] == "none"]) == 3
    for one in tried:
        gain = pytest.approx(10 * one["settings"]["generator.generator_learning_rate"], abs=1e-6)
        assert [found for gains in one["gains"] for found in gains] == [gain] * sum(map(len, one["gains"]))
    best = max((one for one in tried if one["state"] == "complete"), key=lambda one: np.mean(one["gains"][-1]))
    (line,) = [line for line in ended.out.splitlines() if line.startswith("Best of 6 candidates")]
    rate = f"generator.generator_learning_rate={best['settings']['generator.generator_learning_rate']}"
    assert f"{rate}: " in line
    (confirm,) = [
        line for line in ended.out.splitlines() if line.startswith("confirm it on other splits: gan-augment -m ")
    ]
    assert confirm.startswith(
        "confirm it on other splits: gan-augment -m experiment=confirm search=s paths.output_dir="
    )


def test_a_killed_search_goes_on_to_the_same_candidates(searching, monkeypatch):
    _, whole = searching(study="whole")
    numbers = iter([2, 1, 3, 1, 2, 100])
    for number in numbers:
        left = [number]

        def job(config, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            noisy(config)

        monkeypatch.setattr("gan_augment.app.run_job", job)
        ended, tried = searching(study="killed")
    assert ended.code == 0, ended.err
    assert tried == whole


def test_more_candidates_go_on_with_a_finished_search(searching):
    _, first = searching(number=2)
    _, more = searching(number=4)
    assert more[:2] == first
    assert len(more) == 4
    assert searching(number=4)[1] == more


def test_a_generator_sees_fewer_images_on_an_early_rung(searching):
    ended, _ = searching("hydra.sweeper.splits=[1,1,3]", "hydra.sweeper.images=[0.25,1,1]", number=1)
    assert ended.code == 0, ended.err
    assert [job[3] for job in ran if job[0] == "gan"] == [160, 640, 640, 640]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["seed=3"], "hydra/sweeper=search has splits of its own: leave out seed, or set hydra.sweeper.seeds"),
        (["open_test=true"], "open_test=True, but hydra/sweeper=search tries many settings"),
        (["labels=5,10"], "hydra/sweeper=search would search over labels"),
        (["hydra.sweeper.seeds=[1,2]"], "are not as many as the last of hydra.sweeper.splits=[1, 3]"),
        (
            ["hydra.sweeper.images=[1]"],
            "hydra.sweeper.splits=[1, 3], but hydra.sweeper.images=[1]: give each",
        ),
        (["hydra.sweeper.splits=3"], "hydra.sweeper.splits=3: use a list"),
        (["hydra.sweeper.splits=[1.0,3]"], "hydra.sweeper.splits=1.0: use a whole number of at least 1"),
        (["hydra.sweeper.seed=-1"], "hydra.sweeper.seed=-1: use a whole number of at least 0"),
        (["seeds.split=5"], "has splits of its own: leave out seeds.split"),
        (["loss=shuffle(hinge,minimax)"], "a search takes a,b,c"),
        (["generator.d=tag(log,interval(0,1))"], "generator.d=tag(log,interval(0,1)): "),
        (["classifier.num_steps=20,30"], "classifier.num_steps also affects the arm none, which gains are measured "),
        (["semi_supervised.num_steps=20,30"], "semi_supervised.num_steps has no effect on the arm gan: leave it out"),
        (["hydra.sweeper.reference=gan"], "also affects the arm gan"),
        (["hydra.sweeper.reference=foo"], "augmentation=foo: use one of "),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: use a whole number of at least 1"),
        (["loss=glob(*)"], "a search takes a,b,c"),
        (["data.image_size=4"], "needs images of at least 8x8 pixels, not 4x4"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_trains(searching, settings, message):
    ended, tried = searching(*settings)
    assert ended.code == 1
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert (ran, tried) == ([], [])


def test_a_study_of_another_search_is_left_alone(searching):
    _, tried = searching(number=1)
    ended, after = searching("classifier.num_steps=30", number=2)
    assert "is of a search over other settings: use another study=..." in ended.err
    assert after == tried


def test_a_recipe_s_splits_are_kept_for_the_confirmation(searching):
    ended, _ = searching("experiment=digits", number=1)
    assert ended.code == 0, ended.err
    assert {job[1] for job in ran} == {1000, 1001, 1002}


def test_a_full_disk_ends_a_search_that_then_goes_on(searching, monkeypatch):
    _, whole = searching(study="whole")
    left = [5]

    def job(config):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        noisy(config)

    monkeypatch.setattr("gan_augment.app.run_job", job)
    ended, tried = searching(study="full")
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert "failed" not in {one["state"] for one in tried}
    monkeypatch.setattr("gan_augment.app.run_job", noisy)
    assert searching(study="full")[1] == whole


def test_a_candidate_that_is_refused_has_failed_also_if_it_is_the_first(searching):
    ended, tried = searching(rate="generator.batch_size=choice(0,8)", number=8)
    assert ended.code == 0, ended.err
    states = {one["settings"]["generator.batch_size"]: one["state"] for one in tried}
    assert states["0"] == "failed"
    assert states["8"] != "failed"
    assert "refused: generator.batch_size=0" in ended.out


def test_a_refused_search_leaves_nothing_that_refuses_the_next(searching):
    assert searching("hydra.sweeper.reference=foo")[0].code == 1
    assert searching(number=1)[0].code == 0


def test_a_study_and_a_search_have_folders_of_their_own(searching, cli, tmp_path, monkeypatch):
    searching(number=1)
    words = ("-m", "augmentation=none", *TINY, f"paths.output_dir={tmp_path}")
    ended = cli(*words, "study=s")
    assert "study=s is a search, which compares nothing: use another study=..." in ended.err
    monkeypatch.setattr("gan_augment.app.run_job", lambda config: None)
    cli(*words, "study=other")
    ended, _ = searching(study="other")
    assert "study=other has trials that no search asked for: use another study=..." in ended.err


@pytest.mark.parametrize(("workers", "wanted"), [(math.inf, [1, 1, 1, 1, 1, 1]), (2, [2, 4])])
def test_a_search_on_a_cluster_runs_in_waves(searching, monkeypatch, workers, wanted):
    sizes, launch = [], BasicLauncher.launch

    def counted(self, job_overrides, initial_job_idx):
        sizes.append(len(job_overrides))
        return launch(self, job_overrides, initial_job_idx)

    monkeypatch.setattr(BasicLauncher, "launch", counted)
    monkeypatch.setattr("hydra_plugins.search_sweeper.num_workers", lambda launcher: workers)
    monkeypatch.setattr("hydra_plugins.search_sweeper.waves", lambda lacks: [*range(len(lacks))])
    searching(number=1)
    assert sizes == wanted


def test_the_confirmation_has_other_splits(searching):
    ended, _ = searching("hydra.sweeper.seeds=[0,1,2]", number=1)
    assert "'seed=range(3,11)'" in ended.out


def told(config):
    """Write the record of a trial whose accuracy grows with its learning rate."""
    trial = plan_trial(plain(config))
    rate = trial.factors["generator.generator_learning_rate"]
    noise = 0.01 * np.random.default_rng([config.seed, round(1e5 * (rate or 0))]).normal()
    made = record(trial.factors["augmentation"], config.seed, 0.5 + 10 * (rate or 0) + noise)
    ran.append((config.seed, trial.factors["augmentation"], rate))
    folder = study_folder(config) / "trials" / trial.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(made | {"trial": trial.name, "factors": trial.factors}, folder / "record.json")


def test_a_search_is_confirmed_against_its_reference_and_the_defaults(searching, cli, tmp_path, monkeypatch):
    _, tried = searching()
    ran.clear()
    monkeypatch.setattr("gan_augment.app.run_job", told)
    ended = cli("-m", "experiment=confirm", "search=s", f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    best = max((one for one in tried if one["state"] == "complete"), key=lambda one: np.mean(one["gains"][-1]))
    rate = best["settings"]["generator.generator_learning_rate"]
    assert ran == [(seed, *arm) for seed in range(8) for arm in (("none", None), ("gan", 0.001), ("gan", rate))]
    study = collect([tmp_path / "studies" / "s_confirmed"])
    assert study.against == [{"generator.generator_learning_rate": 0.001}]
    compared = [(one.one.label(), one.base.label()) for one in contrasts(study)]
    names = [f"gan (generator.generator_learning_rate={value})" for value in (0.001, rate)]
    assert sorted(compared) == sorted([(names[0], "none"), (names[1], "none"), (names[1], names[0])])
    assert facts(study)["settings"] == (
        "the best of 6 candidates, chosen on validation images of the splits 1000, 1001, 1002 (search s), and the "
        "default ones: confirmed here on splits that chose nothing"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("search=other",), "search=other: there is no "),
        (("search=s", "seed=1000,1"), "seed=1000 chose the settings of search=s: confirm them with other seeds"),
        (("search=s", "seed=0,1", "labels=5,10"), "search=s keeps the settings of the search: leave out labels"),
        (("search=s", "seed=0,1", "trainer.num_threads=1,2"), "search=s says which arms are run: sweep the seed alone"),
    ],
)
def test_a_confirmation_that_cannot_be_is_refused(searching, cli, tmp_path, settings, message):
    searching(number=1)
    ended = cli("-m", *settings, "study=c", f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
