"""Errors of a command: one line for what the user can fix, a full trace for a fault of the program."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
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
    from hydra.errors import CompactHydraException  # imported late: a report needs no Hydra

    compact = OmegaConfBaseException | CompactHydraException
    if issubclass(kind, ValueError | OSError | compact) and not os.environ.get("HYDRA_FULL_ERROR"):
        if isinstance(error, compact):
            error = _in_one_line(error)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            error = f"{error}: make room, then run the same command again"
        text = f"{program}: {error}"
        # A list follows a colon; other ends of lines are in values. These must not act on the terminal either.
        lines = text.split("\n") if text.partition("\n")[0].endswith(":") else [text]
        say("\n".join(map(printable, lines)))
    else:
        say("".join(traceback.format_exception(kind, error, trace)).rstrip())


def _in_one_line(error: Any) -> str:
    """Return an error of Hydra or OmegaConf in one line, without where Hydra searches and what no trial would read."""
    if isinstance(error, OmegaConfBaseException):  # the other lines are about OmegaConf's nodes
        reason = str(error).partition("\n")[0].rpartition("while resolving interpolation: ")[2]
        return f"{error.full_key}: {reason}" if error.full_key else reason
    if options := getattr(error, "options", None):
        return f"{'='.join(error.missing_cfg_file.rsplit('/', 1))}: use one of {', '.join(options)}"
    lines = takewhile(lambda line: not line.lower().endswith("search path:"), str(error).splitlines())
    said = [line.strip() for line in lines if not line.startswith("To append to your ")]
    if isinstance(error.__cause__, OmegaConfBaseException):
        said.append(_in_one_line(error.__cause__))
    return " ".join(filter(None, said))


def say(text: str) -> None:
    """Print a line to standard error, if that is possible."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
