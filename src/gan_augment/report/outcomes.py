"""The outcomes of a study's trials for its report: records, answers to the test images, pictures of samples."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gan_augment.records.received import check_regular, check_unpacked, printable, read_regular
from gan_augment.records.record import read_record, read_study
from gan_augment.records.request import read_requests

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

MOST_BYTES = 2**28  # of predictions, packed or unpacked
MOST_PICTURE_BYTES, MOST_PIXELS = 2**24, 2**25  # of a picture of samples


class NoPredictionsError(ValueError):
    """Why there are no predictions to compare, in words for the reader of a report."""


class Answers(NamedTuple):
    """The numbers of the test images, their classes, and whether a classifier is right on each, all `[m]`.

    `groups` has the group of each image, None if images have no groups; `predicted` the class that the classifier sees
    in it, None if unknown.
    """

    ids: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    groups: np.ndarray | None = None
    predicted: np.ndarray | None = None

    def checked(self) -> Answers:
        """Return these answers; raise a ValueError unless each image has one number, class and answer."""
        found = {name: one for name, one in self._asdict().items() if one is not None}
        for name, one in found.items():
            if one.shape != (len(self.ids),) or (len(one) and one.dtype.kind not in ("b" if name == "right" else "iu")):
                raise ValueError(f"{name} is {one.dtype} of {list(one.shape)} for {len(self.ids)} test images")
            if name in ("labels", "predicted") and len(one) and one.min() < 0:
                raise ValueError(f"{name} has a class below 0")
        if len(np.unique(self.ids)) < len(self.ids):
            raise ValueError("an image has several answers")
        return self


@dataclass(frozen=True)
class Outcome:
    """The outcome of one trial."""

    study: str  # the name of its study's folder
    record: dict[str, Any]
    answers: Callable[[], Answers] | None = None  # reads its answers to the test images; None if it stored none
    samples: Path | None = None  # its picture of samples
    sheet: Path | None = None  # the contact sheet of its images, named by their fingerprint
    pictures: Mapping[str, Path] = field(default_factory=dict)  # of the sections of its measures, by their titles

    @property
    def trial(self) -> str:
        """The name of the trial, which is its identity."""
        return str(self.record["trial"])


Found = tuple[list[dict[str, Any]], list[Outcome], list[str]]


def read_folder(folder: Path) -> Found:
    """Read a study folder: `trials/<name>/record.json`, the requests of its launches, and the looks in `study.json`.

    Files that are links, or no regular files, are not read.

    Returns:
        The requests; the outcomes by their trials' names; and a sentence for each file that cannot be read. Predictions
        are read only on demand.

    Raises:
        ValueError: If there are no records.
    """
    # A link that leads nowhere is there, too.
    paths = [path for trial in sorted(folder.glob("trials/*")) if os.path.lexists(path := trial / "record.json")]
    if not paths:
        raise ValueError(
            f"{folder} holds no trial records: use a study folder such as outputs/studies/digits, or a file such as "
            "results/digits.jsonl"
        )
    name = printable(folder.resolve().name)
    damaged: list[str] = []

    @cache
    def read(path: Path) -> dict[str, Any] | None:
        try:
            return read_study(path, folder) if os.path.lexists(path) else None
        except ValueError as error:
            damaged.append(str(error))
            return None

    launches = [{**request, "study": request.get("study") or name} for request in read_requests(folder, read)]
    if not launches:
        damaged = [f"{error}: all trials in the folder are compared" for error in damaged]
        launches = [{"study": name}]
    elif os.path.lexists(folder / "study.json") and read(folder / "study.json") is None:
        damaged.append(
            "study.json lists the looks at earlier reports: if you added seeds after one, the verdicts are too sure; "
            "run the study again with other seeds and another name"
        )
    launches[-1]["looks"] = [*launches[-1].get("looks", []), *(read(folder / "study.json") or {}).get("looks", [])]

    @cache
    def contact_sheet(images: str) -> Path | None:
        path = folder / "images" / f"{images}.png"
        with suppress(ValueError, OSError):
            return path if check_picture(path, folder) else None
        return None

    outcomes = []
    for path in paths:
        predictions, samples = path.with_name("predictions.npz"), path.with_name("samples.png")
        try:
            record = {**read_record(path, folder), "trial": printable(path.parent.name)}
        except ValueError as error:
            damaged.append(f"{path.parent.name} is left out: {error}")
            continue
        answers = partial(_stored_answers, predictions, folder) if predictions.exists() else None
        named = {title: section.get("picture") for title, section in record.get("sections", {}).items()}
        wanted = {"": samples} | {title: path.parent / Path(name).name for title, name in named.items() if name}
        pictures = {}
        for title, picture in wanted.items():
            try:
                if check_picture(picture, folder):
                    pictures[title] = picture
            except ValueError as error:
                damaged.append(f"{error}: it is not shown")
        sheet = contact_sheet(str(record["provenance"].get("fingerprint")))
        outcomes.append(Outcome(name, record, answers, pictures.pop("", None), sheet, pictures))
    return launches, outcomes, damaged


def check_picture(path: Path, within: Path) -> bool:
    """Whether there is such a file; raise a ValueError unless it is a PNG that a page can show, without links."""
    if not path.exists():
        return False
    check_regular(path, within)
    with path.open("rb") as file:
        head = file.read(24)
    width, height = (int.from_bytes(head[start : start + 4]) for start in (16, 20))
    if not head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{path} is not a PNG of at most {MOST_PIXELS:,} pixels")
    if path.stat().st_size > MOST_PICTURE_BYTES:
        raise ValueError(f"{path} has more than {MOST_PICTURE_BYTES:,} bytes")
    return True


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


def _stored_answers(path: Path, folder: Path) -> Answers:
    """Read the predictions of a trial in a study's folder."""
    try:
        content = io.BytesIO(read_regular(path, MOST_BYTES, folder))
        check_unpacked(content, MOST_BYTES)
        with np.load(content, allow_pickle=False) as stored:
            ids, labels = stored["ids"], stored["labels"]
            # Earlier versions stored no classes, and float16 makes some probabilities equal.
            predicted = stored["predicted"] if "predicted" in stored else stored["probabilities"].argmax(axis=1)
            return Answers(ids, labels, np.asarray(predicted == labels), stored.get("groups"), predicted).checked()
    except Exception as error:  # a damaged file can break a decoder in any way
        trial = printable(path.parent.name)
        raise NoPredictionsError(f"the predictions of {trial} cannot be read") from error
