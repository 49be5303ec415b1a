"""A Hydra plugin, found by the name of this folder: a search for settings that stays honest."""

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from gan_augment.job import finished, request_file, store_folder, study_folder, validation_accuracy
from gan_augment.launch import compose_jobs
from gan_augment.records.factors import has_effect, is_no_factor
from gan_augment.records.record import read_study, write_json
from gan_augment.records.request import read_requests
from gan_augment.report.searches import Candidate, outcome_in_words
from gan_augment.settings import check_integer
from gan_augment.workers import num_workers, waves

if TYPE_CHECKING:  # Hydra imports this file at every start, also without Optuna
    from gan_augment.search import Search

CONFIRMED = 8  # splits of the confirmation


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
        self.n_trials, self.reference, self.seeds, self.seed = n_trials, reference, seeds, seed
        self.splits, self.images, self.params = splits, images, params or {}
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
            try:
                alone = FileLock(folder / "search.lock").acquire(timeout=0)
            except Timeout as error:
                raise ValueError(f"another launch searches in {folder}: wait for its end") from error
        with alone:
            with user_errors():
                fixed, search = self._begin(arguments, folder / "search.json")
            if search.tried:
                self._note(search)
            while len(search.tried) < self.n_trials:
                candidate = self._try(search, fixed, search.next())
                search.tried.append(candidate)
                self._note(search)
                _say(f"candidate {len(search.tried)}/{self.n_trials}: {candidate}")
        _say(outcome_in_words(search.tried))
        if search.best is not None:
            _say(f"confirm it on other splits: {self._confirmation(fixed)}")

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

        for name, low in {"n_trials": 1, "seed": 0}.items():
            check_integer(f"hydra.sweeper.{name}", getattr(self, name), low=low)
        for name in ("seeds", "splits", "images"):
            if isinstance(values := getattr(self, name), str) or not isinstance(values, Sequence):
                raise ValueError(f"hydra.sweeper.{name}={values}: use a list")
        for name, low in {"seeds": 0, "splits": 1}.items():
            for value in getattr(self, name):
                check_integer(f"hydra.sweeper.{name}", value, low=low)
        splits, images, seeds = ([*some] for some in (self.splits, self.images, self.seeds))
        if len(splits) != len(images):
            raise ValueError(f"hydra.sweeper.splits={splits}, but hydra.sweeper.images={images}: give each rung both")
        rungs = [Rung(*one) for one in zip(splits, images, strict=True)]
        if len(set(seeds)) != max(splits, default=0):
            raise ValueError(
                f"hydra.sweeper.seeds={seeds} are not as many as the last of hydra.sweeper.splits={splits}"
            )
        others = [one for one in read_requests(study_folder(self.config)) if one.get("requested") is not None]
        if others:
            raise ValueError(f"study={self.config.study} has trials that no search asked for: use another study=...")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = {name: value for name, value in self.params.items() if name.partition(".")[0] not in ("seed", "seeds")}
        said = [*(f"{name}={value}" for name, value in params.items()), *arguments]
        overrides = {one.get_key_element(): one for one in parser.parse_overrides(said)}
        space = {name: distribution(one) for name, one in overrides.items() if one.is_sweep_override()}
        fixed = {name: str(one.input_line) for name, one in overrides.items() if name not in space}
        apart = [name for name in fixed if is_no_factor(name) or has_effect(name, ("paths", "study"))]
        counted = sorted(said for name, said in fixed.items() if name not in apart)
        about = {"fixed": counted, "reference": self.reference, "seeds": seeds}
        search = Search.read(file, space=space, rungs=rungs, seed=self.seed, about=about)
        self._check_effects(fixed, search)
        return fixed, search

    def _check_effects(self, fixed: Mapping[str, str], search: "Search") -> None:
        """Check that the searched settings affect the arm, and do not affect the reference.

        A search could otherwise make a gain by making the reference worse.

        Raises:
            ValueError: If they do not, or the reference cannot be planned.
        """
        from gan_augment.plan import plan_trial

        closed = {**fixed, "seed": f"seed={self.seeds[0]}", "open_test": "open_test=false"}
        reference = {**closed, "augmentation": f"augmentation={self.reference}"}
        ((_, settings),) = compose_jobs(self.config, [[*reference.values()]])
        factors = plan_trial(settings).factors
        try:
            ((_, settings),) = compose_jobs(self.config, [[*closed.values()]])
            own = plan_trial(settings).factors
        except ValueError:  # the default settings need not go together
            own = {}
        if idle := [name for name in search.space if own.get(name.lstrip("+"), "") is None]:
            raise ValueError(f"{idle[0]} has no effect on the arm {own['augmentation']}: leave it out of the search")
        for name in search.space:
            if factors.get(name.lstrip("+")) is not None:
                raise ValueError(
                    f"{name} also affects the arm {self.reference}, which gains are measured against: search settings "
                    "that it does not have, such as those of the generator, or compare a few values in a study"
                )

    def _confirmation(self, fixed: Mapping[str, str]) -> str:
        """Return the command that runs the best settings, the default ones and the reference on other splits."""
        same = [one for name, one in fixed.items() if has_effect(name, ("plugins", "paths"))]
        first = 0 if min(self.seeds) >= CONFIRMED else max(self.seeds) + 1
        seeds = [f"seed=range({first},{first + CONFIRMED})"] if first else []
        return shlex.join(["gan-augment", "-m", "experiment=confirm", f"search={self.config.study}", *seeds, *same])

    def _try(self, search: "Search", fixed: Mapping[str, str], settings: Mapping[str, Any]) -> "Candidate":
        """Try a candidate on the rungs that it reaches; one whose settings do not go together has failed."""
        gains: list[list[float]] = []
        said = {name: f"{name}={value}" for name, value in settings.items()}
        reference = {"augmentation": f"augmentation={self.reference}"}
        while True:
            rung = search.rungs[len(gains)]
            closed = [{"seed": f"seed={seed}", "open_test": "open_test=false"} for seed in self.seeds[: rung.splits]]
            try:
                jobs = [self._job({**fixed, **reference, **one}) for one in closed]
                jobs += [self._job({**fixed, **said, **one}, rung.images) for one in closed]
                planned = self._planned(jobs)
            except ValueError as refusal:
                _say(f"refused: {refusal}")
                return Candidate(settings, gains, "failed")
            records = self._run(jobs, planned)
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
        """Return the settings of a job whose generator sees this share of its images, in this share of its seconds."""
        job = [*said.values()]
        if images == 1:
            return job
        ((_, settings),) = compose_jobs(self.config, [job])
        whole = settings["generator"]
        fewer = (
            [] if whole["images_seen"] is None else [f"generator.images_seen={round(images * whole['images_seen'])}"]
        )
        less = [] if whole.get("seconds") is None else [f"generator.seconds={images * whole['seconds']:g}"]
        return [*job, *fewer, *less]

    def _planned(self, jobs: Sequence[list[str]]) -> list[tuple[Path, list[str]]]:
        """Plan jobs, and return where their records will be and the keys of the stages that they lack.

        Raises:
            ValueError: If one is refused.
        """
        from gan_augment.plan import plan_trial
        from gan_augment.stages import StageStore

        trials, store = study_folder(self.config) / "trials", StageStore(store_folder(self.config))
        planned = [plan_trial(settings) for _, settings in compose_jobs(self.config, jobs)]
        return [(trials / one.name / "record.json", store.lacks(one.stages.values())) for one in planned]

    def _run(self, jobs: Sequence[list[str]], planned: Sequence[tuple[Path, list[str]]]) -> list[Mapping[str, Any]]:
        """Run jobs unless their trials are already done, and return their records; one that failed has no numbers.

        On a cluster, where all would start at once, they run in waves.

        Raises:
            OSError: If the machine is to blame, such as a full disk: the same command then goes on.
        """
        to_do = [(job, lacks) for job, (path, lacks) in zip(jobs, planned, strict=True) if finished(path) is None]
        at_once = math.isinf(num_workers(self.config.hydra.launcher))
        turns = waves([lacks for _, lacks in to_do]) if at_once else [0] * len(to_do)
        for turn in sorted(set(turns)):
            to_run = [job for (job, _), of_job in zip(to_do, turns, strict=True) if of_job == turn]
            returned = self.launcher.launch(to_run, initial_job_idx=self.launched)
            self.launched += len(to_run)
            for one in returned:
                try:
                    _ = one.return_value  # raises what a job raised
                except OSError:
                    raise
                except Exception:  # the job has said so, and its candidate fails
                    continue
        return [finished(path) or {"status": "failed", "metrics": {}} for path, _ in planned]


def _say(text: str) -> None:
    with suppress(OSError):  # standard output may be closed: the search goes on
        print(text, flush=True)
