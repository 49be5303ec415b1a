"""Replicas: one training in several processes, each with a device of its own.

Every process draws the whole batch from (seed, stream, step) and keeps its rows; gradients are averaged before each
step of an optimizer; what couples the images of a batch, such as batch norm, sees the whole batch. So all processes
have the same weights, and the result does not depend on their number but for rounding. Lightning's own strategies do
not do that: under manual optimisation, which trains GANs, they synchronise only what goes through `manual_backward`.

The first process runs the program. The others `serve` it: they take part in its trainings.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from gan_augment.errors import say

if TYPE_CHECKING:
    from gan_augment.stages import Stage

PATIENCE = timedelta(days=30)  # how long the others wait for the first process, which also works alone
IN_STEP = timedelta(hours=1)  # how long processes wait for each other within a training, in which the first validates
_task: ContextVar["Task | None"] = ContextVar("task", default=None)
_together = False  # whether this process is in a training that several share
_broken = False  # whether this process left one before its end: the others still wait in it
_calls: Any = None  # the group in which the first process tells the others what to do


class SharingError(ValueError):
    """Several processes cannot share a training, for a reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"trainer.devices: {reason}")


def number() -> int:
    """Return how many processes share the training; 1 outside of one."""
    return dist.get_world_size() if _together else 1


def rank() -> int:
    """Return the number of this process among them."""
    return dist.get_rank() if _together else 0


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes. So is its gradient: every process has a loss of its own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0])


def mean(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, differentiably; the tensor itself if nothing is shared."""
    return _Sum.apply(value) / number() if _together else value


def variance(values: Tensor) -> Tensor:
    """Return the variance over the whole batch of values `[B, ...]`, without Bessel's correction."""
    if not _together:
        return values.var(dim=0, unbiased=False)
    return mean((values - mean(values.mean(dim=0))).square().mean(dim=0))


def gather(rows: Tensor) -> Tensor:
    """Return the rows `[B, ...]` of the whole batch, differentiably, for losses that relate images to each other.

    Then every process has the same loss, and its gradient is right after the average over processes.
    """
    if not _together:
        return rows
    whole = rows.new_zeros(number() * len(rows), *rows.shape[1:])
    places = torch.arange(rank() * len(rows), (rank() + 1) * len(rows), device=rows.device)
    return _Sum.apply(whole.index_copy(0, places, rows))


def all_true(flag: Tensor) -> bool:
    """Whether a flag is true in all processes."""
    return bool(mean(flag.float()) == 1)


class Place:
    """The rows of a batch that this process has.

    Args:
        sizes: How many images of each part are in the whole batch; each process has as many of them as the others.
    """

    def __init__(self, sizes: list[int], device: torch.device | str) -> None:
        self.size = sum(sizes)
        starts = [sum(sizes[:part]) for part in range(len(sizes))]
        shares = [size // number() for size in sizes]
        pieces = [
            torch.arange(start + rank() * share, start + (rank() + 1) * share)
            for start, share in zip(starts, shares, strict=True)
        ]
        self.rows = torch.cat(pieces).to(device)

    def keep(self, whole: Tensor) -> Tensor:
        """Return the rows of a tensor `[B, ...]`, of which every process has all."""
        return whole[self.rows]

    def within(self, change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Change this process's images `[B / number, C, H, W]`, each by itself, with draws for the whole batch."""
        whole = images.new_zeros(self.size, *images.shape[1:])
        return self.keep(change(whole.index_copy(0, self.rows, images)))


class Averaging(Callback):
    """Averages the gradients over all processes before each step of an optimizer, in one message."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Watch the steps under manual optimisation."""
        if not pl_module.automatic_optimization:
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(lambda stepped, *_: average_gradients(stepped))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Average under automatic optimisation, where a step also computes the gradients."""
        average_gradients(optimizer)


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Average the gradients of an optimizer's weights over all processes."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
    flat = torch.cat([weight.grad.flatten() for weight in weights])
    dist.all_reduce(flat)
    pieces = (flat / number()).split([weight.numel() for weight in weights])
    for weight, piece in zip(weights, pieces, strict=True):
        weight.grad.copy_(piece.view_as(weight))


class _Whole(_BatchNorm):
    """Batch norm over the whole batch."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        given, features = features.dtype, features.float()  # as torch's own does in bfloat16
        others = [dim for dim in range(features.ndim) if dim != 1]
        shape = [1, -1, *[1] * (features.ndim - 2)]
        average = mean(features.mean(others))
        centred = features - average.view(shape)
        variance = mean(centred.square().mean(others))
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            count = number() * features.numel() // features.shape[1]
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(average, share)
                self.running_var.lerp_(variance * count / (count - 1), share)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal).to(given)


class WholeBatchNorm1d(_Whole, nn.BatchNorm1d):
    """`BatchNorm1d` over the images of all processes."""


class WholeBatchNorm2d(_Whole, nn.BatchNorm2d):
    """`BatchNorm2d` over the images of all processes."""


WHOLE: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: WholeBatchNorm1d,
    nn.BatchNorm2d: WholeBatchNorm2d,
}


def check_shares(sizes: Iterable[int], processes: int) -> None:
    """Check that the parts of a batch, by their numbers of images, can be shared; raise a SharingError if not."""
    for size in sizes:
        if size % processes:
            raise SharingError(f"{size} images of a batch cannot be shared by {processes} processes")


def check_network(network: nn.Module) -> None:
    """Check that several processes can train a network.

    Raises:
        SharingError: If a layer draws random numbers, or is a batch norm that is not known here.
    """
    for layer in network.modules():
        name = type(layer).__name__
        if isinstance(layer, _DropoutNd | StochasticDepth) and layer.p > 0:
            raise SharingError(f"{name} draws random numbers in each process: train on one device")
        if isinstance(layer, _BatchNorm) and type(layer) not in WHOLE:
            raise SharingError(f"{name} relates the images of a batch: train on one device")


@contextmanager
def together(system: nn.Module) -> Iterator[None]:
    """Train in all processes inside this context, with batch norm over the whole batch."""
    from gan_augment.stages import DivergedError

    global _together, _broken
    norms = [layer for layer in system.modules() if type(layer) in WHOLE]
    before = [type(layer) for layer in norms]
    for layer in norms:
        layer.__class__ = WHOLE[type(layer)]
    _together = True
    try:
        yield
    except DivergedError:  # in all processes at the same step
        raise
    except BaseException:
        _broken = True
        raise
    finally:
        _together = False
        for layer, kind in zip(norms, before, strict=True):
            layer.__class__ = kind


def environment() -> tuple[int, int]:
    """Return the number of this process and how many there are, as torchrun or submitit tell them; (0, 1) without."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process on its node: that of its device."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first() -> bool:
    """Whether this is the first process, which runs the program."""
    return environment()[0] == 0


def join() -> None:
    """Join the group of processes, and wait for the others."""
    global _calls
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=IN_STEP)
        _calls = dist.new_group(backend="gloo", timeout=PATIENCE)


@dataclass(frozen=True)
class Task:
    """A training that processes share.

    Attributes:
        stage: Whose training it is.
        made: The folders of its inputs, which every process must be able to read.
        checkpoint: The step and the content of the checkpoint that it goes on from; None to begin.
    """

    stage: "Stage"
    made: Mapping[str, Path]
    checkpoint: tuple[str, bytes] | None = None

    def work(self) -> None:
        """Take part in it; what this process writes is thrown away."""
        from gan_augment.stages import CHECKPOINTS, DivergedError

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / CHECKPOINTS).mkdir()
            if self.checkpoint is not None:
                step, content = self.checkpoint
                (folder / CHECKPOINTS / step).write_bytes(content)
            with suppress(DivergedError):  # the first process says so
                self.stage.run(folder, self.made)


@contextmanager
def sharing(stage: "Stage", made: Mapping[str, Path]) -> Iterator[None]:
    """Let trainings inside this context be those of a stage that is made from the outputs in some folders."""
    token = _task.set(Task(stage, made))
    try:
        yield
    finally:
        _task.reset(token)


def share(checkpoint: Path | None) -> None:
    """Let the other processes take part in the training of this context, which goes on from a checkpoint, if any."""
    task = _task.get()
    assert task is not None, "a shared training is that of a stage"
    _tell(replace(task, checkpoint=None if checkpoint is None else (checkpoint.name, checkpoint.read_bytes())))


def serve() -> None:
    """Take part in the trainings that the first process shares, until there are no more."""
    join()
    while True:
        told: list[Task | None] = [None]
        dist.broadcast_object_list(told, src=0, group=_calls)
        if told[0] is None:
            break
        told[0].work()
    dist.destroy_process_group()


def release() -> None:
    """Tell the other processes that there is nothing more to share."""
    _tell(None)
    dist.destroy_process_group()


def _tell(task: Task | None) -> None:
    if _broken:
        say("gan-augment: an error ended a shared training, and the other processes still wait in it: all end now")
        raise SystemExit(1)
    join()
    dist.broadcast_object_list([task], src=0, group=_calls)
