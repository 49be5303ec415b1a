"""The base of all measures: they evaluate a trial whose stages are done, and do not change it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import Generator
from gan_augment.config import Config
from gan_augment.contracts import Plan, Watch
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Modes
from gan_augment.data.split import Split
from gan_augment.generators.sampling import SyntheticStage
from gan_augment.records.findings import Findings
from gan_augment.stages import Output, Stage

HARDLY = 10_000  # images: a generator that has seen fewer, a third of the default, has hardly trained


@dataclass(frozen=True, eq=False)
class Finished:
    """A trial whose stages are done, as measures receive it.

    Attributes:
        modes: The density that its images were drawn from, if known.
        stages: Its stages, by role.
        outputs: Their outputs, by role.
        folder: Where to write pictures.
        classifier: The trained classifier; None if only a generator was trained.
        part: The images that evaluate the classifier: `test`, or `validation` if test stays closed.
    """

    config: Config
    split: Split
    modes: Modes | None
    stages: Mapping[str, Stage]
    outputs: Mapping[str, Output]
    folder: Path
    classifier: TrainedClassifier | None
    part: str

    def has(self, role: str) -> bool:
        """Whether the stage of a role left something: a measure's own stage may fail or diverge."""
        return role in self.outputs and self.outputs[role].diverged is None

    def load(self, role: str) -> Any:
        """Read the output of a role's stage."""
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
        """The labelled images to compare the synthetic ones with, with the same classes."""
        synthesis = self.stages["synthesis"]
        assert isinstance(synthesis, SyntheticStage)
        return synthesis.like

    @property
    def why_alike(self) -> str:
        """What to call it if generated images are too much alike: not mode collapse before there is any training."""
        seen = self.generator.about["images_seen"] if "gan" in self.stages else HARDLY
        return "Mode collapse" if seen >= HARDLY else f"Too little training (only {seen:,} images seen)"

    @property
    def measured(self) -> ImageSet:
        """The images that evaluate the classifier."""
        return self.split.test if self.part == "test" else self.split.validation


class Measure(ABC):
    """An evaluation of a trial: a node in `measures`.

    A measure that fails leaves a warning in the record and never fails the trial.

    Attributes:
        needs: The role of a stage without which it does not apply; None if it always applies.
    """

    needs: ClassVar[str | None] = None

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan its additional stages, by role; None if it does not apply to the trial with these stages.

        The split holds all images: a measure may use those that training must not see.

        Raises:
            ValueError: If it applies and a setting does not fit.
        """
        return {} if self.needs is None or self.needs in stages else None

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Return, in a sentence, why it does not apply where a reader would expect it."""
        return ()

    def watch(self, config: Config, split: Split) -> Watch | None:
        """Plan the measurements of a generator during training; None for none."""
        return None

    @abstractmethod
    def find(self, finished: Finished) -> Findings:
        """Measure."""


class GeneratorMeasure(Measure):
    """A measure of generated images: it applies to trials with a generator."""

    needs = "synthesis"
