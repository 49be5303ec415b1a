"""Launchers, which run the trials of a study: what must fit before one starts, and what they raise if a job is lost."""

import math
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig

from gan_augment.workers import num_workers

# What launchers raise if a process was killed, by its name, and what to do.
KILLED = {
    # of joblib
    "TerminatedWorkerError": "a worker process was killed, perhaps for lack of memory: use fewer with "
    "hydra.launcher.n_jobs=...",
    "WorkerCrashedError": "a trial was lost with its node or its worker more often than "
    "hydra.launcher.ray.remote.max_retries",
    "JobLostError": "a job of the cluster ended without a result: if it lacked memory, allow more with "
    "hydra.launcher.mem_gb=...",
}


def check_launcher(config: DictConfig) -> None:
    """Check that the package of a launcher is installed; raise a ValueError if not."""
    name, module = config.hydra.runtime.choices["hydra/launcher"], config.hydra.launcher._target_.rpartition(".")[0]
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # of a package around it
        found = None
    if found is None:
        raise ValueError(f"hydra/launcher={name} is not installed: pip install 'gan-augment[{name}]'")


def check_waiting(config: DictConfig) -> None:
    """Check that a launch which does not wait for its jobs does not need their results.

    Raises:
        ValueError: If it does.
    """
    if config.hydra.launcher.get("wait") is not False:
        return
    name = config.hydra.runtime.choices["hydra/sweeper"]
    if config.until is not None or name != "study":
        needs = f"until={config.until}" if config.until is not None else f"hydra/sweeper={name}"
        raise ValueError(f"hydra.launcher.wait=false, but {needs} goes on from the results: leave out one of them")


def check_devices(trainer: Mapping[str, Any], launcher: Mapping[str, Any]) -> None:
    """Check that trials will have as many processes and GPUs as their trainings ask for, here or on a cluster.

    Args:
        trainer: The node of the hardware.
        launcher: The node of the launcher; empty for a single trial, which this process runs.

    Raises:
        ValueError: If they will not.
    """
    from gan_augment.training.hardware import check_gpu, check_started

    devices, needs_gpu = trainer["devices"], trainer["accelerator"] == "gpu"
    asked = devices * trainer["num_nodes"]
    if not launcher or not math.isinf(num_workers(launcher)):
        check_gpu(trainer["accelerator"])
    if "tasks_per_node" in launcher:  # of Slurm
        check_started(asked, launcher["tasks_per_node"] * launcher["nodes"])
        if needs_gpu and launcher["gpus_per_node"] < devices:
            raise ValueError(
                f"trainer=gpu needs {devices} GPUs on a node, but hydra.launcher.gpus_per_node="
                f"{launcher['gpus_per_node']}: ask for as many"
            )
        if trainer["checkpoint_every"] is None:
            raise ValueError("trainer.checkpoint_every=null: a job that runs out of time would start anew each time")
    elif asked > 1 and "n_jobs" in launcher:
        raise ValueError(
            f"trainer.devices={devices} shares each training, and hydra/launcher=joblib runs trials in parallel: leave "
            "out one of them"
        )
    elif asked > 1:
        check_started(asked, int(os.environ.get("WORLD_SIZE", "1")))
    if needs_gpu and "ray" in launcher and not launcher["ray"]["remote"].get("num_gpus"):
        raise ValueError("trainer=gpu, but hydra.launcher.ray.remote.num_gpus=0: ask for one, or for a share of one")
