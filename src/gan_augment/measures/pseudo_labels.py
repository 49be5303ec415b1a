"""The measure `pseudo_labels`: the accuracy of a teacher's labels, by labels of the pool that no training sees."""

from dataclasses import dataclass

from gan_augment.data.source import abridged
from gan_augment.measures.base import Finished, Measure
from gan_augment.records.findings import Findings


@dataclass(frozen=True)
class PseudoLabelAccuracy(Measure):
    """How many pool images a teacher labels, and how many of them correctly.

    `images`, the number of pseudo-labels; `share`, of the pool, in [0, 1]; `accuracy`, over labels of the pool that are
    known; and `per_class`, the number of images for each class. And a warning of classes without any.
    """

    needs = "pseudo_labels"

    def find(self, finished: Finished) -> Findings:
        """Measure pseudo-labels by the labels of the pool."""
        found, pool = finished.load("pseudo_labels"), finished.split.pool
        taken, true = found.of(pool), pool.labels[found.indices]
        known = true >= 0
        counts = dict(zip(pool.class_names, taken.class_counts.tolist(), strict=True))
        metrics = {
            "images": len(taken),
            "share": len(taken) / len(pool),
            "accuracy": float((taken.labels == true)[known].double().mean()) if known.any() else None,
            "per_class": counts,
        }
        without = [name for name, count in counts.items() if not count]
        names = abridged(without, most=10)
        warning = f"Of {len(without)} of {len(counts)} classes ({names}) the teacher finds no image in the pool"
        return Findings({"pseudo_labels": metrics}, (warning,) if without else ())
