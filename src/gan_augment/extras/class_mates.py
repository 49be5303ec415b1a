"""The extra `class_mates`: a translator makes further images of its class from each labelled image."""

from dataclasses import dataclass

import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.extras.translated import Translated

PER_IMAGE, MOST = 20, 40_000  # images made of each labelled one, and in all


@dataclass(frozen=True, eq=False)
class ClassMates(Translated):
    """Images that a translator made of the labelled ones, with their labels (DAGAN, Antoniou et al. 2017)."""

    name = "class_mates"
    sees = ("labelled",)
    examples = ("class_mates",)
    usual = "class_mates"

    def originals(self, labelled: ImageSet) -> ImageSet:
        """Return each image several times."""
        return repeated(labelled)


def repeated(images: ImageSet) -> ImageSet:
    """Return each image `PER_IMAGE` times or, of many images, less often: about `MOST` in all, at least each once.

    Example:
        >>> images = ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0]), ["a", "b"])
        >>> len(repeated(images))
        60
    """
    return images.subset(torch.arange(len(images)).repeat(min(PER_IMAGE, max(1, MOST // len(images)))))
