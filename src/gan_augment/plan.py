"""The plan of a trial: its settings checked, its images drawn, its stages planned. Nothing is trained here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gan_augment.config import Config
from gan_augment.contracts import Plan
from gan_augment.data.loading import load_source
from gan_augment.data.source import Source, abridged
from gan_augment.data.split import Split, check_validation, draw_split
from gan_augment.data.views import Views
from gan_augment.extras import plan_extra
from gan_augment.measures.base import Measure
from gan_augment.records.factors import NULL, OF_EVERY_TRIAL, trial_factors
from gan_augment.records.received import printable
from gan_augment.records.record import digest
from gan_augment.settings import check_type
from gan_augment.stages import Stage, in_order


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial that is checked and ready to run.

    Attributes:
        measures: Those that apply, by name.
        needed: The stages of its result by role, each after its inputs: the last trains the classifier or, without one,
            makes the synthetic images.
        stages: These, then the stages of the measures.
    """

    config: Config
    source: Source
    split: Split
    measures: Mapping[str, Measure]
    needed: Mapping[str, Stage]
    stages: Mapping[str, Stage]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the results must know."""
        of_measures = (note for one in self.config.measures.values() for note in one.notes(self.split, self.stages))
        of_stages = (note for stage in self.needed.values() for note in stage.notes)
        said = (*self.source.notes, *self.split.notes, *of_measures, *of_stages, *self.origins)
        return tuple(dict.fromkeys(map(printable, said)))

    @property
    def parts(self) -> str:
        """How the images are divided, in a few words."""
        images, split, labels = self.source.images, self.split, self.config.split.labels
        counts = (images.labels == label for label in range(images.num_classes))
        named = [f"{printable(name)} {int(of.sum())}" for name, of in zip(images.class_names, counts, strict=True)]
        training, labelled = len(split.training), len(split.labelled)
        if split.domains is not None:
            first, second = map(printable, split.domains)
            return (
                f"{len(images)} in {images.num_classes} classes: {labelled} labelled ones of {first} to train on, "
                f"{len(split.validation)} for validation; {len(split.pool)} of {second} in the pool, {len(split.test)} "
                "for the test"
            )
        taken = "" if labelled == training else f", of which labels={labels} takes {labelled} (labels=all: {training})"
        return (
            f"{len(images)} in {images.num_classes} classes ({abridged(named)}): {training} to train on{taken}; "
            f"{len(split.validation)} for validation, {len(split.test)} for the test"
        )

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What is known of the files that its stages start from, by the setting that names each."""
        return {name: known for stage in self.stages.values() for name, known in stage.files.items()}

    @property
    def origins(self) -> tuple[str, ...]:
        """Sentences on the sources of the pretrained weights that its trainings use."""
        return tuple(dict.fromkeys(one.origin for one in self.needed.values() if one.origin is not None))

    @cached_property
    def factors(self) -> dict[str, Any]:
        """Every setting that a study can sweep, null if it has no effect."""
        reads = {name for stage in self.stages.values() for name in stage.all_reads}
        measures = {f"measures.{name}" for name in self.measures}
        named = {name: known["hash"] for name, known in self.files.items()}
        return trial_factors(self.config.settings, {*OF_EVERY_TRIAL, *reads, *measures}) | named

    @cached_property
    def name(self) -> str:
        """The name of the trial's folder: arm and seed for the reader, and a hash of all that the record depends on."""
        factors = {name: value for name, value in self.factors.items() if value not in (None, NULL)}
        keys, measures = [stage.key for stage in self.stages.values()], sorted(self.measures)
        key = digest([factors, self.source.images.fingerprint, self.split.hash, keys, measures])
        return f"{self.factors['augmentation'] or 'generator'}-seed{self.factors['seeds.split']}-{key[:8]}"


def plan_trial(settings: Mapping[str, Any]) -> Trial:
    """Check a trial's settings, the plain configuration, and plan its stages. Nothing is trained.

    Raises:
        ValueError: If a setting is out of range, or does not fit the images or the machine.
    """
    config = Config.read(settings)
    for name, one in config.measures.items():
        check_type(f"measures.{name}", one, Measure)
    source = load_source(config.source)
    config = config.settled(source)
    split = draw_split(source, config.split)
    watches = [watch for one in config.measures.values() if (watch := one.watch(config, split)) is not None]
    if len(watches) > 1:
        raise ValueError("several measures follow the generator while it trains: set every of all but one to null")
    plan = Plan(config, Views(split, config.arm.sees, config.split.seed), *watches)
    lasts = plan.lasts(plan_extra(plan))
    needed = in_order(**lasts)
    measures = {}
    for name, one in config.measures.items():
        if (further := one.stages(plan, split, needed)) is not None:
            measures[name] = one
            lasts |= further
    stages = in_order(**lasts)
    for stage in stages.values():
        stage.check()
        if config.hardware.processes > 1 and not stage.together:
            raise ValueError(f"trainer.devices: the stage {stage.name} trains on one device: use trainer.devices=1")
    if config.open_test and "classifier" in lasts and not len(split.test):
        raise ValueError(
            "no image of the second domain has a label, so nothing can be tested: set open_test=false, or label some"
        )
    if not config.open_test and "classifier" in lasts:
        check_validation("open_test=false", split.validation)
    return Trial(config, source, split, measures, needed, stages)
