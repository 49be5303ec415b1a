"""Hand a study over to a tracker: `gan-augment-export`, and `logger=...` at the end of each trial."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from gan_augment.command import command
from gan_augment.settings import check_choice
from gan_augment.trackers.run import Run
from gan_augment.trackers.to_csv import CSV
from gan_augment.trackers.to_mlflow import MLflow
from gan_augment.trackers.to_wandb import WandB
from gan_augment.trackers.tracker import Tracker

TRACKERS: dict[str, type[Tracker]] = {"mlflow": MLflow, "wandb": WandB, "csv": CSV}
LOGGERS = ("mlflow", "wandb")  # take one trial after the other


def check_logger(name: str | None) -> None:
    """Check that trials can be handed over at their end.

    Raises:
        ValueError: If there is no such tracker, or its package is missing.
    """
    if name is not None:
        check_choice("logger", name, LOGGERS)
        check_installed(name)


def check_installed(name: str) -> None:
    """Check that a tracker's package is installed; raise a ValueError if not."""
    if (needs := TRACKERS[name].needs) and find_spec(needs) is None:
        raise ValueError(f"{name} is not installed: pip install 'gan-augment[{needs}]'")


def export_trial(folder: Path, name: str, output: Path) -> None:
    """Hand over the trial in a folder.

    Args:
        folder: The trial's folder, which has its record.
        name: The tracker.
        output: Where the tracker keeps its files: the same for all studies.
    """
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / f"{name}.lock"):  # workers would create the same tables
        tracker, run = TRACKERS[name](output), Run.read(folder.absolute())
        if not tracker.has(run):
            tracker.add(run)
        tracker.close()


def export_study(sources: Sequence[Path], name: str, output: Path | None = None) -> tuple[int, int, str]:
    """Hand over the trials of studies, and their report if there is one.

    Args:
        sources: Folders of studies, or `.jsonl` files that keep some; these have no curves.
        name: The tracker.
        output: Where the tracker keeps its files; None: next to the folder `studies`, or to the file.

    Returns:
        How many trials were added, how many were there already, and how to look at them.

    Raises:
        ValueError: If the tracker's package is missing, or a study has no records.
    """
    from gan_augment.report.trials import collect

    check_installed(name)
    first = sources[0]
    tracker = TRACKERS[name](output or (first.parent if first.is_file() else first.absolute().parents[1]))
    numbers = [0, 0]
    for source in sources:
        study = collect([source])
        title = source.stem if source.is_file() else source.absolute().name
        for trial, outcome in study.outcomes.items():
            if source.is_file():
                run = Run(title, outcome.record, None)
            else:  # the record as it is, as `export_trial` has it: a study reads old ones in new words
                run = Run.read(source.absolute() / "trials" / trial)
            is_there = tracker.has(run)
            numbers[is_there] += 1
            if not is_there:
                tracker.add(run)
        if (page := source / "report" / "report.html").exists():
            tracker.report(title, page)
    tracker.close()
    return numbers[0], numbers[1], tracker.place


def main(argv: Sequence[str] | None = None) -> None:
    """Run `gan-augment-export STUDY... --to mlflow|wandb|csv [--output DIR]`."""
    parser = argparse.ArgumentParser(
        prog="gan-augment-export",
        description="Hand the trials of a study over to a tracker: factors, metrics, curves, pictures and report.",
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="study folder or .jsonl file")
    parser.add_argument("--to", choices=[*TRACKERS], required=True, help="the tracker")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the tracker's files (default: that of all studies)"
    )
    with command(parser.prog):
        arguments = parser.parse_args(argv)
        added, there, place = export_study(arguments.studies, arguments.to, arguments.output)
        print(f"{added} trials added, {there} were there already: {place}")
