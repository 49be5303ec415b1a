"""Weights & Biases: a study is a project, a trial is a run, an arm is a group."""

import os
import shutil
from pathlib import Path

from gan_augment.records.record import digest
from gan_augment.trackers.run import Run
from gan_augment.trackers.tracker import Tracker

CONTENT = "content"  # in the folder of a run that was written to its end: the hash of its content


class WandB(Tracker):
    """Writes runs to `wandb/` in the folder, for `wandb sync`; with `WANDB_MODE=online` it also sends them.

    The name of a run's folder ends in a hash of its trial, which is its id.
    """

    needs = "wandb"

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")

    @property
    def place(self) -> str:
        """The command that sends the runs."""
        return (
            f"wandb sync {self.folder / 'wandb'}/offline-run-*"
            if os.environ["WANDB_MODE"] == "offline"
            else "https://wandb.ai"
        )

    def has(self, run: Run) -> bool:
        """Whether there is a run of this content that was written to its end."""
        contents = [one / "files" / CONTENT for one in self.runs(run)]
        return any(file.exists() and file.read_text() == run.content for file in contents)

    def add(self, run: Run) -> None:
        """Add a run with its configuration, summary, curves and files."""
        import wandb

        for earlier in self.runs(run):
            shutil.rmtree(earlier)
        self.folder.mkdir(parents=True, exist_ok=True)
        with wandb.init(
            project=run.study,
            id=identity(run),
            name=run.trial,
            group=run.arm,
            config=run.parameters | run.tags,
            dir=str(self.folder),
            settings=wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True),
        ) as made:
            for name, points in run.curves():
                step = f"{name}/step"
                made.define_metric(name, step_metric=step)
                for point in points:
                    made.log({step: point.step, name: point.value})
            made.summary.update(run.metrics)
            for path in run.files:
                assert run.folder is not None
                made.save(str(path), base_path=str(run.folder), policy="now")
            place = Path(made.dir)
        (place / CONTENT).write_text(run.content)

    def runs(self, run: Run) -> list[Path]:
        """Return the folders that are there of the trial."""
        return sorted((self.folder / "wandb").glob(f"*run-*-{identity(run)}"))


def identity(run: Run) -> str:
    """Return a hash of which trial a run is of."""
    return digest([run.origin, run.study, run.trial])
