"""A Hydra plugin, found by the name of this folder: the order of a study's trials."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from gan_augment.errors import user_errors
from gan_augment.job import request_file, study_folder
from gan_augment.launch import unfinished
from gan_augment.until import all_seeds, more_splits


class StudySweeper(BasicSweeper):
    """Runs every combination; settings that do not affect a generator vary slowest, whatever their order.

    So trials that share a generator do not start together: one worker would wait until the other has trained it.
    Finished trials are left out: the launch has handled them. With `until=decided`, all seeds are swept at once, but
    only requested trials run; each look requests more.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs, with the seeds of all looks."""
        assert self.config is not None  # set by `setup`
        return super().sweep([*arguments, *all_seeds(self.config)])

    def is_done(self) -> bool:
        """Return whether there is nothing more to run; if there is, take the next jobs. Launchers need at least one."""
        assert self.config is not None
        self.jobs: Sequence[Sequence[str]] = []
        while not self.jobs:
            if super().is_done():
                with user_errors():
                    if not more_splits(study_folder(self.config), request_file(self.config)):
                        return True
                self.batch_index = 0  # go through all jobs again
            self.jobs = unfinished(self.config, super().get_job_batch())
        return False

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the settings of the jobs to run next."""
        return self.jobs

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: the launch has already composed and checked each job, which is slow."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """Return the settings of each job, in batches."""
        from gan_augment.generators.gan import TrainGAN
        from gan_augment.plan import Trial
        from gan_augment.records.factors import has_effect

        def shares(override: Override) -> bool:
            return not has_effect(str(override.key_or_group), ("seed", *Trial.reads, *TrainGAN.reads))

        return BasicSweeper.split_arguments(sorted(overrides, key=shares, reverse=True), max_batch_size)
