"""A budget of seconds, which ends a training."""

from time import monotonic
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback


class Budget(Callback):
    """End a training after so many seconds of it, those before an interruption included, but not before its first step.

    Measurements and pictures on the way do not count (`Training.pause`).
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._before, self._spent = seconds, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far, for a resumed training."""
        return {"seconds": self._spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._before = self._spent = state_dict["seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._start = monotonic()
        pl_module.spent = min(1.0, self._spent / self._seconds)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the training when it is time."""
        self._spent = self._before + monotonic() - self._start - pl_module.paused
        pl_module.spent = min(1.0, self._spent / self._seconds)
        if pl_module.spent == 1:
            pl_module.num_steps = batch_idx + 1
            trainer.should_stop = True
