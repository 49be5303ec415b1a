"""Checkpoints: tensors and plain values only, so that reading a file runs no code from it.

A file that is much smaller than what it unpacks to, or than the network that it describes, is refused before it fills
the memory.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.records.received import check_regular, plain_values
from gan_augment.records.record import write_whole
from gan_augment.records.shape import AMOUNT, TEXT, WORD, WORDS, Kind, list_of

FILE = "weights.pt"  # in a stage's folder: the weights of the last step
BEST = "best.pt"  # the weights that a metric chose, if one is set
SCHEMA = 1  # raise it when the parts of a checkpoint change
COUNTS = list_of("whole numbers of at least 0", lambda value: type(value) is int and value >= 0)
# Of the metadata, as `records.shape` describes shapes.
ABOUT = {
    "shape": COUNTS,
    "class_names": WORDS,
    "class_counts": COUNTS,
    "label_counts": COUNTS,
    "trained_on": WORD,
    "images_seen": AMOUNT,
    "pool_images": AMOUNT,
    "chosen_by": TEXT,
    "design": {"loss": {"_target_": WORD}},
    "classifier": {"batch_size": Kind("a whole number above 0", lambda value: type(value) is int and value > 0)},
}


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
        ValueError: If the file is not a checkpoint of that kind and this schema, lacks one of the needed names, or has
            metadata that are not plain values.
    """
    try:
        about = dict(plain_values(_read(path)["about"]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a network: {error}") from error
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
    """Give a network the weights stored under a name; return it frozen, in evaluation mode.

    The network may lie on the meta device, without numbers of its own: then a file cannot describe one that is larger
    than the file.

    Raises:
        ValueError: If the file is not a checkpoint of this schema, has no such network, or its weights do not fit.
    """
    states = _read(path)["networks"]
    if name not in states:
        raise ValueError(f"{path} has no network {name!r}: it has {', '.join(map(str, states)) or 'none at all'}")
    try:
        wanted, stored = network.state_dict(), states[name]
        if sum(tensor.numel() * tensor.element_size() for tensor in stored.values()) > path.stat().st_size:
            raise ValueError("they are more than the file has")
        fitting = {key: _as(wanted[key].dtype, tensor) for key, tensor in stored.items() if key in wanted}
        network.load_state_dict({**stored, **fitting}, assign=True)
    except Exception as error:  # of many types: whatever a file may hold in place of weights
        raise ValueError(
            f"{path}: the weights of {name!r} do not fit the network it describes: {reason_of(error)}"
        ) from error
    return network.eval().requires_grad_(False)


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a tensor as one of another type of number, in the usual order in memory."""
    if tensor.layout != torch.strided or not torch.can_cast(tensor.dtype, dtype):
        raise ValueError(f"a tensor is {tensor.layout} of {tensor.dtype}, not of {dtype}")
    return tensor.to(dtype).contiguous()


def reason_of(error: Exception) -> str:
    """Return the words of an error that say most; torch lists every weight that does not fit."""
    return str(error).split("\n")[:2][-1].strip() or type(error).__name__


def _read(path: Path) -> dict[str, Any]:
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than its size")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not found: name a checkpoint") from error
    except Exception as error:  # of many types: an incomplete file, another format, pickled objects
        # For pickled objects, torch's own message advises running the code in them.
        reason = "it holds other objects" if isinstance(error, UnpicklingError) else reason_of(error)
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
