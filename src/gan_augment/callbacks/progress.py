"""Progress: one bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30

_title: ContextVar[str] = ContextVar("title", default="training")


@contextmanager
def titled(title: str) -> Iterator[None]:
    """Say of every training inside this context what it is, such as `trial 3/32 gan-seed0: gan`."""
    token = _title.set(title)
    try:
        yield
    finally:
        _title.reset(token)


class Progress(Callback):
    """Show how far a training is."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar, or write the first line."""
        self._total = int(trainer.num_training_batches)
        self._start = self._last = time.monotonic()
        if sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(_title.get(), total=self._total)
            self._bar.start()
        else:
            log.info("%s: %d steps", _title.get(), self._total)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, or now and then write a line."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=batch_idx + 1)
        elif time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            done = (batch_idx + 1) / self._total
            left = (self._last - self._start) * (1 - done) / done
            log.info("%s: %.0f %%, %.0f s left", _title.get(), 100 * done, left)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
