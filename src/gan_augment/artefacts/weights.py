"""Checkpoints: tensors and plain values only, so that reading a file runs no code from it."""

import io
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_augment.records.record import write_whole

FILE = "weights.pt"  # in a stage's folder: the weights of the last step
BEST = "best.pt"  # the weights that a metric chose, if one is set
SCHEMA = 1  # raise it when the parts of a checkpoint change


def save_weights(path: Path, about: Mapping[str, Any], **networks: nn.Module) -> None:
    """Write the weights of named networks, and the metadata needed to build them again.

    The metadata are plain values, lists and mappings, among them `kind`, such as `gan`.
    """
    states = {name: {k: v.cpu() for k, v in network.state_dict().items()} for name, network in networks.items()}
    write_tensors({"schema": SCHEMA, "about": dict(about), "networks": states}, path)


def write_tensors(content: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values into a file, completely or not at all; its folder must exist."""
    file = io.BytesIO()
    torch.save(content, file)
    write_whole(file.getbuffer(), path)


def read_about(path: Path, kind: str, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read the metadata of a checkpoint.

    Raises:
        ValueError: If the file is not a checkpoint of that kind and this schema, or lacks one of the needed names.
    """
    about = dict(_read(path)["about"])
    if about.get("kind") != kind:
        raise ValueError(f"{path} is a checkpoint of kind {about.get('kind')!r}: one of kind {kind!r} is needed")
    if missing := [name for name in needed if name not in about]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is damaged, train again")
    return about


def file_hash(path: Path) -> str:
    """Return the hash of a file's content, 16 hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()[:16]


def load_weights(path: Path, name: str, network: nn.Module) -> nn.Module:
    """Fill a network with the weights stored under a name; return it frozen, in evaluation mode.

    Raises:
        ValueError: If the file is not a checkpoint of this schema, has no such network, or its weights do not fit.
    """
    states = _read(path)["networks"]
    if name not in states:
        raise ValueError(f"{path} has no network {name!r}: it has {', '.join(sorted(states)) or 'none at all'}")
    try:
        network.load_state_dict(states[name])
    except (RuntimeError, TypeError, AttributeError) as error:  # the first lists every weight
        reason = str(error).split("\n")[:2][-1].strip()
        raise ValueError(f"{path}: the weights of {name!r} do not fit the network it describes: {reason}") from error
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not found: name a checkpoint") from error
    except Exception as error:  # of many types: an incomplete file, another format, pickled objects
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors and plain values (pickled code is never run): {reason}"
        ) from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        schema = "no schema" if found is None else f"schema {found}"
        raise ValueError(
            f"{path} has {schema}, this version reads schema {SCHEMA}: train again, or use a version that fits"
        )
    if missing := [part for part in ("about", "networks") if not isinstance(content.get(part), dict)]:
        raise ValueError(f"{path} lacks its part {' and '.join(missing)}: it is damaged, train again")
    return content
