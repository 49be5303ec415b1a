"""One trial: one split, one seed, one arm, one GAN configuration -> one test result.

    image set -> split -> [ [teacher] -> [judge] -> gan -> synthesis ] -> [ classifier -> test once ] -> record

`plan_trial` checks the settings and lays out the stages; `run_trial` carries them out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_augment.augmentation.arm import Arm
from gan_augment.callbacks.progress import titled
from gan_augment.data.copies import copy_notes, find_copies
from gan_augment.data.image_set import ImageSet, imbalance_ratio, rare_classes
from gan_augment.data.source import Modes, Source
from gan_augment.data.split import LabelBudget, Split, draw_split
from gan_augment.metrics.classification import classification_metrics, confusion_matrix
from gan_augment.metrics.signals import generator_signals
from gan_augment.networks.weights import FILE as WEIGHTS
from gan_augment.networks.weights import file_hash, read_about
from gan_augment.settings import build, check_boolean, check_integer, check_names, settings_from
from gan_augment.stages import Output, Stage, StageStore, digest, put_link
from gan_augment.study.factors import NULL, trial_factors
from gan_augment.study.provenance import code_provenance
from gan_augment.study.record import SCHEMA
from gan_augment.synthesis.generator import Generator
from gan_augment.synthesis.looks import draw_looks
from gan_augment.synthesis.pictures import draw_confusion_matrix, draw_side_by_side
from gan_augment.synthesis.sampling import SynthesisSettings, chosen, first_images, synthesis_stage
from gan_augment.synthesis.synthetic_set import SyntheticSet
from gan_augment.systems.classifier import TrainedClassifier, classifier_notes, classifier_stage
from gan_augment.systems.design import DESIGN, GANDesign
from gan_augment.systems.gan import SIGNALS, gan_stage
from gan_augment.systems.hardware import Events, Hardware
from gan_augment.systems.judge import how_many_to_judge, judge_images, lay_out_judge, why_no_judge
from gan_augment.systems.memory import peak_memory, reset_peak_memory

GROUPS = ("data", *DESIGN, "synthesis", "augmentation", "classifier", "judge", "trainer")
SETTINGS = (
    *GROUPS,
    *("labels_per_class", "label_fraction", "imbalance", "validation_per_class", "open_test"),
    *("seed", "seeds", "study", "against", "paths", "choices"),
)
SUMMARY = ("accuracy", "balanced_accuracy", "macro_f1", "nll")  # what TensorBoard shows of a trial
NOT_OF_THE_SOURCE = ("test_share", "classical")  # all else in a data node describes where the images come from


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial that is checked and ready to run.

    Attributes:
        settings: The plain configuration; its classifier is None where a generator alone is trained.
        factors: Every choice in it that a study can sweep.
        fingerprint: Names the image set.
        split: The images.
        hardware: Where it runs.
        stages: What to do, by name and in order; the last one trains the classifier, if there is one.
        modes: The density that the images were drawn from, where it is known.
        notes: What whoever reads the result must know, a sentence each.
        copies: Names of identical images, a group each.
    """

    settings: Mapping[str, Any]
    factors: dict[str, Any]
    fingerprint: str
    split: Split
    hardware: Hardware
    stages: Mapping[str, Stage]
    modes: Modes | None = None
    notes: tuple[str, ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def name(self) -> str:
        """The trial's folder: arm and seed for the reader, and a hash of all that the result depends on."""
        factors = {name: value for name, value in self.factors.items() if value not in (None, NULL)}
        key = digest([factors, self.fingerprint, self.split.hash, [stage.key for stage in self.stages.values()]])
        return f"{self.factors['augmentation'] or 'generator'}-seed{self.factors['seeds.split']}-{key[:8]}"

    def needs(self, name: str) -> bool:
        """Whether a stage is more than a measure: whether another one is made from it, or it is the last."""
        stage = self.stages[name]
        inputs = [one.key for other in self.stages.values() for one in other.inputs.values() if isinstance(one, Stage)]
        return stage.key in inputs or stage is [*self.stages.values()][-1]


def plan_trial(settings: Mapping[str, Any]) -> Trial:
    """Check a trial's settings and lay out its stages. Nothing is trained.

    Args:
        settings: The plain configuration; `choices` names the chosen member of each group.

    Raises:
        ValueError: If a setting is out of range, or does not fit the images or the machine.
    """
    check_names("the configuration", settings, SETTINGS)
    for name in GROUPS:
        if not isinstance(settings[name], Mapping):
            raise ValueError(f"{name}={settings[name]}: choose one of the members of conf/{name}/")
    data, seeds, imbalance = settings["data"], settings["seeds"], settings["imbalance"]
    check_names("seeds", seeds, ("split", "gan", "synthesis", "classifier"))
    check_names("imbalance", imbalance, ("classes", "share"))
    if missing := [name for name in NOT_OF_THE_SOURCE if name not in data]:
        raise ValueError(f"data lacks {', '.join(missing)}: a member of conf/data/ says them beside its source")
    for name in ("classifier", "judge"):
        if settings[name].get("network") is None:
            check_names(name, settings[name], ("network",))
            settings = {**settings, name: None}
    for name, seed in seeds.items():
        check_integer(f"seeds.{name}", seed, low=0)
    check_boolean("open_test", settings["open_test"])
    hardware = settings_from(Hardware, "trainer", settings["trainer"])
    arm = settings_from(Arm, "augmentation", settings["augmentation"])
    budget = LabelBudget(
        settings["labels_per_class"], settings["label_fraction"], imbalance["classes"], imbalance["share"]
    )

    source, notes, copies = load_source(data)
    split = draw_split(source, seeds["split"], budget, settings["validation_per_class"], data["test_share"])
    if settings["judge"] is not None and arm.needs_gan and (reason := why_no_judge(split.training)):
        settings, notes = {**settings, "judge": None}, (*notes, reason)
    if not settings["open_test"] and settings["classifier"] is not None and not len(split.validation):
        raise ValueError(
            "open_test=false, but there are no validation images: the classifier would not be judged at all"
        )
    return Trial(
        settings,
        trial_factors(settings, arm.needs_gan, arm.transform == "classical", settings["classifier"] is not None),
        source.images.fingerprint,
        split,
        hardware,
        trial_stages(settings, arm, split, hardware),
        source.modes,
        (*notes, *classifier_notes(settings["classifier"], split.labelled)),
        copies,
    )


def trial_stages(settings: Mapping[str, Any], arm: Arm, split: Split, hardware: Hardware) -> dict[str, Stage]:
    """Lay out the stages of a trial, by name; each is given what the arm may see, and nothing else."""
    seeds, labelled = settings["seeds"], split.labelled
    stages: dict[str, Stage] = {}

    def classifier(arm: Arm, synthesis: Stage | None) -> Stage:
        return classifier_stage(
            labelled,
            split.validation,
            synthesis,
            arm,
            settings["data"]["classical"],
            settings["classifier"],
            seeds["classifier"],
            hardware,
        )

    if arm.needs_gan:
        design, judge = {name: settings[name] for name in DESIGN}, settings["judge"]
        knows_classes = GANDesign.read(design).conditioning.knows_classes
        selects = settings_from(SynthesisSettings, "synthesis", settings["synthesis"]).asks_teacher
        if settings["classifier"] is None and selects:
            raise ValueError(
                "synthesis.selection=confident needs a classifier that says what the images show, but there is none: "
                "choose one"
            )
        if settings["classifier"] is not None and not knows_classes and not selects:
            raise ValueError(
                "conditioning=none makes images without labels, and a classifier cannot learn from them: use another "
                "conditioning, let a teacher label them (synthesis=confident), or train the generator alone with "
                "classifier=none"
            )
        if settings["classifier"] is not None and (selects or judge is not None):
            stages["teacher"] = classifier(replace(arm, extra="none", share=None), synthesis=None)
        looks_by = None
        if judge is not None:
            looks_by = lay_out_judge(split.training, split.validation, settings["data"]["classical"], judge, hardware)
            stages["judge"] = looks_by.stage
        seen = labelled if knows_classes else labelled.as_one_class()
        stages["gan"] = gan_stage(seen, design, seeds["gan"], hardware, looks_by)
        stages["synthesis"] = synthesis_stage(
            stages["gan"],
            stages["teacher"] if selects else None,
            labelled if selects else seen,
            settings["synthesis"],
            seeds["synthesis"],
            hardware,
        )
    if settings["classifier"] is not None:
        stages["classifier"] = classifier(arm, stages.get("synthesis"))
    elif not arm.needs_gan:
        raise ValueError("classifier=none trains a generator alone, but this arm has none: use augmentation=gan")
    return stages


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

    signals, warnings = look_at_generator(trial, outputs, folder) if "gan" in outputs else ({}, [])
    if "classifier" not in outputs:
        return make_record(trial, "ok", outputs, metrics={"gan": signals}, warnings=warnings)

    classifier = TrainedClassifier.load(outputs["classifier"].folder / WEIGHTS, trial.hardware.device)

    def examine(images: ImageSet) -> tuple[Tensor, dict[str, Any]]:
        says = classifier.probabilities(images)
        return says, classification_metrics(says, images.labels, images.class_names, rare_classes(trial.split.labelled))

    validation = examine(trial.split.validation)[1] if len(trial.split.validation) else {}
    if not trial.settings["open_test"]:
        log_summary(trial, folder, {"validation": validation})
        return make_record(trial, "ok", outputs, metrics={"validation": validation, "gan": signals}, warnings=warnings)
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
    return make_record(
        trial, "ok", outputs, metrics=metrics | {"gan": signals}, warnings=warnings, test_opened=test_opened
    )


def look_at_generator(trial: Trial, outputs: Mapping[str, Output], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Put a trial's generator and pictures of its images into its folder, judge it, and look for what went wrong.

    Returns:
        Metrics, `training` among them: where the curves of its training ended; and warnings, a sentence each.
    """
    gan, split, design = outputs["gan"].folder, trial.split, GANDesign.read(trial.settings)
    real, device = split.labelled, trial.hardware.device
    if trial.settings["classifier"] is None and not design.conditioning.knows_classes:
        real = real.as_one_class()
    synthetic = SyntheticSet.read(outputs["synthesis"].folder, real.class_names).images
    put_link(folder / "gan.pt", chosen(gan))
    draw_side_by_side(real, synthetic, folder / "samples.png")
    cutout = design.augmentation.cutout if design.augmentation.is_on else None
    metrics, warnings = generator_signals(real, synthetic, cutout, trial.modes)
    measures = {name: outputs[name].folder / WEIGHTS for name in ("teacher", "judge") if name in outputs}
    for name in [name for name in measures if outputs[name].diverged is not None]:
        warnings.append(f"The {name}'s training diverged: nothing is measured by it")
        del measures[name]
    if "teacher" in measures:
        put_link(folder / "teacher.pt", measures["teacher"])
    if not real.shape.is_point:
        generator = Generator.load(chosen(gan), device)
        draw_looks(generator, split.labelled, synthetic, folder)
        if "judge" in measures:
            like = split.validation if generator.knows_classes else split.validation.as_one_class()
            truncation = trial.settings["synthesis"]["truncation"]
            made = first_images(generator, how_many_to_judge(like), trial.settings["seeds"]["synthesis"], truncation)
            judge, teacher = (
                TrainedClassifier.load(measures[name], device) if name in measures else None
                for name in ("judge", "teacher")
            )
            assert judge is not None
            inception = trial.settings["judge"]["inception"]
            judged, refused = judge_images(judge, made, split.validation, split.training, teacher, inception)
            metrics, warnings = metrics | judged, [*warnings, *refused]
    if best_by := design.settings.best_by:
        warnings.append(f"The generator is the best of its looks by {best_by}: results on validation images flatter it")
    return metrics | {"training": json.loads((gan / SIGNALS).read_text(encoding="utf-8"))}, warnings


def load_source(data: Mapping[str, Any]) -> tuple[Source, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Load the images that a data node describes; the trials of a study share them.

    Returns:
        The source, what a reader of results must know of it, and the names of identical images.
    """
    return _load_source(json.dumps({name: value for name, value in data.items() if name not in NOT_OF_THE_SOURCE}))


@lru_cache(maxsize=2)  # a study may sweep the size of its images
def _load_source(node: str) -> tuple[Source, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    source = build(json.loads(node))
    assert isinstance(source, Source)
    copies = find_copies(source)
    names = tuple(tuple(source.name(index) for index in group) for group in copies)
    return source, (*source.notes, *copy_notes(source, copies)), names


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

    A generator that is kept for its looks has been selected with the validation images; by any metric but the
    classification accuracy score also with what the judge knows: the labels of the pool.
    """
    best_by = trial.settings["gan"]["best_by"] if "gan" in trial.stages else None
    others = len(trial.split.training) - len(trial.split.labelled)
    pool = others if best_by not in (None, "cas_validation") else 0
    return {"pool_images": pool, "pool_labels": pool, "validation": len(trial.split.validation) if best_by else 0}


def with_notes(record: Mapping[str, Any], trial: Trial) -> dict[str, Any] | None:
    """Return a trial's earlier record with what is noted of its images now; None if that is what it says.

    The same images may have other names by now, or lie beside other files that cannot be read.
    """
    copies = [list(names) for names in trial.copies]
    provenance = {**record["provenance"], "copies": copies}
    renewed = {**record, "notes": list(trial.notes), "provenance": provenance}
    return None if renewed == record else renewed


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
            **peak_memory(),
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
