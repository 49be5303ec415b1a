"""The extra `class_mates`: a translator makes further images of its class from each labelled image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.generators.translation import TrainTranslator
from gan_augment.stages import Stage

PER_IMAGE, MOST = 20, 40_000  # images made of each labelled one, and in all


@dataclass(frozen=True, eq=False)
class ClassMates(Extra):
    """Images that a translator made of the labelled ones, with their labels (DAGAN, Antoniou et al. 2017)."""

    name = "class_mates"

    translator: TrainTranslator

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the translator."""
        return cls(TrainTranslator.plan(plan, ("class_mates",)))

    @property
    def generated(self) -> Stage:
        """The stage that trains the translator."""
        return self.translator

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return several images made of each labelled one."""
        return self.translator.load(made["translator"]).translate(repeated(labelled))


def repeated(images: ImageSet) -> ImageSet:
    """Return each image `PER_IMAGE` times or, of many images, less often: about `MOST` in all, at least each once.

    Example:
        >>> images = ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0]), ["a", "b"])
        >>> len(repeated(images))
        60
    """
    return images.subset(torch.arange(len(images)).repeat(min(PER_IMAGE, max(1, MOST // len(images)))))
