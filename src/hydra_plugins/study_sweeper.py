"""A Hydra plugin, found by the name of this folder: the order of a study's trials."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override

from gan_augment.errors import user_errors
from gan_augment.job import request_file, study_folder
from gan_augment.launch import unfinished
from gan_augment.until import all_seeds, more_splits
from gan_augment.workers import num_workers


class StudySweeper(BasicSweeper):
    """Runs every combination, seed by seed, so that a study that is stopped compares its arms on the seeds so far.

    With several workers, as many seeds go together. Among them, settings that do not affect a generator vary slowest,
    so trials that share one do not start together: a worker would wait until the other has trained it.
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
        from gan_augment.records.factors import OF_EVERY_TRIAL, has_effect

        def shares(override: Override) -> bool:
            return not has_effect(str(override.key_or_group), ("seed", *OF_EVERY_TRIAL, *TrainGAN.reads))

        (jobs,) = BasicSweeper.split_arguments(sorted(overrides, key=shares, reverse=True), None)
        jobs = seed_by_seed(jobs, num_workers(HydraConfig.get().launcher))
        return [jobs] if max_batch_size is None else [*BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size)]


def seed_by_seed(jobs: list[list[str]], at_a_time: float) -> list[list[str]]:
    """Order jobs by their seeds, so many seeds at a time, and leave all else in its order.

    Example:
        >>> jobs = [["arm=a", "seed=0"], ["arm=a", "seed=1"], ["arm=b", "seed=0"], ["arm=b", "seed=1"]]
        >>> [" ".join(job) for job in seed_by_seed(jobs, 1)]
        ['arm=a seed=0', 'arm=b seed=0', 'arm=a seed=1', 'arm=b seed=1']
        >>> seed_by_seed(jobs, 2) == jobs
        True
    """
    seeds = [tuple(one for one in job if one.startswith(("seed=", "seeds.split="))) for job in jobs]
    turn = {seed: number // at_a_time for number, seed in enumerate(dict.fromkeys(seeds))}
    return [job for _, job in sorted(zip(seeds, jobs, strict=True), key=lambda pair: turn[pair[0]])]
