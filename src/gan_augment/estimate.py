"""What a study will cost, from a rehearsal of each kind of training."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

from gan_augment.records.received import printable
from gan_augment.records.record import digest

if TYPE_CHECKING:
    from gan_augment.plan import Trial
    from gan_augment.stages import Stage, StageStore

log = logging.getLogger(__name__)

LONGEST = 20.0  # seconds that all rehearsals may take; kinds after that count as the mean of those before


class Cost(NamedTuple):
    """What a trial or a stage costs.

    Attributes:
        seconds: Of one worker.
        size: Bytes that it leaves.
    """

    seconds: float
    size: float


PER_TRIAL = Cost(1.0, 500_000)  # measures, curves, pictures and the record


@dataclass
class Estimate:
    """Collects the stages that a study has to make, and rehearses one of each kind.

    Stages are of one kind if only their seeds and images differ. Those that are in the store cost nothing, and each
    costs the first trial that needs it. A stage that is made from others, such as a classifier that learns from
    generated images, cannot be rehearsed before these are there: it counts as the mean of its class, unless one like it
    needs none of them.
    """

    store: StageStore
    _needed: dict[str, list[str]] = field(default_factory=dict)  # the kinds of each trial's stages, by its name
    _keys: set[str] = field(default_factory=set)
    _examples: dict[str, Stage] = field(default_factory=dict)

    def add(self, trial: Trial) -> None:
        """Add a trial that is to run, unless it is there already."""
        needed = self._needed.setdefault(trial.name, [])
        for stage in trial.stages.values():
            if stage.key not in self._keys and not self.store.folder(stage).exists():
                kind = digest([stage.name, stage.identity["settings"]])
                self._examples.setdefault(kind, stage)
                needed.append(kind)
            self._keys.add(stage.key)

    def costs(self, workers: float) -> dict[str, Cost]:
        """Return what each trial costs, by its name, if several workers run them."""
        known: dict[str, Cost] = {}
        end = time.monotonic() + LONGEST
        for kind, stage in self._examples.items():
            if (alone := stage.alone()) is not None and time.monotonic() < end:
                known[kind] = rehearsed(alone, workers, self.store.root)
        found = dict(known)
        for kind, stage in self._examples.items():
            if kind not in known:
                alike = [known[one] for one in known if type(self._examples[one]) is type(stage)] or [Cost(0.0, 0.0)]
                found[kind] = Cost(*map(mean, zip(*alike, strict=True)))
        return {
            name: Cost(*map(sum, zip(PER_TRIAL, *map(found.__getitem__, kinds), strict=True)))
            for name, kinds in self._needed.items()
        }


def rehearsed(stage: Stage, workers: float, place: Path) -> Cost:
    """Rehearse a stage, in a folder of its own below `place`; return its cost if several workers share the machine.

    A rehearsal that fails costs nothing, and a warning says so.

    Raises:
        SharingError: If its training is to be shared by several processes, and cannot be.
    """
    from gan_augment.training.rehearsal import Rehearsed, rehearsal
    from gan_augment.training.replicas import SharingError

    if not stage.hardware.is_here:
        log.warning("the estimate lacks the stage %s, which needs another machine", stage.name)
        return Cost(0.0, 0)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=place) as folder, rehearsal(workers):
        start = time.perf_counter()
        try:
            stage.run(Path(folder), {})
        except Rehearsed as training:
            return Cost(training.seconds, training.size)
        except SharingError:  # bad settings, which are refused before anything trains
            raise
        except Exception as error:  # its trial will fail of the same; the others go on
            reason = printable(f"{type(error).__name__}: {error}".splitlines()[0])
            log.warning("the estimate lacks the stage %s, whose rehearsal failed: %s", stage.name, reason)
            return Cost(0.0, 0.0)
        return Cost(time.perf_counter() - start, 0.0)  # it trains nothing


def in_words(costs: Sequence[Cost], workers: float) -> str:
    """Say how long trials with these costs will take, and how much space, if workers share them."""
    seconds = [cost.seconds for cost in costs]
    by = (
        ""
        if workers == 1
        else f" with {workers} workers"
        if workers < float("inf")
        else " with a worker for each trial"
    )
    return f"{duration(max(sum(seconds) / workers, *seconds))}{by} and {sum(cost.size for cost in costs) / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Say how long something takes, roughly.

    Example:
        >>> print(duration(20), duration(70), duration(3000), duration(9000), duration(300_000), sep=", ")
        under a minute, about a minute, about 50 minutes, about 2.5 hours, about 3.5 days
    """
    if seconds < 60:
        return "under a minute"
    if seconds < 90:
        return "about a minute"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.2g} hours" if seconds < 172_800 else f"about {seconds / 86_400:.2g} days"
