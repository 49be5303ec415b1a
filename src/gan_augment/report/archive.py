"""A study in one file, `results/<study>.jsonl`: everything its report needs, without the trial folders.

The file is UTF-8 with one JSON object per line, written without spaces. The first line holds what the trials share:

| key | content |
| --- | --- |
| `schema` | the schema of records that wrote the file |
| `launches` | the request of each launch, with the `looks` at the study and the trials that are `left_out` |
| `tests` | the distinct test sets: `ids`, the numbers of the images, `labels`, their classes, and any `groups` |
| `sheets` | optional: the paths of contact sheets, relative to the file's folder, by the images' fingerprints |
| `templates` | what records with the same fields have in common: the fields in order, null where values differ |

Each further line is a trial, in the order of names:

| key | content |
| --- | --- |
| `study` | the name of the study's folder |
| `template` | the number of its record's template, from 0 |
| `record` | the values that differ from the template |
| `test` | the number of its test set, from 0 |
| `right` | one bit per image of the test set, 1 if the classifier is right: `numpy.packbits`, in base64 |
| `wrong` | the classes that it sees in the other images, in their order |
| `samples` | the path of its picture of samples, relative to the folder of the file |

The last four are optional. Reading restores records exactly, with the order of their fields and every digit of their
numbers.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gan_augment.records.received import read_regular, read_values
from gan_augment.records.record import NEEDED, SCHEMA, check_content, leaves, refuse_newer, write_whole
from gan_augment.report.outcomes import Answers, Found, NoPredictionsError, Outcome, check_picture

SUFFIX = ".jsonl"
MOST_BYTES = 2**30
MOST_VALUES = 50_000_000  # in all records together: a template may be long, and lines that use it short
SAMPLES = "samples"  # the folder that a report writes pictures into


def write_archive(
    launches: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Outcome],
    samples: Mapping[str, Path],
    path: Path,
    sheets: Sequence[Path] = (),
) -> None:
    """Write a study into one file, which ends in `.jsonl`, whole or not at all; its folder must exist.

    `launches` are the requests of the launches, `samples` the pictures of samples of those trials that have one,
    `sheets` the contact sheets.

    Raises:
        ValueError: If the predictions of a trial cannot be read.
    """
    groups: dict[Any, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        groups.setdefault(_shape(outcome.record), []).append(outcome.record)
    templates = {shape: _common(records) for shape, records in groups.items()}
    numbers = {shape: number for number, shape in enumerate(templates)}
    tests: dict[str, int] = {}
    lines = []
    for outcome in outcomes:
        shape = _shape(outcome.record)
        record = _difference(outcome.record, templates[shape])
        line = {"study": outcome.study, "template": numbers[shape], "record": record}
        if outcome.answers:
            try:
                answers = outcome.answers()
            except NoPredictionsError as error:
                raise ValueError(f"{error}, so {path} is not written: delete them to keep the study anyway") from error
            test = {"ids": answers.ids.tolist(), "labels": answers.labels.tolist()}
            test |= {} if answers.groups is None else {"groups": answers.groups.tolist()}
            line["test"] = tests.setdefault(_text(test), len(tests))
            line["right"] = base64.b64encode(np.packbits(answers.right).tobytes()).decode()
            if answers.predicted is not None:
                line["wrong"] = answers.predicted[~answers.right].tolist()
        if picture := samples.get(outcome.trial):
            line["samples"] = _relative(picture, path)
        lines.append(line)
    head: dict[str, Any] = {"schema": SCHEMA, "launches": list(launches)}
    head |= {"sheets": {sheet.stem: _relative(sheet, path) for sheet in sheets}} if sheets else {}
    head |= {"tests": [json.loads(test) for test in tests], "templates": list(templates.values())}
    write_whole("".join(f"{_text(line)}\n" for line in (head, *lines)).encode(), path)


def read_archive(path: Path) -> Found:
    """Read a file of `write_archive`.

    Returns:
        The launches; the outcomes in the order of the file; and a sentence for each line or picture that is damaged.

    Raises:
        ValueError: If the file has a newer major schema, or its first line is damaged.
        OSError: If there is no such file.
    """
    with _line(path, 1):
        first, *lines = read_regular(path, MOST_BYTES).decode().splitlines()
        head = dict(read_values(first))
    refuse_newer(head, path)
    with _line(path, 1):
        launches = [dict(launch) for launch in head["launches"]]
        for launch in launches:
            check_content(launch, ["study"])
        tests = [_test_set(test["ids"], test["labels"], test.get("groups")) for test in head["tests"]]
        templates = [dict(template) for template in head["templates"]]
        named_sheets = {str(images): str(named) for images, named in head.get("sheets", {}).items()}
    sizes, num_values = [sum(1 for _ in leaves(template)) for template in templates], 0
    outcomes: list[Outcome] = []
    damaged: list[str] = []
    sheets: dict[str, Path] = {}
    for images, named in named_sheets.items():
        with _or_not_shown(damaged):
            sheets[images] = _picture(path.parent, named)
    for number, text in enumerate(lines, start=2):
        try:
            with _line(path, number):
                line = dict(read_values(text))
                template = _one_of(range(len(templates)), line["template"], "template")
                num_values += sizes[template]
                if num_values > MOST_VALUES:
                    raise ValueError(f"the records up to here have more than {MOST_VALUES:,} values")
                record = _merged(templates[template], line["record"])
                check_content(record, ["trial", *NEEDED])
                answers = None
                if "right" in line:
                    ids, labels, groups = _one_of(tests, line["test"], "test set")
                    right = _unpacked(line["right"], len(ids))
                    predicted = _predicted(labels, right, line["wrong"]) if "wrong" in line else None
                    answers = partial(Answers, ids, labels, right, groups, predicted)
                study, samples = str(line["study"]), str(line["samples"]) if "samples" in line else None
        except ValueError as error:
            damaged.append(str(error))
            continue
        picture, sheet = None, sheets.get(str(record["provenance"].get("fingerprint")))
        with _or_not_shown(damaged):
            picture = None if samples is None else _picture(path.parent, samples)
        outcomes.append(Outcome(study, record, answers, picture, sheet))
    return launches, outcomes, damaged


def _relative(picture: Path, path: Path) -> str:
    return Path(os.path.relpath(picture, path.parent)).as_posix()


@contextmanager
def _or_not_shown(damaged: list[str]) -> Iterator[None]:
    """Note that a picture is not shown if it is not one that a page can show."""
    try:
        yield
    except ValueError as error:
        damaged.append(f"{error}: it is not shown")


def _picture(folder: Path, named: str) -> Path:
    """Return the path of a picture; raise a ValueError unless it is one that a report wrote near the file."""
    within = folder.resolve().parent
    path = Path(os.path.normpath(folder.resolve() / named))
    if path.parent.name != SAMPLES or not path.is_relative_to(within):
        raise ValueError(f"{named} is in no folder {SAMPLES} near the file")
    check_picture(path, within)
    return folder / named


@contextmanager
def _line(path: Path, number: int) -> Iterator[None]:
    """Turn any error from a damaged line into one that names the line."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path}, line {number} is damaged ({type(error).__name__}: {error}): restore the file from git, or write "
            "it again with gan-augment-report FOLDER --keep FILE"
        ) from error


def _shape(value: Any) -> Any:
    """Return the nested names of all fields in order; values do not matter."""
    return tuple((name, _shape(inner)) for name, inner in value.items()) if isinstance(value, dict) else None


def _common(values: Sequence[Any]) -> Any:
    """Return the common part of values of one shape, with None where they differ."""
    if isinstance(values[0], dict):
        return {name: _common([value[name] for value in values]) for name in values[0]}
    return values[0] if len(set(map(_text, values))) == 1 else None


def _difference(record: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Return the fields whose values differ from a template of the same shape."""
    found = {name: value for name, value in record.items() if _text(value) != _text(template[name])}
    nested = {name: _difference(value, template[name]) for name, value in found.items() if isinstance(value, dict)}
    return found | nested


def _merged(template: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """Restore a record from its template and its differences, in the order of the template."""
    if unknown := difference.keys() - template.keys():
        raise ValueError(f"its template has no field {', '.join(sorted(unknown))}")
    return {
        name: _merged(value, difference.get(name, {})) if isinstance(value, dict) else difference.get(name, value)
        for name, value in template.items()
    }


def _test_set(
    ids: Sequence[int], labels: Sequence[int], groups: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if len(ids) != len(labels) or len(ids) != len(labels if groups is None else groups):
        raise ValueError(
            f"a test set has {len(ids)} ids, {len(labels)} labels" + (f", {len(groups)} groups" if groups else "")
        )
    numbers = np.array(ids), np.array(labels), None if groups is None else np.array(groups)
    Answers(numbers[0], numbers[1], np.ones(len(ids), bool), numbers[2]).checked()
    return numbers


def _unpacked(text: str, num_images: int) -> np.ndarray:
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    due = (num_images + 7) // 8
    if len(packed) != due:
        raise ValueError(f"{num_images} test images take {due} bytes of answers, found {len(packed)}")
    return np.unpackbits(packed, count=num_images).astype(bool)


def _predicted(labels: np.ndarray, right: np.ndarray, wrong: Sequence[int]) -> np.ndarray:
    """Return the predicted class of each test image, from those of the images that are not right."""
    if len(wrong) != (due := int((~right).sum())):
        raise ValueError(f"{due} test images are not right, found the classes of {len(wrong)}")
    if not all(type(one) is int and one >= 0 for one in wrong):
        raise ValueError("a predicted class is not a whole number of at least 0")
    predicted = labels.copy()
    predicted[~right] = wrong
    return predicted


def _one_of(known: Sequence[Any], position: Any, what: str) -> Any:
    if type(position) is not int or position not in range(len(known)):
        raise ValueError(f"{what} {position} is unknown: the file has {len(known)}")
    return known[position]


def _text(content: Any) -> str:
    """Write JSON without spaces; unlike ==, it distinguishes 1, 1.0 and true."""
    return json.dumps(content, separators=(",", ":"))
