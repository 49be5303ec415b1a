"""One job of a launch: run its trial unless it is already done, and write the record."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from gan_augment.estimate import Estimate, duration, in_words
from gan_augment.records.manifest import sync
from gan_augment.records.received import printable
from gan_augment.records.record import read_record, read_study, write_json
from gan_augment.records.request import read_or_set_aside
from gan_augment.targets import add_plugins
from gan_augment.workers import end_with_parent, use_own_gpu

log = logging.getLogger(__name__)

# In the folder of a launch: when it started, the number of workers, and the seconds of a worker that each trial takes.
ESTIMATE = "estimate.json"
BELIEVED = 0.1  # share of the work for which the estimate counts as if it had come true


def run_job(config: DictConfig) -> float:
    """Run the trial of one Hydra job, unless it is already done.

    Returns:
        Its accuracy on the validation images, for sweepers that optimise; NaN if there is none.
    """
    end_with_parent()
    if config.trainer.accelerator == "gpu":
        use_own_gpu()
    from gan_augment.artefacts.drawing import keep_contact_sheet
    from gan_augment.artefacts.split_file import write_split
    from gan_augment.plan import plan_trial
    from gan_augment.recording import make_record
    from gan_augment.stages import StageStore
    from gan_augment.training.hardware import check_gpu
    from gan_augment.trial import run_trial

    check_gpu(config.trainer.accelerator)  # where it was planned there need not be one
    add_plugins(config.plugins)  # this may be another process than the one that was told
    trial, store = plan_trial(plain(config)), StageStore(store_folder(config))
    folder = study_folder(config) / "trials" / trial.name
    path = request_file(config)
    request = read_study(path) if path.exists() else {}
    title = trial_title(trial.name, request.get("requested"))
    is_single = HydraConfig.get().mode == RunMode.RUN
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        write_split(trial.config, folder)
        record = reuse(folder, trial.notes, trial.source.copies, title, log.info)
        if record is None:
            if is_single:  # a study says this once, before it starts
                estimate = Estimate(store)
                estimate.add(trial)
                log.info("images: %s", trial.parts)
                log.info("this will take %s", in_words([*estimate.costs(1).values()], 1))
                for note in trial.notes:
                    log.info("note: %s", note)
            try:
                try:
                    keep_contact_sheet(trial.source.images, study_folder(config) / "images")
                except Exception as error:  # it must not end the trial
                    log.warning("there is no contact sheet of the images: %s: %s", type(error).__name__, error)
                record = run_trial(trial, folder, store, title)
            except Exception as error:
                failed = make_record(trial, "failed", {}, error=f"{type(error).__name__}: {error}")
                log.info("%s: failed: %s", title, printable(failed["error"]))
                with suppress(OSError):  # a full disk takes no record either: the trial then counts as missing
                    write_json(failed, folder / "record.json")
                raise
            sync(folder)
            write_json(record, folder / "record.json")
            if config.logger is not None:
                hand_over(folder, config.logger, Path(config.paths.output_dir))
            seconds = record["costs"]["seconds"]["total"]["spent"]
            log.info("%s: %s, %.1f s%s", title, summary(record), seconds, left(path.parent, request))
    if is_single:
        for warning in record["warnings"]:
            log.info("warning: %s", printable(warning))
        log.info("folder: %s%s", folder, ", with samples.png" if (folder / "samples.png").exists() else "")
    accuracy = validation_accuracy(record)
    return float("nan") if accuracy is None else accuracy


def hand_over(folder: Path, logger: str, output: Path) -> None:
    """Hand a finished trial to a tracker; a line tells if that fails, and nothing else does."""
    from gan_augment.trackers.export import export_trial

    try:
        export_trial(folder, logger, output)
    except Exception as error:
        log.warning(
            "%s was not handed to %s: %s: %s; gan-augment-export does so later",
            *(folder.name, logger, type(error).__name__, printable(str(error))),
        )


def _place(config: DictConfig, name: str) -> tuple[Any, str]:
    """Return the node that holds a setting, and the setting's name in it."""
    node, _, last = name.rpartition(".")
    return (OmegaConf.select(config, node) if node else config), last


def left(launch: Path, request: Mapping[str, Any]) -> str:
    """Say how many trials of a launch are left, and how long they will take at its pace so far; "" at its end.

    The pace is less certain the less is done, so a share of the work counts as if it had taken as long as estimated.
    """
    if not request.get("requested") or not (launch / ESTIMATE).exists():
        return ""
    estimate = json.loads((launch / ESTIMATE).read_text(encoding="utf-8"))
    seconds = {name: one for name, one in estimate["seconds"].items() if name in request["requested"]}
    trials = launch.parent.parent / "trials"
    to_go = [one for name, one in seconds.items() if not (trials / name / "record.json").exists()]
    if not to_go:
        return ""
    done, believed = sum(seconds.values()) - sum(to_go), BELIEVED * sum(seconds.values())
    pace = (time.time() - estimate["started"] + believed / estimate["workers"]) / (done + believed)
    return f"; {len(to_go)} to go, {duration(sum(to_go) * pace)}"


def plain(config: DictConfig) -> dict[str, Any]:
    """Resolve a job's configuration into plain values, with the chosen member of each group under `choices`.

    A group within another, such as `backbone@classifier.network.backbone`, has the name of its node there.

    Raises:
        ValueError: If a required setting is missing.
    """
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    choices = {
        str(name).rpartition("@")[2]: choice
        for name, choice in hydra.runtime.choices.items()
        if name != "experiment" and not str(name).startswith("hydra/")
    }
    try:
        settings = {str(name): _resolved(config, name) for name in config if name != "hydra"}
    except MissingMandatoryValue as error:
        missing = sorted(name for name in OmegaConf.missing_keys(config) if not name.startswith("hydra."))
        # Of a missing node, those are missing too that refer to it.
        missing = [name for name in missing if not OmegaConf.is_interpolation(*_place(config, name))]
        raise ValueError(f"{', '.join(missing)} must be set: add {missing[0]}=...") from error
    return settings | {"choices": choices}


def _resolved(config: DictConfig, name: Any) -> Any:
    value = config[name]
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)


def study_folder(config: Mapping[str, Any] | DictConfig) -> Path:
    """Return the folder of a configuration's study; raise a ValueError if its name is not that of a folder."""
    name = str(config["study"])
    if name in ("", ".", "..") or set(name) & set("/\\") or not name.isprintable():
        raise ValueError(f"study={name}: use a valid folder name")
    return Path(config["paths"]["output_dir"]) / "studies" / name


def store_folder(config: DictConfig) -> Path:
    """Return the folder of the stage store."""
    return Path(config.paths.output_dir) / "store"


def request_file(config: DictConfig) -> Path:
    """Return the file with the request of a launch, which only a study has."""
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    return study_folder(config) / "launches" / Path(hydra.sweep.dir).name / "request.json"


def trial_title(name: str, requested: Sequence[str] | None) -> str:
    """Return a trial's title: its place among the trials that its launch asked for, if there are any, and its name."""
    if requested and name in requested:
        return f"trial {requested.index(name) + 1}/{len(requested)} {name}"
    return f"trial {name}"


def finished(path: Path) -> dict[str, Any] | None:
    """Return the record of a trial that need not run again; raise a ValueError if a newer version wrote it."""
    record = read_or_set_aside(path, read_record)
    return record if record and record.get("status") in ("ok", "diverged") else None


def reuse(
    folder: Path, notes: Sequence[str], copies: Sequence[Sequence[str]], title: str, show: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the record of a trial that need not run again, with its notes about the images refreshed; else None."""
    record = finished(folder / "record.json")
    if record is None:
        return None
    # The same images may have new names, or be next to other unreadable files.
    renewed = {**record, "notes": [*notes]}
    renewed["provenance"] = {**record["provenance"], "copies": [[*names] for names in copies]}
    if renewed != record:
        write_json(renewed, folder / "record.json")
    show(f"{title}: {summary(record)}, reused")
    return renewed


def summary(record: Mapping[str, Any]) -> str:
    """Summarise a trial in a few words; test accuracies belong in the report."""
    if record["status"] != "ok":
        return f"{record['status']} ({record.get('error')})"
    accuracy = validation_accuracy(record)
    return "done" if accuracy is None else f"validation accuracy {100 * accuracy:.1f} %"


def outcome(config: DictConfig, name: str) -> str | None:
    """Return the line that tells what became of a trial of a launch, and how long the others will take."""
    record = read_or_set_aside(study_folder(config) / "trials" / name / "record.json", read_record)
    if record is None:
        return None
    path = request_file(config)
    request = read_study(path)
    return f"{trial_title(name, request.get('requested'))}: {printable(summary(record))}{left(path.parent, request)}"


def validation_accuracy(record: Mapping[str, Any]) -> float | None:
    """Return the accuracy on the validation images, None if a record has none."""
    return (record["metrics"].get("validation") or {}).get("accuracy")
