"""A Hydra plugin, found by the name of this folder: a search for settings that stays honest."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from gan_augment.errors import user_errors
from gan_augment.job import finished, request_file, study_folder, validation_accuracy
from gan_augment.launch import compose_jobs
from gan_augment.records.record import read_study, write_json
from gan_augment.report.searches import Candidate, outcome_in_words
from gan_augment.settings import check_integer

if TYPE_CHECKING:  # Hydra imports this file at every start, also without Optuna
    from gan_augment.search import Search


class SearchSweeper(Sweeper):
    """Tries candidates next to a reference arm on the same splits, with the test images closed.

    A candidate goes from rung to rung, and each is a launch. `search.json` in the study's folder says what was tried.

    Attributes:
        n_trials: Candidates in all.
        reference: The arm that gains are measured against, with the settings that are not searched.
        seeds: The splits.
        splits: Of each rung.
        images: Of each rung, as `Rung` has them.
        seed: That of the search's own draws.
        params: What a recipe sweeps.
    """

    def __init__(
        self,
        n_trials: int,
        reference: str,
        seeds: Sequence[int],
        splits: Sequence[int],
        images: Sequence[float],
        seed: int,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_trials, self.reference, self.seeds, self.seed = n_trials, reference, [*seeds], seed
        self.splits, self.images, self.params = [*splits], [*images], params or {}
        self.launched = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what launches need."""
        self.config: DictConfig = config
        self.hydra_context: HydraContext = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Try candidates until there are `n_trials`, and say which one was the best."""
        folder = study_folder(self.config)
        folder.mkdir(parents=True, exist_ok=True)
        with user_errors():
            fixed, search = self._begin(arguments, folder / "search.json")
            try:
                alone = FileLock(folder / "search.lock").acquire(timeout=0)
            except Timeout as error:
                raise ValueError(f"another launch searches in {folder}: wait for its end") from error
        with alone:
            self._note(search)
            while len(search.tried) < self.n_trials:
                settings = search.next()
                try:
                    candidate = self._try(search, fixed, settings)
                except ValueError as refusal:  # settings that do not go together
                    if not search.tried:
                        with user_errors():
                            raise
                    print(f"refused: {refusal}")
                    candidate = Candidate(settings, [], "failed")
                search.tried.append(candidate)
                self._note(search)
                print(f"candidate {len(search.tried)}/{self.n_trials}: {candidate}")
        print(outcome_in_words(search.tried))
        if search.best is not None:
            print(f"confirm it on other splits: {self._confirmation(fixed, search.best)}")

    def _note(self, search: "Search") -> None:
        """Write what was tried: for a launch that goes on, and for the report."""
        request = request_file(self.config)
        write_json(search.told, study_folder(self.config) / "search.json")
        write_json(read_study(request) | {"search": search.told}, request)

    def _begin(self, arguments: list[str], file: Path) -> tuple[dict[str, str], "Search"]:
        """Return the settings that are not searched, as they are said, by name, and the search, perhaps to go on with.

        Raises:
            ValueError: If a setting of the search does not fit.
        """
        try:
            from gan_augment.search import Rung, Search, distribution
        except ModuleNotFoundError as error:
            raise ValueError(f"hydra/sweeper=search needs {error.name}: pip install 'gan-augment[search]'") from error

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        said = [*(f"{name}={value}" for name, value in self.params.items() if name != "seed"), *arguments]
        overrides = {one.get_key_element(): one for one in parser.parse_overrides(said)}
        space = {name: distribution(one) for name, one in overrides.items() if one.is_sweep_override()}
        fixed = {name: str(one.input_line) for name, one in overrides.items() if name not in space}
        if len(self.splits) != len(self.images):
            raise ValueError(
                f"hydra.sweeper.splits={self.splits}, but hydra.sweeper.images={self.images}: give each rung both"
            )
        rungs = [Rung(*one) for one in zip(self.splits, self.images, strict=True)]
        check_integer("hydra.sweeper.n_trials", self.n_trials, low=1)
        if len(set(self.seeds)) != max((one.splits for one in rungs), default=0):
            raise ValueError(
                f"hydra.sweeper.seeds={self.seeds} are not as many as the last of hydra.sweeper.splits={self.splits}"
            )
        about = {"fixed": sorted(fixed.values()), "reference": self.reference, "seeds": self.seeds}
        return fixed, Search.read(file, space=space, rungs=rungs, seed=self.seed, about=about)

    def _confirmation(self, fixed: Mapping[str, str], best: "Candidate") -> str:
        """Return the command that compares the best candidate with the reference, on splits that did not choose it."""
        arms = f"augmentation={self.reference},{self.config.hydra.runtime.choices.augmentation}"
        same = [one for name, one in fixed.items() if name not in ("augmentation", "study", "open_test")]
        settings = [f"{name}={value}" for name, value in best.settings.items()]
        words = ["gan-augment", "-m", f"study={self.config.study}_confirmed", *same, arms, *settings, "seed=range(0,8)"]
        return shlex.join(words)

    def _try(self, search: "Search", fixed: Mapping[str, str], settings: Mapping[str, Any]) -> "Candidate":
        """Try a candidate on the rungs that it reaches.

        Raises:
            ValueError: If it is refused.
        """
        gains: list[list[float]] = []
        said = {name: f"{name}={value}" for name, value in settings.items()}
        reference = {"augmentation": f"augmentation={self.reference}"}
        while True:
            rung = search.rungs[len(gains)]
            closed = [{"seed": f"seed={seed}", "open_test": "open_test=false"} for seed in self.seeds[: rung.splits]]
            jobs = [self._job({**fixed, **reference, **one}) for one in closed]
            jobs += [self._job({**fixed, **said, **one}, rung.images) for one in closed]
            records = self._run(jobs)
            bases, ours = (some for some in (records[: len(closed)], records[len(closed) :]))
            before, after = ([validation_accuracy(one) for one in some] for some in (bases, ours))
            if None in before:
                raise RuntimeError(f"the reference arm {self.reference} has no result on each split")
            if "diverged" in [one["status"] for one in ours]:
                return Candidate(settings, gains, "diverged")
            if None in after:
                return Candidate(settings, gains, "failed")
            gains.append(np.subtract(np.array(after), np.array(before)).tolist())
            if not search.goes_on(gains):
                return Candidate(settings, gains, "complete" if len(gains) == len(search.rungs) else "dropped")

    def _job(self, said: Mapping[str, str], images: float = 1.0) -> list[str]:
        """Return the settings of a job whose generator sees this share of its images."""
        job = [*said.values()]
        if images == 1:
            return job
        ((_, settings),) = compose_jobs(self.config, [job])
        return [*job, f"generator.images_seen={round(images * settings['generator']['images_seen'])}"]

    def _run(self, jobs: Sequence[list[str]]) -> list[Mapping[str, Any]]:
        """Run jobs unless their trials are already done, and return their records; one that failed has no numbers."""
        from gan_augment.plan import plan_trial

        trials = study_folder(self.config) / "trials"
        paths = [trials / plan_trial(one).name / "record.json" for _, one in compose_jobs(self.config, jobs)]
        if to_run := [job for job, path in zip(jobs, paths, strict=True) if finished(path) is None]:
            self.launcher.launch(to_run, initial_job_idx=self.launched)
            self.launched += len(to_run)
        return [finished(path) or {"status": "failed", "metrics": {}} for path in paths]
