"""Sample grids over the course of a GAN's training."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torchvision.utils import make_grid

from gan_augment.randomness import Stream

MOST_CLASSES = 20  # in one grid


class SampleGrid(Callback):
    """Show what the averaged generator makes of the same latents over time, one row a class.

    Args:
        seed: Decides the latents.
        num_columns: Images a class.
        num_grids: How many grids to draw over the whole training, the last at its end.
    """

    def __init__(self, seed: int, num_columns: int = 8, num_grids: int = 12) -> None:
        self.num_columns = num_columns
        self.num_grids = num_grids
        self._stream = Stream(seed, "grid")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Draw a grid when one is due."""
        done, total = batch_idx + 1, int(trainer.num_training_batches)
        if done * self.num_grids // total == batch_idx * self.num_grids // total:
            return
        labels = torch.arange(min(pl_module.num_classes, MOST_CLASSES)).repeat_interleave(self.num_columns)
        latents = torch.randn(len(labels), pl_module.latent_dim, generator=self._stream.at(0))
        with torch.no_grad():
            images = pl_module.ema(latents.to(pl_module.device), labels.to(pl_module.device)).float()
        grid = make_grid(images.nan_to_num().add(1).div(2), nrow=self.num_columns, padding=1)
        trainer.logger.experiment.add_image("samples", grid, pl_module.images_seen(batch_idx))  # type: ignore[union-attr]
