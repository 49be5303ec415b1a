"""A launch: what a command asked for, checked before anything trains, and the trials one by one."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from gan_augment.records.record import SCHEMA, read_record, write_json
from gan_augment.workers import end_with_parent

if TYPE_CHECKING:
    from gan_augment.plan import Trial

log = logging.getLogger(__name__)


class Launch(Callback):
    """Hydra's hook before a launch: refuse it while nothing is lost, and note what a study consists of."""

    study_folder: Path | None = None  # of the multirun that this process launched
    finished: Sequence[Sequence[str]] = ()  # the settings of its trials that need not run again

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check where a single trial would write."""
        HydraConfig.instance().set_config(config)  # as Hydra does before a multirun, for the names that need it
        with user_errors():
            check_writable(study_folder(config), store_folder(config))
        if config.hydra.sweeper.get("params"):
            recipe = config.hydra.runtime.choices.experiment
            print(f"experiment={recipe} is a study of many trials: -m runs them all. This runs one of them.")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every trial of a study, and write down which ones it consists of."""
        from gan_augment.plan import plan_trial
        from gan_augment.records.provenance import code_provenance

        with user_errors():
            folder = study_folder(config)
            check_writable(folder, store_folder(config))
            jobs = planned_jobs(config)
            if {study_folder(job) for _, job in jobs or []} - {folder}:
                raise ValueError("study and paths.output_dir cannot be swept: one launch is one study")
            if any(job.against != config.against for _, job in jobs or []):
                raise ValueError("against cannot be swept: it says what the whole study is compared with")
            against = config.against or {}
            if isinstance(against, DictConfig):
                against = OmegaConf.to_container(against, resolve=True)
            trials = None
            if jobs is not None:
                trials = [Planned.of(plan_trial(plain(job)), overrides) for overrides, job in jobs]
                check_against(against, [trial.factors for trial in trials])
            names = None if trials is None else list(dict.fromkeys(trial.name for trial in trials))
            for path in (folder / "study.json", *(folder / "trials" / name / "record.json" for name in names or [])):
                finished(path)  # refuses what a newer version wrote
            request = {
                "schema": SCHEMA,
                "study": config.study,
                "requested": names,
                "against": against,
                "command": code_provenance()["command"],
            }
            write_json(request, folder / "study.json")
        print(f"study {config.study}: {'trials as the sweeper goes' if names is None else f'{len(names)} trials'}")
        for note in dict.fromkeys(note for trial in trials or [] for note in trial.notes):
            print(f"note: {note}")
        Launch.study_folder = folder
        with user_errors():
            Launch.finished = [trial.overrides for trial in trials or [] if trial.reuse(folder)]

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Say in a line why a study broke off: a full disk, a killed worker. Hydra would show where in its code."""
        error = sys.exc_info()[1]  # on its way through Hydra
        if type(error).__name__ == "TerminatedWorkerError":
            error = OSError(
                "a worker process was killed, perhaps for want of memory: use fewer with hydra.launcher.n_jobs=...; "
                "the same command goes on where the study stands"
            )
        if isinstance(error, OSError):
            show_error(type(error), error, error.__traceback__)
            raise SystemExit(1)


class Planned(NamedTuple):
    """What a launch keeps of a trial that it has planned, which is not its images."""

    name: str
    notes: Sequence[str]
    copies: Sequence[Sequence[str]]
    factors: Mapping[str, Any]
    overrides: Sequence[str]  # the settings of its job

    @classmethod
    def of(cls, trial: "Trial", overrides: Sequence[str]) -> "Planned":
        """Keep it."""
        return cls(trial.name, trial.notes, trial.source.copies, trial.factors, overrides)

    def reuse(self, study: Path) -> bool:
        """Say whether it has run before, and note of its images what is so now."""
        folder, title = study / "trials" / self.name, trial_title(self.name, study)
        if not (folder / "record.json").exists():
            return False
        with FileLock(folder / ".lock"):
            return reuse(folder, self.notes, self.copies, title, print) is not None


def run_job(config: DictConfig) -> float:
    """Run the trial of one Hydra job, unless it has run before.

    Returns:
        Its accuracy on the validation images, for sweepers that optimise; not a number if there is none.
    """
    from gan_augment.plan import plan_trial
    from gan_augment.recording import make_record
    from gan_augment.stages import StageStore
    from gan_augment.trial import run_trial

    end_with_parent()
    trial = plan_trial(plain(config))
    folder = study_folder(config) / "trials" / trial.name
    title = trial_title(trial.name, study_folder(config))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        record = reuse(folder, trial.notes, trial.source.copies, title, log.info)
        if record is None:
            if HydraConfig.get().mode == RunMode.RUN:  # a study says them once, before it starts
                for note in trial.notes:
                    log.info("note: %s", note)
            try:
                record = run_trial(trial, folder, StageStore(store_folder(config)), title)
            except Exception as error:
                failed = make_record(trial, "failed", {}, error=f"{type(error).__name__}: {error}")
                log.info("%s: failed: %s", title, failed["error"])
                with suppress(OSError):  # a full disk takes no record either: the trial is then one that is missing
                    write_json(failed, folder / "record.json")
                raise
            write_json(record, folder / "record.json")
            log.info("%s: %s, %.1f s", title, summary(record), record["costs"]["seconds"]["total"]["spent"])
    return float(record["metrics"].get("validation", {}).get("accuracy", float("nan")))


def plain(config: DictConfig) -> dict[str, Any]:
    """Resolve a job's configuration into plain values, with the chosen member of each group under `choices`.

    Raises:
        ValueError: If a setting that must be set is not.
    """
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    choices = {
        name: choice
        for name, choice in hydra.runtime.choices.items()
        if name != "experiment" and not str(name).startswith("hydra/")
    }
    without_hydra = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    if missing := sorted(OmegaConf.missing_keys(without_hydra)):
        raise ValueError(f"{', '.join(missing)} must be set: say {missing[0]}=...")
    settings = OmegaConf.to_container(without_hydra, resolve=True)
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items()} | {"choices": choices}


def planned_jobs(config: DictConfig) -> list[tuple[list[str], DictConfig]] | None:
    """Compose the jobs that the sweeper will run, in its order; None for a sweeper that decides as it goes.

    Returns:
        The settings of each job, and its configuration.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = get_class(config.hydra.sweeper._target_)
    if not issubclass(sweeper, BasicSweeper):
        return None
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(params + list(config.hydra.overrides.task))
    (jobs,) = sweeper.split_arguments(overrides, max_batch_size=None)
    return compose_jobs(config, jobs)


def compose_jobs(config: DictConfig, jobs: Sequence[list[str]]) -> list[tuple[list[str], DictConfig]]:
    """Compose the configuration of each job of a sweep, as Hydra does, but faster.

    Hydra takes a tenth of a second for each. Jobs that differ only in the values of plain settings, such as the seed,
    are copies of one composition with these values set.
    """
    loader, parser = GlobalHydra.instance().config_loader(), OverridesParser.create()
    composed: dict[tuple[str | None, ...], DictConfig] = {}
    made = []
    for job in jobs:
        overrides = parser.parse_overrides(job)
        values = {
            one.key_or_group: one.value()
            for one in overrides
            if one.type == OverrideType.CHANGE and one.key_or_group not in config.hydra.runtime.choices
        }
        # Whatever is not a single value, such as a list, an addition or the member of a group, must be the same.
        values = {name: value for name, value in values.items() if isinstance(value, str | int | float | None)}
        same = tuple(one.key_or_group if one.key_or_group in values else one.input_line for one in overrides)
        if same not in composed:
            composed[same] = loader.load_sweep_config(config, job)
        copy = deepcopy(composed[same])
        for name, value in values.items():
            OmegaConf.update(copy, name, value)
        copy.hydra.overrides.task = job
        made.append((job, copy))
    return made


def check_against(against: Any, factors: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a comparison with what the study does not hold.

    Args:
        against: Settings and the values that all their others are to be compared with.
        factors: Those of every trial.

    Raises:
        ValueError: If no setting has such a name, or the study does not sweep it or leaves this value out.
    """
    if not isinstance(against, Mapping):
        raise ValueError(f"against={against}: use settings and values, such as 'against={{loss: hinge}}'")
    for name, value in against.items():
        found = {trial[name] for trial in factors if trial.get(name) is not None}
        if value not in found or len(found) < 2:
            known = ", ".join(sorted(map(str, found))) or "none of this name"
            raise ValueError(
                f"against={{{name}: {value}}}, but of {name} the study has {known}: sweep it, this value included, or "
                "say against=null"
            )


def study_folder(config: DictConfig) -> Path:
    """Return the folder of the study that a configuration belongs to.

    Raises:
        ValueError: If the study's name is not the name of a folder.
    """
    name = str(config.study)
    if name in ("", ".", "..") or set(name) & set("/\\"):
        raise ValueError(f"study={name}: use a name that a folder can have")
    return Path(config.paths.output_dir) / "studies" / name


def store_folder(config: DictConfig) -> Path:
    """Return the folder where stages are kept."""
    return Path(config.paths.output_dir) / "store"


def check_writable(*folders: Path) -> None:
    """Make folders, and make sure that they can be written to.

    Raises:
        ValueError: If one cannot.
    """
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
                f"{folder} cannot be written ({reason}): set paths.output_dir to a folder that can"
            ) from error


def trial_title(name: str, folder: Path) -> str:
    """Call a trial by its place in its study, if it has one."""
    study = folder / "study.json"
    requested = read_record(study)["requested"] if study.exists() else None
    if requested and name in requested:
        return f"trial {requested.index(name) + 1}/{len(requested)} {name}"
    return f"trial {name}"


def finished(path: Path) -> dict[str, Any] | None:
    """Return the record of a trial that need not run again.

    Raises:
        ValueError: If there is a record that this version cannot read.
    """
    record = read_record(path) if path.exists() else None
    return record if record and record.get("status") in ("ok", "diverged") else None


def reuse(
    folder: Path,
    notes: Sequence[str],
    copies: Sequence[Sequence[str]],
    title: str,
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """Return the record of a trial that need not run again, with what is noted of its images now; None for others."""
    record = finished(folder / "record.json")
    if record is None:
        return None
    # The same images may have other names by now, or lie beside other files that cannot be read.
    renewed = {**record, "notes": [*notes]}
    renewed["provenance"] = {**record["provenance"], "copies": [[*names] for names in copies]}
    if renewed != record:
        write_json(renewed, folder / "record.json")
    say(f"{title}: {summary(record)}, reused")
    return renewed


def summary(record: Mapping[str, Any]) -> str:
    """Say in a few words how a trial went; test accuracies belong into the report."""
    if record["status"] != "ok":
        return f"{record['status']} ({record['error']})"
    validation = record["metrics"].get("validation")
    return f"validation accuracy {100 * validation['accuracy']:.1f} %" if validation else "done"


@contextmanager
def user_errors() -> Iterator[None]:
    """End the program when something is wrong before the launch, with one clear line if a user can mend it.

    Hydra turns an exception in a callback into a warning and goes on; leaving the interpreter it lets through.
    """
    try:
        yield
    except Exception as error:
        show_error(type(error), error, error.__traceback__)
        raise SystemExit(1) from error


def show_error(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    """Print an error: a line for what a user can mend, everything for a fault of the program."""
    if issubclass(kind, ValueError | OSError) and not os.environ.get("HYDRA_FULL_ERROR"):
        print(f"gan-augment: {error}", file=sys.stderr)
    else:
        traceback.print_exception(kind, error, trace)
