"""Synthetic sets for other programs, marked so that they cannot pass for real data.

    images, rows, card -> out/<class>/<class>-00000.png, out/manifest.csv, out/data_card.md, out/croissant.json
                       -> x.npz, x.manifest.csv, x.data_card.md, x.croissant.json

The manifest has a row on the origin of each image; the card describes the generator and its training data, and
`croissant.json` says so to programs. A set is written completely or not at all.
"""

import csv
import errno
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unicodedata import normalize

import numpy as np
import torch
import yaml
from filelock import FileLock, Timeout
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from gan_augment.artefacts.croissant import croissant
from gan_augment.data.image_set import ImageSet
from gan_augment.data.marks import KEY, MAKER, MEMBER, png_mark
from gan_augment.progress import Meter
from gan_augment.records.manifest import sync
from gan_augment.records.received import (
    cell,
    check_regular,
    check_unpacked,
    markdown,
    plain_values,
    printable,
    read_regular,
)
from gan_augment.records.record import leaves

MOST_BYTES = 2**30  # of a manifest
CARDS = MANIFEST, CARD, CROISSANT = "manifest.csv", "data_card.md", "croissant.json"
PICTURES = "**/*.png"  # of a folder
LOCK = "gan-augment.lock"  # in the temporary folder of a set that is being written
SYNCING = 16  # files
LONGEST_NAME = 50  # characters of a class folder: with a file number that stays below 255 bytes in any script
NOT_IN_NAMES = '<>:"/\\|?*'  # on one file system or another
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows


class _Front(yaml.SafeDumper):
    """Writes YAML that quotes every text with a <, so that it can be escaped: Markdown would take it for HTML."""


def _quoted(dumper: _Front, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "<" in text else None)


_Front.add_representer(str, _quoted)

Rows = Sequence[Mapping[str, Any]]
Card = Mapping[str, Any]


def write_folder(images: ImageSet, rows: Rows, card: Card, out: Path, files: Sequence[str] | None = None) -> None:
    """Write a synthetic set as a folder with one sub-folder per class that has images.

    Each image is a PNG marked as synthetic: greyscale for one channel, RGB for three.

    Args:
        images: uint8 `[N, C, H, W]` with labels and 1 or 3 channels.
        rows: The provenance of each image: plain values, the same columns for all.
        card: What the generator was trained on and how good it is: plain values, nested at will; `licence` is the
            licence of the set.
        out: A new or empty folder.
        files: The name of each image below `out`; None for names of its class and a number.

    Raises:
        ValueError: If the images are not pictures or have no labels, the rows do not fit them, or `out` is not empty.
    """
    out = out.resolve()
    _check(images, rows, "file", out)
    marked = f"Each PNG says so in its texts, under `{KEY}`; `{MANIFEST}` says where each comes from."
    page = _card_page(images, card, marked)
    pixels = images.images[torch.arange(len(images))].numpy()
    files = numbered(images) if files is None else files
    with _unfinished(out) as folder, Meter("writing images", len(images), "files") as meter:
        for image, label, row, file in zip(pixels, images.labels.tolist(), rows, files, strict=True):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
            picture.save(folder / file, pnginfo=png_mark(images.class_names[label], row))
            meter.advance()
        _write_manifest(folder / MANIFEST, "file", files, images, rows)
        (folder / CARD).write_text(page, encoding="utf-8")
        about = _croissant(out, "file", images, rows, card, folder / MANIFEST, PICTURES)
        (folder / CROISSANT).write_text(about, encoding="utf-8")
        with ThreadPoolExecutor(SYNCING) as pool:  # a disk takes several at a time
            list(pool.map(sync, folder.rglob("*.*")))
        with _still_free(out):
            with suppress(FileNotFoundError):
                out.rmdir()
            folder.rename(out)


def write_npz(images: ImageSet, rows: Rows, card: Card, out: Path) -> None:
    """Write a synthetic set as `x.npz`, with `x.manifest.csv`, `x.data_card.md` and `x.croissant.json` next to it.

    The file holds `images`, uint8 `[N, C, H, W]`, `labels`, names `[N]`, and `synthetic`, the card as JSON. The
    arguments are those of `write_folder`; the manifest adds the image's `index` in the file.

    Raises:
        ValueError: As in `write_folder`, or if `out` does not end in `.npz`, or one of the files exists.
    """
    out = out.resolve()
    if out.suffix != ".npz":
        raise ValueError(f"{out}: use a name that ends in .npz")
    _check(images, rows, "index", out)
    manifest, page, about = _companions(out)
    marked = f"The member `{MEMBER}` of `{out.name}` says so; `{manifest.name}` says where each comes from."
    text = _card_page(images, card, marked)
    with _unfinished(out) as folder:
        _write_manifest(folder / manifest.name, "index", range(len(images)), images, rows)
        (folder / page.name).write_text(text, encoding="utf-8")
        members = {
            "images": images.images[torch.arange(len(images))].numpy(),
            "labels": np.array(images.class_names)[images.labels.numpy()],
            MEMBER: np.array(json.dumps(card)),
        }
        np.savez(folder / out.name, **members)
        described = _croissant(out, "index", images, rows, card, folder / manifest.name, folder / out.name)
        (folder / about.name).write_text(described, encoding="utf-8")
        sync(folder)
        with _still_free(out):
            manifest.touch(exist_ok=False)  # which of several processes succeeds?
        for path in (manifest, page, about, out):  # the images last, so that they are never without the others
            (folder / path.name).replace(path)


def check_free(out: Path) -> None:
    """Raise a ValueError unless a set can be written to a folder or an .npz file without overwriting anything."""
    if out.suffix == ".npz":
        if there := [path for path in (*_companions(out), out) if path.exists()]:
            raise ValueError(f"{there[0]} exists: name another file; nothing was written")
    elif out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise ValueError(f"{out} exists and is not empty: name another folder; nothing was written")
    parent = next(folder for folder in out.resolve().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ValueError(f"{out} cannot be written: name a writable folder")


def read_manifest(out: Path) -> tuple[list[dict[str, str]], list[torch.Tensor]]:
    """Read the manifest of a written set and, row by row, its images, uint8 `[C, H, W]`.

    Raises:
        ValueError: If the manifest or one of its images is missing.
    """
    is_npz = out.suffix == ".npz"
    manifest = _companions(out)[0] if is_npz else out / MANIFEST
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(manifest, MOST_BYTES).decode(), newline="")))
        if is_npz:
            check_regular(out)
            check_unpacked(out, out.stat().st_size)  # write_npz does not pack
            with np.load(out, allow_pickle=False) as stored:
                pixels = stored["images"]
            return rows, [torch.from_numpy(pixels[int(row["index"])]) for row in rows]
        for row in rows:
            check_regular(out / row["file"], out)
        return rows, [pil_to_tensor(Image.open(out / row["file"], formats=["PNG"])) for row in rows]
    except Exception as error:  # a damaged file can break a decoder in any way
        raise ValueError(f"{out} is not a synthetic set written by this program: {error}") from error


def _companions(out: Path) -> list[Path]:
    """Return the paths of the manifest, the card and the description in Croissant of an `.npz` file."""
    return [out.with_name(f"{out.stem}.{name}") for name in (MANIFEST, CARD, CROISSANT)]


def numbered(images: ImageSet) -> list[str]:
    """Return a file name for each image: its class's folder, and there the class and a number."""
    names = folder_names(images.class_names)
    numbers: Counter[int] = Counter()
    files = []
    for label in images.labels.tolist():
        files.append(f"{names[label]}/{names[label]}-{numbers[label]:05}.png")
        numbers[label] += 1
    return files


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Give each class a folder name that is valid on every file system: its own, or a similar one.

    No two names differ only in case.

    Example:
        >>> folder_names(["cat", "a/b", "Cat", "a_b"])
        ['cat', 'a_b-2', 'Cat-2', 'a_b']
    """
    safe = [safe_name(name) for name in class_names]
    taken = {*CARDS}
    for index in sorted(range(len(safe)), key=lambda index: safe[index] != class_names[index]):  # good names stay
        candidates = chain([safe[index]], (f"{safe[index]}-{number}" for number in count(2)))
        safe[index] = next(name for name in candidates if name.casefold() not in taken)
        taken.add(safe[index].casefold())
    return safe


def safe_name(name: str) -> str:
    """Return a name for a folder or a file that every file system takes, and that a manifest holds as it is.

    Example:
        >>> safe_name("a/b"), safe_name("-a"), safe_name("con"), safe_name(".hidden.")
        ('a_b', '_-a', '_con', 'hidden')
    """
    shown = (one if one.isprintable() and one not in NOT_IN_NAMES else "_" for one in normalize("NFC", name))
    safe = "".join(shown)[:LONGEST_NAME].strip(" .")  # a dot hides it, and Windows drops either at the end
    return f"_{safe}" if not safe or DEVICES.fullmatch(safe) or cell(safe) != safe else safe


def _check(images: ImageSet, rows: Rows, key: str, out: Path) -> None:
    """Check that the images can be written to `out` as pictures, with one row each."""
    if images.dtype != torch.uint8 or images.shape.channels not in (1, 3):
        kind = f"{images.dtype} of {images.shape.channels} channels"
        raise ValueError(f"the images are {kind}: only uint8 pictures of 1 or 3 channels can be written, no points")
    if len(unlabelled := (images.labels < 0).nonzero()):
        raise ValueError(f"{len(unlabelled)} of {len(images)} images have no label: leave them out")
    if len(rows) != len(images):
        raise ValueError(f"{len(rows)} rows for {len(images)} images: give one row per image")
    columns = set(rows[0]) if rows else set()
    if odd := [f"row {number} has the columns {list(row)}" for number, row in enumerate(rows) if set(row) != columns]:
        raise ValueError(f"{odd[0]}, row 0 {list(rows[0])}: use the same for all")
    if columns & {key, "label"}:
        raise ValueError(f"rows have the columns {list(rows[0])}: {key} and label are added when writing, rename yours")
    check_free(out)


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """Make a temporary folder next to `out` for unfinished files; it is deleted with the context.

    Its parent folder has a lock file, which tells the leftovers of killed processes from the user's own folders.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in out.parent.glob(f"{escape(out.name)}.*.partial/{LOCK}"):
        with suppress(Timeout, OSError), FileLock(path, timeout=0):
            shutil.rmtree(path.parent)
    with (
        TemporaryDirectory(prefix=f"{out.name}.", suffix=".partial", dir=out.parent) as name,
        FileLock(Path(name) / LOCK),
    ):
        folder = Path(name) / "set"
        folder.mkdir()
        yield folder


@contextmanager
def _still_free(out: Path) -> Iterator[None]:
    """Raise a ValueError if another process was faster."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise ValueError(f"{out} was written by another process meanwhile: name another one") from error


def _write_manifest(path: Path, key: str, values: Iterable[str | int], images: ImageSet, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as text:
        table = csv.DictWriter(text, [key, "label", *(rows[0] if rows else ())])
        table.writeheader()
        for value, label, row in zip(values, images.labels.tolist(), rows, strict=True):
            cells = {key: value, "label": images.class_names[label], **row}
            table.writerow({name: cell(one) for name, one in cells.items()})


def _croissant(out: Path, key: str, images: ImageSet, rows: Rows, card: Card, table: Path, pixels: Path | str) -> str:
    """Describe a set whose manifest, and file of images if it has one, are written."""
    columns: dict[str, Sequence[Any]] = {key: [0] if key == "index" else [""], "label": [""]}
    columns |= {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
    description = (
        f"{len(images):,} synthetic images of {images.num_classes} classes, made by a generator ({MAKER}), for "
        "training only."
    )
    return croissant(out.stem, description, str(card.get("licence") or "unknown"), table, columns, pixels)


def _card_page(images: ImageSet, card: Card, marked: str) -> str:
    """Write the card as Markdown, with its machine-readable part in front, in the format of Hugging Face."""
    card = plain_values(card)
    counts = dict(zip(map(printable, images.class_names), images.class_counts.tolist(), strict=True))
    front = {
        "license": card.get("licence") or "unknown",
        "tags": ["synthetic", "gan-augment"],
        "task_categories": ["image-classification"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [_size_category(len(images))],
        "gan_augment": {"num_images": len(images), "images_per_class": counts, "card": card},
    }
    channels, height, width = images.images.shape[1:]
    general = {"made by": MAKER, "images": len(images), "size in pixels": f"{width}x{height}", "channels": channels}
    general |= {name: value for name, value in card.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in card.items() if isinstance(value, Mapping)}
    written = yaml.dump(front, Dumper=_Front, sort_keys=False, allow_unicode=True).replace("<", r"\x3c")
    lines = ["---", written + "---", "", "# Synthetic images", ""]
    lines.append(
        f"The {len(images):,} images of this set are synthetic: {MAKER} made them, nobody photographed them. {marked} "
        "A test on them would measure the generator: train with them, and test on real images."
    )
    for title, values in {"The set": general, **nested, "Images of each class": counts}.items():
        lines += ["", f"## {markdown(title)}", "", "| what | value |", "| --- | --- |"]
        lines += [f"| {markdown(name)} | {markdown(value)} |" for name, value in leaves(values)]
    return "\n".join(lines) + "\n"


def _size_category(number: int) -> str:
    """Return the category of a number of images, as Hugging Face names them.

    Example:
        >>> _size_category(999), _size_category(20_000)
        ('n<1K', '10K<n<100K')
    """
    bounds = {1_000: "1K", 10_000: "10K", 100_000: "100K", 1_000_000: "1M", 10_000_000: "10M"}
    low = ""
    for bound, name in bounds.items():
        if number < bound:
            return f"{low}n<{name}"
        low = f"{name}<"
    return "n>10M"
