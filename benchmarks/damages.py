"""Whole files of every kind that the commands read, and ways to damage them; `fuzz.py` feeds them to the commands."""

import contextlib
import csv
import io
import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.mlp import MLP

NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"))
TEXTS = ("", "x", "null", "=1+1", "\x1b[31m", "\u202e", "\ud800", "a\nb", "../../x", "/etc/passwd", "<b>", "x" * 10**5)
OTHERS = (None, True, False, [], {}, [[]], {"": ""}, [None], {"x": {"y": [1]}})
CELLS = (
    "cat",
    "CAT",
    " dog ",
    "cat|dog",
    "0",
    "1",
    "test",
    "trian",
    "/dev/zero",
    "a\0b",
    "\ufeff",
    '"',
    "\\",
    "\r",
    ";",
)
HEADS = ("file", "label", "Label", "split", "group", "image_id", "dx", "")
ENCODINGS = ("utf-8",) * 6 + ("utf-8-sig", "utf-16", "latin-1", "cp037")
PARTS = ("train", "Test", "val", "unlabelled", "training_set", "__MACOSX", ".hidden")
NAMES = (*PARTS, "a\nb", "\x1b[31m", "\u202ecat", "-x", " cat ", "Cat", "cat|dog", "ü", os.fsdecode(b"\xff"), "x" * 250)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I", "I;16", "F", "CMYK", "YCbCr", "HSV", "LAB")
FORMATS = ("PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG", "PPM", "ICO", "TGA", "EPS", "PDF", "JPEG2000", "DDS")


# ---------------------------------------------------------------------------------------------------- whole files


def trial(arm: str, seed: int) -> dict[str, Any]:
    """Make up the record of a trial."""
    accuracy = (0.6 if arm == "none" else 0.7) + 0.01 * seed
    results = {"accuracy": accuracy, "nll": 1.0, "per_class": {"cat": accuracy, "dog": accuracy}}
    gan = {"judge_frechet_distance": 3.0 + seed, "per_class": {"cat": {"label_agreement": 0.5}}}
    gan["confusion_matrix"] = [[3, 1], [0, 4]]
    seconds = {role: {"spent": 1.0, "reused": 0.0} for role in ("classifier", "total")}
    factors = {"data": "toy", "labels": 5, "augmentation": arm, "augmentation.share": 0.5, "loss": "hinge"}
    factors |= {f"seeds.{name}": seed for name in ("split", "gan", "classifier")}
    return {
        "schema": "1.8",
        "trial": f"{arm}-seed{seed}",
        "status": "ok",
        "error": None,
        "factors": factors,
        "metrics": {"validation": results, "test": results, "gan": gan if arm == "gan" else {}},
        "compared": {},
        "costs": {"seconds": seconds, "memory": {}, "peak_memory_mib": 800, "device": "cpu", "threads": 1},
        "saw": {"labelled": 10, "pool_images": 0, "imbalance_ratio": 1.0, "rare_classes": []},
        "notes": ["a note"],
        "warnings": [],
        "provenance": {
            "split": f"split{seed}",
            "fingerprint": "f",
            "overlap": 0.1,
            "test_images": 40,
            "pool_images": 50,
            "test_imbalance_ratio": 1.0,
            "copies": [],
            "stages": {"gan": f"gan{seed}"} if arm == "gan" else {},
            "reads": {"gan": ["loss"]},
            "versions": {"torch": "2"},
            "commit": "c" * 40,
            "clean": True,
        },
    }


def answers(seed: int) -> dict[str, np.ndarray]:
    """Make up predictions."""
    drawn = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    return {"ids": np.arange(40), "labels": labels, "predicted": np.where(drawn.random(40) < 0.7, labels, 1 - labels)}


def study(folder: Path) -> Path:
    """Write a whole study."""
    for arm in ("none", "gan"):
        for seed in range(6):
            path = folder / "trials" / f"{arm}-seed{seed}"
            path.mkdir(parents=True)
            (path / "record.json").write_text(json.dumps(trial(arm, seed)))
            np.savez_compressed(path / "predictions.npz", allow_pickle=False, **answers(seed))
    names = [path.name for path in sorted((folder / "trials").iterdir())]
    launch = {"schema": "1.8", "study": "toy", "requested": None, "against": {}, "jobs": {}, "command": "x"}
    (folder / "study.json").write_text(json.dumps(launch | {"looks": []}))
    asked = {"requested": names, "jobs": {f"one={name}": name for name in names}, "further": [["gan-seed6"]]}
    (folder / "launches" / "first").mkdir(parents=True)
    (folder / "launches" / "first" / "request.json").write_text(json.dumps(launch | asked))
    return folder


def checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, torch.nn.Module]]:
    """Return the metadata and the networks of a generator."""
    shape = ImageShape(1, 8, 8)
    node = "gan_augment.networks.{}".format
    about = {
        "kind": "gan",
        "design": {
            "architecture": {"_target_": node("mlp.MLP"), "latent_dim": 4, "width": 8},
            "conditioning": {"_target_": node("conditioning.Projection"), "embedding_dim": 32, "clusters": 1},
            "loss": {"_target_": "gan_augment.losses.adversarial.Hinge"},
        },
        "shape": [*astuple(shape)],
        "class_names": ["cat", "dog"],
        "class_counts": [3, 4],
        "label_counts": [3, 4],
        "trained_on": "0" * 32,
        "images_seen": 64,
        "seed": 0,
        "pool_images": 0,
        "chosen_by": None,
    }
    makes = {"ema": Projection().generator, "discriminator": Projection().discriminator}
    return about, {name: make(MLP(4, 8), shape, 2) for name, make in makes.items()}


def pictures(folder: Path) -> Path:
    """Write a folder of small images, one folder for each class."""
    drawn = np.random.default_rng(0)
    for number in range(30):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(path)
    return folder


def table(root: Path, draw: random.Random) -> list[list[str]]:
    """Return the rows of a table of the images in a folder; its label has one column or is one-hot."""
    files = sorted(root.rglob("*.png"))
    one_hot = draw.random() < 0.2
    rows = [["file", *(("cat", "dog") if one_hot else ("label",)), "split", "group"]]
    for number, path in enumerate(files):
        label = [str(int(path.parent.name == name)) for name in ("cat", "dog")] if one_hot else [path.parent.name]
        rows.append(
            [str(path.relative_to(root)), *label, "test" if number % 5 == 0 else "train", f"p{number // 2 % 9}"]
        )
    return rows


def image_arrays(draw: random.Random) -> dict[str, np.ndarray]:
    """Make up the arrays of a set of images: as one, as in MedMNIST or as in Keras."""
    shape = draw.choice(((8, 8), (8, 8, 3), (3, 8, 8), (9, 8, 1)))
    images = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    labels = draw.choice((np.arange(40) % 2, np.array(["cat", "dog"] * 20), np.eye(2)[np.arange(40) % 2]))
    if draw.random() < 0.2:
        images = (images / 255).astype(draw.choice(("f2", "f4", "f8")))
    whole = {"images": images, "labels": labels, "split": np.array(["train"] * 30 + ["test"] * 10)}
    if draw.random() < 0.6:
        return whole | {"groups": np.arange(40) // 2}
    names = draw.choice((("{}_images", "{}_labels"), ("x_{}", "y_{}")))
    parts = {"train": slice(30), "test": slice(30, 40)}
    return {
        name.format(part): array[its]
        for part, its in parts.items()
        for name, array in zip(names, (images, labels), strict=True)
    }


# -------------------------------------------------------------------------------------------------------- damages


def any_value(draw: random.Random) -> Any:
    """Draw a value that a place is not made for."""
    return draw.choice((*NUMBERS, *TEXTS, *OTHERS))


def change_value(content: Any, draw: random.Random) -> Any:
    """Replace, delete or add values somewhere in nested mappings and lists."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.8:
                place = place[key]
                continue
            kind = draw.random()
            if kind < 0.7:
                place[key] = any_value(draw)
            elif kind < 0.85:
                del place[key]
            elif isinstance(place, dict):
                place[draw.choice(TEXTS)] = any_value(draw)
            else:
                place.append(any_value(draw))
            break
    return content


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip, repeat or replace bytes."""
    kind = draw.randrange(6)
    place = draw.randrange(len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
    if kind == 2:
        return content[:place] + content[draw.randrange(len(content)) :]
    if kind == 3:
        return content[:place] + draw.randbytes(draw.randrange(1, 200)) + content[place:]
    if kind == 4:
        return draw.randbytes(draw.randrange(500))
    return draw.choice(
        (b"", b"{}", b"[]", b"[" * 10**5, b'{"a":' * 10**5, b"null", b"\0" * 100, b"PK\3\4", b"\x80\x02.")
    )


def damage_place(path: Path, draw: random.Random) -> None:
    """Put something else in the place of a file: a link, a pipe, a folder, a device, something huge."""
    path.unlink()
    kind = draw.randrange(6)
    if kind == 0:
        path.symlink_to("/etc/passwd")
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.mkdir()
    elif kind == 4:
        path.symlink_to(path.name)
    else:
        path.touch()
        os.truncate(path, 2**30)


def damage_npz(path: Path, arrays: dict[str, np.ndarray], draw: random.Random) -> None:
    """Write arrays of other types and shapes, a lying header, or a bomb."""
    name, kind = draw.choice(list(arrays)), draw.randrange(6)
    array = arrays[name]
    if kind == 0:
        with contextlib.suppress(ValueError):  # words are no numbers
            arrays[name] = array.astype(draw.choice(("f8", "U5", "?", "c16", "u1", "i1", "M8[s]", "S3", "f2")))
    elif kind == 1:
        low = array if array.dtype.kind == "U" else array * 0 - 1
        arrays[name] = draw.choice((array[:3], array[:, None], array[:0], np.array(3), np.tile(array, 7), low, array.T))
    elif kind == 2:
        del arrays[name]
    elif kind == 3:
        arrays[draw.choice(("groups", "probabilities", "more"))] = draw.choice((array, array[:2], np.zeros((40, 2))))
    if kind < 4:
        np.savez_compressed(path, **arrays)
        return
    header = {"descr": draw.choice(("|u1", "<f8", "|O", "<i8")), "fortran_order": False}
    header["shape"] = draw.choice(((2**29,), (10**12,), (10**9, 10**9), (-1,), (0,), (2**62,)))
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        for other, one in arrays.items():
            file = io.BytesIO()
            np.save(file, one, allow_pickle=False)
            zeros = bytes(2**24) * (32 if kind == 5 else 0)
            members.writestr(f"{other}.npy", start.getvalue() + zeros if other == name else file.getvalue())


def damage_networks(networks: dict[str, torch.nn.Module], draw: random.Random) -> dict[str, Any]:
    """Return states with weights of other shapes, types and kinds."""
    states: dict[str, Any] = {name: dict(network.state_dict()) for name, network in networks.items()}
    state = states["ema"]
    name = draw.choice(list(state))
    weight = state[name]
    state[name] = draw.choice(
        (
            weight[:1],
            weight.double(),
            weight.to(torch.complex64),
            weight.to(torch.int8),
            weight.t() if weight.dim() == 2 else weight,
            torch.zeros(1).expand(2**20, 2**10),
            torch.eye(3).to_sparse(),
            weight * float("nan"),
            torch.empty(0),
            any_value(draw),
        )
    )
    return states


def change_rows(rows: list[list[str]], draw: random.Random) -> None:
    """Change cells, rows and columns of a table."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        if not rows or not rows[0]:
            return
        place, column, kind = draw.randrange(len(rows)), draw.randrange(len(rows[0])), draw.randrange(9)
        row, cell = rows[place], draw.choice((*CELLS, *TEXTS))
        if kind < 3:
            row[column : column + 1] = [cell]
        elif kind == 3:
            rows[0][column] = draw.choice(HEADS)
        elif kind == 4:
            rows.insert(place, draw.choice(([*row], [], [""] * 9, row[:1], row * 2)))
        elif kind == 5:
            del rows[place : place + draw.choice((1, 5, 100))]
        elif kind == 6:
            for one in rows:
                one[column : column + draw.randrange(2)] = [cell]
        elif kind == 7:
            for one in rows:
                del one[column : column + 1]
        else:
            rows.extend([*one] for one in rows * draw.choice((1, 100)))


def write_rows(path: Path, rows: list[list[str]], draw: random.Random) -> None:
    """Write a table with some delimiter, in some encoding, with or without quotes."""
    delimiter, end = draw.choice(",,,;\t|"), draw.choice(("\n", "\n", "\r\n", "\r"))
    if draw.random() < 0.5:
        text = end.join(delimiter.join(row) for row in rows)
    else:
        csv.writer(stream := io.StringIO(newline=""), delimiter=delimiter, lineterminator=end).writerows(rows)
        text = stream.getvalue()
    encoding = draw.choice(ENCODINGS)
    path.write_bytes(text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace"))


def damage_folder(root: Path, draw: random.Random) -> None:
    """Rename, add, link, move or delete files and folders."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        path = draw.choice(sorted(root.rglob("*")) or [root / "x"])
        new = path.with_name(draw.choice(NAMES) + draw.choice(("", path.suffix)))
        kind = draw.randrange(9)
        with contextlib.suppress(OSError):  # something is there already
            if kind < 2:
                path.rename(new)
            elif kind == 2:
                new.mkdir()
            elif kind == 3:
                new.mkdir()
                path.rename(new / path.name)
            elif kind == 4:
                new.symlink_to(
                    draw.choice((root, root.parent, "/etc", "/etc/passwd", "/dev/zero", path, "nowhere", new))
                )
            elif kind == 5:
                os.mkfifo(new)
            elif kind == 6:
                shutil.copytree(root / "cat", new)
            elif kind == 7:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                new.write_bytes(damage_bytes(b'{"labels": [["cat/0.png", 1]]}', draw))


def damage_picture(path: Path, draw: random.Random) -> None:
    """Damage the bytes of an image, or put another kind of image or something else in its place."""
    kind = draw.random()
    if kind < 0.4:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    elif kind < 0.5:
        damage_place(path, draw)
    elif kind < 0.7:
        path.write_bytes(bomb(draw))
    else:
        size = draw.choice(((1, 1), (1, 3000), (3000, 1), (16, 9), (300, 200)))
        image = Image.frombytes("L", size, draw.randbytes(size[0] * size[1])).convert("RGB")
        with contextlib.suppress(Exception):  # not every format has every mode
            image.convert(draw.choice(MODES)).save(path, draw.choice(FORMATS))


def bomb(draw: random.Random) -> bytes:
    """Return a small image file whose header, or whose texts, promise far more than there is."""
    side, kind = draw.choice((9000, 13_000, 30_000, 2**31 - 1)), draw.randrange(4)
    if kind == 0:
        tags = {256: side, 257: draw.choice((1, side)), 258: draw.choice((1, 8, 16)), 259: draw.choice((1, 5, 7, 8))}
        tags |= {262: 1, 273: 200, 277: draw.choice((1, 3, 2**16 - 1)), 278: side, 279: draw.choice((10, 2**32 - 1))}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 8) + draw.randbytes(100)
    if kind == 1:
        return f"P6 {side} {side} 255\n".encode() + draw.randbytes(100)
    if kind == 2:
        return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0xF7, 0, 0) + draw.randbytes(2000)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(
        ">IIBBBBB", side, draw.choice((1, side)), draw.choice((1, 8, 16)), draw.choice((0, 2, 6)), 0, 0, 0
    )
    text = b"x\0\0" + zlib.compress(bytes(draw.choice((1, 2**27))))
    data = zlib.compress(bytes(2**20))
    names = ((b"IHDR", head), (b"zTXt", text), (b"iCCP", text), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in names)
