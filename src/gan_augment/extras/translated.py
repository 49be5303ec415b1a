"""The extra `translated`: the labelled images, translated into the look of the pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.generators.translation import TrainTranslator
from gan_augment.stages import Stage


@dataclass(frozen=True, eq=False)
class Translated(Extra):
    """The labelled images in the look of the pool, with their own labels, by a translator that learned from both.

    Attributes:
        examples: What the translator may learn from, as `translation.examples` has it.
        usual: The usual member of the group `translation`.
    """

    name = "translated"
    sees: ClassVar[tuple[str, ...]] = ("pool_images",)
    examples: ClassVar[tuple[str, ...]] = ("domains", "pairs")
    usual: ClassVar[str] = "cut"

    translator: TrainTranslator

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the translator."""
        return cls(TrainTranslator.plan(plan, cls.examples, cls.usual))

    @property
    def generated(self) -> Stage:
        """The stage that trains the translator."""
        return self.translator

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return translations of the labelled images with their labels."""
        return self.translator.load(made["translator"]).translate(self.originals(labelled))

    def originals(self, labelled: ImageSet) -> ImageSet:
        """Return the images to translate, one for each translation."""
        return labelled
