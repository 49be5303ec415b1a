"""Unfinished outputs. Each process has a part of its own, so two that make the same output do not disturb each other.

A file lock spares them the double work, but on some network file systems it does nothing.
"""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import SoftFileLease, Timeout

LEASE = 30.0  # seconds without a sign of life after which a process on another machine counts as dead


def mine(output: Path) -> Path:
    """Return where this process may write before a file or folder appears under its name: no other process does."""
    host = re.sub(r"\W", "-", socket.gethostname())
    return output.with_name(f"{output.name}.{host}-{os.getpid()}.partial")


@contextmanager
def own_part(output: Path) -> Iterator[Path]:
    """Hand out the path of this process's part of an output, and give signs of life while it is in use."""
    part = mine(output)
    with _lease(part, timeout=-1):
        yield part


def parts(output: Path) -> list[Path]:
    """Return the parts of an output, of processes that are dead or alive."""
    return sorted(output.parent.glob(f"{output.name}.*.partial"))


def adopt(output: Path, own: Path, progress: Callable[[Path], float]) -> None:
    """Go on from what dead processes left: take over the part with the most progress, and remove those without.

    A dead process of this machine is known at once. One of another machine, or of another container, is watched for
    `LEASE` seconds if its part has any progress; without any, its part stays.
    """
    for part in parts(output):
        if part == own:
            continue
        with suppress(Timeout, FileNotFoundError), _lease(part, 1.2 * LEASE if progress(part) else 0):
            if progress(part) > progress(own):
                shutil.rmtree(own, ignore_errors=True)
                part.rename(own)
            else:
                shutil.rmtree(part)


def publish(part: Path, output: Path) -> None:
    """Turn a part into the output, or discard it if another process was faster: both have the same content."""
    try:
        part.rename(output)
    except OSError:
        if not output.exists():
            raise
        shutil.rmtree(part)


def _lease(part: Path, timeout: float) -> SoftFileLease:
    """Return a lock that works on every file system: a file that its holder touches now and then."""
    return SoftFileLease(part.with_suffix(".lease"), lease_duration=LEASE, timeout=timeout)
