"""Launchers other than Hydra's own: those of Slurm and Ray refuse an empty batch, or start a cluster for it."""

import json
import signal
import sys

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from joblib.externals.loky.backend import fork_exec
from joblib.externals.loky.backend.process import LokyProcess
from omegaconf import OmegaConf

from conftest import TINY
from gan_augment import composing, workers
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


class UncompletedJobError(RuntimeError):
    """As submitit's, which reports a killed job over several lines."""


def test_a_killed_job_of_slurm_is_a_line_that_names_the_trials_without_a_result(cli, tmp_path, monkeypatch):
    def launch(self, job_overrides, initial_job_idx):
        raise UncompletedJobError("Job 3_1 (task: 0) with path 3_1_0_result.pkl\nhas not produced any output")

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
    assert (ended.code, ended.err) == (
        1,
        "gan-augment: a job was killed, perhaps for lack of memory or time: allow more with hydra.launcher.mem_gb=... "
        "or hydra.launcher.timeout_min=..., and wait for the jobs that still run (2 of 3 trials have no result: "
        f"{', '.join(lost)}); the same command resumes the study\n",
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
    ("done", "further", "taken"),
    [
        ("", [], ["ab", "cd"]),
        ("ab", [], ["cd"]),
        ("abd", [], ["c"]),
        ("abcd", [], []),
        ("abc", ["d"], ["d"]),
        ("abcd", ["", ""], []),
        ("ab", ["c", "d"], ["c", "d"]),
        ("a", ["cd"], ["b", "cd"]),
    ],
)
def test_a_batch_has_at_least_one_job_also_after_a_look(monkeypatch, done, further, taken):
    requested, finished = set("abcd") - set("".join(further)), set(done)
    looks = iter(further)

    def more_splits(folder, request):
        added = next(looks, None)
        requested.update(added or "")
        return added is not None

    def left(config, jobs):
        return [job for job in jobs if job in requested - finished]

    monkeypatch.setattr("hydra_plugins.study_sweeper.unfinished", left)
    monkeypatch.setattr("hydra_plugins.study_sweeper.more_splits", more_splits)
    monkeypatch.setattr("hydra_plugins.study_sweeper.study_folder", str)
    monkeypatch.setattr("hydra_plugins.study_sweeper.request_file", str)
    sweeper = StudySweeper(max_batch_size=2)
    sweeper.config, sweeper.overrides = OmegaConf.create(), [["a", "b"], ["c", "d"]]
    found = []
    while not sweeper.is_done():
        found.append("".join(sweeper.get_job_batch()))
        finished.update(found[-1])
    assert found == taken
