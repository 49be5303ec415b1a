"""Requests: `launches/<launch>/request.json` says which trials a launch asks for. A study is all that was asked for.

Each launch writes its own file, so launches of one study do not get in each other's way. Earlier versions had only one
request, in `study.json`; that file still keeps the study's looks.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan_augment.records.manifest import set_aside
from gan_augment.records.record import DamagedError, read_study

Reader = Callable[[Path], dict[str, Any]]


def read_or_set_aside(path: Path, read: Reader = read_study) -> dict[str, Any] | None:
    """Read a request, a study file or a record; None if there is none, or it is damaged and now set aside.

    Raises:
        ValueError: If it cannot be opened, or a newer version wrote it.
    """
    try:
        return read(path) if path.exists() else None
    except DamagedError as error:
        set_aside(path, str(error.__cause__ or error))
        return None


def read_requests(
    study: Path, read: Callable[[Path], dict[str, Any] | None] = read_or_set_aside
) -> list[dict[str, Any]]:
    """Read the requests of a study's launches, the oldest first.

    If the same settings name another trial later, after a change of the images or of the program, only that one counts.

    Raises:
        ValueError: If a newer version wrote one of them.
    """
    paths = [study / "study.json", *sorted(study.glob("launches/*/request.json"))]
    found = [request for path in paths if (request := read(path)) and "command" in request]
    latest = {job: name for request in found for job, name in request.get("jobs", {}).items()}
    replaced = {name for one in found for job, name in one.get("jobs", {}).items() if latest[job] != name}
    replaced -= set(latest.values())
    for request in found:
        if request.get("requested"):
            request["requested"] = [name for name in request["requested"] if name not in replaced]
    return [request for request in found if request.get("requested") != []]
