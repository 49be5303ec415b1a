"""The split of a trial in a file of its folder: how its images are read and divided, without where they are."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gan_augment.config import Config
from gan_augment.data.loading import load_source
from gan_augment.data.split import Split, SplitSettings, draw_split
from gan_augment.records.record import SCHEMA, read_content, write_json

FILE = "split.json"
IMAGES, LABELS, CACHE = ("root", "images"), ("table", "labels"), "cache"  # settings of a source that name files


def write_split(config: Config, folder: Path) -> None:
    """Write how a trial reads and divides its images into its folder."""
    files = [name for name in (*IMAGES, *LABELS, CACHE) if config.source.get(name) is not None]
    source = without_places(config.source)
    write_json({"schema": SCHEMA, "source": source, "files": files, "split": asdict(config.split)}, folder / FILE)


def without_places(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data node, and those inside it, with None for the settings that name files.

    Example:
        >>> without_places({"of": {"root": "/home/me", "fit": "crop"}, "look": "edges"})
        {'of': {'root': None, 'fit': 'crop'}, 'look': 'edges'}
    """
    places = (*IMAGES, *LABELS, CACHE)
    inner = {name: without_places(value) if isinstance(value, Mapping) else value for name, value in node.items()}
    return {name: None if name in places else value for name, value in inner.items()}


def read_split(
    folder: Path, provenance: Mapping[str, Any], images: str | None, labels: str | None, cache: Path
) -> Split:
    """Draw the split of a trial again.

    Args:
        folder: The trial's folder.
        provenance: That of its record.
        images: The folder or the file of its images; None if its data set has none.
        labels: The table or the file of their labels; None if they have none of their own.
        cache: Where decoded images go.

    Raises:
        ValueError: If the file is missing or damaged, the images cannot be read, or they are not those of the trial.
    """
    path = folder / FILE
    if not path.exists():
        raise ValueError(f"{path} is missing: run the trial's command again, which writes it")
    content = read_content(path, ("source", "files", "split"))
    try:
        node, files, settings = {**content["source"]}, [*content["files"]], SplitSettings(**content["split"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for option, given, names in (("images", images, IMAGES), ("labels", labels, LABELS)):
        needed = [name for name in names if name in files]
        if (given is None) == bool(needed):
            raise ValueError(
                f"refuse_copies=true needs {option}=...: the file or folder that was data.{needed[0]} of the trial"
                if needed
                else f"{option}={given}, but the data of this trial are without: leave {option} null"
            )
        node |= dict.fromkeys(needed, given)
    if CACHE in files:
        node[CACHE] = str(cache)
    try:
        source = load_source(node)
        split = draw_split(source, settings)
    except ValueError as error:
        message = str(error)
        for option, names in (("images", IMAGES), ("labels", LABELS)):
            for name in names:
                message = message.replace(f"data.{name}=", f"{option}=")
        raise ValueError(message) from error
    if (split.hash, source.images.fingerprint) != (provenance.get("split"), provenance.get("fingerprint")):
        raise ValueError(f"images={images}: these are not the images of the trial, or they have changed since")
    return split
