"""Translations of a folder of images by a trained translator, for `gan-augment-synthesize`."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from gan_augment.artefacts.export import check_free, read_manifest, write_folder, write_npz
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.artefacts.weights import file_hash
from gan_augment.data.image_set import ImageSet
from gan_augment.data.reading import read_alike

OPTIONS = ("generator", "out", "check", "images", "licence", "accelerator", "plugins", "num_threads")
ALONE = "translated"  # the class of images that lie in no folder


def translate(checkpoint: Path, device: torch.device, options: Mapping[str, Any], command: str) -> str:
    """Write the translations of a folder, or check written ones; return a message for the user.

    Translations keep their names and their folders, whose names are the labels.

    Raises:
        ValueError: If the images or the translator cannot be read, `out` exists, or a written translation differs.
    """
    if options["images"] is None:
        raise ValueError(f"generator={options['generator']} translates images: name their folder, images=FOLDER")
    translator, original = TrainedTranslator.load(checkpoint, device), Path(options["images"]).expanduser()
    if options["check"] is None:
        check_free(Path(options["out"]).expanduser())
    with read_alike("translator", translator.shape, translator.decoding, original) as (files, pixels):
        classes = sorted({top_of(file) for file in files})
        labels = torch.tensor([classes.index(top_of(file)) for file in files])
        made = translator.translate(ImageSet(pixels, labels, classes))
    if options["check"] is not None:
        return check(Path(options["check"]).expanduser(), files, made, file_hash(checkpoint))
    row = {"checkpoint": file_hash(checkpoint)}
    rows = [{"original": file, "original_hash": file_hash(original / file), **row} for file in files]
    out, card = Path(options["out"]).expanduser(), data_card(translator, row["checkpoint"], options, command)
    if out.suffix == ".npz":
        write_npz(made, rows, card, out)
    else:
        write_folder(made, rows, card, out, names_of(files))
    return f"{len(made)} translated images: {out}"


def check(written: Path, files: Sequence[str], made: ImageSet, checkpoint: str) -> str:
    """Compare a written set with translations of the same files; return a message if all are the same, bit for bit.

    Raises:
        ValueError: If the set is of another translator, or an image differs or has no original.
    """
    rows, images = read_manifest(written)
    if not rows or not {"checkpoint", "original"} <= set(rows[0]):
        raise ValueError(f"{written} has a manifest without rows, or without the columns checkpoint, original")
    if others := {row["checkpoint"] for row in rows} - {checkpoint}:
        raise ValueError(f"{written} was made by checkpoint {others.pop()}, but the translator is {checkpoint}")
    place = {file: index for index, file in enumerate(files)}
    if lost := [row["original"] for row in rows if row["original"] not in place]:
        raise ValueError(f"images: {lost[0]} is not there, of which {written} has a translation")
    again = made.images[torch.tensor([place[row["original"]] for row in rows])]
    if differ := [row["original"] for row, old, new in zip(rows, images, again, strict=True) if not old.equal(new)]:
        raise ValueError(f"{len(differ)} of {len(rows)} images of {written} differ, the first is {differ[0]}")
    return f"{len(rows)} images of {written} are reproduced bit for bit"


def top_of(file: str) -> str:
    """Return the name of the folder that a file lies in, at the top, or `translated`.

    Example:
        >>> top_of("ants/here/1.jpg"), top_of("1.jpg")
        ('ants', 'translated')
    """
    return file.partition("/")[0] if "/" in file else ALONE


def names_of(files: Sequence[str]) -> list[str]:
    """Return a name for each translation: that of its original, as PNG, below the folder of its class.

    Where two differ only in their extension, or in case, these keep it.

    Example:
        >>> names_of(["ants/1.jpg", "ants/2.jpg", "ants/2.tif", "3.bmp"])
        ['ants/1.png', 'ants/2.jpg.png', 'ants/2.tif.png', 'translated/3.png']
    """
    placed = [PurePosixPath(file if "/" in file else f"{ALONE}/{file}") for file in files]
    short = [str(path.with_suffix(".png")) for path in placed]
    lower = [name.casefold() for name in short]
    return [
        name if lower.count(name.casefold()) == 1 else f"{path}.png" for name, path in zip(short, placed, strict=True)
    ]


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
            "fingerprint of the labelled images": about["trained_on"],
            "images of the second domain": about["pool_images"],
        },
        "labels": "names of the originals' folders; whether translations still show them is not known",
        "same bits": "with the same versions, number of threads and kind of device",
    }
