"""The measure `leak`: whether generated images show traces of the discriminator's augmentation."""

from dataclasses import dataclass

import torch

from gan_augment.data.image_set import in_proportion
from gan_augment.generators.gan import TrainGAN
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.leak import leaks
from gan_augment.records.findings import Findings

FEWEST_REAL = 10  # with fewer, the check gives false alarms


@dataclass(frozen=True)
class AugmentationLeak(GeneratorMeasure):
    """A warning for each trace of the discriminator's augmentation in generated images; none for too few images."""

    def find(self, finished: Finished) -> Findings:
        """Compare generated images with their generator's training images if the discriminator's were augmented."""
        gan, real = finished.stages.get("gan"), finished.real
        if not isinstance(gan, TrainGAN) or not gan.design.augmentation.is_on:
            return Findings()
        alike = in_proportion(finished.synthetic, real.class_counts)
        if min(len(real), len(alike)) < FEWEST_REAL:
            return Findings()
        there, made = (images.images[torch.arange(len(images))] for images in (real, alike))
        cutout = gan.design.augmentation.cutout
        traces = leaks(there, made, **({"cutout": cutout} if cutout else {}))
        return Findings(warnings=tuple(f"Leak of the discriminator's augmentation: {trace}" for trace in traces))
