"""A source of the user's own image files, which finds each file's class and part."""

import csv
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from PIL import Image

from gan_augment.data.groups import check_grouped, group_files, looks_grouped
from gan_augment.data.image_files import DEEP_WHITE, FITS, decode_files
from gan_augment.data.image_set import ImageSet
from gan_augment.data.marks import check_marked
from gan_augment.data.source import PART_BY_WORD, UNLABELLED, Place, Source, abridged, unknown_class_notes
from gan_augment.settings import check_boolean, check_choice, check_integer

NOT_IMAGES = ("Thumbs.db", "desktop.ini")  # left by file managers; hidden files are skipped too
IN_MEMORY = 256 * 2**20  # images of up to this many bytes are kept in memory
MOST_LINES = 20  # problems of a table listed in an error


def image_folder(
    root: str,
    table: str | None,
    group_by: str | None,
    image_size: int,
    fit: str,
    channels: int,
    white: int | None,
    skip_broken: bool,
    follow_links: bool,
    allow_synthetic: bool,
    cache: str,
) -> Source:
    """Read a folder of labelled images; `conf/data/image_folder.yaml` describes the settings.

    Without a table the folder's sub-folders are the classes, each searched at any depth; or they are `train`,
    `validation` (or `val`) and `test`, with the classes as sub-folders. In both cases a folder `unlabelled` may hold
    images without labels, at any depth. In a table the column `split` has the same words, and the label of an
    unlabelled image may be empty and is not used; the column `group` names the images that belong together.

    Returns:
        The images in the order of their file names, classes in the order of their names; an unlabelled image has the
        label -1.

    Raises:
        ValueError: If a setting is out of range, the folder or the table leaves a class or a group ambiguous, or files
            cannot be read or are marked as synthetic.
    """
    check_integer("data.image_size", image_size, low=1)
    check_choice("data.fit", fit, FITS)
    check_choice("data.channels", str(channels), ("1", "3"))
    if white is not None:
        check_integer("data.white", white, low=1, high=DEEP_WHITE)
    check_boolean("data.skip_broken", skip_broken)
    check_boolean("data.follow_links", follow_links)
    check_boolean("data.allow_synthetic", allow_synthetic)
    folder, store = (Path(str(path)).expanduser().resolve() for path in (root, cache))
    if not folder.is_dir():
        raise ValueError(f"data.root={root}: {'this is a file' if folder.exists() else 'not found'}: name a folder")

    if table is None:
        (places, expected), group_of = _read_folders(folder, follow_links), None
    else:
        places, group_of = _read_table(folder, table, follow_links)
        expected = set(places.values())
    _check_classes(places, expected)
    if group_by is not None:
        if not isinstance(group_by, str):
            raise ValueError(f"data.group_by={group_by}: use folder or a regular expression")
        if group_of is not None:
            raise ValueError(f"data.group_by={group_by}, but data.table={table} has a column group: use one of the two")
        groups = group_files(group_by, places, in_folders=table is None)
        check_grouped(group_by, groups, places)
        group_of = dict(zip(places, groups, strict=True))
    images, broken, synthetic = decode_files(folder, sorted(places), image_size, fit, channels, white, store)
    notes, reasons = [], [f"{_shown(file)} ({reason})" for file, reason in broken.items()]
    if broken and not skip_broken:
        head = f"{_count(broken, 'file')} cannot be read; set data.skip_broken=true to go on without:"
        raise ValueError("\n".join([head, *reasons]))
    if broken:
        verb = "was" if len(broken) == 1 else "were"
        notes.append(f"{_count(broken, 'file')} could not be read and {verb} left out: {abridged(reasons)}")
    example = _shown(synthetic[0]) if synthetic else ""
    notes += check_marked(f"data.root={root}", len(synthetic), len(images), example, allow_synthetic)
    places = {file: places[file] for file in sorted(places) if file not in broken}
    _check_classes(places, expected)

    class_names = sorted({name for part, name in places.values() if part != UNLABELLED})
    label_of = {name: label for label, name in enumerate(class_names)}
    labels = torch.tensor([-1 if part == UNLABELLED else label_of[name] for part, name in places.values()])
    if group_of is None:
        notes += looks_grouped(places, in_folders=table is None)
    notes += unknown_class_notes((name for part, name in places.values() if part == UNLABELLED), class_names)
    is_small = len(images) * channels * image_size**2 <= IN_MEMORY
    kept = ImageSet(images[torch.arange(len(images))] if is_small else images, labels, class_names)
    return Source(
        kept,
        _indices(places, "test"),
        _indices(places, "validation"),
        names=list(places),
        notes=notes,
        groups=None if group_of is None else [group_of[file] for file in places],
    )


def _indices(places: Mapping[str, Place], part: str) -> torch.Tensor | None:
    indices = [number for number, (its_part, _) in enumerate(places.values()) if its_part == part]
    return torch.tensor(indices) if indices else None


def _read_folders(root: Path, follow_links: bool) -> tuple[dict[str, Place], set[Place]]:
    """Return the place of each image file below a folder, and all places that have a folder."""
    files, folders = _list(root, follow_links)
    top = [name for name in folders if "/" not in name]
    nested = {name.split("/")[0] for name in folders if "/" in name}  # top folders with folders of their own
    without = [name for name in top if PART_BY_WORD.get(name.lower()) == UNLABELLED]
    labelled = [name for name in top if name not in without]
    words = [name for name in labelled if name.lower() in PART_BY_WORD]
    are_parts = bool(words) and words == labelled
    if words and not are_parts and nested.intersection(words):
        raise ValueError(
            f"data.root={root}: of its folders {', '.join(words)} look like parts of a split, the others do not: "
            f"leave only {', '.join(PART_BY_WORD)} there, or only classes"
        )
    if are_parts and "train" not in [PART_BY_WORD[name.lower()] for name in words]:
        raise ValueError(f"data.root={root}: there is {' and '.join(top)}, but no train: add it")

    def place(first: str = "", second: str = "", *deeper: str) -> Place | None:
        """Return the place of what is in these folders, None above the class folders."""
        if first in without:
            return UNLABELLED, second
        if are_parts:
            return (PART_BY_WORD[first.lower()], second) if second else None
        return ("", first) if first else None

    places = {name: place(*name.split("/")[:-1]) for name in files}
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    stray = [name for name, where in places.items() if where is None and Path(name).suffix.lower() in extensions]
    if stray:
        raise ValueError(
            f"data.root={root}: {_count(stray, 'image')} outside the class folders, for example {_shown(stray[0])}: "
            "move them into the folders of their classes, or write a table (data.table)"
        )
    bare = [root / name for name in words if are_parts and name not in nested]
    if bare or not labelled:
        raise ValueError(f"data.root={root}: no class folder in {bare[0] if bare else root}: make one for each class")
    expected = {where for name in folders if (where := place(*name.split("/"))) is not None}
    return {name: where for name, where in places.items() if where is not None}, expected


def _list(root: Path, follow_links: bool) -> tuple[list[str], list[str]]:
    """List files and folders below a folder, relative to it and sorted, without those that are hidden."""
    files: list[str] = []
    folders: list[str] = []
    outside: list[str] = []

    def visit(folder: str, prefix: str, above: tuple[str, ...]) -> None:
        with os.scandir(folder) as entries:
            visible = [one for one in entries if not one.name.startswith(".") and one.name not in NOT_IMAGES]
        for entry in visible:
            name = prefix + entry.name
            if entry.is_symlink() and not follow_links and _leads_out(entry.path, root):
                outside.append(name)
            elif os.path.isdir(entry.path):
                real = os.path.realpath(entry.path)
                if real not in above:  # otherwise a link leads in circles
                    folders.append(name)
                    visit(entry.path, f"{name}/", (*above, real))
            elif os.path.isfile(entry.path) or not os.path.exists(entry.path):  # a link to nowhere is a broken image
                files.append(name)

    visit(str(root), "", (str(root),))
    _refuse(outside, root)
    return sorted(files), sorted(folders)


def _read_table(root: Path, table: str, follow_links: bool) -> tuple[dict[str, Place], dict[str, str] | None]:
    """Return the place of each image file in a table, and its group; None without such a column."""
    try:
        with Path(str(table)).expanduser().open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text, restval="")
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data.table={table} cannot be read as CSV in UTF-8: {error}") from error
    if not {"file", "label"} <= set(columns):
        raise ValueError(
            f"data.table={table} has the columns {columns}: name them file, label and optionally split and group"
        )
    if not rows:
        raise ValueError(f"data.table={table} has no row: write one for each image")

    lines: dict[str, int] = {}
    places: dict[str, Place] = {}
    groups: dict[str, str] = {}
    outside: list[str] = []
    problems: list[str] = []
    for line, row in rows:
        path, label, part = os.path.join(root, row["file"]), row["label"].strip(), row.get("split", "").strip().lower()
        file = os.path.relpath(path, root)
        if not os.path.isfile(path):
            problems.append(f"line {line}: no file {_shown(row['file'])!r} in {root}")
        elif file in lines:
            problems.append(f"line {line}: {_shown(file)} is in line {lines[file]} too")
        elif not label and PART_BY_WORD.get(part) != UNLABELLED:
            problems.append(f"line {line}: no label")
        elif "split" in columns and part not in PART_BY_WORD:
            problems.append(f"line {line}: split {part!r}: use one of {', '.join(PART_BY_WORD)}")
        elif not follow_links and _leads_out(path, root):
            outside.append(file)
        lines.setdefault(file, line)
        places[file], groups[file] = (PART_BY_WORD.get(part, ""), label), row.get("group", "").strip()
    if problems:
        more = [f"and {len(problems) - MOST_LINES} more"] if len(problems) > MOST_LINES else []
        head = f"data.table={table} has {_count(problems, 'problem')}:"
        raise ValueError("\n".join([head, *problems[:MOST_LINES], *more]))
    _refuse(outside, root)
    return places, groups if "group" in columns else None


def _check_classes(places: Mapping[str, Place], expected: set[Place]) -> None:
    """Raise unless every place has an image, and every class one to train on."""
    found, expected = ({place for place in some if place[0] != UNLABELLED} for some in (places.values(), expected))
    trained = {name for part, name in found if part in ("", "train")}
    problems = [
        f"class {name!r} has no image{f' in {part}' if part else ''}: add images or delete its folder"
        for part, name in sorted(expected - found)
    ]
    problems += [
        f"class {name!r} of {part} has no training image: add some, or leave it out of {part}"
        for part, name in sorted(found)
        if name not in trained
    ]
    problems += [
        f"class {name!r}: rename it, it has characters that cannot be shown"
        for name in sorted({name for _, name in expected})
        if not name.isprintable()
    ]
    if problems:
        raise ValueError("\n".join(problems))


def _refuse(outside: Collection[str], root: Path) -> None:
    if outside:
        names = ", ".join(_shown(name) for name in sorted(outside))
        remedy = "set data.follow_links=true to allow this, or copy the files"
        raise ValueError(f"{_count(outside, 'path')} outside of {root}: {names}: {remedy}")


def _leads_out(path: str, root: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(root)


def _count(things: Collection[str], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _shown(name: str) -> str:
    """Return a name that fits one line and can be written as UTF-8."""
    return name if name.isprintable() else repr(name)
