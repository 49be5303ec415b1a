"""A study in one file, `results/<study>.jsonl`: all that its report is built from, without the trial folders.

The file is UTF-8 with one JSON object a line, written without spaces. The first line holds what the trials share:

| key | content |
| --- | --- |
| `schema` | the schema of records that wrote the file |
| `launches` | the `study.json` of each launch; several where studies were merged |
| `tests` | the distinct test sets: `ids`, the numbers of the images, and `labels`, their classes |
| `templates` | what records with the same fields have in common: the fields in their order, null where values differ |

Every further line is a trial, in the order of names:

| key | content |
| --- | --- |
| `study` | the name of the study's folder |
| `template` | which of the templates its record has, from 0 |
| `record` | the values by which the record differs from the template |
| `test` | which of the test sets it was tested on, from 0 |
| `right` | a bit an image in the order of the test set, 1 where the classifier is right: `numpy.packbits`, in base64 |
| `samples` | the path of its picture of samples, from the folder of the file |

The last three are missing where a trial has none of it. Records come back as they were, with the order of their fields
and every digit of their numbers.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gan_augment.records.record import SCHEMA, refuse_newer, write_whole
from gan_augment.report.outcomes import Answers, NoPredictionsError, Outcome

SUFFIX = ".jsonl"


def write_archive(
    launches: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome], samples: Mapping[str, Path], path: Path
) -> None:
    """Write a study into one file, whole or not at all.

    Args:
        launches: What the launches of the study asked for.
        outcomes: What its trials left.
        samples: Trial -> its picture of samples, of those that have one.
        path: The file, which ends in `.jsonl`; its folder must exist.

    Raises:
        ValueError: If the predictions of a trial cannot be read.
    """
    shapes = [_shape(outcome.record) for outcome in outcomes]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for shape, outcome in zip(shapes, outcomes, strict=True):
        groups.setdefault(shape, []).append(outcome.record)
    templates = {shape: _common(records) for shape, records in groups.items()}
    positions = {shape: position for position, shape in enumerate(templates)}

    tests: dict[str, int] = {}
    lines = []
    for shape, outcome in zip(shapes, outcomes, strict=True):
        line = {
            "study": outcome.study,
            "template": positions[shape],
            "record": _difference(outcome.record, templates[shape]),
        }
        if outcome.answers:
            answers = _read(outcome.answers, path)
            test = _text({"ids": answers.ids.tolist(), "labels": answers.labels.tolist()})
            line["test"] = tests.setdefault(test, len(tests))
            line["right"] = base64.b64encode(np.packbits(answers.right).tobytes()).decode()
        if picture := samples.get(outcome.trial):
            line["samples"] = Path(os.path.relpath(picture, path.parent)).as_posix()
        lines.append(line)
    head = {
        "schema": SCHEMA,
        "launches": list(launches),
        "tests": [json.loads(test) for test in tests],
        "templates": list(templates.values()),
    }
    write_whole("".join(f"{_text(line)}\n" for line in (head, *lines)).encode(), path)


def read_archive(path: Path) -> tuple[list[dict[str, Any]], list[Outcome]]:
    """Read what `write_archive` wrote.

    Args:
        path: The file.

    Returns:
        The launches, and the outcomes in the order of the file.

    Raises:
        ValueError: If the file is of a newer major schema, or a line of it is damaged.
        OSError: If there is no such file.
    """
    with _line(path, 1):
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        head = dict(json.loads(first))
    refuse_newer(head, path)
    with _line(path, 1):
        launches = [dict(launch) for launch in head["launches"]]
        tests = [_test_set(test["ids"], test["labels"]) for test in head["tests"]]
        templates = list(head["templates"])
    outcomes = []
    for number, text in enumerate(lines, start=2):
        with _line(path, number):
            line = json.loads(text)
            record = _merged(_one_of(templates, line["template"], "template"), line["record"])
            answers = None
            if "right" in line:
                ids, labels = _one_of(tests, line["test"], "test set")
                answers = partial(Answers, ids, labels, _unpacked(line["right"], len(ids)))
            samples = path.parent / line["samples"] if "samples" in line else None
            outcomes.append(Outcome(line["study"], record, answers, samples))
    return launches, outcomes


@contextmanager
def _line(path: Path, number: int) -> Iterator[None]:
    """Turn whatever a damaged line leads to into one error that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}, line {number} is damaged ({type(error).__name__}: {error}): restore the file from git, or write "
            "it again with gan-augment-report FOLDER --keep FILE"
        ) from error


def _shape(value: Any) -> Any:
    """Return the names of all fields in their order; fields with other values have the same shape."""
    return tuple((name, _shape(inner)) for name, inner in value.items()) if isinstance(value, dict) else None


def _common(values: Sequence[Any]) -> Any:
    """Return what values of one shape have in common, with null where they differ."""
    if isinstance(values[0], dict):
        return {name: _common([value[name] for value in values]) for name in values[0]}
    return values[0] if len(set(map(_text, values))) == 1 else None


def _difference(record: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a template of the same shape has otherwise."""
    found = {}
    for name, value in record.items():
        if isinstance(value, dict):
            if inner := _difference(value, template[name]):
                found[name] = inner
        elif _text(value) != _text(template[name]):
            found[name] = value
    return found


def _merged(template: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """Put a record together again, in the order of its template."""
    if unknown := difference.keys() - template.keys():
        raise ValueError(f"its template has no field {', '.join(sorted(unknown))}")
    return {
        name: _merged(value, difference.get(name, {})) if isinstance(value, dict) else difference.get(name, value)
        for name, value in template.items()
    }


def _read(answers: Callable[[], Answers], path: Path) -> Answers:
    try:
        return answers()
    except NoPredictionsError as error:
        raise ValueError(f"{error}, so {path} is not written: delete them to keep the study without") from error


def _test_set(ids: Sequence[int], labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    if len(ids) != len(labels):
        raise ValueError(f"a test set has {len(ids)} ids, {len(labels)} labels")
    return np.array(ids), np.array(labels)


def _unpacked(text: str, num_images: int) -> np.ndarray:
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    due = (num_images + 7) // 8
    if len(packed) != due:
        raise ValueError(f"{num_images} test images take {due} bytes of answers, found {len(packed)}")
    return np.unpackbits(packed, count=num_images).astype(bool)


def _one_of(known: Sequence[Any], position: Any, what: str) -> Any:
    if position not in range(len(known)):
        raise ValueError(f"{what} {position} is unknown: the file has {len(known)}")
    return known[position]


def _text(content: Any) -> str:
    """Write JSON without spaces. It tells 1, 1.0 and true apart, as == does not."""
    return json.dumps(content, separators=(",", ":"))
