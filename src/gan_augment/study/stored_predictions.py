"""The predictions that trials stored: which test images their classifiers get right."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

PREDICTIONS = "predictions.npz"


class NoPredictionsError(ValueError):
    """Why there are no predictions to compare, in words for the reader of a report."""


@dataclass(frozen=True)
class Answers:
    """Which test images the classifiers of some trials get right.

    Attributes:
        ids: The test images `[m]`.
        labels: Their classes `[m]`.
        right: A row a trial, a column an image, by its number and class: 1 where the classifier is right, else 0.
    """

    ids: np.ndarray
    labels: np.ndarray
    right: pd.DataFrame


def read_answers(trials: pd.Series, folders: Mapping[str, Path]) -> Answers:
    """Read which test images the classifiers of trials get right.

    Args:
        trials: Names of the trials, one or more, indexed as the rows shall be.
        folders: Trial -> its folder.

    Returns:
        The answers.

    Raises:
        NoPredictionsError: If a trial stored no predictions, they cannot be read, or two are on different images.
    """
    import pandas as pd

    found = [_read(folders[name] / PREDICTIONS, name) for name in trials]
    ids, labels, _ = found[0]
    if any(not np.array_equal(ids, other) or not np.array_equal(labels, classes) for other, classes, _ in found):
        raise NoPredictionsError("the trials were tested on different images")
    right = np.array([row for _, _, row in found], dtype=np.float32)
    columns = pd.MultiIndex.from_arrays([ids, labels], names=["image", "class"])
    return Answers(ids, labels, pd.DataFrame(right, index=trials.index, columns=columns))


def _read(path: Path, trial: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file) as stored:
            ids, labels = stored["ids"], stored["labels"]
            return ids, labels, stored["probabilities"].argmax(axis=1) == labels
    except FileNotFoundError:
        raise NoPredictionsError("the trials' predictions are not at hand") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise NoPredictionsError(f"the predictions of {trial} cannot be read") from None
