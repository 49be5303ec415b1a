"""What measures have in common: they find something out about a trial whose stages are made, and change nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import Generator
from gan_augment.config import Config
from gan_augment.contracts import Plan, Watch
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Modes
from gan_augment.data.split import Split
from gan_augment.records.findings import Findings
from gan_augment.stages import Output, Stage


@dataclass(frozen=True, eq=False)
class Finished:
    """A trial whose stages are made: what measures are given.

    Attributes:
        config: Its configuration.
        split: Its images.
        modes: The density that they were drawn from, where it is known.
        stages: Its stages, by role.
        outputs: What they left, by role.
        folder: Where pictures go.
        classifier: The trained classifier; None where a generator alone was trained.
        part: The images that the classifier is measured on: `test`, or `validation` where test stays closed.
    """

    config: Config
    split: Split
    modes: Modes | None
    stages: Mapping[str, Stage]
    outputs: Mapping[str, Output]
    folder: Path
    classifier: TrainedClassifier | None
    part: str

    def load(self, role: str) -> Any:
        """Read what the stage of a role left."""
        return self.stages[role].load(self.outputs[role].folder)

    @cached_property
    def generator(self) -> Generator:
        """The trained generator."""
        return self.load("gan")

    @cached_property
    def synthetic(self) -> ImageSet:
        """The synthetic images."""
        return self.load("synthesis").images

    @property
    def real(self) -> ImageSet:
        """The labelled images that the synthetic ones are compared with, with the same classes."""
        return self.stages["synthesis"].like  # type: ignore[attr-defined]

    @property
    def measured(self) -> ImageSet:
        """The images that the classifier is measured on."""
        return self.split.test if self.part == "test" else self.split.validation


class Measure(ABC):
    """What is found out about a trial: the node of its settings in `measures`.

    A measure that fails leaves a warning in the record and never fails the trial.
    """

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan the stages that it needs in addition, by role; None where it does not apply to a trial.

        Args:
            plan: What the trial's stages are planned from.
            split: All of the images: a measure may use what training must not see.
            stages: The trial's stages, by role.

        Raises:
            ValueError: If it applies and a setting does not fit.
        """
        return {}

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Return why it does not apply where a reader would expect it, in a sentence."""
        return ()

    def watch(self, config: Config, split: Split) -> Watch | None:
        """Plan what measures a generator while it trains; None for nothing."""
        return None

    @abstractmethod
    def find(self, finished: Finished) -> Findings:
        """Measure."""


class GeneratorMeasure(Measure):
    """A measure of generated images: it applies to trials with a generator."""

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Apply where there are generated images."""
        return {} if "synthesis" in stages else None
