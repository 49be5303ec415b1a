"""Pseudo-labelling: a teacher labels the images of the pool of which it is sure."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.artefacts.weights import FILE
from gan_augment.data.image_set import ImageSet
from gan_augment.methods.supervised import TrainedClassifier
from gan_augment.settings import check_number
from gan_augment.stages import Stage
from gan_augment.training.hardware import Hardware

VERSION = 1  # raise it when the same teacher gives other labels
MOST_NAMED = 10  # classes in a warning


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Which labels of the teacher are taken.

    Attributes:
        threshold: Probability of its label from which on an image is taken, in [0, 1).
    """

    threshold: float

    def __post_init__(self) -> None:
        """Refuse a threshold that no image can reach."""
        check_number("pseudo_labels.threshold", self.threshold, 0, 0.9999)


def pseudo_label_stage(teacher: Stage, pool: ImageSet, settings: PseudoLabelSettings, hardware: Hardware) -> Stage:
    """Lay out the stage in which a teacher labels the pool.

    Args:
        teacher: The stage that trains it.
        pool: Images without labels.
        settings: Which of its labels are taken.
        hardware: Where to compute.
    """
    return Stage(
        name="pseudo_labels",
        version=VERSION,
        settings={"threshold": settings.threshold, **hardware.identity},
        inputs={"teacher": teacher, "pool": pool.fingerprint},
        seed=0,  # nothing is drawn
        compute=partial(write_pseudo_labels, pool, settings, hardware.device),
    )


def write_pseudo_labels(
    pool: ImageSet, settings: PseudoLabelSettings, device: torch.device, folder: Path, teacher: Path
) -> None:
    """Let the teacher in a stage's folder label the pool, and write the labels of which it is sure into a folder.

    Raises:
        ValueError: If it is sure of none.
    """
    sureness, labels = TrainedClassifier.load(teacher / FILE, device).probabilities(pool).max(dim=1)
    taken = (sureness >= settings.threshold).nonzero().squeeze(1)
    if not len(taken):
        raise ValueError(
            f"the teacher is sure of none of the {len(pool)} images of the pool, its largest probability is "
            f"{sureness.max():.3f}: lower pseudo_labels.threshold={settings.threshold}"
        )
    PseudoLabels(taken, labels[taken], sureness[taken]).write(folder)


def pseudo_label_metrics(found: PseudoLabels, pool: ImageSet) -> tuple[dict[str, Any], list[str]]:
    """Measure pseudo-labels, when all is trained, by the labels of the pool that no training sees.

    Args:
        found: The pseudo-labels.
        pool: The pool; -1 for an image whose label nobody knows.

    Returns:
        `images`, how many have a pseudo-label; `share`, of the pool, in [0, 1]; `accuracy`, where labels are known; and
        `per_class`, how many images each class got. And a sentence on classes that got none.
    """
    taken, true = found.of(pool), pool.labels[found.indices]
    known = true >= 0
    counts = dict(zip(pool.class_names, taken.class_counts.tolist(), strict=True))
    accuracy = (taken.labels == true)[known].double().mean() if known.any() else None
    metrics = {
        "images": len(taken),
        "share": len(taken) / len(pool),
        "accuracy": None if accuracy is None else float(accuracy),
        "per_class": counts,
    }
    without = [name for name, count in counts.items() if not count]
    if not without:
        return metrics, []
    names = ", ".join(without[:MOST_NAMED]) + (", ..." if len(without) > MOST_NAMED else "")
    return metrics, [f"Of {len(without)} of {len(counts)} classes ({names}) the teacher finds no image in the pool"]
