"""The plan of a trial's stages, and the interfaces of methods, extras, generators and watches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gan_augment.arm import Arm
from gan_augment.config import Config
from gan_augment.data.image_set import ImageSet
from gan_augment.data.views import Views
from gan_augment.stages import Bundle, Stage

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


class Method(ABC):
    """The settings of a way to train a classifier: a configuration node that plans a stage."""

    sees: ClassVar[str] = "labelled"  # what it needs to see as a teacher

    @abstractmethod
    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> Stage:
        """Plan the stage that trains the classifier in an arm, with the further images of its extra."""

    def num_extra(self, share: float) -> int | None:
        """Return how many further images it takes in all, with this share in a batch; None if that is not known."""
        return None


class Extra(Bundle):
    """A source of further images in a batch: image sets and stages that the method's stage is made from.

    Attributes:
        name: Its name in the rows of arms.
        sees: What arms with it may see.
        needs_teacher: Whether an arm with it that sees images of the pool needs a teacher to label them.
        balanced: Whether every class is drawn equally often; otherwise every image is.
    """

    name: ClassVar[str]
    sees: ClassVar[tuple[str, ...]] = ("labelled",)
    needs_teacher: ClassVar[bool] = False
    balanced: ClassVar[bool] = False

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the stages that it needs; by default none."""
        return cls()

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Raise a ValueError unless an arm with `num_extra` of these images in a batch differs from every other."""

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet | None:
        """Return the images when the training, with this seed, starts; None for none, which makes the batch smaller.

        `made` has the folders of the stages, by the names of the fields that hold them. The seed may decide the labels
        of the images, but not which images there are and in which order: trials share their features.
        """
        return None

    @property
    def generated(self) -> Stage | None:
        """The stage that generates its images; None without a generator."""
        return None


class GeneratorSettings(ABC):
    """The settings of a way to train a generator: a configuration node that plans a stage."""

    @abstractmethod
    def knows_classes(self, config: Config) -> bool:
        """Whether the generator can make images of a given class."""

    @abstractmethod
    def stage(self, plan: Plan, labelled: ImageSet, pseudo_labels: Stage | None) -> Stage:
        """Plan the stage that trains the generator on labelled images, all of one class if it knows no classes.

        It also learns from the pool of the plan, which `pseudo_labels` labels for a generator that knows classes.
        """


class Watch(Bundle, ABC):
    """Measures a generator during training, and may keep the best one.

    Attributes:
        best_by: The metric that chooses the best generator; None to keep the last.
    """

    best_by: str | None

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Its part of the key of the generator's stage."""

    @abstractmethod
    def check(self, knows_classes: bool) -> None:
        """Raise a ValueError unless the choosing metric will be available."""

    @abstractmethod
    def callback(self, made: Mapping[str, Path], seed: int, output: Path) -> Callback:
        """Return the Lightning callback for the training of the generator, whose stage writes into `output`."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything needed to plan the stages of a trial.

    Attributes:
        views: The images that the arm may see.
        watch: Measures its generator during training; None for no measurements.
    """

    config: Config
    views: Views
    watch: Watch | None = None

    @property
    def pool(self) -> ImageSet | None:
        """The images of the pool, without their labels, if the arm sees them."""
        return self.views.pool if self.config.arm.sees == "pool_images" else None

    def lasts(self, extra: Extra) -> dict[str, Stage]:
        """Plan the last stage of the arm, by its role: it trains the classifier or, without one, makes images."""
        if self.config.parts["classifier"] is not None:
            return {"classifier": self.method(self.config.arm, extra)}
        if extra.generated is None:
            raise ValueError("classifier=none trains a generator alone, but this arm has none: use augmentation=gan")
        return {extra.generated.name: extra.generated}

    def teacher(self) -> Stage:
        """Plan the method that labels images: the arm's teacher, or the arm itself without a generator."""
        arm = self.config.arm
        if arm.teacher is None:
            return self.method(replace(arm, extra="none", share=None), NoExtra())
        if arm.teacher == "classifier" and self.config.parts["classifier"] is None:
            raise ValueError(
                "augmentation.teacher=classifier, but there is no classifier that could label the pool: choose one, or "
                "augmentation.teacher=semi_supervised"
            )
        return self.taught_by(arm.teacher)

    def taught_by(self, method: str) -> Stage:
        """Plan a method as a teacher: on all that it needs to see, under classical transforms."""
        sees = self.config.part(method, Method).sees
        return self.method(Arm(sees, "none", None, "classical", method), NoExtra())

    def method(self, arm: Arm, extra: Extra) -> Stage:
        """Plan the stage that trains a classifier in some arm."""
        return self.config.part(arm.method, Method).stage(self, arm, extra)


@dataclass(frozen=True, eq=False)
class NoExtra(Extra):
    """No further images."""

    name = "none"
