"""The command `gan-augment-synthesize`: labelled images from a trained generator, each with its provenance."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gan_augment.command import command
from gan_augment.options import CONF, read_options
from gan_augment.records.record import leaves, read_record
from gan_augment.targets import add_plugins

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    import torch

    from gan_augment.artefacts.generator import Generator
    from gan_augment.artefacts.synthetic_set import SyntheticSet
    from gan_augment.metrics.copies import Auditor

OPTIONS = CONF / "synthesize.yaml"
# The options of the sampling, as the data card calls them.
SAMPLING = {"quotas": "quotas", "per_class": "images a class", "latent_scale": "scale of the latents"}
SAMPLING |= {name: name for name in ("truncation", "selection", "threshold")}
TRIALS_NAMES = (
    *(f"synthesis.{name}" for name in (*SAMPLING, "refuse_copies")),
    "trainer.num_threads",
    "trainer.accelerator",
)
AUDITS = ("copies", "membership")  # measures whose findings the data card repeats
TEXTS = ("generator", "out", "check", "teacher", "images", "labels", "licence")  # not parsed
TO_REGENERATE = ("checkpoint", "generator_label", "seed", "number", "truncation")  # columns of a manifest
FOR_CHECK = ("generator", "check", "accelerator", "plugins", "num_threads")
USAGE = """gan-augment-synthesize generator=TRIAL per_class=500 out=FOLDER

Labelled images from a trained generator, in exact numbers, each with its provenance. With a translator, the
translations of a folder: generator=TRIAL images=FOLDER out=FOLDER.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `gan-augment-synthesize generator=... out=... [option=value ...]`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with command("gan-augment-synthesize"):
        if not given or set(given) & {"-h", "--help"}:
            print(f"{USAGE}\n{OPTIONS.read_text(encoding='utf-8')}")
            return
        try:
            options = options_of(given)
            add_plugins(options["plugins"])
            print(run_command(options, given))
        except ValueError as error:
            message = str(error)
            for name in TRIALS_NAMES:  # synthesis.per_class of a trial is per_class here
                message = message.replace(name, name.split(".")[1])
            raise ValueError(message) from error


def options_of(given: Sequence[str]) -> dict[str, Any]:
    """Read the options of the command; raise a ValueError if one is unknown, missing or does not fit."""
    options = read_options(OPTIONS, given, TEXTS)
    if (options["out"] is None) == (options["check"] is None):
        raise ValueError("use either out=FOLDER or out=FILE.npz, to write, or check=..., to check a written set")
    return options


def run_command(options: Mapping[str, Any], given: Sequence[str]) -> str:
    """Write or check a set of the generator or translator that the options name; return a message for the user.

    Raises:
        ValueError: If an option does not fit, or as the functions say that it calls.
    """
    from gan_augment.artefacts.generator import find_checkpoint
    from gan_augment.artefacts.weights import kind_of
    from gan_augment.translate import OPTIONS as FOR_TRANSLATORS
    from gan_augment.translate import translate

    checkpoint = find_checkpoint("generator", options["generator"])
    chosen = {one.partition("=")[0] for one in given}
    if kind_of(checkpoint) == "translator":
        what = "out" if options["check"] is None else "check"
        if unused := sorted(chosen - {*FOR_TRANSLATORS[what]}):
            raise ValueError(f"{unused[0]} cannot be combined with {what}=... and a translator: leave it out")
        return translate(checkpoint, _device(options), options, shlex.join(["gan-augment-synthesize", *given]))
    if unused := sorted(chosen & {"skip_broken", "follow_links"}):
        raise ValueError(f"{unused[0]} is for a translator alone, and this is a generator: leave it out")
    if options["check"] is None:
        return export(options, given)
    if unused := sorted(chosen - set(FOR_CHECK)):
        raise ValueError(f"{unused[0]} cannot be combined with check=...: its value is in the manifest")
    return check(options)


def export(options: Mapping[str, Any], given: Sequence[str]) -> str:
    """Write a synthetic set; return a message for the user.

    Raises:
        ValueError: If an option is out of range, the generator cannot be read, or `out` exists.
    """
    import torch

    from gan_augment.artefacts.classifier import TrainedClassifier
    from gan_augment.artefacts.export import check_free, write_folder, write_npz
    from gan_augment.artefacts.generator import Generator, find_checkpoint
    from gan_augment.artefacts.weights import file_hash
    from gan_augment.generators.sampling import SynthesisSettings, synthesize
    from gan_augment.settings import check_integer

    settings = SynthesisSettings(**{name: options[name] for name in (*SAMPLING, "refuse_copies")})
    check_integer("seed", options["seed"], low=0)
    out = Path(options["out"]).expanduser()
    check_free(out)
    checkpoint, device = find_checkpoint("generator", options["generator"]), _device(options)
    of_trial = checkpoint.with_name("record.json")
    record = read_record(of_trial) if of_trial.exists() else None
    generator, teacher, teacher_hash = Generator.load(checkpoint, device), None, "none"
    described = (record["provenance"].get("checkpoint") or {}).get("hash") if record else None
    if Path(options["generator"]).expanduser().is_dir() and described not in (None, generator.hash):
        raise ValueError(
            f"generator={options['generator']}: {checkpoint.name} is not the file that record.json describes: it was "
            "damaged or replaced; name the file itself to use it anyway"
        )
    if settings.asks_teacher:
        usual = checkpoint.with_name("teacher.pt")
        path = usual if options["teacher"] is None else Path(options["teacher"]).expanduser()
        if path is usual and not path.exists():
            raise ValueError(
                f"selection={settings.selection}, but there is no teacher.pt next to the generator: name one with "
                "teacher=..."
            )
        teacher, teacher_hash = TrainedClassifier.load(path, device), file_hash(path)
    elif options["teacher"] is not None:
        raise ValueError(
            f"teacher={options['teacher']}, but selection=all takes every image: set selection=confident or diverse"
        )
    auditor = None
    if settings.refuse_copies:
        if record is None:
            raise ValueError(
                "refuse_copies=true needs a trial, which says what its generator has seen: name its folder"
            )
        auditor = auditor_of(generator, checkpoint.parent, record, options)
    elif given_files := [name for name in ("images", "labels") if options[name] is not None]:
        raise ValueError(f"{given_files[0]}={options[given_files[0]]} is only for refuse_copies=true")
    counts = generator.about["class_counts"] if generator.knows_classes or teacher is None else teacher.class_counts
    made = synthesize(generator, settings, torch.tensor(counts), options["seed"], teacher, auditor)
    made_with = {"command": shlex.join(["gan-augment-synthesize", *given]), "teacher": teacher_hash}
    card = data_card(generator, record, made, options, made_with)
    write = write_npz if out.suffix == ".npz" else write_folder
    write(made.images, manifest_rows(generator, made, options), card, out)
    return f"{len(made.images)} images: {out}"


def auditor_of(generator: Generator, folder: Path, record: Mapping[str, Any], options: Mapping[str, Any]) -> Auditor:
    """Return what finds copies of the images that the generator of a trial has seen, which are read again.

    Raises:
        ValueError: If the images cannot be read, are not those that it has seen, or are too few.
    """
    from gan_augment.artefacts.split_file import read_split
    from gan_augment.generators.refusing import AuditedAgainst

    with TemporaryDirectory(prefix="gan-augment-") as cache:
        split = read_split(folder, record["provenance"], options["images"], options["labels"], Path(cache))
        labelled = split.labelled if generator.knows_classes else split.labelled.as_one_class()
        if generator.about["trained_on"] != labelled.fingerprint:
            raise ValueError("refuse_copies=true, but the generator did not learn from the images of this trial")
        parts = [labelled, *([split.pool.without_labels()] if generator.about.get("pool_images") else [])]
        return AuditedAgainst.of(parts, split.validation).auditor()


def check(options: Mapping[str, Any]) -> str:
    """Make the images of a manifest again; return a message for the user if all are the same, bit for bit.

    Raises:
        ValueError: If one differs, or the manifest belongs to another generator.
    """
    from gan_augment.artefacts.export import read_manifest
    from gan_augment.artefacts.generator import Generator, find_checkpoint

    path = Path(options["check"]).expanduser()
    rows, images = read_manifest(path)
    generator = Generator.load(find_checkpoint("generator", options["generator"]), _device(options))
    if not rows or not set(TO_REGENERATE) <= set(rows[0]):
        raise ValueError(f"{path} has a manifest without rows, or without the columns {', '.join(TO_REGENERATE)}")
    if others := {row["checkpoint"] for row in rows} - {generator.hash}:
        raise ValueError(
            f"{path} was made by checkpoint {others.pop()}, but generator={options['generator']} is {generator.hash}"
        )
    try:
        again = regenerate(generator, rows)
    except Exception as error:  # of many types: whatever a row may hold in place of its numbers
        raise ValueError(f"{path} has a row whose image cannot be made: {type(error).__name__}: {error}") from error
    if differ := [row for row, one, other in zip(rows, again, images, strict=True) if not one.equal(other)]:
        first = next(iter(differ[0].values()))
        raise ValueError(f"{len(differ)} of {len(rows)} images of {path} differ, the first is {first}")
    return f"{len(rows)} images of {path} are reproduced bit for bit"


def manifest_rows(generator: Generator, made: SyntheticSet, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each image: how to make it again, and why it was selected."""
    from gan_augment.artefacts.generator import latent_seed

    rows = []
    columns = made.images.labels.tolist(), made.numbers.tolist(), made.confidence.tolist()
    for label, number, confidence in zip(*columns, strict=True):
        given = label if generator.knows_classes else 0
        rows.append(
            {
                "class_index": label,
                "checkpoint": generator.hash,
                "generator_label": given,
                "seed": options["seed"],
                "number": number,
                "latent_seed": latent_seed(options["seed"], given, number),
                **{name: options[name] for name in ("latent_scale", "truncation", "selection")},
                "teacher_probability": None if confidence != confidence else round(confidence, 6),
                "copies_refused": None if made.refused is None else made.refused.copies,  # of the whole set
            }
        )
    return rows


def regenerate(generator: Generator, rows: Sequence[Mapping[str, str]]) -> list[torch.Tensor]:
    """Make the images of a manifest's rows again, one `[C, H, W]` per row."""
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
    record: Mapping[str, Any] | None,
    made: SyntheticSet,
    options: Mapping[str, Any],
    made_with: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a synthetic set: its licence, generator and training data; `made_with` adds to how it was made."""
    about = generator.about
    if record is not None and (record["provenance"].get("checkpoint") or {}).get("hash") != generator.hash:
        record = None  # another checkpoint in a trial's folder
    parts = ("network",) if "network" in about["design"] else ("architecture", "conditioning", "loss")
    nodes = {name: about["design"].get(name) or {} for name in parts}
    design = {name: node.get("_target_", "unknown").split(".")[-1] for name, node in nodes.items()}
    trained_on = {
        "fingerprint of the labelled images": about["trained_on"],
        "labelled images": sum(about["class_counts"]),
        "labelled images of each class": dict(zip(about["class_names"], about["class_counts"], strict=True)),
        "images without labels": about.get("pool_images", 0),
    }
    if "start" in about:
        trained_on["a generator from which it started"] = dict(about["start"])
    if record is None:
        trained_on |= {"data": "unknown", "split": "unknown: the generator was named without its trial"}
        metrics = {"known": "no: the generator was named without its trial"}
    else:
        provenance = record["provenance"]
        trained_on |= {"data": record["factors"]["data"], "licence of the data": provenance.get("licence", "unknown")}
        trained_on |= {"split": provenance["split"]}
        if "pseudo_labels" in record["metrics"]:
            factors = record["factors"]
            teacher, threshold = factors["augmentation.teacher"], factors["pseudo_labels.threshold"]
            trained_on["their labels are those of"] = f"{teacher}, where its probability is at least {threshold:g}"
        metrics = {"of": "images of the generator, unselected; see docs/judging-and-synthesis.md of gan-augment"}
        found = record["metrics"].get("gan", {})
        metrics |= {name: value for name, value in found.items() if isinstance(value, int | float)}
        audits = {name: found.get(name, "not done") for name in AUDITS}
        if record["factors"].get("synthesis.refuse_copies"):
            audits = dict.fromkeys(AUDITS, "of a set without copies, not of these images")
        metrics |= {name: "none" if value is None else value for name, value in leaves(audits)}
    return {
        "synthetic": True,
        "licence": options["licence"],
        "made with": {
            **made_with,
            "seed": options["seed"],
            **{words: options[name] for name, words in SAMPLING.items()},
            "images looked at": made.candidates,
            **refusal(made),
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


def refusal(made: SyntheticSet) -> dict[str, Any]:
    """Say, for a data card, whether copies were refused."""
    refused = "refused as copies of training images"
    if made.refused is None:
        return {refused: "not looked for"}
    limit = made.refused.detection_limit
    found = "unknown: 5 % could have been missed" if limit is None else f"{100 * limit:.0f} %"
    return {refused: made.refused.copies, "share of copies that would have been found": found}


def _device(options: Mapping[str, Any]) -> torch.device:
    from gan_augment.training.hardware import Hardware, check_gpu

    hardware = Hardware(options["accelerator"], "32-true", options["num_threads"])
    check_gpu(options["accelerator"])
    hardware.use_threads()
    return hardware.device


if __name__ == "__main__":
    main()
