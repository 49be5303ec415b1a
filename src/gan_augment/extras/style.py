"""The extra `style`: the labelled images in the styles of images of the pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.extras.class_mates import repeated
from gan_augment.generators.translation import TrainTranslator
from gan_augment.stages import Stage


@dataclass(frozen=True, eq=False)
class Style(Extra):
    """The labelled images, each in several random styles of the pool, with their own labels (AdaIN)."""

    name = "style"
    sees = ("pool_images",)

    translator: TrainTranslator

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the translator."""
        translator = TrainTranslator.plan(plan, ("domains",))
        if not translator.settings.style:
            raise ValueError(
                "augmentation.extra=style needs a translator that takes a style: use translation=style, or "
                "augmentation.extra=translated"
            )
        return cls(translator)

    @property
    def generated(self) -> Stage:
        """The stage that trains the translator."""
        return self.translator

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the labelled images in several styles each."""
        return self.translator.load(made["translator"]).translate(repeated(labelled))
