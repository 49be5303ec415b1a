"""A source of the user's own image files, which finds each file's class and part."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import ImageColor

from gan_augment.data.groups import check_grouped, group_files, looks_grouped
from gan_augment.data.image_files import DEEP_WHITE, decode_files
from gan_augment.data.image_set import ImageSet
from gan_augment.data.image_table import MOST_BYTES, read_table
from gan_augment.data.listing import count, is_image, list_files, refuse_outside, shown
from gan_augment.data.marks import check_marked
from gan_augment.data.names import like_part, one_spelling, part_of
from gan_augment.data.source import FITS, HALVES, PART_BY_WORD, UNLABELLED, Place, Source, abridged, unknown_class_notes
from gan_augment.records.received import read_regular
from gan_augment.settings import check_boolean, check_choice, check_integer

IN_MEMORY = 256 * 2**20  # images of up to this many bytes are kept in memory


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
    columns: Mapping[str, Any] | None = None,
    background: str | None = None,
    unlabelled: bool = False,
) -> Source:
    """Read a folder of labelled images; `conf/data/image_folder.yaml` describes the settings.

    Without a table the folder's sub-folders are the classes, each searched at any depth; or they are `train`,
    `validation` (or `val`) and `test`, with the classes as sub-folders. In both cases a folder `unlabelled` may hold
    images without labels, at any depth; a part without class folders, other than `train`, counts as such. In a table
    the column `split` has the same words, and the label of an unlabelled image may be empty and is not used; the column
    `group` names the images that belong together. Names that differ only in case are the same. `unlabelled=True` takes
    all images of the folder, at any depth, as images without labels.

    Returns:
        The images in the order of their file names, classes in the order of their names; an unlabelled image has the
        label -1.

    Raises:
        ValueError: If a setting is out of range, the folder or the table leaves a class or a group ambiguous, or files
            cannot be read or are marked as synthetic.
    """
    check_integer("data.image_size", image_size, low=1)
    check_choice("data.fit", fit, (*FITS, *HALVES))
    check_choice("data.channels", str(channels), ("1", "3"))
    if white is not None:
        check_integer("data.white", white, low=1, high=DEEP_WHITE)
    if background is not None:
        try:
            ImageColor.getrgb(str(background))
        except ValueError as error:
            raise ValueError(f"data.background={background}: use a colour, such as white or '#ff8000'") from error
    check_boolean("data.skip_broken", skip_broken)
    check_boolean("data.follow_links", follow_links)
    check_boolean("data.allow_synthetic", allow_synthetic)
    folder, store = (Path(str(path)).expanduser().resolve() for path in (root, cache))
    if not folder.is_dir():
        raise ValueError(f"data.root={root}: {'this is a file' if folder.exists() else 'not found'}: name a folder")

    group_of, notes = None, list[str]()
    if table is not None:
        places, group_of = read_table(folder, table, columns, follow_links)
        expected = set(places.values())
    elif columns is not None:
        raise ValueError(f"data.columns={columns} names the columns of a table: set data.table, or data.columns=null")
    elif unlabelled:
        files, _, outside = list_files(folder, follow_links)
        refuse_outside(outside, folder)
        places, expected = dict.fromkeys(filter(is_image, files), (UNLABELLED, "")), set()
        if not places:
            raise ValueError(f"data.root={root}: no image in it: add some")
    else:
        places, expected, notes = _read_folders(folder, follow_links, has_groups=group_by is not None)
    spelling, several = one_spelling(name for _, name in (*places.values(), *expected))
    places = {file: (part, spelling[name]) for file, (part, name) in places.items()}
    expected = {(part, spelling[name]) for part, name in expected}
    _check_classes(places, expected)
    if group_by is not None:
        if not isinstance(group_by, str):
            raise ValueError(f"data.group_by={group_by}: use folder or a regular expression")
        if group_of is not None:
            raise ValueError(f"data.group_by={group_by}, but data.table={table} has a column group: use one of the two")
        groups = group_files(group_by, places, in_folders=table is None)
        check_grouped(group_by, groups, places)
        group_of = dict(zip(places, groups, strict=True))
    colour = str(background or "black")
    images, broken, synthetic, facts = decode_files(
        folder, sorted(places), image_size, fit, channels, white, store, colour
    )
    notes += several
    reasons = [f"{shown(file)} ({reason})" for file, reason in broken.items()]
    if broken and not skip_broken:
        head = f"{count(broken, 'file')} cannot be read; set data.skip_broken=true to go on without:"
        raise ValueError("\n".join([head, *reasons]))
    if broken:
        verb = "was" if len(broken) == 1 else "were"
        notes.append(f"{count(broken, 'file')} could not be read and {verb} left out: {abridged(reasons)}")
    example = shown(synthetic[0]) if synthetic else ""
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
    kept = ImageSet(images[:] if is_small else images, labels, class_names)
    kept.__dict__["hashes"] = images.hashes  # known from the cache
    return Source(
        kept,
        _indices(places, "test"),
        _indices(places, "validation"),
        names=list(places),
        notes=notes,
        facts=facts,
        groups=None if group_of is None else [group_of[file] for file in places],
        is_own=True,
    )


def _indices(places: Mapping[str, Place], part: str) -> torch.Tensor | None:
    indices = [number for number, (its_part, _) in enumerate(places.values()) if its_part == part]
    return torch.tensor(indices) if indices else None


def _read_folders(root: Path, follow_links: bool, has_groups: bool) -> tuple[dict[str, Place], set[Place], list[str]]:
    """Return the place of each image file below a folder, all places that have a folder, and notes for the reader."""
    files, folders, outside = list_files(root, follow_links)
    refuse_outside(outside, root)
    if "dataset.json" in files and _is_of_stylegan(root / "dataset.json"):
        raise ValueError(
            f"data.root={root}: dataset.json, and not the folders, has the labels: set "
            f"data.table={root / 'dataset.json'}, or move it away if the folders are the classes"
        )
    top = [name for name in folders if "/" not in name]
    nested = {name.split("/")[0] for name in folders if "/" in name}  # top folders with folders of their own
    without = [name for name in top if part_of(name) == UNLABELLED]
    labelled = [name for name in top if name not in without]
    words = [name for name in labelled if part_of(name)]
    are_parts = bool(words) and words == labelled
    _check_parts(root, labelled, words, folders)
    if are_parts and "train" not in map(part_of, words):
        raise ValueError(f"data.root={root}: there is {' and '.join(top)}, but no train: add it")
    notes = [f"the folder {name} counts as a class, not as a part of a split" for name in words if not are_parts]
    flat = [name for name in words if are_parts and name not in nested and part_of(name) != "train"]
    if flat := [name for name in flat if any(file.startswith(f"{name}/") and is_image(file) for file in files)]:
        notes.append(f"{' and '.join(flat)} has no class folders: its images count as unlabelled, and test nothing")

    def place(first: str = "", second: str = "", *deeper: str) -> Place | None:
        """Return the place of what is in these folders, None above the class folders."""
        if first in (*without, *flat):
            return UNLABELLED, second
        if are_parts:
            return (part_of(first) or "", second) if second else None
        return ("", first) if first else None

    places = {name: place(*name.split("/")[:-1]) for name in files}
    if stray := [name for name, where in places.items() if where is None and is_image(name)]:
        raise ValueError(
            f"data.root={root}: {count(stray, 'image')} outside the class folders, for example {shown(stray[0])}: "
            "move them into the folders of their classes, or write a table (data.table)"
        )
    bare = [root / name for name in words if are_parts and name not in (*nested, *flat)]
    if bare or not labelled:
        raise ValueError(f"data.root={root}: no class folder in {bare[0] if bare else root}: make one for each class")
    known = {name: where for name, where in places.items() if where is not None}
    if not has_groups:
        _check_wrapper(root, [f"{name}/" for name in words if name not in flat] if are_parts else [""], known, folders)
    return known, {where for name in folders if (where := place(*name.split("/"))) is not None}, notes


def _check_parts(root: Path, labelled: Sequence[str], words: Sequence[str], folders: Sequence[str]) -> None:
    """Raise if folders seem to be parts of a split, but have other names, others next to them, or are too deep."""
    inside: dict[str, set[str | None]] = {}
    for first, _, second in (name.partition("/") for name in folders if name.count("/") == 1):
        inside.setdefault(first, set()).add(part_of(second))
    nested = inside.keys()
    like = {name: part for name in labelled if (part := like_part(name, bool(nested & {*words})))}
    others = [name for name in labelled if name not in (*words, *like)]
    if like and (not others or UNLABELLED in like.values() or nested & {*words, *like}):
        remedy = ", ".join(f"{shown(name)} to {part}" for name, part in like.items())
        raise ValueError(f"data.root={root}: {' and '.join(map(shown, like))} may be parts of a split: rename {remedy}")
    if others and nested & {*words}:
        raise ValueError(
            f"data.root={root}: {' and '.join(words)} may be parts of a split, but next to them is {abridged(others)}: "
            f"leave only {', '.join(PART_BY_WORD)} there, or only classes"
        )
    if deep := [name for name in others if "train" in inside.get(name, ()) and {"test", "validation"} & inside[name]]:
        raise ValueError(
            f"data.root={root}: {deep[0]} has parts of a split in it, such as train: if it holds the data set, set "
            f"data.root={root / deep[0]}; if it is a class, put it into train, test and so on"
        )


def _check_wrapper(root: Path, parts: Sequence[str], places: Mapping[str, Place], folders: Sequence[str]) -> None:
    """Raise if the only folder of the root, or of one of its parts, seems to hold the classes instead of being one."""
    for part in parts:
        inside = {part + name.removeprefix(part).split("/")[0] for name in folders if name.startswith(part)}
        wrapper, *others = sorted(name for name in inside if part_of(name) != UNLABELLED)
        below = {name.rpartition("/")[0] for name in places if name.startswith(f"{wrapper}/")}
        if not others and below and wrapper not in below:
            remedy = f"move them up into {root / part}" if part else f"set data.root={root / wrapper}"
            raise ValueError(
                f"data.root={root}: {wrapper} is a single folder with all images in folders below it: if these are the "
                f"classes, {remedy}; if all images are of one class, move them up into {wrapper}"
            )


def _is_of_stylegan(file: Path) -> bool:
    """Whether a file has the form in which StyleGAN keeps its labels."""
    try:
        content = json.loads(read_regular(file, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("labels"), list)


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
        head = [f"the images have {count(problems, 'problem')}:"] if len(problems) > 1 else []
        raise ValueError("\n".join(head + problems))
