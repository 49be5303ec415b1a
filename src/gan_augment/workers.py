"""Worker processes of a parallel launch."""

import getpass
import math
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

from filelock import FileLock, Timeout

SECONDS_BETWEEN_CHECKS = 0.5
held: list[FileLock] = []  # the place of this process on a GPU


class JobLostError(OSError):
    """A job of a cluster ended without a result."""


def num_workers(launcher: Mapping[str, Any]) -> float:
    """Return how many jobs a launcher, by its node, runs at once: one, or its processes; infinity for a cluster."""
    if launcher["_target_"].endswith(".BasicLauncher"):
        return 1
    if "n_jobs" not in launcher:
        return math.inf
    from joblib import effective_n_jobs

    return effective_n_jobs(launcher["n_jobs"])


def waves(lacks: Sequence[Collection[str]]) -> list[int]:
    """Return the wave in which each job starts, so that no two of a wave lack the same stage.

    A job waits for the wave of the first job that lacks the same stage, and makes those that it is the first to lack.

    Args:
        lacks: The stages that each job needs and that are not made yet.

    Example:
        >>> waves([["a"], ["a", "b"], ["a", "b"], ["c"], []])
        [0, 1, 2, 0, 0]
    """
    makes: dict[str, int] = {}
    found = []
    for stages in lacks:
        found.append(max((makes[one] + 1 for one in stages if one in makes), default=0))
        for one in stages:
            makes.setdefault(one, found[-1])
    return found


@cache
def start_without_ctrl_c() -> None:
    """Let joblib's workers start with Ctrl-C blocked, as Python starts its own helpers: it is for the launch to report.

    Until it is blocked or ignored, it ends a worker with a trace, and imports take a worker some seconds.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return
    from joblib.externals.loky.backend import fork_exec as module

    fork_exec = module.fork_exec

    def blocked(*arguments: Any, **settings: Any) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a new process inherits the mask
        try:
            return int(fork_exec(*arguments, **settings))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    module.fork_exec = blocked


@cache
def end_with_parent() -> None:
    """End this worker process as soon as its launch has ended in any way; do nothing in other processes.

    A killed launch cannot end its workers, and a surviving worker would write the same files as the next launch. Ctrl-C
    reaches workers too, but is for the launch to report; SIGTERM ends a worker as `kill -9` does.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))  # or Lightning would raise what the launch takes for its own

    def watch() -> None:
        if sys.platform == "win32":  # a process keeps the number of its parent
            parent.join()
        else:
            while os.getppid() == parent.pid:
                time.sleep(SECONDS_BETWEEN_CHECKS)
        os._exit(1)  # no clean-up needed: files are written whole or not at all

    Thread(target=watch, daemon=True).start()


@cache
def use_own_gpu() -> None:
    """Let this worker process see one GPU alone, the one with the fewest workers; do nothing in other processes.

    PyTorch takes the first GPU that it sees, so all workers would share it. A file lock for each place on a GPU, held
    while the process lives, says which are taken. It must come before the first use of a GPU.
    """
    import torch

    seen = torch.cuda.device_count()
    if multiprocessing.parent_process() is None or seen < 2:
        return
    names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(seen)))).split(",")[:seen]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = "nobody"
    places = Path(tempfile.gettempdir()) / f"gan-augment-gpus-{user}"
    places.mkdir(exist_ok=True)
    for place, name in ((place, name) for place in count() for name in names):
        lock = FileLock(places / f"{re.sub(r'[^0-9A-Za-z]', '-', name)}.{place}.lock", timeout=0)
        with suppress(Timeout):
            lock.acquire()
            held.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return


@contextmanager
def sharing() -> Iterator[bool]:
    """Tell whether this process is the first of those that share each training; the others serve it here.

    `torchrun` starts several, and tells each which one it is.
    """
    # Without PyTorch, which takes a second to import. A number alone does not say where the others are.
    if os.environ.get("WORLD_SIZE", "1") == "1" or "MASTER_ADDR" not in os.environ:
        yield True
        return
    from gan_augment.training import replicas

    if replicas.is_first():
        yield True
        replicas.release()
    else:
        replicas.serve()
        yield False
