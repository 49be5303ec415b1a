"""Tables: one of the trials, one of all their curves."""

from pathlib import Path
from typing import Any

from gan_augment.records.received import cell
from gan_augment.records.record import write_whole
from gan_augment.trackers.run import Run
from gan_augment.trackers.tracker import Tracker


class CSV(Tracker):
    """Writes `trials.csv`, a row for each trial, and `curves.csv`, a row for each point, to a folder of the study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "csv"
        self.added: dict[str, list[Run]] = {}

    @property
    def place(self) -> str:
        """The folders."""
        return ", ".join(str(self.folder / study) for study in self.added)

    def has(self, run: Run) -> bool:
        """Return false: tables are written anew."""
        return False

    def add(self, run: Run) -> None:
        """Take a run."""
        self.added.setdefault(run.study, []).append(run)

    def close(self) -> None:
        """Write the tables."""
        for study, runs in self.added.items():
            trials = [{"trial": run.trial, **run.tags, **run.parameters, **run.metrics} for run in runs]
            points = [
                {"trial": run.trial, "curve": name, "step": one.step, "value": one.value}
                for run in runs
                for name, curve in run.curves()
                for one in curve
            ]
            for name, rows in (("trials", trials), ("curves", points)):
                write(rows, self.folder / study / f"{name}.csv")


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a table, whole or not at all."""
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{cell(name): cell(value) for name, value in row.items()} for row in rows]
    write_whole(pd.DataFrame(cells, dtype=object).to_csv(index=False, lineterminator="\n").encode(), path)
