"""The base of all trainings: streams, learning rates, a flag of finite losses, curves and averages."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, cast

import lightning as L
import torch
from torch import Tensor, nn

from gan_augment.randomness import Stream
from gan_augment.records.record import write_json
from gan_augment.training import replicas

LOG_EVERY = 50  # largest number of steps between two points of the curves
CURVES_END = "signals.json"  # in a stage's folder: the last point of each curve


class Training(L.LightningModule):
    """A training of a fixed number of steps, whose draws depend only on the seed and the step.

    Attributes:
        TOGETHER: Whether several processes can share it with the same result (`replicas`), as tests must show.
        STREAMS: Names of the streams that it draws from.
        CURVES: Names of the curves that it draws.
        num_steps: Its steps; if a clock ends it before, those that it took.
        seconds: After how many seconds it ends; None for no limit.
        spent: The share of these that is spent.
        paused: Seconds that do not count.
        finite: Whether all losses so far were finite. It stays on the device: reading it makes the host wait.
        draws: The streams by name, on the device.
        last_points: The last point of each curve.
    """

    TOGETHER: ClassVar[bool] = False
    STREAMS: ClassVar[tuple[str, ...]] = ()
    CURVES: ClassVar[tuple[str, ...]] = ()

    finite: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, seed: int, num_steps: int, seconds: float | None = None) -> None:
        super().__init__()
        self.seed, self.num_steps = seed, num_steps
        self.seconds, self.spent, self.paused = seconds, 0.0, 0.0
        self.log_every_n_steps = min(LOG_EVERY, num_steps)
        self.draws: dict[str, Stream] = {}
        self.last_points: dict[str, float] = {}
        self.register_buffer("finite", torch.tensor(True))
        self.register_buffer("sums", torch.zeros(len(self.CURVES)))
        self.register_buffer("counts", torch.zeros(len(self.CURVES)))  # of the values in each sum

    def axis(self, step: int) -> int:
        """Return the position of a step on the axis of the curves."""
        return step

    def progress(self, step: int) -> float:
        """Return the share of the training that lies before a step, of its steps or of its seconds."""
        return max(step / self.num_steps, self.spent)

    def turn(self, step: int, number: int) -> int:
        """Return how many of so many equal parts of the training lie before a step."""
        return max(step * number // self.num_steps, int(self.spent * number))

    def on_fit_start(self) -> None:
        """Open the streams on the device."""
        self.draws = {name: Stream(self.seed, name, self.device) for name in self.STREAMS}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the last points to a checkpoint."""
        checkpoint["last_points"] = self.last_points

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the last points."""
        self.last_points = checkpoint["last_points"]

    def optimizers_at(self, *rates: float) -> list[torch.optim.Optimizer]:
        """Return the optimizers, for manual optimisation, each with its learning rate in this step."""
        found = cast("Any", self.optimizers(use_pl_optimizer=False))  # Lightning returns a single one without a list
        optimizers = found if isinstance(found, list) else [found]
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
        return optimizers

    def minimise(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Take one step of an optimizer."""
        optimizer.zero_grad()
        # Not `manual_backward`: its hooks take longer than a small layer, and nothing here needs them.
        loss.backward()
        optimizer.step()

    def expect_finite(self, losses: Tensor) -> None:
        """Record whether losses are finite; the guard ends the training if not."""
        self.finite.logical_and_(losses.detach().isfinite().all())

    def add_points(self, values: Tensor, counted: Tensor | float = 1.0) -> None:
        """Add a value for each curve, `[len(CURVES)]`, to its next point; `counted` is 0 for curves without a value."""
        self.sums.add_(values)
        self.counts.add_(counted)

    def draw_curves(self, step: int, **further: float) -> None:
        """Draw the mean of each curve since its last point, and further values, at the last step, `step`."""
        totals = zip(self.CURVES, *replicas.mean(torch.stack([self.sums, self.counts])).tolist(), strict=True)
        self.last_points |= {name: total / count for name, total, count in totals if count}
        assert self.logger is not None or replicas.rank()
        if self.logger is not None:
            self.logger.log_metrics({**self.last_points, **further}, step=self.axis(step))
        self.sums.zero_()
        self.counts.zero_()

    def keep_last_points(self, folder: Path, images_seen: int = 0) -> None:
        """Write the last point of each curve into a stage's folder and, if a clock ended it, the images seen."""
        points = {name.replace("/", "_"): value for name, value in self.last_points.items()}
        write_json(points | ({} if self.seconds is None else {"images_seen": images_seen}), folder / CURVES_END)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stop the clock: what happens in this context takes none of its seconds."""
        start = monotonic()
        try:
            yield
        finally:
            self.paused += monotonic() - start

    @torch.no_grad()
    def update_average(
        self, average: nn.Module, current: nn.Module, images: int, images_seen: int, half_life: int, ramp_up: float
    ) -> None:
        """Move a running average, in place, towards the current network. `images` were seen since its last move.

        After n images the average keeps 2^(-n / half-life) of what it was; the half-life is at most `ramp_up` times all
        `images_seen`, so that the start is forgotten. The statistics of batch norm are averages already and are copied.
        """
        kept = 0.5 ** (images / min(half_life, ramp_up * images_seen))
        torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - kept)
        for mean, value in zip(average.buffers(), current.buffers(), strict=True):
            mean.copy_(value)


@contextmanager
def without_gradients(weights: Sequence[Tensor]) -> Iterator[None]:
    """Treat weights as constants in this context, so that what is computed in it gives them no gradients."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def last_points(folder: Path) -> dict[str, float]:
    """Read the last point of each curve from a stage's folder."""
    return json.loads((folder / CURVES_END).read_text(encoding="utf-8"))
