"""The measure `leak`: whether generated images show traces of the discriminator's augmentation."""

from dataclasses import dataclass

import torch

from gan_augment.data.image_set import ImageSet, in_proportion
from gan_augment.generators.gan import TrainGAN
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.leak import leaks
from gan_augment.records.findings import Findings

FEWEST_REAL = 10  # with fewer, the check gives false alarms


@dataclass(frozen=True)
class AugmentationLeak(GeneratorMeasure):
    """A warning for each trace of the discriminator's augmentation in generated images."""

    def find(self, finished: Finished) -> Findings:
        """Search for traces if the discriminator's images were augmented."""
        gan = finished.stages["gan"]
        if not isinstance(gan, TrainGAN) or not gan.design.augmentation.is_on:
            return Findings()
        return leak_warnings(finished.real, finished.synthetic, gan.design.augmentation.cutout)


def leak_warnings(real: ImageSet, synthetic: ImageSet, cutout: float) -> Findings:
    """Compare generated images with their generator's training images.

    Args:
        real: Labelled images.
        synthetic: Generated images with the labels they are meant to show.
        cutout: Sides of the hole in the discriminator's augmentation, as a share of the image's sides; 0 for none.

    Returns:
        A warning for each trace; none if there are too few images.
    """
    alike = in_proportion(synthetic, real.class_counts)
    if min(len(real), len(alike)) < FEWEST_REAL:
        return Findings()
    there, made = (images.images[torch.arange(len(images))] for images in (real, alike))
    traces = leaks(there, made, **({"cutout": cutout} if cutout else {}))
    return Findings(warnings=tuple(f"Leak of the discriminator's augmentation: {trace}" for trace in traces))
