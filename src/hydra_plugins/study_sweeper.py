"""A Hydra plugin, found by the name of this folder: the order of a study's trials."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from gan_augment.errors import user_errors
from gan_augment.job import request_file, study_folder
from gan_augment.launch import planned_jobs, unfinished_waves
from gan_augment.until import more_splits
from gan_augment.workers import num_workers


class StudySweeper(BasicSweeper):
    """Runs every combination, seed by seed, so that a study that is stopped compares its arms on the seeds so far.

    With several workers, as many seeds go together. Among them, settings that do not affect a generator vary slowest,
    so trials that share one do not start together: a worker would wait until the other has trained it. A cluster, where
    all trials start at once, gets them in waves: no two of a wave lack the same stage.
    Finished trials are left out: the launch has handled them. With `until=decided`, all seeds are swept at once, but
    only requested trials run; each look requests more.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs, wave by wave and look by look; a failed job ends the sweep after the last wave of its look."""
        assert self.config is not None  # set by `setup`, as is all else
        assert self.launcher is not None
        jobs = planned_jobs(self.config)
        assert jobs is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        returned: list[Any] = []
        goes_on = True
        while goes_on:
            for wave in unfinished_waves(self.config, jobs):
                for batch in self.split_overrides_to_chunks(wave, self.max_batch_size):
                    returned += self.launcher.launch(batch, initial_job_idx=len(returned))
            for one in returned:
                _ = one.return_value  # raises what a job raised
            with user_errors():
                goes_on = more_splits(study_folder(self.config), request_file(self.config))
        return returned

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """Return the settings of each job, in one batch: `sweep` divides them."""
        from gan_augment.generators.gan import TrainGAN
        from gan_augment.records.factors import OF_EVERY_TRIAL, has_effect

        def shares(override: Override) -> bool:
            return not has_effect(str(override.key_or_group), ("seed", *OF_EVERY_TRIAL, *TrainGAN.reads))

        (jobs,) = BasicSweeper.split_arguments(sorted(overrides, key=shares, reverse=True), None)
        return [seed_by_seed(jobs, num_workers(HydraConfig.get().launcher))]


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
