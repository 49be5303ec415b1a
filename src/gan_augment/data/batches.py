"""Batches on the device, as a function of the step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import NamedTuple, cast

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.randomness import Stream
from gan_augment.training import replicas
from gan_augment.training.replicas import Place


class Batch(NamedTuple):
    """Images, float `[B, C, H, W]` in [-1, 1], their labels, int64 `[B]`, and where the images of each part stand.

    A pool's labels are -1. Where several processes share a training, these are the rows at a place of the whole batch.
    """

    images: Tensor
    labels: Tensor
    parts: Mapping[str, slice] = MappingProxyType({})
    place: Place | None = None

    @property
    def size(self) -> int:
        """The number of images of the whole batch."""
        return len(self.images) if self.place is None else self.place.size

    def keep(self, whole: Tensor) -> Tensor:
        """Return the rows of this batch, of a tensor `[B, ...]` for the whole batch."""
        return whole if self.place is None else self.place.keep(whole)

    def change(self, images: Tensor, by: Callable[[Tensor], Tensor]) -> Tensor:
        """Change images of this batch, `[B, C, H, W]`, each by itself, with random draws for the whole batch."""
        return by(images) if self.place is None else self.place.within(by, images)

    @property
    def labelled(self) -> "Batch":
        """The labelled images, with their labels."""
        return self._part("labelled")

    @property
    def pool(self) -> "Batch":
        """The images of the pool."""
        return self._part("pool")

    @property
    def extra(self) -> "Batch":
        """The images that an arm mixes in, with their labels."""
        return self._part("extra")

    @property
    def known(self) -> "Batch":
        """The images that come before those of the pool: labelled ones, and those that an arm mixes in."""
        number = self.parts["pool"].start
        return Batch(self.images[:number], self.labels[:number])

    def _part(self, name: str) -> "Batch":
        return Batch(self.images[self.parts[name]], self.labels[self.parts[name]])


class Part(NamedTuple):
    """One image set that a batch draws from.

    Attributes:
        num_per_batch: How many of its images are in each batch.
        stream: Name of the random stream of their order.
        balanced: Whether all classes are drawn equally often; otherwise all images are.
    """

    images: ImageSet
    num_per_batch: int
    stream: str
    balanced: bool = False

    @property
    def name(self) -> str:
        """What the part is called in a batch: the end of its stream's name, `labelled` for `order` alone."""
        return self.stream.partition("/")[2] or "labelled"


class ShuffledIndices:
    """An endless sequence of the indices of `length` images, each epoch a new permutation."""

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


class BalancedIndices:
    """An endless sequence of indices in which all classes are equally frequent, and so are the images of one class.

    The classes are those that occur in the labels, int64 `[N]`. Each round contains every class once, in a new random
    order. The images of a class are in the order of `ShuffledIndices`.
    """

    def __init__(self, labels: Tensor, seed: int, stream: str) -> None:
        self._members = [(labels == label).nonzero()[:, 0] for label in labels.unique().tolist()]
        self._images = [
            ShuffledIndices(len(members), seed, f"{stream}/{number}") for number, members in enumerate(self._members)
        ]
        self._classes = ShuffledIndices(len(self._members), seed, stream)

    def between(self, start: int, stop: int) -> Tensor:
        """Return the elements [start, stop) of the sequence, int64 `[stop - start]`."""
        rounds = torch.arange(start, stop) // len(self._members)
        first, last = int(rounds[0]), int(rounds[-1])
        pairs = zip(self._members, self._images, strict=True)
        table = torch.stack([members[images.between(first, last + 1)] for members, images in pairs])
        return table[self._classes.between(start, stop), rounds - first]


# The images of a batch: the number of a set, and indices into it, int64 `[B]`.
Selection = dict[int, Tensor]


class TrainingSteps:
    """Selects the batch of each step from the parts, and yields them in order.

    Lightning saves its position, and a resumed training starts there.
    """

    def __init__(self, parts: Sequence[Part], num_steps: int, seed: int) -> None:
        self.num_steps = num_steps
        self._orders = [
            BalancedIndices(part.images.labels, seed, part.stream)
            if part.balanced
            else ShuffledIndices(len(part.images), seed, part.stream)
            for part in parts
        ]
        self._numbers = [part.num_per_batch for part in parts]
        self._first = self._last = 0

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> Selection:
        counted = enumerate(zip(self._orders, self._numbers, strict=True))
        return {part: order.between(step * number, (step + 1) * number) for part, (order, number) in counted}

    def __iter__(self) -> Iterator[Selection]:
        first, self._first = self._first, 0
        for step in range(first, len(self)):
            self._last = step
            yield self[step]

    def state_dict(self) -> dict[str, int]:
        """Return the last step that was yielded; its training has not begun when a checkpoint is written."""
        return {"step": self._last}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin the next iteration with this step."""
        self._first = state_dict["step"]


class ImageBatches(L.LightningDataModule):
    """Training batches as a function of the step, and validation batches, as uint8 tensors on the device.

    The loaders yield indices. Images in memory are kept on the device and selected there; images in a file are read on
    the host, one batch at a time. All are normalised on the device. With an empty validation set, or None, there are no
    validation batches.
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
        self._steps = TrainingSteps(parts, num_steps, seed)
        self.sizes = [part.num_per_batch for part in parts]
        self._names = [part.name for part in parts]
        self._sets = [part.images for part in parts] + ([] if validation is None else [validation])
        self._on_device: dict[int, tuple[Tensor, Tensor]] = {}
        indices = torch.arange(0 if validation is None else len(validation)).split(validation_batch_size)
        self._validation = [{len(parts): chunk} for chunk in indices if len(chunk)]

    def train_dataloader(self) -> TrainingSteps:
        """Return the loader of training batches: one epoch is the whole training."""
        return self._steps

    def val_dataloader(self) -> DataLoader[Selection]:
        """Return the loader of validation batches, in the set's order."""
        return DataLoader(cast("Dataset[Selection]", self._validation), batch_size=None)

    def transfer_batch_to_device(self, batch: Selection, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a selection's images and labels to the device and normalise the images there."""
        shares, place = replicas.number() if 0 in batch else 1, None  # each process validates on all images
        if shares > 1:
            batch = {part: indices.chunk(shares)[replicas.rank()] for part, indices in batch.items()}
            place = Place(self.sizes, device)
        images, labels = zip(*(self._select(number, indices, device) for number, indices in batch.items()), strict=True)
        bounds = accumulate((size // shares for size in self.sizes), initial=0)
        parts = {name: slice(*both) for name, both in zip(self._names, pairwise(bounds), strict=True)}
        return Batch(to_float(torch.cat(images)), torch.cat(labels), parts, place)

    def _select(self, number: int, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        images, labels = self._sets[number].images, self._sets[number].labels
        if not isinstance(images, Tensor):
            return images[indices].to(device, non_blocking=True), labels[indices].to(device, non_blocking=True)
        if number not in self._on_device:
            self._on_device[number] = images.to(device), labels.to(device)
        images, labels = self._on_device[number]
        indices = indices.to(device, non_blocking=True)
        return images[indices], labels[indices]
