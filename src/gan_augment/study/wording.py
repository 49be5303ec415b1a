"""What the page and the terminal both say of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_augment.study.comparison import METRICS, Configuration, Contrast, has_unequal_classes, pair_unit
from gan_augment.study.trials import ACCURACY, ARM, BALANCED, SPLIT, Study

if TYPE_CHECKING:
    import pandas as pd

SECONDS = "costs.seconds."


def verdicts(study: Study, compared: list[Contrast]) -> list[str]:
    """Say what the comparisons came to, a sentence each, or why there are none."""
    reason = "no two arms that differ in the arm alone have results"
    if study.trials[ARM].isna().all():
        reason = "no trial has a classifier, the study trained generators alone"
    return [f"{c.title}: {c.sentence}" for c in compared] or [f"Nothing is compared: {reason}."]


def notes(study: Study) -> list[str]:
    """Say what trials note of their images and classifier, and how many do."""
    num_trials = len(study.trials)
    return [
        note + (f" ({number} of {num_trials} trials)" if number < num_trials else "")
        for note, number in study.notes.items()
    ]


def results_in_words(study: Study, metrics: list[str]) -> str:
    """Name the results, such as `test accuracy`."""
    return f"{study.part} {'accuracy' if len(metrics) == 1 else 'results'}"


def remarks(study: Study, metrics: list[str]) -> list[str]:
    """Say what a reader must know of the results as such."""
    said = []
    if study.part == "validation" and study.trials[ACCURACY].notna().any():
        said.append("No trial opened the test images: these results choose settings, and flatter the chosen ones.")
    if has_unequal_classes(study) and BALANCED not in metrics:
        said.append(
            f"Every class has the same number of {study.part} images, so accuracy is balanced accuracy as well."
        )
    return said


def arm_row(configuration: Configuration, metrics: list[str]) -> dict[str, str]:
    """Return a configuration's row of the main table: its mean results in points, its trials and what one costs."""
    means = configuration.points(metrics, pair_unit([configuration])[0]).mean()
    return {
        "arm": configuration.label(),
        **{METRICS[metric]: f"{means[metric]:.1f}" if means[metric] == means[metric] else "-" for metric in metrics},
        "splits": str(configuration.ended[SPLIT].nunique()),
        "trials": str(len(configuration.trials)),
        "diverged": str(configuration.count("diverged")),
        "failed": str(configuration.count("failed")),
        "seconds": in_seconds(mean_cost(configuration.trials, "total")),
    }


def mean_cost(trials: pd.DataFrame, stage: str) -> float | None:
    """Mean seconds a trial needs for a stage, whether it ran it or reused it; None where no trial has the stage."""
    parts = trials.reindex(columns=[f"{SECONDS}{stage}.{part}" for part in ("spent", "reused")]).astype(float)
    seconds = parts.sum(axis=1, min_count=1).mean()
    return float(seconds) if seconds == seconds else None


def in_seconds(seconds: float | None) -> str:
    """Write seconds with as many digits as they deserve."""
    return "-" if seconds is None else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"
