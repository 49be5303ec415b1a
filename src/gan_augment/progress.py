"""Progress: one bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30
REFRESH = 2  # bar updates per second: Rich's default of 10 slows the training of small networks by a few per cent


class Meter:
    """Shows the progress of some work, such as `trial 3/32 gan-seed0: gan`, inside its context.

    The work has `total` units, named in the plural, of which some were completed before it was interrupted.
    """

    def __init__(self, title: str, total: int, unit: str, before: int = 0) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self._completed = self._before = before
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        """Show the bar, or write the first line."""
        self._start = self._last = time.monotonic()
        if sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=REFRESH)
            self._bar.add_task(self.title, total=self.total, completed=self._before)
            self._bar.start()
        elif self._before:
            log.info("%s: %d %s, resumed after %d", self.title, self.total, self.unit, self._before)
        else:
            log.info("%s: %d %s", self.title, self.total, self.unit)
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, units: int = 1) -> None:
        """Report that more units are completed."""
        self.update(self._completed + units)

    def update(self, completed: int) -> None:
        """Set the number of completed units: move the bar, or write a line from time to time."""
        self._completed = completed
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=completed)
        elif time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            left = (self._last - self._start) * (self.total - completed) / (completed - self._before)
            log.info("%s: %.0f %%, %.0f s left", self.title, 100 * completed / self.total, left)
