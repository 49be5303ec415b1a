"""Checkpoints: tensors and plain values only, so that reading a file runs no code from it.

A file that is much smaller than what it unpacks to, or than the network that it describes, is refused before it fills
the memory.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.records.received import check_regular, check_unpacked, plain_values
from gan_augment.records.record import write_whole
from gan_augment.records.shape import AMOUNT, TEXT, WORD, WORDS, Kind, list_of

FILE = "weights.pt"  # in a stage's folder: the weights of the last step
BEST = "best.pt"  # the weights that a metric chose, if one is set
SCHEMA = 1  # raise it when the parts of a checkpoint change
MOST_VALUES = 200_000  # of the metadata
COUNT = Kind("a whole number of at least 0", lambda value: type(value) is int and value >= 0)
COUNTS = list_of("whole numbers of at least 0", COUNT.fits)
# Of the metadata, as `records.shape` describes shapes.
ABOUT: dict[str, Any] = {
    "shape": list_of("whole numbers above 0", lambda value: type(value) is int and value > 0),
    "class_names": WORDS,
    "class_counts": COUNTS,
    "label_counts": COUNTS,
    "trained_on": WORD,
    "images_seen": COUNT,
    "seed": COUNT,
    "start": {"hash": WORD, "trained_on": WORD, "images_seen": COUNT},
    "frozen": {"seed": COUNT, "scale": list_of("numbers", lambda value: type(value) is float)},
    "pool_images": AMOUNT,
    "chosen_by": TEXT,
    "degrade": {"scale": COUNT, "kernel": WORD},
    "front": {"scale": COUNT, "kernel": WORD, "restore": WORD},
    "decoding": {"fit": TEXT, "white": AMOUNT, "background": TEXT},
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


def read_about(path: Path, kinds: str | Sequence[str], needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read the metadata of a checkpoint.

    Raises:
        ValueError: If the file is not a checkpoint of such a kind and this schema, lacks a needed name, or has metadata
            that are not plain values.
    """
    try:
        about = dict(plain_values(_read(path)["about"], MOST_VALUES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a network: {error}") from error
    allowed = [kinds] if isinstance(kinds, str) else kinds
    if about.get("kind") not in allowed:
        needs = " or ".join(map(repr, allowed))
        raise ValueError(f"{path} is a checkpoint of kind {about.get('kind')!r}: one of kind {needs} is needed")
    if missing := [name for name in needed if name not in about]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is damaged, train again")
    return about


def kind_of(path: Path) -> str:
    """Return the kind of a checkpoint, such as `gan`; raise a ValueError if the file is none."""
    return str(_read(path)["about"].get("kind"))


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
            raise ValueError("they are larger than the file")
        fitting = {key: _as(wanted[key].dtype, tensor) for key, tensor in stored.items() if key in wanted}
        network.load_state_dict({**stored, **fitting}, assign=True)
    except Exception as error:  # of many types: whatever a file may hold in place of weights
        raise ValueError(
            f"{path}: the weights of {name!r} do not fit the network it describes: {reason_of(error)}"
        ) from error
    return network.eval().requires_grad_(False)


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return a copy of a tensor as another type of number, in the usual order and place in memory."""
    if tensor.layout != torch.strided or not torch.can_cast(tensor.dtype, dtype):
        raise ValueError(f"a tensor is {tensor.layout} of {tensor.dtype}, not of {dtype}")
    # The numbers of a file lie wherever they do; kernels round differently if these are no multiples of 64 bytes.
    return torch.empty(tensor.shape, dtype=dtype).copy_(tensor)


def reason_of(error: Exception) -> str:
    """Return the line of an error that says most: torch's first one says only that weights do not fit."""
    first, *others = str(error).strip().split("\n")
    return (others[0].strip() if others and first.startswith("Error(s) in loading") else first) or type(error).__name__


def _read(path: Path) -> dict[str, Any]:
    try:
        content = _load(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not found: name a checkpoint") from error
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors and plain values (pickled code is never run): "
            f"{reason_of(error)}"
        ) from error
    found = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(found, int) or found != SCHEMA:
        schema = f"schema {found}" if isinstance(found, int) else "no schema"
        raise ValueError(
            f"{path} has {schema}, this version reads schema {SCHEMA}: train again, or use a version that fits"
        )
    if missing := [part for part in ("about", "networks") if not isinstance(content.get(part), dict)]:
        raise ValueError(f"{path} lacks its part {' and '.join(missing)}: it is damaged, train again")
    return content


def _load(path: Path) -> Any:
    check_regular(path)
    check_unpacked(path, path.stat().st_size)  # torch does not pack
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of many types; torch's own words advise running the code in the file
            raise ValueError("it is damaged, or holds other objects") from error
