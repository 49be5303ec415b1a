"""A plugin of Hydra, which finds it by the name of this folder: the order of a study's trials."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from gan_augment.launch import unfinished


class StudySweeper(BasicSweeper):
    """Runs every combination; what a generator does not depend on varies slowest, wherever it was asked for.

    So trials that share a generator do not start together: one worker would wait until the other has trained it.
    Trials that are finished are left out: the launch has seen to them.
    """

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the settings of the jobs to run next."""
        assert self.config is not None  # since the sweeper was set up
        return unfinished(self.config, super().get_job_batch())

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Take the jobs as they are: the launch has composed and checked each of them, and that takes its time."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """Return the settings of each job, in batches."""
        from gan_augment.generators.gan import TrainGAN
        from gan_augment.plan import Trial
        from gan_augment.records.factors import has_effect

        def shares(override: Override) -> bool:
            return not has_effect(str(override.key_or_group), ("seed", *Trial.reads, *TrainGAN.reads))

        return BasicSweeper.split_arguments(sorted(overrides, key=shares, reverse=True), max_batch_size)
