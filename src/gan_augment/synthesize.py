"""The command `gan-augment-synthesize`: labelled images from a trained generator, each with its provenance."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_augment.app import CONF
from gan_augment.records.record import read_record

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    import torch

    from gan_augment.artefacts.classifier import TrainedClassifier
    from gan_augment.artefacts.generator import Generator
    from gan_augment.artefacts.synthetic_set import SyntheticSet
    from gan_augment.generators.sampling import SynthesisSettings

OPTIONS = CONF / "synthesize.yaml"
SAMPLING = ("per_class", "quotas", "latent_scale", "truncation", "selection", "threshold")
TRIALS_NAMES = (*(f"synthesis.{name}" for name in SAMPLING), "trainer.num_threads", "trainer.accelerator")
TEXTS = ("generator", "out", "check", "teacher", "licence")  # not parsed
TO_REGENERATE = ("checkpoint", "generator_label", "seed", "number", "truncation")  # columns of a manifest
FOR_CHECK = ("generator", "check", "accelerator", "num_threads")
USAGE = """gan-augment-synthesize generator=TRIAL per_class=500 out=FOLDER

Labelled images from a trained generator, in exact numbers, each with its provenance.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `gan-augment-synthesize generator=... out=... [option=value ...]`.

    Args:
        arguments: By default those of the command line.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or set(given) & {"-h", "--help"}:
        print(f"{USAGE}\n{OPTIONS.read_text(encoding='utf-8')}")
        return
    try:
        options = read_options(given)
        print(check(options) if options["check"] is not None else export(options, given))
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        message = str(error)
        for name in TRIALS_NAMES:  # synthesis.per_class of a trial is per_class here
            message = message.replace(name, name.split(".")[1])
        print(f"gan-augment-synthesize: {message}", file=sys.stderr)
        sys.exit(1)


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Read the options of the command.

    Raises:
        ValueError: If one is unknown or has no value, or a required one is missing.
    """
    import yaml

    options = yaml.safe_load(OPTIONS.read_text(encoding="utf-8"))
    if without := [one for one in given if "=" not in one]:
        raise ValueError(f"{without[0]}: write option=value, with one of {', '.join(options)}")
    chosen = {name: text for name, _, text in (one.partition("=") for one in given)}
    if unknown := [name for name in chosen if name not in options]:
        raise ValueError(f"no option {unknown[0]}: use {', '.join(options)}")
    for name, text in chosen.items():
        try:
            options[name] = text if name in TEXTS and text != "null" else yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{name}={text} cannot be read: use a number or a word") from error
    if options["generator"] == "???":
        raise ValueError("generator must be set: the folder of a trial or of a gan stage, or a checkpoint, gan.pt")
    if (options["out"] is None) == (options["check"] is None):
        raise ValueError("use either out=FOLDER or out=FILE.npz, to write, or check=..., to check a written set")
    if options["check"] is not None and (unused := sorted(set(chosen) - set(FOR_CHECK))):
        raise ValueError(f"{unused[0]} cannot be combined with check=...: its value is in the manifest")
    return dict(options)


@dataclass(frozen=True)
class Origin:
    """The files of a generator.

    Attributes:
        checkpoint: Its checkpoint.
        record: The record of its trial; None if unknown.
        teacher: The checkpoint of that trial's teacher, if there is one.
    """

    checkpoint: Path
    record: Mapping[str, Any] | None
    teacher: Path | None

    @classmethod
    def find(cls, named: str) -> Origin:
        """Find a generator by its trial, its stage or its file.

        Raises:
            ValueError: If there is none.
        """
        from gan_augment.artefacts.generator import chosen_checkpoint

        path = Path(named).expanduser()
        if not path.exists():
            raise ValueError(f"generator={named}: not found: name the folder of a trial or gan stage, or a checkpoint")
        folder = path if path.is_dir() else path.parent
        is_trial = (folder / "record.json").exists()
        if path.is_dir():
            path = folder / "gan.pt" if is_trial else chosen_checkpoint(folder)
        if not path.exists():
            what = "this trial has no generator" if is_trial else "there is no trial and no stage of a GAN"
            raise ValueError(f"generator={named}: {what}: name another folder, or a checkpoint")
        record = read_record(folder / "record.json") if is_trial else None
        teacher = folder / "teacher.pt"
        return cls(path, record, teacher if teacher.exists() else None)


def export(options: Mapping[str, Any], given: Sequence[str]) -> str:
    """Write a synthetic set; return a message for the user.

    Raises:
        ValueError: If an option is out of range, the generator cannot be read, or `out` exists.
    """
    from gan_augment.artefacts.classifier import TrainedClassifier
    from gan_augment.artefacts.export import check_free, write_folder, write_npz
    from gan_augment.artefacts.generator import Generator
    from gan_augment.artefacts.weights import file_hash
    from gan_augment.generators.sampling import SynthesisSettings, synthesize
    from gan_augment.settings import check_integer

    settings = SynthesisSettings(**{name: options[name] for name in SAMPLING})
    check_integer("seed", options["seed"], low=0)
    out = Path(options["out"]).expanduser()
    check_free(out)
    origin, device = Origin.find(options["generator"]), _device(options)
    generator, teacher, path = Generator.load(origin.checkpoint, device), None, None
    if settings.asks_teacher:
        path = origin.teacher if options["teacher"] is None else Path(options["teacher"]).expanduser()
        if path is None:
            raise ValueError(
                "selection=confident, but there is no teacher.pt next to the generator: name one with teacher=..."
            )
        teacher = TrainedClassifier.load(path, device)
    elif options["teacher"] is not None:
        raise ValueError(f"teacher={options['teacher']}, but selection=all takes every image: set selection=confident")
    made = synthesize(generator, settings, _class_counts(generator, teacher), options["seed"], teacher)
    teacher_hash = "none" if path is None else file_hash(path)
    card = data_card(
        generator,
        origin,
        made,
        settings,
        options,
        {"command": shlex.join(["gan-augment-synthesize", *given]), "teacher": teacher_hash},
    )
    write = write_npz if out.suffix == ".npz" else write_folder
    write(made.images, manifest_rows(generator, made, settings, options["seed"]), card, out)
    return f"{len(made.images)} images: {out}"


def check(options: Mapping[str, Any]) -> str:
    """Make the images of a manifest again; return a message for the user if all are the same, bit for bit.

    Raises:
        ValueError: If one differs, or the manifest belongs to another generator.
    """
    from gan_augment.artefacts.export import read_manifest
    from gan_augment.artefacts.generator import Generator

    path = Path(options["check"]).expanduser()
    rows, images = read_manifest(path)
    generator = Generator.load(Origin.find(options["generator"]).checkpoint, _device(options))
    if not rows or not set(TO_REGENERATE) <= set(rows[0]):
        raise ValueError(f"{path} has a manifest without rows, or without the columns {', '.join(TO_REGENERATE)}")
    if others := {row["checkpoint"] for row in rows} - {generator.hash}:
        raise ValueError(
            f"{path} was made by checkpoint {others.pop()}, but generator={options['generator']} is {generator.hash}"
        )
    again = regenerate(generator, rows)
    if differ := [row for row, one, other in zip(rows, again, images, strict=True) if not one.equal(other)]:
        first = next(iter(differ[0].values()))
        raise ValueError(f"{len(differ)} of {len(rows)} images of {path} differ, the first is {first}")
    return f"{len(rows)} images of {path} are reproduced bit for bit"


def manifest_rows(
    generator: Generator, made: SyntheticSet, settings: SynthesisSettings, seed: int
) -> list[dict[str, Any]]:
    """Return a row for each image: how to make it again, and why it was selected."""
    from gan_augment.artefacts.generator import latent_seed

    rows = []
    for label, number, confidence in zip(
        made.images.labels.tolist(), made.numbers.tolist(), made.confidence.tolist(), strict=True
    ):
        given = label if generator.knows_classes else 0
        rows.append(
            {
                "class_index": label,
                "checkpoint": generator.hash,
                "generator_label": given,
                "seed": seed,
                "number": number,
                "latent_seed": latent_seed(seed, given, number),
                "latent_scale": settings.latent_scale,
                "truncation": settings.truncation,
                "selection": settings.selection,
                "teacher_probability": None if confidence != confidence else round(confidence, 6),
            }
        )
    return rows


def regenerate(generator: Generator, rows: Sequence[Mapping[str, str]]) -> list[torch.Tensor]:
    """Make the images of a manifest's rows again.

    Args:
        generator: The generator that made them.
        rows: Rows of the manifest, as text.

    Returns:
        One image `[C, H, W]` per row.
    """
    import torch

    from gan_augment.artefacts.generator import Latents

    groups: dict[tuple[int, int, Latents], list[int]] = {}
    for place, row in enumerate(rows):
        latents = Latents(float(row.get("latent_scale", 1)), float(row["truncation"]) if row["truncation"] else None)
        groups.setdefault((int(row["generator_label"]), int(row["seed"]), latents), []).append(place)
    made: dict[int, torch.Tensor] = {}
    for (label, seed, latents), places in groups.items():
        numbers = torch.tensor([int(rows[place]["number"]) for place in places])
        made |= dict(zip(places, generator.images(label, numbers, seed, latents), strict=True))
    return [made[place] for place in range(len(rows))]


def data_card(
    generator: Generator,
    origin: Origin,
    made: SyntheticSet,
    settings: SynthesisSettings,
    options: Mapping[str, Any],
    made_with: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a synthetic set: its licence, generator and training data; `made_with` adds to how it was made."""
    about, record = generator.about, origin.record
    if record is not None and (record["provenance"].get("checkpoint") or {}).get("hash") != generator.hash:
        record = None  # another checkpoint in a trial's folder
    parts = ("architecture", "conditioning", "loss")
    design = {name: about["design"][name]["_target_"].split(".")[-1] for name in parts}
    trained_on: dict[str, Any] = {
        "fingerprint of the labelled images": about["trained_on"],
        "labelled images": sum(about["class_counts"]),
        "labelled images of each class": dict(zip(about["class_names"], about["class_counts"], strict=True)),
        "images without labels": about.get("pool_images", 0),
    }
    if record is None:
        trained_on |= {"data": "unknown", "split": "unknown: the generator was named without its trial"}
        metrics: dict[str, Any] = {"known": "no: the generator was named without its trial"}
    else:
        trained_on |= {"data": record["factors"]["data"], "split": record["provenance"]["split"]}
        if "pseudo_labels" in record["metrics"]:
            teacher = record["factors"]["augmentation.teacher"].replace("semi_supervised", "semi-supervised GAN")
            threshold = record["factors"]["pseudo_labels.threshold"]
            trained_on["their labels are those of"] = f"a {teacher}, where its probability is at least {threshold:g}"
        found = record["metrics"].get("gan", {})
        metrics = {
            "of": "images of the generator, unselected; see docs/judging-and-synthesis.md of gan-augment",
            **{name: value for name, value in found.items() if isinstance(value, int | float)},
        }
    return {
        "synthetic": True,
        "licence": options["licence"],
        "made with": {
            **made_with,
            "seed": options["seed"],
            "quotas": settings.quotas,
            "images a class": settings.per_class,
            "scale of the latents": settings.latent_scale,
            "truncation": settings.truncation,
            "selection": settings.selection,
            "threshold": settings.threshold,
            "images looked at": made.candidates,
        },
        "generator": {
            "checkpoint": generator.hash,
            **design,
            "images seen in training": about["images_seen"],
            "chosen by": about.get("chosen_by") or "nothing: it is that of the last step",
        },
        "trained on": trained_on,
        "metrics": metrics,
        "same bits": "with the same versions, number of threads and kind of device",
    }


def _class_counts(generator: Generator, teacher: TrainedClassifier | None) -> torch.Tensor:
    import torch

    counts = generator.about["class_counts"] if generator.knows_classes or teacher is None else teacher.class_counts
    return torch.tensor(counts)


def _device(options: Mapping[str, Any]) -> torch.device:
    from gan_augment.training.hardware import Hardware

    hardware = Hardware(options["accelerator"], "32-true", options["num_threads"])
    hardware.use_threads()
    return hardware.device


if __name__ == "__main__":
    main()
