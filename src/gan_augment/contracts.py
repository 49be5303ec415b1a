"""What the stages of a trial are planned from, and what methods, extras and generators have in common."""

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

    sees: ClassVar[str] = "labelled"  # what it needs to see when it is a teacher

    @abstractmethod
    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> Stage:
        """Plan the stage that trains the classifier.

        Args:
            plan: What it is planned from.
            arm: The row that says how.
            extra: Where further images of a batch come from.
        """


class Extra(Bundle):
    """Where the further images of a batch come from: image sets and stages that the method's stage is made from.

    Attributes:
        name: Its name in the rows of arms.
        sees: What arms with it may see.
        balanced: Whether every class comes as often; else every image does.
    """

    name: ClassVar[str]
    sees: ClassVar[tuple[str, ...]] = ("labelled",)
    balanced: ClassVar[bool] = False

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Plan the stages that it needs: none unless a class says otherwise."""
        return cls()

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse a share of the batch, or images, that make another arm of this one.

        Args:
            labelled: The labelled images.
            num_extra: Images of each batch that come from here.
            batch_size: Images in a batch.

        Raises:
            ValueError: If that is so.
        """

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet | None:
        """Return the images; None for no images: the batch is that much smaller.

        Args:
            labelled: The labelled images.
            made: The folders of the stages, by the names of the fields that hold them.
            seed: The seed of the training.
        """
        return None

    @property
    def generated(self) -> Stage | None:
        """The stage that makes its images, where a generator does."""
        return None


class GeneratorSettings(ABC):
    """The settings of a way to train a generator: a configuration node that plans a stage."""

    @abstractmethod
    def knows_classes(self, config: Config) -> bool:
        """Whether the generator makes images of a class that one names."""

    @abstractmethod
    def stage(
        self,
        config: Config,
        labelled: ImageSet,
        pool: ImageSet | None,
        pseudo_labels: Stage | None,
        watch: Watch | None,
    ) -> Stage:
        """Plan the stage that trains the generator.

        Args:
            config: The configuration.
            labelled: The images it learns from; all of one class where it knows no classes.
            pool: Images without labels that it learns from too; None for none.
            pseudo_labels: The stage that labels them, for a generator that knows classes.
            watch: What measures it while it trains, and may keep the best one.
        """


class Watch(Bundle, ABC):
    """What measures a generator while it trains, and may keep the best one.

    Attributes:
        best_by: The metric by which the best generator is kept; None to keep the last.
    """

    best_by: str | None

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the key of the generator's stage holds of it."""

    @abstractmethod
    def check(self, knows_classes: bool) -> None:
        """Refuse a metric that will not be there.

        Raises:
            ValueError: If that is so.
        """

    @abstractmethod
    def callback(self, made: Mapping[str, Path], seed: int, output: Path) -> Callback:
        """Return what Lightning calls while the generator trains.

        Args:
            made: The folders of the stages, by the names of the fields that hold them.
            seed: Decides the latents.
            output: Where the generator's stage writes.
        """


@dataclass(frozen=True, eq=False)
class Plan:
    """What the stages of a trial are planned from.

    Attributes:
        config: The configuration.
        views: What the arm may see.
        watch: What measures its generator while it trains; None for nothing.
    """

    config: Config
    views: Views
    watch: Watch | None = None

    def teacher(self) -> Stage:
        """Plan the method that labels images: the arm's teacher, or the arm itself without a generator.

        Raises:
            ValueError: If there is no such method.
        """
        arm = self.config.arm
        if arm.teacher is None:
            return self.method(replace(arm, extra="none", share=None), NoExtra())
        if arm.teacher == "classifier" and self.config.parts["classifier"] is None:
            raise ValueError(
                "augmentation.teacher=classifier, but there is no classifier that could label the pool: choose one, or "
                "augmentation.teacher=semi_supervised"
            )
        sees = self.config.part(arm.teacher, Method).sees
        return self.method(Arm(sees, "none", None, "classical", arm.teacher), NoExtra())

    def method(self, arm: Arm, extra: Extra) -> Stage:
        """Plan the stage that trains a classifier in some arm."""
        return self.config.part(arm.method, Method).stage(self, arm, extra)


@dataclass(frozen=True, eq=False)
class NoExtra(Extra):
    """No further images."""

    name = "none"
