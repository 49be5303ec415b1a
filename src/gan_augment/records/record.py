"""The record: the JSON file with a trial's results, and its flat form.

A record is a plain nested dictionary, so that fields written by a newer minor version survive reading and
writing. Its parts: `trial`, `status`, `error`, `factors`, `metrics`, `compared`, `costs`, `saw`, `notes`,
`warnings`, `provenance`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SCHEMA = "1.6"
STATUSES = ("ok", "diverged", "failed")

# Words for a report, and what depends on when and how a trial was run: two runs of one study differ in it.
NOT_IN_RESULTS = ("compared", "provenance.command", "provenance.test_opened")


def write_whole(content: bytes | memoryview, path: Path) -> None:
    """Write a file in one step, so that at any moment it is the old or the new one; its folder must exist."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
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


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Args:
        path: A `record.json`.

    Returns:
        The record, fields unknown to this version included.

    Raises:
        ValueError: If the file is not a record, or one of a newer major schema.
    """
    try:
        record = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a readable record: {type(error).__name__}: {error}") from error
    refuse_newer(record, path)
    return record


def refuse_newer(content: dict[str, Any], path: Path) -> None:
    """Refuse content that a newer version wrote in a schema that this one may misread.

    Args:
        content: The content of a file, with its `schema`.
        path: The file, named in the error.

    Raises:
        ValueError: If the content has no schema, or one of a newer major version.
    """
    schema = str(content.get("schema"))
    if not (major := schema.split(".")[0]).isdecimal():
        raise ValueError(f"{path} is not a readable record: schema={schema} is not a number")
    if int(major) > int(SCHEMA.split(".")[0]):
        raise ValueError(
            f"{path} has schema {schema}, this version reads up to {SCHEMA}: update gan-augment to read it"
        )


def flatten(record: dict[str, Any]) -> dict[str, Any]:
    """Turn a record into one row with dotted names.

    Args:
        record: A nested record.

    Returns:
        The scalars of the record, without lists, words for a report and what differs between two runs of one trial.

    Example:
        >>> flatten({"trial": "none-seed0", "metrics": {"test": {"accuracy": 0.9}}})
        {'trial': 'none-seed0', 'metrics.test.accuracy': 0.9}
    """
    row: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if prefix in NOT_IN_RESULTS:
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                visit(f"{prefix}.{name}" if prefix else str(name), inner)
        elif not isinstance(value, list):
            row[prefix] = value

    visit("", record)
    return row
