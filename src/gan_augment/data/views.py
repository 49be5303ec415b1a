"""Views: what an arm may see of a split."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet
from gan_augment.data.split import Split
from gan_augment.randomness import Stream

SEES = ("labelled", "pool_images", "pool_labels")


@dataclass(frozen=True, eq=False)
class Views:
    """The parts of a split that an arm's training may see. Asking for more raises.

    Attributes:
        sees: `labelled`; `pool_images`, the images of the pool too, without their labels; or `pool_labels`, the pool
            with its labels.
        seed: The seed of the split: decides which images of the pool are drawn.
    """

    split: Split
    sees: str
    seed: int

    @property
    def labelled(self) -> ImageSet:
        """The labelled images."""
        return self.split.labelled

    @property
    def validation(self) -> ImageSet:
        """The validation images, to report on while training, and as decoys of an audit: they change no weight."""
        return self.split.validation

    @property
    def domains(self) -> tuple[str, str] | None:
        """The names of the two domains; None for images of one."""
        return self.split.domains

    @cached_property
    def pool(self) -> ImageSet:
        """The images of the pool, without their labels; raises a ValueError if the pool is empty."""
        self._need("pool_images")
        if not len(self.split.pool):
            self._refuse_empty()
            raise ValueError(
                "augmentation.sees=pool_images, but the pool is empty: every training image is labelled, so images "
                "without labels have nothing to add. The pool is what the setting labels leaves: use a smaller one, "
                "or an arm without a pool"
            )
        return self.split.pool.without_labels()

    @property
    def pairs(self) -> tuple[ImageSet, ImageSet]:
        """Pairs of images without labels, of the first domain and of the pool; raises a ValueError without any."""
        self._need("pool_images")
        if self.split.pairs is None:
            raise ValueError(
                "translation.examples=pairs, but the images of this data set are not in pairs: use data=pairs, or "
                "another translation, such as translation=cut"
            )
        if not len(self.split.pairs[0]):
            raise ValueError(
                "no pair is left to learn from: pairs of labelled, validation and test images do not count. Use fewer "
                "labels, such as labels=5, or add pairs"
            )
        return self.split.pairs

    def labelled_pool(self, wanted: Tensor) -> ImageSet:
        """Draw images of the pool with their labels: so many of each class, int64 `[K]`, or as many as there are.

        A smaller draw lies inside a larger one.

        Raises:
            ValueError: If there is none to draw.
        """
        self._need("pool_labels")
        pool, stream = self.split.pool, Stream(self.seed, "pool")
        counts = wanted.minimum(pool.class_counts)
        if not counts.any():
            self._refuse_empty()
            raise ValueError(
                "augmentation.extra=pool_labelled, but the pool has no labelled image to give: it is what the setting "
                "labels leaves, so use a smaller one"
            )
        drawn = []
        for label, count in enumerate(counts.tolist()):
            members = pool.members(label)
            drawn.append(members[torch.randperm(len(members), generator=stream.at(label))][:count])
        return pool.subset(torch.cat(drawn))

    def _refuse_empty(self) -> None:
        """Raise a ValueError if the pool is of another domain, where labels do not decide what is in it."""
        if self.domains is not None:
            raise ValueError(
                f"augmentation.sees={self.sees}, but the second domain, {self.domains[1]}, has only test images, or no "
                "other ones with labels: add some to its folder, or use an arm without a pool"
            )

    def _need(self, sees: str) -> None:
        if self.sees != sees:
            raise ValueError(f"augmentation.sees={self.sees}, but this arm needs {sees}: set augmentation.sees={sees}")
