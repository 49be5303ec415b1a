"""The measure `diversity`: whether a class's generated images are as diverse as its real ones."""

from dataclasses import dataclass

import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.diversity import class_diversity, collapse_warning
from gan_augment.records.findings import Findings


@dataclass(frozen=True)
class Diversity(GeneratorMeasure):
    """The pairwise diversity of generated images over that of the real ones, and a warning of mode collapse."""

    def find(self, finished: Finished) -> Findings:
        """Measure pictures; for points there is the measure of modes."""
        return Findings() if finished.real.shape.is_point else diversity_metrics(finished.real, finished.synthetic)


def diversity_metrics(real: ImageSet, synthetic: ImageSet) -> Findings:
    """Compare the diversity of generated images with that of their generator's training images.

    Args:
        real: Labelled images.
        synthetic: Generated images with the labels they are meant to show.

    Returns:
        `diversity_per_class`, by name: the pairwise diversity of the generated images divided by that of the real ones,
        1 if they are as diverse; None for a class without two different real images or without two generated ones.
        `diversity`: its mean over the classes, None if there is none. And a warning of collapsed classes.
    """
    there, made = (class_diversity(images) for images in (real, synthetic))
    ratios = (made / there).where(there > 0, torch.nan).tolist()
    known = [ratio for ratio in ratios if ratio == ratio]
    metrics = {
        "diversity": sum(known) / len(known) if known else None,
        "diversity_per_class": {
            name: ratio if ratio == ratio else None for name, ratio in zip(real.class_names, ratios, strict=True)
        },
    }
    collapsed = collapse_warning(there, made, real.class_names)
    return Findings({"gan": metrics}, (collapsed,) if collapsed else ())
