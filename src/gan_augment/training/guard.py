"""A guard that ends a training when it is no longer finite."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from gan_augment.stages import DivergedError
from gan_augment.training import replicas


class NotFiniteGuard(Callback):
    """Check the training's `finite` flag every `every_n_steps` steps, and its weights at the end.

    The flag stays on the device and is read rarely, because each reading makes the host wait for the device.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the training if a loss was not finite."""
        if (batch_idx + 1) % self.every_n_steps == 0 and not replicas.all_true(pl_module.finite):
            raise DivergedError(f"a loss was not finite within the first {batch_idx + 1} steps")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """End the training if a loss or a weight was not finite."""
        weights = all(value.isfinite().all() for value in pl_module.state_dict().values())  # the same in all processes
        if not (replicas.all_true(pl_module.finite) and weights):
            raise DivergedError("a loss or a weight was not finite at the end of the training")
