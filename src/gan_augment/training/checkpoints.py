"""Checkpoints of a training: one that is interrupted goes on from the last of them as if nothing had happened."""

import logging
from pathlib import Path
from time import monotonic
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gan_augment.artefacts.weights import write_tensors
from gan_augment.stages import checkpoints

log = logging.getLogger(__name__)

KEPT = 2  # the newest, and the one before it in case the newest is torn


class Checkpoints(Callback):
    """Write `<step>.ckpt` now and then: all that the steps from there on depend on, and no earlier one changes.

    It is written before the step's batch is used: at the end of the step before, the looks at the validation images and
    the last points of the curves are still to come, and Lightning would leave them out of the resumed training.

    Args:
        folder: Where they are kept while the training lasts.
        every: Seconds between two of them, the most that an interruption costs, whatever a step takes.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self._folder, self._every = folder, every
        self._last: float | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the folder."""
        self._folder.mkdir(exist_ok=True)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint when one is due."""
        now = monotonic()
        if self._last is None:
            self._last = now
        if now - self._last < self._every:
            return
        self._last = now
        logger: Any = trainer.logger
        logger.experiment.flush()  # a killed process takes along what it has not written
        trainer.save_checkpoint(self._folder / f"{batch_idx}.ckpt", weights_only=False)
        for path in checkpoints(self._folder)[KEPT:]:
            path.unlink()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say where the training stands in the way that Lightning reads it: between two steps."""
        loop = checkpoint["loops"]["fit_loop"]
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # it adds one for a step that it takes as begun
        loop["epoch_loop.batch_progress"]["is_last_batch"] = False  # or it would leave out the last step


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: whole, or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_tensors(checkpoint, Path(path))


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that can be read, None if there is none."""
    for path in checkpoints(folder):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of many kinds, as the file is torn
            log.info("%s cannot be read (%s): left out", path, type(error).__name__)
        else:
            return path
    return None
