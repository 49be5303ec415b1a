"""Errors of a command: one line for what the user can fix, a full trace for a fault of the program."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from gan_augment.records.received import printable


@contextmanager
def user_errors() -> Iterator[None]:
    """End the program on an error, with one clear line if the user can fix it.

    Hydra turns an exception in a callback into a warning and goes on, but lets `SystemExit` through.
    """
    try:
        yield
    except Exception as error:
        show_error(type(error), error, error.__traceback__)
        raise SystemExit(1) from error


def show_error(kind: type[BaseException], error: Any, trace: Any, program: str = "gan-augment") -> None:
    """Print an error: one line for what the user can fix, a full trace for a fault of the program."""
    if issubclass(kind, ValueError | OSError) and not os.environ.get("HYDRA_FULL_ERROR"):
        if isinstance(error, OmegaConfBaseException):  # the other lines are about OmegaConf's nodes
            reason = str(error).partition("\n")[0].rpartition("while resolving interpolation: ")[2]
            error = f"{error.full_key}: {reason}"
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            error = f"{error}: make room, then run the same command again"
        # Names from elsewhere must not act on the terminal.
        say("\n".join(map(printable, f"{program}: {error}".split("\n"))))
    else:
        say("".join(traceback.format_exception(kind, error, trace)).rstrip())


def say(text: str) -> None:
    """Print a line to standard error, if that is possible."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
