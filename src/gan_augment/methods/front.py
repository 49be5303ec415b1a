"""Low resolution: a classifier of small images that are brought back to their size, without or with a translator.

Labelled, validation and test images lose resolution, as if a worse camera had taken them. The images of the pool keep
it, so a translator can learn from them what a small image may have shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gan_augment.arm import Arm
from gan_augment.artefacts.front import RESTORE, Front
from gan_augment.augmentation.degrading import Degrading
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.image_set import changed
from gan_augment.generators.translation import TrainTranslator
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.settings import check_choice
from gan_augment.stages import Stage, made_from


class FrontMethod(Method):
    """The classifier, trained on images that a front has changed. The settings of the classifier apply.

    Attributes:
        restore: How images get their size back, as `Front` has it.
    """

    restore: str

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "TrainBehindFront":
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
            raise ValueError(
                f"augmentation.method={arm.method} is for images of one domain, and this data set has two: use another "
                "arm, or one of the two data sets"
            )
        degrading = plan.config.part("degrade", Degrading)
        degrading.check(plan.views.labelled.shape)
        return TrainBehindFront.plan(
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
class LowResolution(FrontMethod):
    """Small images, enlarged without any training.

    Attributes:
        restore: How images get their size back: `repeat`, each pixel several times; or `bicubic` interpolation.

    Raises:
        ValueError: If it is neither.
    """

    restore: str

    def __post_init__(self) -> None:
        if self.restore == "translator":
            raise ValueError("front.restore=translator needs images of the pool: use augmentation=sr_l1 or sr_gan")
        check_choice("front.restore", self.restore, RESTORE[:2])


@dataclass(frozen=True)
class SuperResolution(FrontMethod):
    """Small images, enlarged by bicubic interpolation and then restored by a translator that learned from the pool."""

    sees = "pool_images"
    restore = "translator"

    def translator(self, plan: Plan, degrading: Degrading) -> TrainTranslator:
        """Plan the translator, whose teacher learns from images that bicubic interpolation has enlarged."""
        teacher = Arm("labelled", "none", None, "classical", "front")
        return TrainTranslator.plan(
            plan,
            ("low_resolution",),
            "super_resolution",
            degrading,
            teach=lambda: LowResolution("bicubic").stage(plan, teacher, NoExtra()),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainBehindFront(Supervised):
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
        labelled, validation = (changed(images, front.change) for images in (self.labelled, self.validation))
        replace(self, labelled=labelled, validation=validation).train(folder, made, front)

    def alone(self) -> "TrainBehindFront":
        """Return the stage with bicubic interpolation in place of the translator."""
        return self if self.translator is None else replace(self, restore="bicubic", translator=None)
