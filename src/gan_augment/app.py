"""The command `gan-augment`: configuration in, trials and a report out."""

import atexit
import gc
import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import datetime

import hydra
import hydra._internal.hydra
import hydra._internal.utils
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gan_augment.command import command
from gan_augment.composing import CheckedLoader, environment, named_plugins
from gan_augment.errors import show_error, user_errors
from gan_augment.job import run_job
from gan_augment.options import CONF, help_text
from gan_augment.overrides import check_overrides
from gan_augment.records.record import digest
from gan_augment.targets import add_plugins
from gan_augment.workers import sharing

# How arguments start that do not name an untitled study: where it runs, and how far it goes.
ELSEWHERE = (
    "-",
    "paths.",
    "hydra",
    "trainer.",
    "plugins=",
    "until=",
    "max_splits=",
    "step=",
    "max_trials=",
    "against=",
)

OmegaConf.register_resolver("oc.env", environment, replace=True)
OmegaConf.register_resolver("or", lambda value, otherwise: value or otherwise, replace=True)
# Two launches at the same time must not share a folder.
OmegaConf.register_resolver(
    "launch", lambda: f"{datetime.now():%Y-%m-%d_%H-%M-%S.%f}_{os.getpid()}", replace=True, use_cache=True
)
# Other settings are another study.
OmegaConf.register_resolver(
    "untitled",
    lambda: f"untitled-{digest(sorted(one for one in sys.argv[1:] if not one.startswith(ELSEWHERE)))[:8]}",
    replace=True,
    use_cache=True,
)
# What `--help` prints; in Hydra's template a dollar sign is written twice.
OmegaConf.register_resolver("options", lambda: help_text(CONF).replace("$", "$$"), replace=True)


@atexit.register
def end_at_once() -> None:
    """Keep Python from searching all objects for cycles at the end of a process, launch or worker.

    With PyTorch's modules that takes seconds. Triton, which PyTorch imports, would then print each object that was not
    deleted, thirty lines after the last line of a command: so nothing is printed after this.
    """
    gc.freeze()
    with suppress(OSError, ValueError):  # standard error may be closed
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@hydra.main(config_path=str(CONF), config_name="config", execution_whitelist=["gan_augment.launch.Launch"])
def job(config: DictConfig) -> float:
    """Run one trial."""
    # Report a full disk once, in one line: no traceback for each lost log line or from TensorBoard's writer thread.
    logging.raiseExceptions = False
    threading.excepthook = lambda ended: show_error(ended.exc_type, ended.exc_value, ended.exc_traceback)
    if HydraConfig.get().mode == RunMode.RUN:
        with user_errors():  # or Hydra repeats all settings before it
            return run_job(config)
    return run_job(config)


def main() -> None:
    """Run one trial, or with `-m` a study."""
    sys.excepthook = show_error
    # Hydra has no hook between composing a configuration and acting on it.
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]
    # Hydra prints an error in several lines, or with a trace: let `command` show it.
    for module in (hydra._internal.hydra, hydra._internal.utils):
        module.run_and_report = lambda work: work()  # type: ignore[attr-defined]
    with command("gan-augment"):
        check_overrides(sys.argv[1:])
        add_plugins(named_plugins(sys.argv[1:]))
        with sharing() as is_first:
            if is_first:
                job()
    sys.exit(0)
