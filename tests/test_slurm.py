"""Trials as jobs of a Slurm cluster. `benchmarks/slurm.py` runs a real one."""

import shutil
import sys
from types import SimpleNamespace

import pytest
import submitit
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from conftest import TINY
from gan_augment import composing
from gan_augment.workers import JobLostError
from hydra_plugins import slurm_launcher
from hydra_plugins.slurm_launcher import SlurmLauncher

SETTINGS = {
    **{"wait": True, "again": 1, "timeout_min": 10, "warning_s": 60, "cpus_per_task": 2, "mem_gb": 4},
    **{"gpus_per_node": 0, "nodes": 1, "tasks_per_node": 1, "at_once": 8},
    **{"partition": None, "account": None, "qos": "short", "constraint": None},
}


class Local(SlurmLauncher):
    """Its jobs are processes of this machine, which submitit starts."""

    cluster = "local"

    def states(self, jobs):
        """Return what is known of them."""
        return ["COMPLETED" if job.done() else "RUNNING" for job in jobs]

    def cancel(self, jobs):
        """Cancel them."""
        for job in jobs:
            job.cancel(check=False)

    def watch(self, executor, jobs, calls, names):
        """Also wait until the processes have ended."""
        found = super().watch(executor, jobs, calls, names)
        for job in jobs:
            if isinstance(job, submitit.LocalJob):
                job._process.wait()
        return found


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(slurm_launcher, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(slurm_launcher, "GRACE", 0.02)
    Plugins.instance()  # registers those that are installed
    node = {"_target_": f"{__name__}.Local", **SETTINGS, "cpus_per_task": 1}
    ConfigStore.instance().store(group="hydra/launcher", name="local", node=node)
    Plugins.instance().register(Local)
    composing.installed.cache_clear()
    yield
    del ConfigStore.instance().repo["hydra"]["launcher"]["local.yaml"]
    composing.installed.cache_clear()


@pytest.fixture
def launcher(tmp_path):
    """Return a launcher whose launch has a folder."""
    made = Local(**SETTINGS)
    made.setup(hydra_context=None, task_function=None, config=OmegaConf.create({"study": "s"}))
    return made


class Job:
    """A job that has a result as soon as its file is there."""

    def __init__(self, folder, number):
        self.job_id, self.cancelled = f"{number}", False
        folder = folder / self.job_id
        folder.mkdir()
        self.paths = SimpleNamespace(folder=folder, result_pickle=folder / "result.pkl", stderr=folder / "log.err")

    def task(self, number):
        return self

    def finish(self):
        self.paths.result_pickle.touch()

    def _get_outcome_and_result(self):
        return "success", JobReturn(status=JobStatus.COMPLETED, _return_value=self.job_id)

    def cancel(self, check):
        self.cancelled = True


def watched(launcher, monkeypatch, folder, states):
    """Watch jobs whose states, one letter for each look, end with a result where that is "D"; return what they did."""
    letters = {
        "U": "UNKNOWN",
        "P": "PENDING",
        "R": "RUNNING",
        "N": "NODE_FAIL",
        "F": "FAILED",
        "C": "CANCELLED",
        "O": "OUT_OF_MEMORY",
        "D": "GONE",
    }
    jobs = [Job(folder, number) for number in range(len(states))]
    left = {job.job_id: [*shown] for job, shown in zip(jobs, states, strict=True)}
    submitted = []

    def submit(*call):
        submitted.append(Job(folder, len(jobs) + len(submitted)))
        left[submitted[-1].job_id] = [*"RD"]
        return submitted[-1]

    def shown(jobs):
        found = []
        for job in jobs:
            queue = left[job.job_id]
            found.append(queue.pop(0) if len(queue) > 1 else queue[0])
            if found[-1] == "D":
                job.finish()
        return [letters[one] for one in found]

    monkeypatch.setattr(launcher, "states", shown)
    calls = [(number,) for number in range(len(jobs))]
    return launcher.watch(SimpleNamespace(submit=submit), jobs, calls, [None] * len(jobs)), submitted


def test_a_job_that_stops_or_is_lost_is_told_in_a_line_and_goes_on(launcher, monkeypatch, tmp_path, capsys):
    found, again = watched(launcher, monkeypatch, tmp_path, ["PRD", "RPRD", "RN"])
    assert [one.return_value for one in found] == ["0", "1", "3"]
    assert [job.job_id for job in again] == ["3"]
    assert capsys.readouterr().err == (
        "gan-augment: job 1, trial 2: stopped, and queued again to go on from its last checkpoint\n"
        "gan-augment: job 2, trial 3: ended without a result; submitted again as job 3\n"
    )


@pytest.mark.parametrize(("last", "state"), [("C", "CANCELLED"), ("O", "OUT_OF_MEMORY")])
def test_a_job_that_would_end_again_is_given_up_and_the_others_are_waited_for(
    launcher, monkeypatch, tmp_path, capsys, last, state
):
    (lost, done), again = watched(launcher, monkeypatch, tmp_path, [f"R{last}", "RRRRRRRRRRD"])
    assert not again
    assert done.return_value == "1"
    with pytest.raises(JobLostError, match="job 0, trial 1"):
        _ = lost.return_value
    assert f"job 0, trial 1: ended without a result ({state}); its log is " in capsys.readouterr().err


def test_a_job_is_submitted_again_only_so_often_unless_it_was_its_node(launcher, monkeypatch, tmp_path):
    launcher.again = 0
    (lost, done), again = watched(launcher, monkeypatch, tmp_path, ["RF", "RN"])
    assert lost.status == JobStatus.FAILED
    assert done.return_value == again[0].job_id


def test_a_job_that_comes_back_is_not_lost_at_its_next_short_absence(launcher, monkeypatch, tmp_path):
    monkeypatch.setattr(slurm_launcher, "GRACE", 0.2)
    (done,), again = watched(launcher, monkeypatch, tmp_path, ["RN" + 40 * "R" + "ND"])
    assert done.return_value == "0"
    assert not again


def test_a_silent_slurm_is_told_in_a_line(launcher, monkeypatch, tmp_path, capsys):
    (done,), _ = watched(launcher, monkeypatch, tmp_path, ["RUUURD"])
    assert done.return_value == "0"
    assert capsys.readouterr().err == "gan-augment: squeue does not answer; the launch goes on to wait for its jobs\n"


def test_a_result_that_cannot_be_read_is_that_of_one_job(launcher, monkeypatch, tmp_path):
    def unreadable(self):
        if self.job_id == "0":
            raise TypeError("missing 1 required argument")
        return "success", JobReturn(status=JobStatus.COMPLETED, _return_value=self.job_id)

    monkeypatch.setattr(Job, "_get_outcome_and_result", unreadable)
    (failed, done), _ = watched(launcher, monkeypatch, tmp_path, ["RD", "RRD"])
    assert failed.status == JobStatus.FAILED
    assert done.return_value == "1"


def test_all_jobs_are_cancelled_by_one_command(launcher, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(slurm_launcher.subprocess, "run", lambda command, **settings: asked.append(command))
    SlurmLauncher.cancel(launcher, [SimpleNamespace(job_id=one) for one in ("7_0", "7_1")])
    assert asked == [["scancel", "7_0", "7_1"]]


def test_a_launch_that_is_ended_cancels_its_jobs(launcher, monkeypatch, tmp_path):
    jobs = [Job(tmp_path, 0), Job(tmp_path, 1)]
    launcher.config = OmegaConf.create({"study": "s", "paths": {"output_dir": f"{tmp_path}"}})
    launcher.config.hydra = {"sweep": {"dir": "launch"}}

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "executor", lambda: SimpleNamespace(map_array=lambda *calls: jobs))
    monkeypatch.setattr(launcher, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launcher.launch([["seed=0"], ["seed=1"]], 0)
    assert all(job.cancelled for job in jobs)


def test_without_waiting_each_wave_depends_on_the_one_before(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(slurm_launcher, "check_submission", lambda cluster: None)
    launcher = SlurmLauncher(**SETTINGS | {"wait": False, "partition": "gpu", "gpus_per_node": 1})
    launcher.setup(hydra_context=None, task_function=None, config=OmegaConf.create({"study": "s"}))
    launcher.config.hydra = {"sweep": {"dir": f"{tmp_path}"}}
    asked = []

    class Executor:
        def __init__(self, **settings):
            assert settings["cluster"] == "slurm"

        def update_parameters(self, **settings):
            asked.append(settings)

        def map_array(self, job, *calls):
            number = 10 + len(asked)
            return [SimpleNamespace(job_id=f"{number}_{one}") for one in range(len(calls[0]))]

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    for batch in ([["a=1"], ["a=2"]], [["a=3"]]):
        assert [one.return_value for one in launcher.launch(batch, 0)] == [None] * len(batch)
    assert capsys.readouterr().out == (
        "submitted: 2 trials, as job 11 of Slurm\nsubmitted: 1 trials, as job 12 of Slurm\n"
    )
    assert asked[0] == {
        **{"name": "gan-augment-s", "timeout_min": 10, "cpus_per_task": 2, "mem_gb": 4, "gpus_per_node": 1},
        **{"nodes": 1, "tasks_per_node": 1},
        **{"slurm_signal_delay_s": 60, "slurm_array_parallelism": 8, "slurm_partition": "gpu"},
        **{
            "slurm_srun_args": ["--kill-on-bad-exit=1"],
            "slurm_qos": "short",
            "slurm_setup": ["export OMP_NUM_THREADS=2"],
        },
    }
    assert asked[1]["slurm_additional_parameters"] == {"dependency": "afterany:11"}


def test_states_come_from_squeue_which_needs_no_accounting(launcher, monkeypatch):
    jobs = [SimpleNamespace(job_id=one) for one in ("7_0", "7_1", "9")]
    answer = SimpleNamespace(returncode=0, stdout="7_0 RUNNING\n7_1 NODE_FAIL\n8 PENDING\n")
    monkeypatch.setattr(slurm_launcher.subprocess, "run", lambda command, **settings: answer)
    assert SlurmLauncher.states(launcher, jobs) == ["RUNNING", "NODE_FAIL", "GONE"]
    answer.returncode = 1  # Slurm is down: nothing is known, so nothing has ended
    assert SlurmLauncher.states(launcher, jobs) == ["UNKNOWN"] * 3


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"wait": "no"}, "hydra.launcher.wait=no"),
        ({"again": -1}, "hydra.launcher.again=-1"),
        ({"cpus_per_task": 0}, "hydra.launcher.cpus_per_task=0"),
        ({"mem_gb": 0}, "hydra.launcher.mem_gb=0"),
        ({"timeout_min": 1}, "hydra.launcher.warning_s=60, but a job has timeout_min=1"),
    ],
)
def test_a_setting_out_of_range_is_refused(capsys, setting, line):
    with pytest.raises(SystemExit):
        Local(**SETTINGS | setting)
    assert line in capsys.readouterr().err


def test_slurm_must_be_there(capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "sbatch" else name)
    with pytest.raises(SystemExit):
        SlurmLauncher(**SETTINGS)
    assert "hydra/launcher=slurm, but sbatch is not on this machine" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SystemExit):
        Local(**SETTINGS)
    assert "hydra/launcher=slurm needs submitit: pip install 'gan-augment[slurm]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("until=decided", "seed=range(0,6)"), "hydra.launcher.wait=false, but until=decided goes on from the results"),
        (("hydra/sweeper=search",), "hydra.launcher.wait=false, but hydra/sweeper=search goes on from the results"),
    ],
)
def test_what_goes_on_from_results_must_wait_for_them(cli, tmp_path, words, line):
    ended = cli(
        "-m", "hydra/launcher=local", "hydra.launcher.wait=false", *TINY, *words, f"paths.output_dir={tmp_path}"
    )
    assert ended.code == 1
    assert line in ended.err


def test_jobs_give_the_results_of_one_process(cli, tmp_path):
    words = [word for word in TINY if not word.startswith("measures")] + ["measures=[]"]
    command = ("-m", "study=s", "augmentation=none", "seed=0,1", *words)
    ended = [
        cli(*command, "hydra/launcher=local", f"paths.output_dir={tmp_path}/jobs"),
        cli(*command, f"paths.output_dir={tmp_path}/here"),
        cli(*command, "hydra/launcher=local", f"paths.output_dir={tmp_path}/jobs"),
    ]
    assert [one.code for one in ended] == [0, 0, 0], ended[0].err
    assert "trial 1/2 none-seed0-" in ended[0].out
    assert "submitted" not in ended[2].out  # all are done
    there, here = (sorted((tmp_path / one).glob("studies/s/trials/*/predictions.npz")) for one in ("jobs", "here"))
    assert [one.read_bytes() for one in there] == [one.read_bytes() for one in here]
    assert len(here) == 2


def test_without_waiting_the_launch_says_how_to_report(cli, tmp_path, monkeypatch):
    job = SimpleNamespace(job_id="5")
    monkeypatch.setattr(Local, "executor", lambda self: SimpleNamespace(map_array=lambda *calls: [job]))
    words = [word for word in TINY if not word.startswith("measures")] + ["measures=[]", "hydra.launcher.wait=false"]
    ended = cli(
        *("-m", "study=s", "augmentation=none", "seed=0", *words, "hydra/launcher=local"),
        f"paths.output_dir={tmp_path}",
    )
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"when the jobs have ended: gan-augment-report {tmp_path}/studies/s\n")


def test_a_launcher_that_is_not_installed_is_refused(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.launchers.find_spec", lambda name: None)
    ended = cli("-m", "hydra/launcher=ray", "augmentation=none", f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (
        1,
        "gan-augment: hydra/launcher=ray is not installed: pip install 'gan-augment[ray]'\n",
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("trainer=gpu",), "trainer=gpu needs 1 GPUs on a node, but hydra.launcher.gpus_per_node=0: ask for as many"),
        (("trainer.checkpoint_every=null",), "trainer.checkpoint_every=null: a job that runs out of time would start"),
    ],
)
def test_jobs_that_could_not_work_are_refused(cli, tmp_path, words, line):
    ended = cli("-m", "hydra/launcher=local", "augmentation=none", *words, f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert line in ended.err


def test_trials_for_gpus_are_planned_on_a_machine_without(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: None)
    job = SimpleNamespace(job_id="5")
    monkeypatch.setattr(Local, "executor", lambda self: SimpleNamespace(map_array=lambda *calls: [job]))
    words = ("trainer=gpu", "hydra.launcher.gpus_per_node=1", "hydra.launcher.wait=false", "augmentation=none")
    ended = cli("-m", "hydra/launcher=local", *words, f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    assert "the estimate lacks the stage classifier, which needs another machine" in ended.out + ended.err
    ended = cli("-m", "trainer=gpu", "augmentation=none", f"paths.output_dir={tmp_path}")
    assert "trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu" in ended.err
