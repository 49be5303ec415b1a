"""A Hydra plugin, found by the name of this folder: each trial is a job of a Slurm cluster, through submitit."""

import os
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from gan_augment.command import output
from gan_augment.errors import say, user_errors
from gan_augment.job import outcome, request_file
from gan_augment.records.record import read_study
from gan_augment.settings import check_boolean, check_integer, check_number
from gan_augment.workers import JobLostError, sharing

SECONDS_BETWEEN_LOOKS = 10.0
GRACE = 60.0  # seconds in which the result of an ended job may still come, through a slow file system
ENDINGS = 1000  # times that a job may run out of its time: it goes on from its last checkpoint
# States in which a job has ended and Slurm will not start it again; "GONE" if Slurm knows it no more.
ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT", "GONE"),
)
NOT_ITS_FAULT = ("NODE_FAIL", "PREEMPTED")  # these do not count for `again`
FINAL = ("CANCELLED", "DEADLINE", "OUT_OF_MEMORY", "REVOKED")  # submitted again, it would end in the same way
RAN, WAITS = ("RUNNING", "COMPLETING", "SUSPENDED"), ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


@dataclass
class Job:
    """What a job runs: a trial, with the settings of its launch. submitit pickles it."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig

    def __call__(self, overrides: list[str], number: int, state: dict[Any, Any]) -> JobReturn:
        """Run the trial; in a job of several tasks the first one does, and the others share its trainings."""
        import submitit

        for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            os.environ.pop(name, None)  # of the shell that submitted it
        if submitit.JobEnvironment().num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        with sharing() as is_first:
            return self.run(overrides, number, state) if is_first else JobReturn(_return_value=None)

    def run(self, overrides: list[str], number: int, state: dict[Any, Any]) -> JobReturn:
        """Run the trial."""
        import submitit

        Singleton.set_state(state)
        setup_globals()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config.hydra.job):
            config.hydra.job.id, config.hydra.job.num = submitit.JobEnvironment().job_id, number
        return run_job(
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.hydra_context,
        )

    def checkpoint(self, *arguments: Any) -> Any:
        """Return what is queued when the job runs out of time: the same, which goes on from its last checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


class SlurmLauncher(Launcher):
    """Submits the trials of each wave as an array of jobs, waits for them, and tells of each that is done.

    A job that runs out of time, or makes room for another, is queued again, and goes on from its last checkpoint. One
    that ends without a result is submitted again, unless it was cancelled or took too much memory. A line tells of
    each; the other jobs are waited for in any case. A launch that is ended cancels its jobs.

    Args:
        wait: Whether to wait. Otherwise the launch submits all and returns; each wave waits for the one before.
        again: How often a job that ended without a result is submitted again.
        timeout_min: Time limit of a job, in minutes.
        warning_s: Seconds before this limit at which the job stops and is queued again.
        cpus_per_task: Cores of a job, and its threads.
        mem_gb: Memory of a job, in GiB.
        gpus_per_node: GPUs of a job on each node.
        nodes: Nodes of a job: as many as `trainer.num_nodes`.
        tasks_per_node: Processes of a job on each node: as many as `trainer.devices`.
        at_once: Most jobs of a wave that run at the same time.
        partition: Slurm's partition; None for its default.
        account: The account that pays; None for its default.
        qos: The quality of service; None for its default.
        constraint: What a node must have, such as `a100`; None for nothing.

    Raises:
        SystemExit: If a setting is out of range, or there is no Slurm here. A line says why.

    Attributes:
        cluster: What submitit submits to.
    """

    cluster = "slurm"

    @user_errors()
    def __init__(
        self,
        *,
        wait: bool,
        again: int,
        timeout_min: int,
        warning_s: int,
        cpus_per_task: int,
        mem_gb: float,
        gpus_per_node: int,
        nodes: int,
        tasks_per_node: int,
        at_once: int,
        partition: str | None,
        account: str | None,
        qos: str | None,
        constraint: str | None,
    ) -> None:
        check_boolean("hydra.launcher.wait", wait)
        check_number("hydra.launcher.mem_gb", mem_gb, 0, 1e6, open_low=True)
        for name, value, low in (
            *(("again", again, 0), ("gpus_per_node", gpus_per_node, 0), ("timeout_min", timeout_min, 1)),
            *(("warning_s", warning_s, 1), ("cpus_per_task", cpus_per_task, 1), ("at_once", at_once, 1)),
            *(("nodes", nodes, 1), ("tasks_per_node", tasks_per_node, 1)),
        ):
            check_integer(f"hydra.launcher.{name}", value, low)
        if warning_s >= 60 * timeout_min:
            raise ValueError(
                f"hydra.launcher.warning_s={warning_s}, but a job has timeout_min={timeout_min}: warn it later"
            )
        check_submission(self.cluster)
        self.wait, self.again = wait, again
        self.resources = {"timeout_min": timeout_min, "cpus_per_task": cpus_per_task, "mem_gb": mem_gb}
        self.resources |= {"nodes": nodes, "tasks_per_node": tasks_per_node}
        if gpus_per_node:
            self.resources["gpus_per_node"] = gpus_per_node
        self.of_slurm = {
            "signal_delay_s": warning_s,
            "array_parallelism": at_once,
            "srun_args": ["--kill-on-bad-exit=1"],
            "setup": [f"export OMP_NUM_THREADS={cpus_per_task}"],
        }
        named = {"partition": partition, "account": account, "qos": qos, "constraint": constraint}
        self.of_slurm |= {name: value for name, value in named.items() if value is not None}
        self.last_wave: list[str] = []  # the numbers of its jobs in Slurm, if the launch does not wait

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what a job needs."""
        self.config, self.job = config, Job(hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit jobs, and wait for them if the launch does; a job without a result returns a `JobLostError`."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        calls = [([*one], number, Singleton.get_state()) for one, number in zip(job_overrides, numbers, strict=True)]
        executor = self.executor()
        jobs = executor.map_array(self.job, *zip(*calls, strict=True))
        ids = [*dict.fromkeys(job.job_id.partition("_")[0] for job in jobs)]
        with output():
            print(f"submitted: {len(jobs)} trials, as job {', '.join(ids)} of Slurm")
        if not self.wait:
            self.last_wave = ids
            return [JobReturn(status=JobStatus.COMPLETED, _return_value=None) for _ in jobs]
        path = request_file(self.config)
        names = (read_study(path) if path.exists() else {}).get("jobs", {})
        try:
            return self.watch(executor, jobs, calls, [names.get(shlex.join(one)) for one in job_overrides])
        except BaseException:
            self.cancel(jobs)
            raise

    def cancel(self, jobs: Sequence[Any]) -> None:
        """Cancel jobs, all at once: a launch that is ended has only seconds."""
        subprocess.run(["scancel", *dict.fromkeys(job.job_id for job in jobs)], check=False)

    def executor(self) -> Any:
        """Return what submits jobs, with their resources."""
        import submitit

        folder = Path(self.config.hydra.sweep.dir).absolute() / "jobs" / "%j"
        executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster, slurm_max_num_timeout=ENDINGS)
        of_slurm = {f"slurm_{name}": value for name, value in self.of_slurm.items()}
        if self.last_wave:
            of_slurm["slurm_additional_parameters"] = {"dependency": f"afterany:{':'.join(self.last_wave)}"}
        executor.update_parameters(name=f"gan-augment-{self.config.study}", **self.resources, **of_slurm)
        return executor

    def watch(
        self, executor: Any, jobs: list[Any], calls: Sequence[tuple[Any, ...]], names: Sequence[str | None]
    ) -> list[JobReturn]:
        """Wait until every job has a result, or will have none; `names` are those of the trials."""
        found: dict[int, JobReturn] = {}
        lost_since: dict[int, float] = {}
        submitted: Counter[int] = Counter()
        before = ["PENDING"] * len(jobs)
        while len(found) < len(jobs):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            states = self.states(jobs)
            if "UNKNOWN" in states and "UNKNOWN" not in before:
                say("gan-augment: squeue does not answer; the launch goes on to wait for its jobs")
            for number in sorted({*range(len(jobs))} - found.keys()):
                job, state = jobs[number].task(0), states[number]
                said = f"job {job.job_id}, {names[number] or f'trial {number + 1}'}"
                if job.paths.result_pickle in {*job.paths.folder.iterdir()}:  # a list is not as old as `exists` may be
                    found[number] = result(job, calls[number][0])
                    if names[number] and (line := outcome(self.config, names[number])):
                        with output():
                            print(line)
                elif state in ENDED:
                    if time.monotonic() - lost_since.setdefault(number, time.monotonic()) < GRACE:
                        continue
                    if state in FINAL or (state not in NOT_ITS_FAULT and submitted[number] >= self.again):
                        log = os.path.relpath(job.paths.stderr)
                        say(f"gan-augment: {said}: ended without a result ({state}); its log is {log}")
                        failed = {"overrides": calls[number][0], "status": JobStatus.FAILED}
                        found[number] = JobReturn(**failed, _return_value=JobLostError(said))
                        continue
                    submitted[number] += state not in NOT_ITS_FAULT
                    jobs[number] = executor.submit(self.job, *calls[number])
                    state = "PENDING"
                    say(f"gan-augment: {said}: ended without a result; submitted again as job {jobs[number].job_id}")
                elif before[number] in RAN and state in WAITS:
                    say(f"gan-augment: {said}: stopped, and queued again to go on from its last checkpoint")
                if state not in ENDED:
                    lost_since.pop(number, None)
                before[number] = state
        return [found[number] for number in range(len(jobs))]

    def states(self, jobs: Sequence[Any]) -> list[str]:
        """Return the state of each job, as Slurm names it; "UNKNOWN" while Slurm does not answer.

        `squeue` works on every cluster, also on those without the accounting that `sacct` asks.
        """
        command = ["squeue", "--me", "--array", "--states=all", "--noheader", "--format=%i %T"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            return ["UNKNOWN" for _ in jobs]
        states = dict(line.split(maxsplit=1) for line in asked.stdout.splitlines() if " " in line)
        return [states.get(job.job_id, "GONE").strip() for job in jobs]


def check_submission(cluster: str) -> None:
    """Check that jobs can be submitted from here.

    Raises:
        ValueError: If submitit is missing, or the commands of Slurm are.
    """
    if find_spec("submitit") is None:
        raise ValueError("hydra/launcher=slurm needs submitit: pip install 'gan-augment[slurm]'")
    missing = [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]
    if missing and cluster == "slurm":
        raise ValueError(
            f"hydra/launcher=slurm, but {missing[0]} is not on this machine: start the study where jobs are submitted, "
            "or leave the launcher out"
        )


def result(job: Any, overrides: Sequence[str]) -> JobReturn:
    """Return the result of a job that has written one: what its trial returned or raised."""
    try:
        kind, value = job._get_outcome_and_result()  # `results` would first ask sacct
    except Exception as failure:  # of many types, for a result that cannot be read
        kind, value = "error", f"{type(failure).__name__}: {failure}"
    if kind == "success":
        return value
    error = RuntimeError(f"job {job.job_id} failed:\n{value}")
    return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=error)
