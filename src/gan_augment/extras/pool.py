"""Extras from the pool: real images with their true labels, or with a teacher's labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.extras.pseudo_labelling import PseudoLabelling, plan_pseudo_labels
from gan_augment.generators.sampling import SynthesisSettings


@dataclass(frozen=True, eq=False)
class PoolLabelled(Extra):
    """Images of the pool with their true labels, as many of each class as a generator would make."""

    name = "pool_labelled"
    sees = ("pool_labels",)
    reads = ("synthesis.per_class", "synthesis.quotas")

    pool: ImageSet

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Draw the images."""
        wanted = plan.config.part("synthesis", SynthesisSettings).count(plan.views.labelled.class_counts)
        return cls(plan.views.labelled_pool(wanted))

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the drawn images."""
        return self.pool


@dataclass(frozen=True, eq=False)
class PseudoLabelled(Extra):
    """Images of the pool with a teacher's labels (Lee 2013)."""

    name = "pseudo_labelled"
    sees = ("pool_images",)
    needs_teacher = True

    pool: ImageSet
    pseudo_labels: PseudoLabelling

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the teacher and its labels."""
        return cls(plan.views.pool, plan_pseudo_labels(plan))

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the images with the teacher's labels."""
        return self.pseudo_labels.load(made["pseudo_labels"]).of(self.pool)
