"""Rehearsals: a few timed steps of a training tell what all of it will cost."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

WARM_UP, TIMED = 3, 10  # steps
SHORT = 50  # steps: a training of at most so many costs next to nothing

_workers: ContextVar[float | None] = ContextVar("workers", default=None)


class Rehearsed(Exception):  # noqa: N818 (not an error)
    """A training was rehearsed instead of carried out.

    Attributes:
        seconds: What the whole would take.
        size: Bytes of its networks, which it would leave.
    """

    def __init__(self, seconds: float, size: int) -> None:
        super().__init__(seconds, size)
        self.seconds, self.size = seconds, size


@contextmanager
def rehearsal(workers: float) -> Iterator[None]:
    """Rehearse every training inside this context, with the threads that each of some workers has."""
    token = _workers.set(workers)
    try:
        yield
    finally:
        _workers.reset(token)


def rehearse(system: Any, data: Any, **settings: Any) -> None:
    """Inside `rehearsal`, take a few steps of a training, with these settings of its trainer, and raise `Rehearsed`.

    Elsewhere do nothing.
    """
    workers = _workers.get()
    if workers is None:
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(threads // min(workers, threads))))
    steps, clock = len(data.train_dataloader()), _Clock()
    try:
        if steps > SHORT:
            trainer = L.Trainer(
                **settings, limit_train_batches=WARM_UP + TIMED, limit_val_batches=0, logger=False, callbacks=[clock]
            )
            trainer.fit(system, datamodule=data)
    finally:
        torch.set_num_threads(threads)
    seconds = min(clock.seconds / TIMED * steps, system.seconds or math.inf)
    raise Rehearsed(seconds, sum(weight.nbytes for weight in system.state_dict().values()))


def rehearse_share(work: Callable[[], object], times: float) -> None:
    """Inside `rehearsal`, do a share of some work, where all of it is so many times as much, and raise `Rehearsed`.

    Elsewhere do nothing.
    """
    if _workers.get() is not None:
        start = time.perf_counter()
        work()
        raise Rehearsed((time.perf_counter() - start) * times, 0)


class _Clock(Callback):
    """Measures the steps after the warm-up."""

    seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == WARM_UP:
            self._start = self._now(pl_module)
        elif batch_idx + 1 == WARM_UP + TIMED:
            self.seconds = self._now(pl_module) - self._start

    def _now(self, system: L.LightningModule) -> float:
        if system.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()
