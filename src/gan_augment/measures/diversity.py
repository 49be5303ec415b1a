"""The measure `diversity`: whether a class's generated images differ from each other as much as its real ones do."""

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
        """Measure pictures; points have modes."""
        return Findings() if finished.real.shape.is_point else diversity_metrics(finished.real, finished.synthetic)


def diversity_metrics(real: ImageSet, synthetic: ImageSet) -> Findings:
    """Compare how much generated images differ with how much those do that their generator learned from.

    Args:
        real: Labelled images.
        synthetic: Generated ones, with the labels that they are meant to show.

    Returns:
        `diversity`, the mean over the classes of the generated images' pairwise diversity over that of the real ones, 1
        where they are as diverse, and `diversity_per_class` by name; None where no class, or not this one, has two
        different real images and two generated ones. And a warning of classes that have collapsed.
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
