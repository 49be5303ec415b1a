"""A launch: check its trials before anything trains, and report at the end."""

import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.experimental.callback import Callback
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from gan_augment.adaptive import check_search
from gan_augment.command import output
from gan_augment.confirm import confirmation, confirming
from gan_augment.errors import say, show_error, user_errors
from gan_augment.estimate import Cost, Estimate, in_words
from gan_augment.job import ESTIMATE, finished, plain, request_file, reuse, store_folder, study_folder, trial_title
from gan_augment.launchers import KILLED, check_devices, check_launcher, check_waiting
from gan_augment.progress import Meter
from gan_augment.records.aliases import renewed
from gan_augment.records.factors import LATER, NULL
from gan_augment.records.record import SCHEMA, read_study, write_json
from gan_augment.records.request import read_requests
from gan_augment.settings import check_integer
from gan_augment.trackers.export import check_logger
from gan_augment.until import all_seeds, requests
from gan_augment.workers import num_workers, start_without_ctrl_c, waves

# Settings of a whole study, which cannot be swept.
WHOLE = ("against", "search", "until", "max_splits", "step", "max_trials", "logger", "plugins")


class Launch(Callback):
    """Hydra's hook: validates a launch before any work starts, writes down the study's trials, reports at the end."""

    @user_errors()
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check where a single trial would write."""
        HydraConfig.instance().set_config(config)  # as Hydra does before a multirun, for the names that need it
        if config.until is not None:
            raise ValueError(f"until={config.until} goes on with a study: add -m, or leave it out for a single trial")
        check_writable(study_folder(config), store_folder(config))
        check_devices(config.trainer, {})
        check_logger(config.logger)
        if config.hydra.sweeper.get("params"):
            recipe = config.hydra.runtime.choices.experiment
            with output():
                print(f"experiment={recipe} is a study of many trials: -m runs them all. This runs one of them.")

    @user_errors()
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every trial of a study, and write down which ones it consists of."""
        folder = study_folder(config)
        check_writable(folder, store_folder(config))
        check_launcher(config)
        check_waiting(config)
        check_devices(config.trainer, config.hydra.launcher)
        check_logger(config.logger)
        start_without_ctrl_c()
        trials, against, costs = planned_trials(config)
        request, others = write_request(config, folder, trials, against)
        seconds = {name: round(cost.seconds, 1) for name, cost in costs.items()}
        workers = max(1, min(num_workers(config.hydra.launcher), len(seconds)))
        estimate = {"started": time.time(), "workers": workers, "seconds": seconds}
        write_json(estimate, request_file(config).with_name(ESTIMATE))
        now = "trials as the sweeper goes" if trials is None else f"{len(set(request['requested']))} trials"
        more = sum(map(len, request.get("further", [])))
        until = f", and up to {more} more until every verdict is reached" if more else ""
        with output():
            print(f"study {config.study}: {now}{until}")
            if others:
                print(f"note: the report also covers {others} trials of earlier launches; study=... starts a new study")
            for parts in {(one.factors["data"], one.factors["labels"]): one.parts for one in trials or []}.values():
                print(f"images: {parts}")
            if costs_now := [cost for name, cost in costs.items() if name in request["requested"]]:
                print(f"this will take {in_words(costs_now, num_workers(config.hydra.launcher))}")
            for note in dict.fromkeys(note for trial in trials or [] for note in trial.notes):
                print(f"note: {note}")
            for trial in trials or []:
                trial.refresh(folder, request["requested"])

    @user_errors()
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report on the study, also after failed trials or an abort, such as a full disk or a killed worker."""
        error = sys.exc_info()[1]  # on its way through Hydra
        if isinstance(error, SystemExit | KeyboardInterrupt):
            return  # refused before it started, or ended by the user
        if remedy := KILLED.get(type(error).__name__):
            error = OSError(f"{remedy}{_without_result(config)}; the same command resumes the study")
        if isinstance(error, OSError):  # Hydra would show a trace of its own code
            show_error(type(error), error, error.__traceback__)
        if error is None and config.hydra.launcher.get("wait") is False:
            print(f"when the jobs have ended: gan-augment-report {study_folder(config)}")
            return
        if not report(study_folder(config)) or isinstance(error, OSError):
            raise SystemExit(1)


def planned_trials(config: DictConfig) -> tuple[list["Planned"] | None, Mapping[str, Any], Mapping[str, Cost]]:
    """Plan the trials of a study.

    Returns:
        The trials, None for a sweeper that chooses them as it goes; the baselines of the report; and what each of the
        trials that are to run will cost, by its name.

    Raises:
        ValueError: If one of them is invalid, or a setting of the whole study is swept.
    """
    from gan_augment.plan import plan_trial
    from gan_augment.stages import StageStore

    jobs = planned_jobs(config)
    against: Any = config.against or {}
    if isinstance(against, DictConfig):
        against = OmegaConf.to_container(against, resolve=True)
    if jobs is None:
        check_search(config)
        return None, against, {}
    trials, folder, store = [], study_folder(config), StageStore(store_folder(config))
    if (folder / "search.json").exists():
        raise ValueError(f"study={folder.name} is a search, which compares nothing: use another study=...")
    estimate = Estimate(store)
    whole = {name: config[name] for name in WHOLE}
    with Meter("planning", len(jobs), "trials") as meter:
        for overrides, settings in compose_jobs(config, jobs):
            if study_folder(settings) != folder:
                raise ValueError("study and paths.output_dir cannot be swept: one launch is one study")
            for name, value in whole.items():
                if settings[name] != value:
                    raise ValueError(f"{name} cannot be swept: it is one for the whole study")
            trial = plan_trial(settings)
            is_done = finished(folder / "trials" / trial.name / "record.json") is not None  # one that failed runs again
            if not is_done:
                estimate.add(trial)
            lacks = [] if is_done else store.lacks(trial.stages.values())
            trials.append(
                Planned(trial.name, trial.notes, trial.source.copies, trial.factors, trial.parts, overrides, lacks)
            )
            meter.advance()
    check_against(against, [*(trial.factors for trial in trials), *_earlier_factors(folder)] if against else [])
    return trials, against, estimate.costs(num_workers(config.hydra.launcher))


def _earlier_factors(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the factors of the trials that earlier launches of a study asked for and that have ended."""
    for request in read_requests(folder):
        for name in request.get("requested") or []:
            if record := finished(folder / "trials" / name / "record.json"):
                yield renewed(record["factors"])


def write_request(
    config: DictConfig, folder: Path, trials: Sequence["Planned"] | None, against: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """Write which trials a launch asks for; return that, and how many more trials earlier launches asked for.

    Raises:
        ValueError: If a newer version wrote into the study, or it has too many splits to go on.
    """
    from gan_augment.records.provenance import code_provenance

    names = None if trials is None else list(dict.fromkeys(trial.name for trial in trials))
    for name in names or []:
        finished(folder / "trials" / name / "record.json")  # refuses what a newer version wrote
    request = {
        "schema": SCHEMA,
        "study": folder.name,
        "requested": names,
        "jobs": {shlex.join(trial.overrides): trial.name for trial in trials or []},
        "against": against,
        "command": code_provenance()["command"],
        **confirmation(config, [trial.factors for trial in trials or []]),
    }
    earlier = read_requests(folder)
    if math.isinf(num_workers(config.hydra.launcher)):  # they would all start at once
        numbers = zip([one.name for one in trials or []], waves([one.lacks for one in trials or []]), strict=True)
        request["waves"] = dict(reversed([*numbers]))  # of jobs that are one trial, the first counts
    if config.until is not None:
        request |= requests(config, request["jobs"], earlier)
    path = request_file(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(request, path)
    asked = {name for one in read_requests(folder) for name in one.get("requested") or []}
    return request, len(asked - set(request["requested"] or asked))


def _without_result(config: DictConfig) -> str:
    """Say which trials of a launch have no result; nothing if it does not know its trials."""
    from gan_augment.data.source import abridged

    folder, requested = study_folder(config), read_study(request_file(config))["requested"] or []
    names = [name for name in requested if finished(folder / "trials" / name / "record.json") is None]
    return f" ({len(names)} of {len(requested)} trials have no result: {abridged(names)})" if names else ""


def unfinished_waves(config: DictConfig, jobs: Sequence[list[str]]) -> list[list[list[str]]]:
    """Return the jobs of a launch by waves, without those whose trials are already done or not requested yet."""
    folder, request = study_folder(config), read_study(request_file(config))
    found: dict[int, list[list[str]]] = {}
    for job in jobs:
        name = request["jobs"].get(shlex.join(job))
        if name is None or (
            name in request["requested"] and finished(folder / "trials" / name / "record.json") is None
        ):
            found.setdefault(request.get("waves", {}).get(name, 0), []).append(job)
    return [found[number] for number in sorted(found)]


def report(folder: Path) -> bool:
    """Report on a study; return whether that worked."""
    from gan_augment.report.page import write_report
    from gan_augment.report.terminal import show_report
    from gan_augment.report.trials import collect

    try:
        page = write_report([folder])
        study = collect([folder])
    except Exception as error:
        show_error(type(error), error, error.__traceback__)
        say(f"gan-augment: the report failed; run gan-augment-report {folder} to try again")
        return False
    show_report(study, page)
    return True


class Planned(NamedTuple):
    """A planned trial without its images."""

    name: str
    notes: Sequence[str]
    copies: Sequence[Sequence[str]]
    factors: Mapping[str, Any]
    parts: str
    overrides: Sequence[str]  # the settings of its job
    lacks: Sequence[str]  # the keys of its stages that are not in the store yet

    def refresh(self, study: Path, requested: Sequence[str]) -> None:
        """If the trial, one of those requested, is already done, refresh the notes about its images."""
        folder = study / "trials" / self.name
        if (folder / "record.json").exists():
            with FileLock(folder / ".lock"):
                reuse(folder, self.notes, self.copies, trial_title(self.name, requested), print)


def planned_jobs(config: DictConfig) -> list[list[str]] | None:
    """Return the settings of each job that the sweeper will run, in its order.

    None for a sweeper that chooses its jobs as it goes.

    Raises:
        ValueError: If there are none, or more than `max_trials`.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = get_class(config.hydra.sweeper._target_)
    if not issubclass(sweeper, BasicSweeper):
        return None
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(
        params + list(config.hydra.overrides.task) + all_seeds(config)
    )
    check_integer("max_trials", config.max_trials, low=1)
    # No list of them yet: a slip can ask for millions. Of a setting that is swept twice, the last counts.
    sweeps = {one.get_key_element(): one for one in overrides}.values()
    swept = {str(one.input_line): one.sweep_iterator() for one in sweeps if one.is_sweep_override()}
    numbers = {said: len(list(islice(values, config.max_trials + 1))) for said, values in swept.items()}
    if empty := [said for said, number in numbers.items() if not number]:
        raise ValueError(f"{empty[0]} sweeps no value: name at least one, such as seed=range(0,8)")
    if math.prod(numbers.values()) > config.max_trials:
        raise ValueError(
            f"more than {config.max_trials} trials: sweep fewer values, or set max_trials to allow as many"
        )
    (jobs,) = sweeper.split_arguments(overrides, max_batch_size=None)
    return confirming(config, jobs)


def compose_jobs(config: DictConfig, jobs: Sequence[list[str]]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield each job of a sweep and its plain settings, as Hydra composes them, but faster.

    Hydra takes a tenth of a second for each. Jobs that differ only in the values of plain settings, such as the seed,
    share one composition, in which these values are set in turn.
    """
    loader, parser = GlobalHydra.instance().config_loader(), OverridesParser.create()
    parsed = cache(parser.parse_override)  # jobs have most of their overrides in common
    composed: dict[tuple[str | None, ...], DictConfig] = {}
    for job in jobs:
        overrides = [parsed(text) for text in job]
        values = {
            one.key_or_group: one.value()
            for one in overrides
            if one.type == OverrideType.CHANGE
            and one.package is None
            and one.key_or_group not in config.hydra.runtime.choices
        }
        # Whatever is not a single value, such as a list, an addition or the member of a group, must be the same.
        values = {name: value for name, value in values.items() if isinstance(value, str | int | float | None)}
        same = tuple(one.key_or_group if one.key_or_group in values else one.input_line for one in overrides)
        if same not in composed:
            composed[same] = loader.load_sweep_config(config, job)
        for name, value in values.items():
            OmegaConf.update(composed[same], name, value)
        yield job, plain(composed[same])


def check_against(against: Any, factors: Sequence[Mapping[str, Any]]) -> None:
    """Check that the study, with the factors of its trials, contains the baselines: settings with a value each.

    Raises:
        ValueError: If no setting has such a name, or the study does not sweep it or leaves this value out.
    """
    if not isinstance(against, Mapping):
        raise ValueError(f"against={against}: use settings and values, such as 'against={{loss: hinge}}'")
    if "folds" in against:
        raise ValueError(
            f"against={{folds: {against['folds']}}}: another number of folds has other test images, so the two are not "
            "compared; set against=null"
        )
    for name, value in against.items():
        found = {trial.get(name, LATER.get(name)) for trial in factors} - {None}
        if (NULL if value is None else value) not in found or len(found) < 2:
            known = ", ".join(sorted(map(str, found))) or "none of this name"
            raise ValueError(
                f"against={{{name}: {value}}}, but of {name} the study has {known}: sweep it, this value included, or "
                "set against=null"
            )


def check_writable(*folders: Path) -> None:
    """Create folders; raise a ValueError if one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}.probe"
            try:
                probe.write_bytes(bytes(2**16))  # not on a full disk
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ValueError(
                f"{folder} cannot be written ({reason}): set paths.output_dir to a writable folder"
            ) from error
