"""Sample grids and the diversity of samples during a GAN's training."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from gan_augment.artefacts.drawing import MOST_CLASSES, arrange, num_shown
from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.diversity import class_diversity
from gan_augment.randomness import Stream

FEWEST = 16  # samples per class to measure diversity: 120 pairs


class SampleGrid(Callback):
    """Draw the averaged generator's images of the same latents over time, one row per class.

    It also draws the curves `diversity/<class>`: the pairwise diversity of the class's samples divided by that of its
    real images, about 1 if they are as diverse and near 0 if the generator has collapsed.

    Args:
        real: The training images of the GAN.
        num_grids: Number of grids over the whole training, the last at its end.
        with_diversity: Whether to draw these curves; not for samples that may show an image twice.
    """

    def __init__(self, real: ImageSet, seed: int, num_grids: int = 12, with_diversity: bool = True) -> None:
        self._real, self.num_grids = real, num_grids
        self._num_classes = min(real.num_classes, MOST_CLASSES)
        measured = with_diversity and not real.shape.is_point
        self._diversity = class_diversity(real, self._num_classes) if measured else None
        self._stream = Stream(seed, "grid")
        self._turn: int | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Draw a grid when one is due."""
        before = pl_module.turn(batch_idx, self.num_grids) if self._turn is None else self._turn
        self._turn = pl_module.turn(batch_idx + 1, self.num_grids)
        if self._turn != before:
            with pl_module.pause():
                self._draw(trainer, pl_module, batch_idx)

    def _draw(self, trainer: L.Trainer, pl_module: Any, batch_idx: int) -> None:
        per_class = max(FEWEST, num_shown(self._real.shape, self._num_classes))
        labels = torch.arange(self._num_classes).repeat_interleave(per_class)
        images = pl_module.sample(labels, self._stream.at(0), self._real.dtype)
        samples, step = ImageSet(images, labels, self._real.class_names), pl_module.images_seen(batch_idx)
        logger: Any = trainer.logger
        logger.experiment.add_image("samples", arrange(samples, self._num_classes), step)
        if self._diversity is not None:
            ratios = (class_diversity(samples, self._num_classes) / self._diversity).tolist()
            named = zip(samples.class_names, ratios, strict=False)
            known = {f"diversity/{name}": ratio for name, ratio in named if abs(ratio) < float("inf")}
            logger.log_metrics(known, step)
