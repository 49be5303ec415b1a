"""The record of a trial, and its line in TensorBoard's HPARAMS tab."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_augment.artefacts.drawing import draw_confusion_matrix
from gan_augment.artefacts.generator import KINDS
from gan_augment.artefacts.weights import file_hash, read_about
from gan_augment.data.image_set import ImageSet, imbalance_ratio, rare_classes
from gan_augment.memory import peak_memory
from gan_augment.plan import Trial
from gan_augment.records.findings import Findings
from gan_augment.records.provenance import code_provenance, plugins, source_hash
from gan_augment.records.received import printable
from gan_augment.records.record import SCHEMA, leaves
from gan_augment.stages import Output
from gan_augment.training.hardware import Events

SUMMARY = ("accuracy", "balanced_accuracy", "macro_f1", "nll")  # in TensorBoard
MADE = ("commit", "clean", "threads")  # recorded for each stage; null where unknown


def make_record(
    trial: Trial,
    status: str,
    outputs: Mapping[str, Output],
    error: str | None = None,
    found: Findings | None = None,
    test_opened: str | None = None,
    measuring: float | None = None,
) -> dict[str, Any]:
    """Return the record of a trial, whose measures took `measuring` seconds."""
    found, split = found or Findings(), trial.split
    seconds = {
        role: {"spent": 0.0 if one.reused else one.seconds, "reused": one.seconds if one.reused else 0.0}
        for role, one in outputs.items()
    }
    if measuring is not None:
        seconds["measures"] = {"spent": measuring, "reused": 0.0}
    seconds["total"] = {kind: sum(one[kind] for one in seconds.values()) for kind in ("spent", "reused")}
    memory = {role: one.memory for role, one in outputs.items() if one.memory}
    energy = {role: one.energy for role, one in outputs.items() if {*one.energy.values()} - {None}}
    return {
        "schema": SCHEMA,
        "trial": trial.name,
        "status": status,
        "error": error,
        "factors": trial.factors,
        "metrics": found.metrics,
        "compared": dict(found.compared),
        "sections": {
            title: asdict(section) | {"sentences": list(section.sentences)} for title, section in found.sections.items()
        },
        "costs": {
            "seconds": seconds,
            "memory": memory,
            "energy": energy,
            **largest(peak_memory(), *memory.values()),
            "device": trial.config.hardware.card,
            "threads": torch.get_num_threads(),
        },
        "saw": {
            "labelled": len(split.labelled),
            **saw_further(trial),
            "pretrained": bool(trial.origins or trial.files),
            "imbalance_ratio": imbalance_ratio(split.labelled),
            "rare_classes": rare_classes(split.labelled),
        },
        "notes": list(trial.notes),
        "warnings": list(found.warnings),
        "provenance": {
            "split": split.hash,
            "fingerprint": trial.source.images.fingerprint,
            "licence": trial.source.licence,
            "domains": None if split.domains is None else " to ".join(map(printable, split.domains)),
            "overlap": split.overlap,
            "pool_overlap": split.pool_overlap,
            "pool_images": len(split.pool),
            "validation_images": len(split.validation),
            "validation_imbalance_ratio": imbalance_ratio(split.validation),
            "test_images": len(split.test),
            "test_groups": None if split.test_groups is None else len(split.test_groups.unique()),
            "test_imbalance_ratio": imbalance_ratio(split.test),
            "copies": [list(names) for names in trial.source.copies],
            "stages": {role: stage.key for role, stage in trial.stages.items()},
            "reads": {role: list(stage.all_reads) for role, stage in trial.stages.items()},
            "made": {role: {kind: one.made.get(kind) for kind in MADE} for role, one in outputs.items()},
            "checkpoint": generator_checkpoint(trial, outputs),
            "files": trial.files,
            "given": None if (given := given_images(trial)) is None else given.fingerprint,
            "test_opened": test_opened,
            **code_provenance(),
            "plugins": {package: source_hash(package) for package in plugins()},
        },
    }


def saw_further(trial: Trial) -> dict[str, int]:
    """Count the images used in training or selection in addition to the labelled ones.

    Training sees the pool, or also its labels, if the arm does. With two domains these are of the second, the target.
    A metric that chooses the generator uses the validation images; any metric but the classification accuracy score
    also uses the judge, which knows the labels of the pool. Refusing copies uses the validation images too, as decoys.
    Pairs are images of the pool whose partner in the first domain is seen too.
    """
    stages, split = trial.needed.values(), trial.split
    pools = [stage.image_sets["pool"] for stage in stages if "pool" in stage.image_sets]
    seen = max((len(pool) for pool in pools), default=0)
    labels = max((int(pool.class_counts.sum()) for pool in pools), default=0)
    chosen_by = [stage.chosen_by for stage in stages if stage.chosen_by is not None]
    if set(chosen_by) - {"cas_validation"}:
        others = len(split.training) - len(split.labelled)
        seen, labels = max(seen, others), max(labels, others)
    given = given_images(trial)
    has_target = split.domains is not None
    return {
        "pool_images": seen,
        "pool_labels": labels,
        "target_images": seen if has_target else 0,
        "target_labels": labels if has_target else 0,
        "pairs": max((len(one.image_sets["partners"]) for one in stages if "partners" in one.image_sets), default=0),
        "validation": len(split.validation) if chosen_by or any("decoys" in one.image_sets for one in stages) else 0,
        "given": 0 if given is None else len(given),
    }


def given_images(trial: Trial) -> ImageSet | None:
    """Return the images of another generator that a trial trains on."""
    return next((stage.image_sets["given"] for stage in trial.needed.values() if "given" in stage.image_sets), None)


def generator_checkpoint(trial: Trial, outputs: Mapping[str, Output]) -> dict[str, Any] | None:
    """Describe the checkpoint that made the synthetic images; None without synthetic images."""
    if "gan" not in outputs or "synthesis" not in outputs:
        return None
    path = trial.stages["gan"].checkpoint(outputs["gan"].folder)
    assert path is not None
    about = read_about(path, KINDS)
    return {"images_seen": about["images_seen"], "chosen_by": about.get("chosen_by"), "hash": file_hash(path)}


def largest(*peaks: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the largest memory peaks of a trial's parts, None where all are unknown."""
    return {name: max(peak[name] or 0 for peak in peaks) or None for name in peaks[0]}


def log_summary(trial: Trial, folder: Path, found: Findings) -> None:
    """Write the trial's factors and results for TensorBoard's HPARAMS tab, and the test images' confusion matrix."""
    logger = Events(folder)
    parts = {part: found.metrics.get(part) or {} for part in ("validation", "test")}
    results = {f"{part}/{name}": one[name] for part, one in parts.items() for name in SUMMARY if one}
    flat = dict(leaves(found.metrics))
    results |= {name.replace(".", "/"): flat[name] for name in found.compared if flat.get(name) is not None}
    factors = {name: "-" if value is None else value for name, value in trial.factors.items()}
    logger.log_hyperparams(factors, results)
    if (answers := folder / "predictions.npz").exists():
        with np.load(answers) as kept:
            counts = torch.from_numpy(kept["confusion_matrix"])
        picture = draw_confusion_matrix(counts, list(trial.split.test.class_names))
        logger.experiment.add_figure("test/confusion_matrix", picture)
    logger.experiment.close()
