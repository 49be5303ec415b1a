"""One trial: one split, one seed, one arm, one GAN configuration -> one test result.

    image set -> split -> [ teacher -> pseudo-labels ] -> [ judge -> gan -> synthesis ] -> classifier -> test once
              -> record

What an arm does not ask for is left out; without a classifier, so are the test images.

`plan_trial` in `plan.py` checks the settings and lays out the stages; `run_trial` carries them out.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_augment.artefacts.drawing import draw_confusion_matrix
from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.artefacts.weights import FILE as WEIGHTS
from gan_augment.artefacts.weights import file_hash, read_about
from gan_augment.data.image_set import ImageSet, imbalance_ratio, rare_classes
from gan_augment.extras.pseudo_labelling import pseudo_label_metrics
from gan_augment.generators.sampling import chosen
from gan_augment.inspection import inspect_generator
from gan_augment.memory import peak_memory, reset_peak_memory
from gan_augment.methods.supervised import TrainedClassifier
from gan_augment.metrics.classification import classification_metrics, confusion_matrix
from gan_augment.plan import Trial
from gan_augment.records.provenance import code_provenance
from gan_augment.records.record import SCHEMA
from gan_augment.stages import Output, StageStore
from gan_augment.training.hardware import Events
from gan_augment.training.progress import titled

SUMMARY = ("accuracy", "balanced_accuracy", "macro_f1", "nll")  # what TensorBoard shows of a trial


def run_trial(trial: Trial, folder: Path, store: StageStore, title: str) -> dict[str, Any]:
    """Carry a trial's stages out, and open the test set once, unless it stays closed.

    Args:
        trial: What to do.
        folder: The trial's folder, for everything but the record.
        store: Where stages are found and kept.
        title: What to call the trial on the screen.

    Returns:
        The record.
    """
    trial.hardware.use_threads()
    reset_peak_memory()
    outputs: dict[str, Output] = {}
    for name, stage in trial.stages.items():
        with titled(f"{title}: {name}"):
            outputs[name] = output = store.fetch(stage, events=folder / "tensorboard" / name)
        if output.diverged is not None and trial.needs(name):
            return make_record(trial, "diverged", outputs, error=f"{name}: {output.diverged}")

    found: dict[str, Any] = {}
    warnings: list[str] = []
    if "pseudo_labels" in outputs:
        labels = PseudoLabels.read(outputs["pseudo_labels"].folder)
        found["pseudo_labels"], warnings = pseudo_label_metrics(labels, trial.split.pool)
    found["gan"], seen = inspect_generator(trial, outputs, folder) if "gan" in outputs else ({}, [])
    warnings = [*warnings, *seen]
    if "classifier" not in outputs:
        return make_record(trial, "ok", outputs, metrics=found, warnings=warnings)

    classifier = TrainedClassifier.load(outputs["classifier"].folder / WEIGHTS, trial.hardware.device)

    def examine(images: ImageSet) -> tuple[Tensor, dict[str, Any]]:
        says = classifier.probabilities(images)
        return says, classification_metrics(says, images.labels, images.class_names, rare_classes(trial.split.labelled))

    validation = examine(trial.split.validation)[1] if len(trial.split.validation) else {}
    if not trial.settings["open_test"]:
        log_summary(trial, folder, {"validation": validation})
        return make_record(trial, "ok", outputs, metrics={"validation": validation} | found, warnings=warnings)
    test_opened = datetime.now(UTC).isoformat(timespec="seconds")
    probabilities, test = examine(trial.split.test)
    counts = confusion_matrix(probabilities, trial.split.test.labels)

    np.savez_compressed(
        folder / "predictions.npz",
        ids=trial.split.test_indices.numpy(),
        labels=trial.split.test.labels.numpy(),
        probabilities=probabilities.numpy().astype(np.float16),
        confusion_matrix=counts.numpy(),
    )
    metrics = {"validation": validation, "test": test}
    log_summary(trial, folder, metrics, counts)
    return make_record(trial, "ok", outputs, metrics=metrics | found, warnings=warnings, test_opened=test_opened)


def log_summary(
    trial: Trial, folder: Path, metrics: Mapping[str, Mapping[str, Any]], counts: Tensor | None = None
) -> None:
    """Write the trial's factors and results for TensorBoard's HPARAMS tab, and the test images' confusion matrix."""
    logger = Events(folder)
    results = {f"{part}/{name}": found[name] for part, found in metrics.items() for name in SUMMARY if found}
    factors = {name: "-" if value is None else value for name, value in trial.factors.items()}
    logger.log_hyperparams(factors, results)
    if counts is not None:
        picture = draw_confusion_matrix(counts, list(trial.split.test.class_names))
        logger.experiment.add_figure("test/confusion_matrix", picture)
    logger.experiment.close()


def saw_beside(trial: Trial) -> dict[str, int]:
    """Count the images that had a part in training or selection beside the labelled ones.

    Training sees the pool, or its labels too, where the arm does. A generator that is kept for its looks
    has been selected with the validation images; by any metric but the classification accuracy score also with what the
    judge knows: the labels of the pool.
    """
    best_by = trial.settings["gan"]["best_by"] if "gan" in trial.stages else None
    others = len(trial.split.training) - len(trial.split.labelled)
    images, labels = trial.pool_images, trial.pool_labels
    if best_by not in (None, "cas_validation"):
        images, labels = max(images, others), max(labels, others)
    return {"pool_images": images, "pool_labels": labels, "validation": len(trial.split.validation) if best_by else 0}


def largest(*peaks: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the largest of the memory peaks that parts of a trial had, None where none of them knows one."""
    return {name: max(peak[name] or 0 for peak in peaks) or None for name in peaks[0]}


def make_record(
    trial: Trial,
    status: str,
    outputs: Mapping[str, Output],
    error: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    test_opened: str | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Say what a trial was, what it found, what it cost and where it comes from."""
    seconds = {
        name: {"spent": 0.0 if one.reused else one.seconds, "reused": one.seconds if one.reused else 0.0}
        for name, one in outputs.items()
    }
    checkpoint = None
    if "synthesis" in outputs:
        path = chosen(outputs["gan"].folder)
        about = read_about(path, "gan")
        checkpoint = {"images_seen": about["images_seen"], "chosen_by": about.get("chosen_by"), "hash": file_hash(path)}
    memory = {name: one.memory for name, one in outputs.items() if one.memory}
    seconds["total"] = {kind: sum(one[kind] for one in seconds.values()) for kind in ("spent", "reused")}
    return {
        "schema": SCHEMA,
        "trial": trial.name,
        "status": status,
        "error": error,
        "factors": trial.factors,
        "metrics": metrics or {},
        "costs": {
            "seconds": seconds,
            "memory": memory,
            **largest(peak_memory(), *memory.values()),
            "device": trial.hardware.device.type,
            "threads": torch.get_num_threads(),
        },
        "saw": {
            "labelled": len(trial.split.labelled),
            **saw_beside(trial),
            "imbalance_ratio": imbalance_ratio(trial.split.labelled),
            "rare_classes": rare_classes(trial.split.labelled),
        },
        "notes": list(trial.notes),
        "warnings": list(warnings),
        "provenance": {
            "split": trial.split.hash,
            "fingerprint": trial.fingerprint,
            "pool_images": len(trial.split.pool),
            "validation_images": len(trial.split.validation),
            "validation_imbalance_ratio": imbalance_ratio(trial.split.validation),
            "test_images": len(trial.split.test),
            "test_imbalance_ratio": imbalance_ratio(trial.split.test),
            "copies": [list(names) for names in trial.copies],
            "stages": {name: stage.key for name, stage in trial.stages.items()},
            "made": {name: {kind: one.made[kind] for kind in ("commit", "clean")} for name, one in outputs.items()},
            "checkpoint": checkpoint,
            "test_opened": test_opened,
            **code_provenance(),
        },
    }
