"""Checkpoints of a training: an interrupted training resumes from the last one, with an unchanged result."""

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

KEPT = 2  # the newest, and the one before it in case the newest is damaged


class Checkpoints(Callback):
    """Write `<step>.ckpt` into a folder at intervals of `every` seconds: everything the following steps depend on.

    It is written before the step's batch is used. At the end of the previous step, validation and the last points of
    the curves would still be missing, and Lightning would omit them from the resumed training.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self._folder, self._every = folder, every
        self._last: float | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the folder."""
        self._folder.mkdir(exist_ok=True)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Write a checkpoint when one is due."""
        now = monotonic()
        if self._last is None:
            self._last = now
        if now - self._last < self._every:
            return
        self._last = now
        logger: Any = trainer.logger
        logger.experiment.flush()  # a killed process loses unwritten events
        trainer.save_checkpoint(self._folder / f"{batch_idx}.ckpt", weights_only=False)
        for path in checkpoints(self._folder)[KEPT:]:
            path.unlink()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct Lightning's counters to a position between two steps."""
        loop = checkpoint["loops"]["fit_loop"]
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning has counted the coming step
        loop["epoch_loop.batch_progress"]["is_last_batch"] = False  # otherwise it would omit the last step


class WholeFiles(TorchCheckpointIO):
    """Writes each checkpoint to a temporary file and renames it: completely, or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_tensors(checkpoint, Path(path))


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that can be read, None if there is none."""
    for path in checkpoints(folder):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of many types, for a damaged file
            log.info("%s cannot be read (%s): left out", path, type(error).__name__)
        else:
            return path
    return None
