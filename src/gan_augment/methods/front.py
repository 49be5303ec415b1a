"""Low resolution: a classifier of small images that are brought back to their size, without or with a translator.

Labelled, validation and test images lose resolution, as if a worse camera had taken them. The images of the pool keep
it, so a translator can learn from them what a small image may have shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from gan_augment.arm import Arm
from gan_augment.artefacts.front import RESTORE, Front
from gan_augment.augmentation.degrading import Degrading
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.generators.translation import TrainTranslator
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.settings import check_choice
from gan_augment.stages import Stage, made_from


@dataclass(frozen=True)
class LowResolution(Method):
    """Small images, enlarged without any training. The settings of the classifier apply.

    Attributes:
        restore: How images get their size back: `repeat`, each pixel several times; `bicubic` interpolation; or
            `translator`, for `SuperResolution`.

    Raises:
        ValueError: If it is none of these.
    """

    choices: ClassVar[tuple[str, ...]] = RESTORE[:2]

    restore: str

    def __post_init__(self) -> None:
        check_choice("front.restore", self.restore, self.choices)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "Fronted":
        """Plan the stage that trains the classifier in an arm.

        Raises:
            ValueError: If the classifier, the extra or the images are such that this is not supported.
        """
        classifier = plan.config.part("classifier", Method)
        if not isinstance(classifier, ClassifierSettings):
            raise ValueError(
                f"augmentation.method={arm.method} changes the images that a classifier learns from, but this one "
                "learns from fixed features: use classifier=cnn or classifier=finetuned"
            )
        if not isinstance(extra, NoExtra):
            raise ValueError(
                f"augmentation.method={arm.method} and augmentation.extra={extra.name}: further images would be made "
                "from labelled ones in full resolution: use extra=none"
            )
        if plan.views.domains is not None:
            raise ValueError(f"augmentation.method={arm.method} takes images of one domain, and this data set has two")
        degrading = plan.config.part("degrade", Degrading)
        degrading.check(plan.views.labelled.shape)
        return Fronted.plan(
            plan,
            arm.transform,
            arm=arm,
            extra=extra,
            classifier=classifier,
            degrading=degrading,
            restore=self.restore,
            translator=self.translator(plan, degrading),
        )

    def translator(self, plan: Plan, degrading: Degrading) -> TrainTranslator | None:
        """Plan the stage that trains the translator; None without one."""
        return None


@dataclass(frozen=True)
class SuperResolution(LowResolution):
    """Small images, enlarged by bicubic interpolation and then restored by a translator that learned from the pool."""

    sees = "pool_images"
    choices = RESTORE[2:]

    def translator(self, plan: Plan, degrading: Degrading) -> TrainTranslator:
        """Plan the translator, whose teacher learns from images that bicubic interpolation has enlarged."""
        teacher = Arm("labelled", "none", None, "classical", "front")
        return TrainTranslator.plan(
            plan, ("low_resolution",), degrading, lambda: LowResolution("bicubic").stage(plan, teacher, NoExtra())
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Fronted(Supervised):
    """Trains a classifier behind a front, which changes every image.

    Attributes:
        degrading: How images lose resolution.
        restore: How they get their size back.
        translator: The stage of the translator that restores them; None without one.
    """

    name, version = "front", 1
    reads = (*Supervised.reads, "front")

    degrading: Degrading
    restore: str
    translator: Stage | None = made_from()

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the classifier on changed images, and write its weights and those of the front."""
        translator = None if self.translator is None else self.translator.load(made["translator"])
        front = Front(self.degrading, self.restore, translator)
        seen = replace(self, labelled=front.apply(self.labelled), validation=front.apply(self.validation))
        seen.train(folder, made, front)

    def alone(self) -> "Fronted":
        """Return the stage with bicubic interpolation in place of the translator."""
        return self if self.translator is None else replace(self, restore="bicubic", translator=None)
