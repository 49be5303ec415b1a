"""Translations of a folder of images by a trained translator, for `gan-augment-synthesize`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from gan_augment.artefacts.export import CARDS, check_free, read_manifest, safe_name, write_folder, write_npz
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.artefacts.weights import file_hash
from gan_augment.data.image_set import ImageSet, MappedImages, changed
from gan_augment.data.listing import is_image
from gan_augment.data.reading import read_alike
from gan_augment.records.received import cell, printable
from gan_augment.settings import check_boolean

# Options for a translator, to write a set and to check one.
OF_BOTH = ("generator", "images", "skip_broken", "follow_links", "accelerator", "plugins", "num_threads")
OPTIONS = {"out": (*OF_BOTH, "out", "licence"), "check": (*OF_BOTH, "check")}
NO_FOLDER = "translated"  # the label of images without a folder


def translate(checkpoint: Path, device: torch.device, options: Mapping[str, Any], command: str) -> str:
    """Write the translations of a folder, or check written ones; return a message for the user.

    Translations keep their names and their folders, whose names are the labels.

    Raises:
        ValueError: If the images or the translator cannot be read, `out` exists, or a written translation differs.
    """
    if options["images"] is None:
        raise ValueError(f"generator={options['generator']} translates images: name their folder, images=FOLDER")
    translator, original = TrainedTranslator.load(checkpoint, device), Path(options["images"]).expanduser()
    made_by = file_hash(checkpoint)
    if options["check"] is not None:
        return check(Path(options["check"]).expanduser(), original, translator, made_by, options)
    out = Path(options["out"]).expanduser()
    check_free(out)
    with _read(translator, original, options) as (files, pixels):
        made = _translate(translator, _labelled(files, pixels))
    rows = [{"original": file, "original_hash": file_hash(original / file), "checkpoint": made_by} for file in files]
    card = data_card(translator, made_by, options, command)
    if out.suffix == ".npz":
        write_npz(made, rows, card, out)
    else:
        write_folder(made, rows, card, out, names_of(files))
    return f"{len(made)} translated images: {out}"


def check(
    written: Path, original: Path, translator: TrainedTranslator, made_by: str, options: Mapping[str, Any]
) -> str:
    """Translate the originals of a written set again; return a message if all are the same, bit for bit.

    Raises:
        ValueError: If the set is of another translator, or an image differs or has no original.
    """
    rows, images = read_manifest(written)
    if not rows or not {"checkpoint", "original"} <= set(rows[0]):
        raise ValueError(f"{written} has a manifest without rows, or without the columns checkpoint, original")
    if others := {row["checkpoint"] for row in rows} - {made_by}:
        raise ValueError(f"{written} was made by checkpoint {others.pop()}, but the translator is {made_by}")
    with _read(translator, original, options) as (files, pixels):
        place = {cell(file): index for index, file in enumerate(files)}  # as the manifest has them
        if lost := [row["original"] for row in rows if row["original"] not in place]:
            raise ValueError(f"images: {lost[0]} is not there, of which {written} has a translation")
        chosen = [place[row["original"]] for row in rows]
        some = _labelled([files[index] for index in chosen], pixels.subset(torch.tensor(chosen)))
        made = _translate(translator, some)
    again = made.images[torch.arange(len(rows))]
    if differ := [row["original"] for row, old, new in zip(rows, images, again, strict=True) if not old.equal(new)]:
        raise ValueError(f"{len(differ)} of {len(rows)} images of {written} differ, the first is {differ[0]}")
    return f"{len(rows)} images of {written} are reproduced bit for bit"


def _read(
    translator: TrainedTranslator, folder: Path, options: Mapping[str, Any]
) -> AbstractContextManager[tuple[list[str], MappedImages]]:
    """Read the image files of a folder, and no others."""
    for name in ("skip_broken", "follow_links"):
        check_boolean(name, options[name])
    how = translator.shape, translator.decoding
    return read_alike("translator", *how, folder, options["skip_broken"], options["follow_links"], is_image)


def _translate(translator: TrainedTranslator, images: ImageSet) -> ImageSet:
    """Translate images; a translator that restores small images gets them small, enlarged by bicubic interpolation."""
    degrading = translator.degrading
    return translator.translate(images if degrading is None else changed(images, degrading.bicubic))


def _labelled(files: Sequence[str], pixels: MappedImages) -> ImageSet:
    """Label images by their folders."""
    classes = sorted({label_of(file) for file in files})
    return ImageSet(pixels, torch.tensor([classes.index(label_of(file)) for file in files]), classes)


def label_of(file: str) -> str:
    """Return the label of a file: the first folder of its path, or `translated` if there is none.

    Example:
        >>> label_of("ants/here/1.jpg"), label_of("1.jpg")
        ('ants', 'translated')
    """
    return printable(file.partition("/")[0]) if "/" in file else NO_FOLDER


def names_of(files: Sequence[str]) -> list[str]:
    """Return a name for each translation: that of its original, as PNG, below the folder of its class.

    Names are changed where a file system would not take them, and get a number where two would be the same.

    Example:
        >>> names_of(["ants/1.jpg", "ants/2.jpg", "ants/2.tif", "3.bmp"])
        ['ants/1.png', 'ants/2.png', 'ants/2-2.png', 'translated/3.png']
    """
    taken, names = set[str](), []
    for file in files:
        path = PurePosixPath(file if "/" in file else f"{NO_FOLDER}/{file}")
        top, *others = map(safe_name, (*path.parts[:-1], path.stem))
        stem = "/".join((f"_{top}" if top.casefold() in CARDS else top, *others))
        candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
        names.append(next(f"{one}.png" for one in candidates if one.casefold() not in taken))
        taken.add(names[-1].removesuffix(".png").casefold())
    return names


def data_card(
    translator: TrainedTranslator, checkpoint: str, options: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Describe a translated set: its licence, the translator, and what that learned from."""
    about = translator.about
    return {
        "synthetic": True,
        "licence": options["licence"],
        "made with": {"command": command, "images": options["images"]},
        "translator": {
            "checkpoint": checkpoint,
            "takes images of (channels, height, width)": "x".join(map(str, astuple(translator.shape))),
            "images seen in training": about["images_seen"],
        },
        "trained on": {
            "fingerprint of the images it learned from": about["trained_on"],
            "images without labels": about["pool_images"],
        },
        "labels": "names of the originals' folders; whether translations still show them is not known",
        "same bits": "with the same versions, number of threads and kind of device",
    }
