"""The extra `style`: the labelled images in the styles of images of the pool."""

from dataclasses import dataclass
from typing import Self

from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.extras.class_mates import repeated
from gan_augment.extras.translated import Translated


@dataclass(frozen=True, eq=False)
class Style(Translated):
    """The labelled images, each in several random styles of the pool, with their own labels (AdaIN)."""

    name = "style"
    examples = ("domains",)
    usual = "style"

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the translator.

        Raises:
            ValueError: If it takes no style.
        """
        planned = super().plan(plan)
        if not planned.translator.settings.style:
            raise ValueError(
                "augmentation.extra=style needs a translator that takes a style: use translation=style, or "
                "augmentation.extra=translated"
            )
        return planned

    def originals(self, labelled: ImageSet) -> ImageSet:
        """Return each image several times."""
        return repeated(labelled)
