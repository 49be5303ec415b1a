"""How a command ends, so that its exit code tells the truth.

| code | why |
| --- | --- |
| 0 | everything is done, and written to standard output |
| 1 | refused, a trial failed, or the report or the output cannot be written |
| 2 | `gan-augment-report` does not know an argument |
| 130 | Ctrl-C (SIGINT) |
| 143 | SIGTERM |
"""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gan_augment.errors import say, show_error

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
GRACE = 5.0  # seconds


@contextmanager
def command(program: str) -> Iterator[None]:
    """Run a command: end it on an error with one clear line, and on a signal with another.

    A signal raises `SystemExit`, so that temporary files are deleted. If the process has not ended after `GRACE`
    seconds, or gets a second signal, it ends at once.
    """
    _prepare_streams()
    ended, line = threading.Event(), ""

    def end(number: int, frame: Any) -> None:
        nonlocal line
        code, line = 128 + number, f"{program}: {SIGNALS[signal.Signals(number)]}; run the same command again to go on"
        signal.signal(number, lambda *_: os._exit(code))

        def insist() -> None:
            if not ended.wait(GRACE):
                say(line)
                os._exit(code)

        _thread.start_new_thread(insist, ())  # `Thread.start` takes a lock that may be held at this moment
        raise SystemExit(code)

    earlier = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # `nohup` ignores some
        earlier = {number: signal.signal(number, end) for number in heeded}
    code: Any = None
    try:
        yield
    except SystemExit as error:
        code = error.code or 0
    except BaseException as error:
        show_error(type(error), error, error.__traceback__, program)
        code = 1
    finally:
        ended.set()
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if line:
        say(line)
    lost = _flush()
    if lost and not code:
        say(f"{program}: {lost}")
        code = 1
    if code is not None:
        sys.exit(code)


@contextmanager
def output() -> Iterator[None]:
    """Write to standard output here and now; raise an OSError that says so if that is impossible."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise OSError(f"standard output cannot be written: {error.strerror or error}") from error


def _prepare_streams() -> None:
    """Make standard output and error take any text: a closed one drops it, one of ASCII shows escapes."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until the end)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> str | None:
    """Write what waits in standard output and error; return why that of the first is lost, if it is."""
    lost = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python tries again as it ends
            if stream is sys.stdout:
                lost = f"standard output cannot be written: {error.strerror or error}"
    return lost
