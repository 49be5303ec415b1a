"""Batches on the device, as a function of the step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.randomness import Stream


class Batch(NamedTuple):
    """Images, float `[B, C, H, W]` in [-1, 1], and their labels, int64 `[B]`."""

    images: Tensor
    labels: Tensor


class Part(NamedTuple):
    """One image set that a batch draws from.

    Attributes:
        images: The set.
        num_per_batch: How many of its images stand in each batch.
        stream: Names the random order in which they come.
    """

    images: ImageSet
    num_per_batch: int
    stream: str


class ShuffledIndices:
    """An endless sequence of indices, epoch after epoch, each epoch a permutation of its own.

    Args:
        length: Number of images in the set.
        seed: The user's seed.
        stream: Names the order.
    """

    def __init__(self, length: int, seed: int, stream: str) -> None:
        self.length = length
        self._stream = Stream(seed, stream)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def between(self, start: int, stop: int) -> Tensor:
        """Return the elements [start, stop) of the sequence, int64 `[stop - start]`."""
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.length)
            if epoch != self._epoch:
                self._epoch = epoch
                self._order = torch.randperm(self.length, generator=self._stream.at(epoch))
            pieces.append(self._order[offset : offset + stop - start])
            start += len(pieces[-1])
        return torch.cat(pieces)


class StepIndices(Dataset[Tensor]):
    """Item `step` holds the indices of that step's batch, int64 `[B]`, into the concatenated parts."""

    def __init__(self, parts: Sequence[Part], num_steps: int, seed: int) -> None:
        self.parts = parts
        self.num_steps = num_steps
        self._orders = [ShuffledIndices(len(part.images), seed, part.stream) for part in parts]

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> Tensor:
        """Return the indices of one step's batch."""
        if step >= self.num_steps:
            raise IndexError(step)
        indices, offset = [], 0
        for part, order in zip(self.parts, self._orders, strict=True):
            indices.append(offset + order.between(step * part.num_per_batch, (step + 1) * part.num_per_batch))
            offset += len(part.images)
        return torch.cat(indices)


class ImageBatches(L.LightningDataModule):
    """Training batches as a function of the step, and validation batches, from one uint8 tensor on the device.

    The loaders hand out indices; images are selected and normalised on the device.

    Args:
        parts: What each training batch is made of.
        num_steps: Number of training batches.
        seed: Decides the order of the images.
        validation: Images to report on while training; None, or an empty set, for none.
        validation_batch_size: Images a validation batch.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        num_steps: int,
        seed: int,
        validation: ImageSet | None = None,
        validation_batch_size: int = 500,
    ) -> None:
        super().__init__()
        self._steps = StepIndices(parts, num_steps, seed)
        sets = [part.images for part in parts] + ([] if validation is None else [validation])
        self._images = torch.cat([one.images for one in sets])
        self._labels = torch.cat([one.labels for one in sets])
        num_validation = 0 if validation is None else len(validation)
        self._validation = torch.arange(len(self._images) - num_validation, len(self._images))
        self._validation_batch_size = validation_batch_size

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the loader of training batches: one epoch is the whole training."""
        return DataLoader(self._steps, batch_size=None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return the loader of validation batches, in the set's order."""
        return DataLoader(self._validation.split(self._validation_batch_size), batch_size=None)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Select the images of a batch of indices, and normalise them, on the device."""
        if self._images.device != batch.device:
            self._images, self._labels = self._images.to(batch.device), self._labels.to(batch.device)
        return Batch(to_float(self._images[batch]), self._labels[batch])
