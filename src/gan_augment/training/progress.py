"""Progress of a training."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from gan_augment.progress import Meter

_title: ContextVar[str | None] = ContextVar("title", default="training")


@contextmanager
def titled(title: str | None) -> Iterator[None]:
    """Set the title of progress bars inside this context, such as `trial 3/32 gan-seed0: gan`; None hides them."""
    token = _title.set(title)
    try:
        yield
    finally:
        _title.reset(token)


class Progress(Callback):
    """Show the progress of a training."""

    def __init__(self) -> None:
        self._shown = ExitStack()  # a training begins and ends in separate hooks, so `with` cannot span it
        self._meter: Meter | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Show the meter."""
        if title := _title.get():
            before = max(0, trainer.fit_loop.batch_idx)  # of a resumed training
            what = (pl_module.num_steps, "steps", before)
            if pl_module.seconds is not None:
                what = (math.ceil(pl_module.seconds), "seconds", int(pl_module.spent * pl_module.seconds))
            self._meter = self._shown.enter_context(Meter(title, *what))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the meter."""
        if self._meter is not None:
            done = batch_idx + 1 if pl_module.seconds is None else int(pl_module.spent * pl_module.seconds)
            self._meter.update(done)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the meter away."""
        self._shown.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the meter away."""
        self._shown.close()
