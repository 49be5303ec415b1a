"""Extras from a generator: its images with their labels or with shuffled labels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch

from gan_augment.contracts import Extra, GeneratorSettings, Method, Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.extras.pseudo_labelling import plan_pseudo_labels
from gan_augment.generators.refusing import AuditedAgainst
from gan_augment.generators.sampling import Synthesis, SynthesisSettings, SyntheticStage
from gan_augment.randomness import Stream, stream_seed


@dataclass(frozen=True, eq=False)
class Synthetic(Extra):
    """Images of a generator trained on what the arm sees."""

    name = "synthetic"
    sees: ClassVar[tuple[str, ...]] = ("labelled", "pool_images")
    needs_teacher = True

    synthesis: SyntheticStage

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the generator and its images.

        Raises:
            ValueError: If the classifier would get no labels, the selection no teacher, or the audit too few images.
        """
        config, labelled = plan.config, plan.views.labelled
        settings = config.part("synthesis", SynthesisSettings)
        generator = config.part("generator", GeneratorSettings)
        knows_classes, has_classifier = generator.knows_classes(config), config.parts["classifier"] is not None
        if not has_classifier and settings.asks_teacher:
            raise ValueError(
                f"synthesis.selection={settings.selection} needs a classifier that selects images, but there is none: "
                "choose one"
            )
        if has_classifier and not knows_classes and settings.selection != "confident":
            raise ValueError(
                "conditioning=none makes images without labels, and a classifier cannot learn from them: use another "
                "conditioning, let a teacher label them (synthesis=confident), or train the generator alone with "
                "classifier=none"
            )
        seen = labelled if knows_classes else labelled.as_one_class()
        labels = plan_pseudo_labels(plan) if plan.pool is not None and knows_classes else None
        like = labelled if settings.asks_teacher else seen
        if settings.redraw:
            settings = replace(settings, per_class=math.ceil(_taken(plan) / like.num_classes))
        synthesis: Synthesis | None = None
        for number, part in reversed([*enumerate(settings.divided())]):
            gan = generator.stage(plan, seen, labels)
            if number:
                gan = replace(gan, seed=stream_seed(gan.seed, f"generators/{number}"))
            synthesis = Synthesis(
                gan=gan,
                teacher=plan.teacher() if part.asks_teacher else None,
                settings=part,
                images=part.count(like.class_counts).tolist(),
                like=like,
                audited=AuditedAgainst.of([*gan.image_sets.values()], plan.views.validation)
                if part.refuse_copies
                else None,
                others=synthesis,
                seed=config.seeds.synthesis,
                hardware=config.hardware,
            )
        assert synthesis is not None
        return cls(synthesis)

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the images with their labels."""
        return self.synthesis.load(made["synthesis"]).images

    @property
    def generated(self) -> SyntheticStage:
        """The stage that makes the images."""
        return self.synthesis


def _taken(plan: Plan) -> int:
    """Return how many further images the arm's classifier takes; raise a ValueError if that is not known."""
    arm = plan.config.arm
    method = plan.config.parts[arm.method]
    taken = method.num_extra(arm.share or 0) if isinstance(method, Method) else None
    if plan.config.parts["classifier"] is None:
        raise ValueError(
            "synthesis.redraw=true makes as many images as a classifier takes, but there is none: use false"
        )
    if taken is None:
        raise ValueError(
            "synthesis.redraw=true makes as many images as the classifier takes, which "
            f"augmentation.method={arm.method} does not tell: use synthesis.per_class"
        )
    return taken


@dataclass(frozen=True, eq=False)
class ShuffledSynthetic(Synthetic):
    """The same images with shuffled labels."""

    name = "shuffled_synthetic"

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the images with shuffled labels; each class keeps its number of images."""
        images = super().images(labelled, made, seed)
        order = torch.randperm(len(images), generator=Stream(seed, "labels").at(0))
        return replace(images, labels=images.labels[order])
