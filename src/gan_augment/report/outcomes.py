"""The outcomes of a study's trials for its report: records, answers to the test images, pictures of samples."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gan_augment.records.record import read_record
from gan_augment.records.request import read_or_set_aside, read_requests

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd


class NoPredictionsError(ValueError):
    """Why there are no predictions to compare, in words for the reader of a report."""


class Answers(NamedTuple):
    """The numbers of the test images, their classes, and whether a classifier is right on each, all `[m]`.

    `groups` has the group of each image, None if images have no groups.
    """

    ids: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of one trial."""

    study: str  # the name of its study's folder
    record: dict[str, Any]
    answers: Callable[[], Answers] | None = None  # reads its answers to the test images; None if it stored none
    samples: Path | None = None  # its picture of samples

    @property
    def trial(self) -> str:
        """The name of the trial, which is its identity."""
        return str(self.record["trial"])


def read_folder(folder: Path) -> tuple[list[dict[str, Any]], list[Outcome]]:
    """Read a study folder: `trials/<name>/record.json`, the requests of its launches, and the looks in `study.json`.

    Returns:
        The requests, and the outcomes by their trials' names. Predictions are read only on demand.

    Raises:
        ValueError: If there are no records, or one cannot be read.
    """
    paths = sorted(folder.glob("trials/*/record.json"))
    if not paths:
        raise ValueError(
            f"{folder} holds no trial records: use a study folder such as outputs/studies/digits, or a file such as "
            "results/digits.jsonl"
        )
    name = folder.resolve().name
    launches = [{**request, "study": request.get("study") or name} for request in read_requests(folder)]
    launches = launches or [{"study": name}]
    launches[-1]["looks"] = [
        *launches[-1].get("looks", []),
        *(read_or_set_aside(folder / "study.json") or {}).get("looks", []),
    ]
    outcomes = []
    for path in paths:
        predictions, samples = path.with_name("predictions.npz"), path.with_name("samples.png")
        record = {**read_record(path), "trial": path.parent.name}
        answers = partial(_stored_answers, predictions) if predictions.exists() else None
        outcomes.append(Outcome(name, record, answers, samples if samples.exists() else None))
    return launches, outcomes


def read_answers(trials: pd.Series, outcomes: Mapping[str, Outcome], of_folds: bool = False) -> pd.DataFrame:
    """Read the answers of trials, given by name, to the test images.

    Returns:
        One row per trial, with the index of `trials`, and one column per image, by its number, its class and, if there
        are groups, its group: 1 if the classifier is right, else 0; nan if the image is not in the trial's fold.

    Raises:
        NoPredictionsError: If a trial has no answers, they cannot be read, or the trials have different test images,
            although these are not folds, or different groups of them.
    """
    import pandas as pd

    readers = [outcomes[name].answers for name in trials]
    found = [read() for read in readers if read]
    if len(found) < len(readers):
        tested = [outcome for outcome in outcomes.values() if outcome.record["metrics"].get("test")]
        lacking = sum(outcome.answers is None for outcome in tested)
        raise NoPredictionsError(f"{lacking} of {len(tested)} trials did not store which test images they got right")
    first = found[0]
    if len({one.groups is None for one in found}) > 1:
        raise NoPredictionsError("the trials differ in the groups of the test images")
    if of_folds:
        rows = [pd.Series(one.right, _columns(one)) for one in found]
        return pd.concat(rows, axis="columns", keys=trials.index).T.sort_index(axis="columns").astype(np.float32)
    if any(not np.array_equal(first.ids, one.ids) or not np.array_equal(first.labels, one.labels) for one in found):
        raise NoPredictionsError("the trials were tested on different images")
    if len({one.groups.tobytes() for one in found if one.groups is not None}) > 1:
        raise NoPredictionsError("the trials differ in the groups of the test images")
    rights = np.array([one.right for one in found], dtype=np.float32)
    return pd.DataFrame(rights, index=trials.index, columns=_columns(first))


def _columns(answers: Answers) -> pd.MultiIndex:
    import pandas as pd

    levels = {"image": answers.ids, "class": answers.labels}
    levels |= {} if answers.groups is None else {"group": answers.groups}
    return pd.MultiIndex.from_arrays([*levels.values()], names=[*levels])


def _stored_answers(path: Path) -> Answers:
    """Read the predictions of a trial folder."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            ids, labels = stored["ids"], stored["labels"]
            # Earlier versions stored no classes, and float16 makes some probabilities equal.
            predicted = stored["predicted"] if "predicted" in stored else stored["probabilities"].argmax(axis=1)
            return Answers(ids, labels, predicted == labels, stored.get("groups"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise NoPredictionsError(f"the predictions of {path.parent.name} cannot be read") from None
