"""One trial: split -> stages, each made from earlier ones -> test opened once -> measures -> record.

`plan_trial` in `plan.py` checks the settings and plans the stages; `run_trial` carries them out.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageSet, rare_classes
from gan_augment.measures.base import Finished
from gan_augment.memory import reset_peak_memory
from gan_augment.metrics.classification import classification_metrics, confusion_matrix
from gan_augment.plan import Trial
from gan_augment.recording import log_summary, make_record
from gan_augment.records.findings import Findings
from gan_augment.stages import Output, StageStore, share
from gan_augment.training.progress import titled

log = logging.getLogger(__name__)


def run_trial(trial: Trial, folder: Path, store: StageStore, title: str) -> dict[str, Any]:
    """Run a trial's stages, open the test set once unless it stays closed, and measure; return the record.

    Everything else goes into `folder`. `title` names the trial on the screen.
    """
    trial.config.hardware.use_threads()
    reset_peak_memory()
    outputs: dict[str, Output] = {}
    found = Findings()
    for role, stage in trial.stages.items():
        try:
            with titled(f"{title}: {stage.name if role == 'gan' else role}"):  # any generator takes that role
                outputs[role] = output = store.fetch(stage, events=folder / "tensorboard" / role)
        except Exception as error:
            if role in trial.needed:
                raise
            found |= failed(f"measuring stage {role}", error)
            continue
        if output.diverged is None and (checkpoint := stage.checkpoint(output.folder)) is not None:
            share(checkpoint, folder / f"{role}.pt")
        elif output.diverged is not None and role in trial.needed:
            return make_record(trial, "diverged", outputs, error=f"{role}: {output.diverged}")

    classifier, test_opened = None, None
    if "classifier" in trial.stages:
        classifier = trial.stages["classifier"].load(outputs["classifier"].folder)
        found |= examine(trial, classifier, "validation", trial.split.validation)
        if trial.config.open_test:
            test_opened = datetime.now(UTC).isoformat(timespec="seconds")
            found |= examine(trial, classifier, "test", trial.split.test, folder)
    part = "test" if test_opened else "validation"
    finished = Finished(trial.config, trial.split, trial.source.modes, trial.stages, outputs, folder, classifier, part)
    start = perf_counter()
    for name, measure in trial.measures.items():
        try:
            found |= measure.find(finished)
        except Exception as error:
            found |= failed(f"measure {name}", error)
    measuring = perf_counter() - start
    if classifier is not None:
        log_summary(trial, folder, found)
    firsts: dict[str, str] = {}  # of several generators the one that is measured
    for role, stage in trial.needed.items():
        if firsts.setdefault(stage.name, role) == role:
            found |= stage.findings(outputs[role].folder)
    return make_record(trial, "ok", outputs, found=found, test_opened=test_opened, measuring=measuring)


def examine(
    trial: Trial, classifier: TrainedClassifier, part: str, images: ImageSet, folder: Path | None = None
) -> Findings:
    """Evaluate the classifier on a part of the images; write its predictions into `folder` if it is given."""
    if not len(images):
        return Findings({part: {}})
    probabilities = classifier.probabilities(images)
    if folder is not None:
        arrays = {
            "ids": trial.split.test_indices.numpy(),
            "labels": images.labels.numpy(),
            "predicted": probabilities.argmax(dim=1).numpy(),
            "probabilities": probabilities.numpy().astype(np.float16),
            "confusion_matrix": confusion_matrix(probabilities, images.labels).numpy(),
        }
        if trial.split.test_groups is not None:
            arrays["groups"] = trial.split.test_groups.numpy()
        np.savez_compressed(folder / "predictions.npz", allow_pickle=False, **arrays)
    rare = rare_classes(trial.split.labelled)
    return Findings({part: classification_metrics(probabilities, images.labels, images.class_names, rare)})


def failed(what: str, error: Exception) -> Findings:
    """Log an error that must not end the trial; return a warning of it."""
    log.error("the %s failed", what, exc_info=error)
    return Findings(warnings=(f"The {what} failed: {type(error).__name__}: {error}",))
