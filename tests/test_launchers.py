"""Launchers other than Hydra's own: those of Slurm and Ray refuse an empty batch, or start a cluster for it."""

import itertools
import json
import signal
import sys
from types import SimpleNamespace

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from joblib.externals.loky.backend import fork_exec
from joblib.externals.loky.backend.process import LokyProcess
from omegaconf import OmegaConf

from conftest import TINY
from gan_augment import composing, workers
from gan_augment.job import plain
from gan_augment.plan import plan_trial
from gan_augment.workers import JobLostError
from hydra_plugins.study_sweeper import StudySweeper
from test_until import stub_job

batches = []


class Strict(BasicLauncher):
    """Refuses an empty batch, as the one of submitit does."""

    def launch(self, job_overrides, initial_job_idx):
        """Run the jobs one after the other."""
        batches.append([len(job_overrides), initial_job_idx])
        assert len(job_overrides) > 0
        return super().launch(job_overrides, initial_job_idx)


@pytest.fixture(autouse=True)
def _strict():
    """Register the launcher, as an installed plugin of Hydra would."""
    Plugins.instance()  # registers those that are installed
    repo = ConfigStore.instance().repo["hydra"]["launcher"]
    ConfigStore.instance().store(group="hydra/launcher", name="strict", node={"_target_": f"{__name__}.Strict"})
    Plugins.instance().register(Strict)
    composing.installed.cache_clear()
    batches.clear()
    yield
    del repo["strict.yaml"]
    composing.installed.cache_clear()


def test_a_finished_study_starts_no_job_and_ends_well(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)
    monkeypatch.setattr("gan_augment.app.run_job", stub_job(1.5, []))
    command = ("-m", "hydra/launcher=strict", "augmentation=none", *TINY, f"paths.output_dir={tmp_path}")
    ended = [cli(*command), cli(*command)]
    assert [one.code for one in ended] == [0, 0]
    assert batches == [[1, 0]]
    assert ended[1].out.count(", reused\n") == 1
    assert "Traceback" not in ended[1].err


def test_a_lost_job_of_a_cluster_is_a_line_that_names_the_trials_without_a_result(cli, tmp_path, monkeypatch):
    def launch(self, job_overrides, initial_job_idx):
        lost = JobLostError("job 3_1")
        return [JobReturn(one, status=JobStatus.FAILED, _return_value=lost) for one in job_overrides]

    monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)
    monkeypatch.setattr("gan_augment.app.run_job", stub_job(1.5, []))
    command = ("-m", "hydra/launcher=strict", "augmentation=none", *TINY, "study=s", f"paths.output_dir={tmp_path}")
    assert cli(*command, "seed=0").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Strict, "launch", launch)
        ended = cli(*command, "seed=0,1,2")
    request = sorted(tmp_path.glob("studies/s/launches/*/request.json"))[-1]
    requested = json.loads(request.read_text())["requested"]
    lost = [name for name in requested if not name.startswith("none-seed0-")]
    assert (ended.code, ended.err.partition("\n")[2]) == (  # Hydra names the settings of the job first
        1,
        "gan-augment: a job of the cluster ended without a result: if it lacked memory, allow more with "
        f"hydra.launcher.mem_gb=... (2 of 3 trials have no result: {', '.join(lost)}); the same command resumes the "
        "study\n",
    )
    assert cli(*command, "seed=0,1,2").code == 0  # as the line says
    assert batches[-1] == [2, 0]


def _exit_with_ctrl_c_blocked():
    sys.exit(40 + (signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_workers_start_with_ctrl_c_blocked(monkeypatch):
    monkeypatch.setattr(fork_exec, "fork_exec", fork_exec.fork_exec)
    workers.start_without_ctrl_c.__wrapped__()
    process = LokyProcess(target=_exit_with_ctrl_c_blocked)
    process.start()
    process.join()
    assert process.exitcode == 41
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # of the launch


@pytest.mark.parametrize(
    ("done", "further", "chunk", "taken"),
    [
        ("", [], None, ["abc", "d"]),
        ("", [], 2, ["ab", "c", "d"]),
        ("abd", [], None, ["c"]),
        ("abcd", [], None, []),
        ("abc", ["d"], None, ["d"]),
        ("abcd", ["", ""], None, []),
        ("ab", ["c", "d"], None, ["c", "d"]),
        ("a", ["cd"], None, ["b", "c", "d"]),
    ],
)
def test_a_batch_has_at_least_one_job_and_is_of_one_wave(monkeypatch, tmp_path, done, further, chunk, taken):
    requested, finished = set("abcd") - set("".join(further)), set(done)
    looks, found = iter(further), []

    class Launcher:
        def launch(self, batch, initial_job_idx):
            assert initial_job_idx == sum(map(len, found))
            found.append("".join(one for (one,) in batch))
            finished.update(found[-1])
            return [JobReturn(_return_value=0.5, status=JobStatus.COMPLETED) for _ in batch]

    def more_splits(folder, request):
        added = next(looks, None)
        requested.update(added or "")
        return added is not None

    def left(config, jobs):
        waves = [[[one] for one in wave if one in requested - finished] for wave in ("abc", "d")]
        return [wave for wave in waves if wave]

    sweeper = StudySweeper(max_batch_size=chunk)
    for name, value in {
        "unfinished_waves": left,
        "more_splits": more_splits,
        "study_folder": str,
        "request_file": str,
    }.items():
        monkeypatch.setattr(f"hydra_plugins.study_sweeper.{name}", value)
    monkeypatch.setattr("hydra_plugins.study_sweeper.planned_jobs", lambda config: list("abcd"))
    sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    sweeper.launcher, sweeper.hydra_context = Launcher(), SimpleNamespace(config_loader=None)
    assert len(sweeper.sweep([])) == sum(map(len, taken))
    assert found == taken


@pytest.mark.parametrize(
    ("measures", "sizes"),
    [
        ("[]", [4, 6]),  # none and gan of each seed, then the others
        ("[judge,diversity]", [2, 1, 4, 3]),  # none of each seed, which is a teacher, and one gan with the judge of all
    ],
)
def test_a_cluster_gets_waves_in_which_no_two_jobs_lack_the_same_stage(cli, tmp_path, monkeypatch, measures, sizes):
    made, lacking = set(), []

    def launch(self, job_overrides, initial_job_idx):
        made.update(*itertools.chain(*lacking))
        lacking.append([])
        return BasicLauncher.launch(self, job_overrides, initial_job_idx)

    def job(config):
        lacking[-1].append({stage.key for stage in plan_trial(plain(config)).stages.values()} - made)

    monkeypatch.setattr(Strict, "launch", launch)
    monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)
    monkeypatch.setattr("gan_augment.app.run_job", job)
    arms = "augmentation=none,gan,gan_classical,placebo,synthetic_only"
    words = [word for word in TINY if not word.startswith("measures")] + [f"measures={measures}"]
    ended = cli("-m", "hydra/launcher=strict", arms, "seed=0,1", *words, f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    for wave in lacking:
        assert sum(map(len, wave)) == len(set().union(*wave))
    assert [*map(len, lacking)] == sizes


def test_a_failed_job_ends_a_sweep_only_after_the_last_wave(cli, tmp_path, monkeypatch):
    ran = []

    def job(config):
        ran.append(HydraConfig.get().runtime.choices.augmentation)
        if ran[-1] == "gan":
            raise RuntimeError("the disk caught fire")

    monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)
    monkeypatch.setattr("gan_augment.app.run_job", job)
    ended = cli("-m", "hydra/launcher=strict", "augmentation=gan,placebo", *TINY, f"paths.output_dir={tmp_path}")
    assert ran == ["gan", "placebo"]
    assert [size for size, _ in batches] == [1, 1]
    assert ended.code == 1
    assert "the disk caught fire" in ended.err
