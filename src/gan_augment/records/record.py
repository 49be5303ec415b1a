"""The record: the JSON file with a trial's results, and its flat form.

A record is a plain nested dictionary, so that fields written by a newer minor version survive reading and
writing. Its parts: `trial`, `status`, `error`, `factors`, `metrics`, `compared`, `sections`, `costs`, `saw`,
`notes`, `warnings`, `provenance`.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from gan_augment.parts import mine
from gan_augment.records.received import read_regular, read_values
from gan_augment.records.shape import check_shape

SCHEMA = "1.13"
MOST_VALUES = 100_000  # in one record
NEEDED = ("status", "factors", "metrics", "provenance")  # in every record

# Words for a report, and what depends on when and how a trial was run: two runs of one study differ in it. With a dot
# at the end, so that compared_x would not match.
NOT_IN_RESULTS = ("compared.", "sections.", "provenance.command.", "provenance.test_opened.")


def write_whole(content: bytes | memoryview, path: Path) -> None:
    """Write a file in one step, so that at any moment it is the old or the new one; its folder must exist.

    That holds even if the machine loses power: the content is safely on disk before the file gets its name.
    """
    partial = mine(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:  # for example a full disk, where half a file would only take up room
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    write_whole((json.dumps(content, indent=2) + "\n").encode(), path)


def digest(content: Any) -> str:
    """Hash plain nested values; the order of names does not count."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class DamagedError(ValueError):
    """The content of a file is not what this program writes."""


def read_record(path: Path, within: Path | None = None) -> dict[str, Any]:
    """Read a `record.json`, fields unknown to this version included; `within` as in `check_regular`.

    Raises:
        DamagedError: If the file is not a record, for example empty.
        ValueError: If it cannot be opened, or has a newer major schema.
    """
    return read_content(path, NEEDED, within)


def read_study(path: Path, within: Path | None = None) -> dict[str, Any]:
    """Read the request of a launch, or a `study.json`, as `read_record` does."""
    return read_content(path, (), within)


def read_content(path: Path, needed: Collection[str], within: Path | None = None) -> dict[str, Any]:
    """Read a JSON file with a schema that needs some parts, with the errors of `read_record`."""
    try:
        content = dict(read_values(read_regular(path, within=within)))
    except (OSError, ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, OSError) else DamagedError
        raise kind(f"{path} is not a readable record: {type(error).__name__}: {error}") from error
    refuse_newer(content, path)
    try:
        check_content(content, needed)
    except ValueError as error:
        raise DamagedError(f"{path} is not a readable record: {error}") from error
    return content


def check_content(content: Mapping[str, Any], needed: Collection[str] = NEEDED) -> None:
    """Raise a ValueError unless a record has the needed parts, not too many values, and each in its shape."""
    if missing := [name for name in needed if name not in content]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if sum(1 for _ in leaves(content)) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    check_shape(content)


def refuse_newer(content: dict[str, Any], path: Path) -> None:
    """Refuse the content of a file that a newer version wrote in a schema that this one may misread.

    Raises:
        DamagedError: If the content has no schema.
        ValueError: If it has one of a newer major version.
    """
    schema = str(content.get("schema"))[:20]
    if not (major := schema.split(".")[0]).isdecimal():
        raise DamagedError(f"{path} is not a readable record: schema={schema} is not a number")
    if int(major) > int(SCHEMA.split(".")[0]):
        raise ValueError(
            f"{path} has schema {schema}, this version reads up to {SCHEMA}: update gan-augment to read it"
        )


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a record into one row: its scalars, without words for a report and what differs between two runs of a trial.

    Example:
        >>> flatten({"trial": "none-seed0", "metrics": {"test": {"accuracy": 0.9}}})
        {'trial': 'none-seed0', 'metrics.test.accuracy': 0.9}
    """
    scalars = ((name, value) for name, value in leaves(record) if not isinstance(value, list))
    return {name: value for name, value in scalars if not f"{name}.".startswith(NOT_IN_RESULTS)}


def leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of nested dictionaries."""
    if not isinstance(content, Mapping):
        yield name, content
        return
    for key, inner in content.items():
        yield from leaves(inner, f"{name}.{key}" if name else str(key))
