"""The command `gan-augment-predict`: a trial's classifier names the classes of images in a folder."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_augment.command import command
from gan_augment.options import CONF, read_options
from gan_augment.records.factors import NULL
from gan_augment.records.received import cell
from gan_augment.records.record import read_record, write_whole
from gan_augment.targets import add_plugins

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    from torch import Tensor

    from gan_augment.artefacts.classifier import TrainedClassifier

OPTIONS = CONF / "predict.yaml"
TEXTS = ("trial", "images", "out")  # not parsed
MOST_AT_A_TIME = 32  # images: a checkpoint of others may ask for any number
USAGE = """gan-augment-predict trial=TRIAL images=FOLDER

The classes of images by a trial's classifier, read in the same way as those that it learned from.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `gan-augment-predict trial=... images=... [option=value ...]`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with command("gan-augment-predict"):
        if not given or set(given) & {"-h", "--help"}:
            print(f"{USAGE}\n{OPTIONS.read_text(encoding='utf-8')}")
            return
        options = read_options(OPTIONS, given, TEXTS)
        add_plugins(options["plugins"])
        print(predict(options))


def predict(options: Mapping[str, Any]) -> str:
    """Write the predictions; return a message for the user.

    Raises:
        ValueError: If an option is out of range, the classifier or a file cannot be read, or `out` exists.
    """
    from gan_augment.artefacts.classifier import TrainedClassifier
    from gan_augment.settings import check_boolean
    from gan_augment.training.hardware import Hardware, check_gpu

    for name in ("skip_broken", "follow_links"):
        check_boolean(name, options[name])
    out = Path(options["out"]).expanduser()
    if out.exists() or not out.resolve().parent.is_dir():
        raise ValueError(f"out={out}: {'it exists' if out.exists() else 'its folder is not there'}: name another file")
    checkpoint = trial = Path(options["trial"]).expanduser()
    if trial.is_dir():
        checkpoint = trial / "classifier.pt"
        if not checkpoint.exists():
            raise ValueError(f"trial={options['trial']}: there is no classifier.pt in this folder: name another one")
    hardware = Hardware(options["accelerator"], "32-true", options["num_threads"])
    check_gpu(options["accelerator"])
    hardware.use_threads()
    classifier = TrainedClassifier.load(checkpoint, hardware.device)
    if trial.is_dir() and (record := trial / "record.json").exists():
        classifier = replace(classifier, decoding=decoding_of(read_record(record)))
    folder = Path(options["images"]).expanduser()
    files, probabilities = of_folder(classifier, folder, options["skip_broken"], options["follow_links"])
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "predicted", *(cell(f"p({name})") for name in classifier.class_names)])
    for file, row in zip(files, probabilities.tolist(), strict=True):
        predicted = classifier.class_names[row.index(max(row))]
        writer.writerow([cell(file), cell(predicted), *(f"{value:.6f}" for value in row)])
    write_whole(text.getvalue().encode(), out)
    return f"{len(files)} images: {out}"


def decoding_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a trial read its files; a ValueError says which value is wrong.

    Trials whose images are equal share a classifier, even if they read them in different ways. The checkpoint knows
    only that of the first one.
    """
    from gan_augment.artefacts.weights import ABOUT
    from gan_augment.records.shape import check_shape

    of_trial = record["factors"]
    inner = next((node for node in ("", "of.", "to.") if f"data.{node}fit" in of_trial), "")
    factors = {name: of_trial.get(f"data.{inner}{name}") for name in ABOUT["decoding"]}
    how = {name: None if value == NULL else value for name, value in factors.items()}
    check_shape(how, ABOUT["decoding"], "data")
    return how


def of_folder(
    classifier: TrainedClassifier, folder: Path, skip_broken: bool = False, follow_links: bool = False
) -> tuple[list[str], Tensor]:
    """Return the image files of a folder, relative to it, and their class probabilities, float32 `[N, K]`.

    Files are read as those that the classifier learned from: in the same size, colours and so on.

    Raises:
        ValueError: If there are no files, one cannot be read, or the classifier does not say how to read them.
    """
    import torch

    from gan_augment.data.image_set import ImageSet
    from gan_augment.data.reading import read_alike

    how = classifier.shape, classifier.decoding
    with read_alike("classifier", *how, folder, skip_broken, follow_links) as (files, images):
        unknown = torch.full((len(images),), -1)
        some = replace(classifier, batch_size=min(classifier.batch_size, MOST_AT_A_TIME))
        return files, some.probabilities(ImageSet(images, unknown, classifier.class_names))


if __name__ == "__main__":
    main()
