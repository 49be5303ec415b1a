"""A run: what a tracker gets of one trial."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from gan_augment.records.received import check_regular
from gan_augment.records.record import digest, flatten, leaves, read_record

STRANGE = re.compile(r"[^\w\-./ ]")  # what names of a tracker may not have
FILES = ("record.json", "split.json")


class Point(NamedTuple):
    """One point of a curve; `step` counts the images seen, or the steps of a training."""

    step: int
    seconds: float  # since 1970
    value: float


@dataclass(frozen=True)
class Run:
    """One trial, as a tracker sees it.

    Attributes:
        study: The name of its study.
        record: Its record.
        folder: Its folder; None if only the record is kept.
    """

    study: str
    record: Mapping[str, Any]
    folder: Path | None

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read the trial in a folder of a study; raise a ValueError if its record is damaged."""
        return cls(folder.parents[1].name, read_record(folder / "record.json", folder.parents[1]), folder)

    @property
    def trial(self) -> str:
        """The name of the trial."""
        return str(self.record["trial"])

    @cached_property
    def content(self) -> str:
        """A hash of its results and notes: a run with another one is out of date."""
        return digest(flatten(dict(self.record)))

    @property
    def is_ok(self) -> bool:
        """Whether the trial ended as it should."""
        return self.record["status"] == "ok"

    @property
    def parameters(self) -> dict[str, str]:
        """Its factors; those without an effect are left out."""
        return {allowed(name): str(value) for name, value in leaves(self.record["factors"]) if value is not None}

    @property
    def metrics(self) -> dict[str, float]:
        """All numbers that were measured, and the seconds that the trial took."""
        costs = self.record.get("costs", {})
        numbers = [*leaves(self.record["metrics"]), *leaves({"costs": {"seconds": costs.get("seconds", {})}})]
        return {
            allowed(name): float(value)
            for name, value in numbers
            if isinstance(value, int | float) and math.isfinite(value)
        }

    @property
    def tags(self) -> dict[str, str]:
        """What identifies the trial, and the code that ran it."""
        provenance = self.record["provenance"]
        known = {"trial": self.trial, "study": self.study, "status": self.record["status"], "origin": self.origin}
        known |= {name: provenance.get(name) for name in ("commit", "split", "fingerprint")}
        return {f"gan_augment.{name}": str(value) for name, value in known.items() if value is not None}

    @property
    def origin(self) -> str:
        """Where the trial lies: another one of the same settings may be somebody else's."""
        return f"{os.environ.get('USER', '')}:{self.folder}"  # no machine: those of a cluster share folders

    @property
    def arm(self) -> str:
        """Its arm."""
        return str(self.record["factors"].get("augmentation"))

    @property
    def ended(self) -> float | None:
        """When it opened the test images, in seconds since 1970; None if it did not."""
        opened = self.record["provenance"].get("test_opened")
        return datetime.fromisoformat(opened).timestamp() if opened else None

    @property
    def seconds(self) -> float:
        """What it took."""
        return float(self.record.get("costs", {}).get("seconds", {}).get("total", {}).get("spent", 0.0))

    def curves(self) -> Iterator[tuple[str, list[Point]]]:
        """Yield the curves of its trainings from their TensorBoard events, by their names after that of the stage."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        for stage in sorted(self.folder.glob("tensorboard/*/")) if self.folder is not None else []:
            if stage.is_symlink() or not stage.is_dir():
                continue
            events = EventAccumulator(str(stage), size_guidance={"scalars": 0})
            events.Reload()
            for tag in events.Tags()["scalars"]:
                points = [Point(one.step, one.wall_time, one.value) for one in events.Scalars(tag)]
                last = [[*same][-1] for _, same in groupby(points, lambda one: one.step)]
                yield allowed(f"{stage.name}/{tag}"), [one for one in last if math.isfinite(one.value)]

    @property
    def files(self) -> list[Path]:
        """Its record, how its images were divided, and its pictures."""
        if self.folder is None:
            return []
        found = [*(self.folder / name for name in FILES), *sorted(self.folder.rglob("*.png"))]
        kept = []
        for path in found:
            with suppress(ValueError, OSError):  # a link, or not there
                check_regular(path, self.folder)
                kept.append(path)
        return kept


def allowed(name: str) -> str:
    """Return a name that every tracker allows.

    Example:
        >>> allowed("metrics.test.per_class.ant (Formica)")
        'metrics.test.per_class.ant _Formica_'
    """
    return STRANGE.sub("_", name)
