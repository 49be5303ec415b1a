"""The measure `diversity`: whether a class's generated images are as diverse as its real ones."""

from dataclasses import dataclass

import torch

from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.diversity import class_diversity, collapse_warning
from gan_augment.records.findings import Findings


@dataclass(frozen=True)
class Diversity(GeneratorMeasure):
    """The diversity of generated images compared with their generator's training images, for pictures.

    `diversity_per_class`, by name: the pairwise diversity of the generated images divided by that of the real ones, 1
    if they are as diverse; None for a class without two different real images or without two generated ones.
    `diversity`: its mean over the classes, None if there is none. And a warning of collapsed classes.
    """

    def find(self, finished: Finished) -> Findings:
        """Measure pictures; for points there is the measure of modes."""
        real = finished.real
        if real.shape.is_point:
            return Findings()
        there, made = class_diversity(real), class_diversity(finished.synthetic)
        ratios = [None if ratio != ratio else ratio for ratio in (made / there).where(there > 0, torch.nan).tolist()]
        known = [ratio for ratio in ratios if ratio is not None]
        metrics = {
            "diversity": sum(known) / len(known) if known else None,
            "diversity_per_class": dict(zip(real.class_names, ratios, strict=True)),
        }
        collapsed = collapse_warning(there, made, real.class_names, finished.why_alike)
        return Findings({"gan": metrics}, (collapsed,) if collapsed else ())
