"""Folders that reveal damage: a manifest, written last, has the size and the hash of every file.

A killed process leaves no half-written folder, but a machine that loses power, a failing disk or a copy can damage one.
"""

import json
import logging
import os
from collections.abc import Callable
from hashlib import file_digest
from itertools import chain, count
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from gan_augment.records.record import write_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# What readers of damaged files raise, and not for lack of memory.
UNREADABLE = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, BadZipFile)


def seal(folder: Path, without: str | None = None) -> None:
    """Bring the files of a folder safely to disk, and write their manifest; leave out a folder `without` in it."""
    found = {}
    for path in _files(folder):
        if (name := path.relative_to(folder)).parts[0] != without and name != Path(MANIFEST):
            found[name.as_posix()] = _described(path)
            sync(path)
    write_json(found, folder / MANIFEST)


def damage(folder: Path, read: Callable[[], object]) -> str | None:
    """Return in words what is wrong with a folder; None if it is whole.

    `read` reads the content. It is called if there is no manifest: earlier versions wrote none.
    """
    if not folder.exists():
        return "it is missing"
    try:
        if not (folder / MANIFEST).exists():
            read()
            return None
        for name, expected in json.loads((folder / MANIFEST).read_text(encoding="utf-8")).items():
            path = folder / name
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {expected['bytes']}"
            if _described(path) != expected:
                return f"the content of {name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename or folder).name} is missing"
    except PermissionError:
        raise
    except UNREADABLE as error:
        return f"it cannot be read: {type(error).__name__}: {error}"
    return None


def set_aside(path: Path, reason: str) -> None:
    """Rename a damaged file or folder, so that it is made again when it is needed, and log that."""
    names = (path.with_name(f"{path.name}.damaged{number}") for number in chain([""], count(2)))
    aside = next(name for name in names if not name.exists())
    try:
        path.rename(aside)
    except FileNotFoundError:  # another process was faster
        return
    log.warning("%s is damaged (%s): set aside as %s, and made again when needed", path, reason, aside.name)


def sync(path: Path) -> None:
    """Bring the content of a file, or of all files below a folder, safely to disk."""
    for one in _files(path) if path.is_dir() else [path]:
        with one.open("r+b") as file:  # Windows wants it writable
            os.fsync(file.fileno())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": file_digest(file, "sha256").hexdigest()}
