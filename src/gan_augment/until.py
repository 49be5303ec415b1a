"""Studies that add splits until every verdict is reached: `until=decided`."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep
from omegaconf import DictConfig

from gan_augment.records.record import read_study, write_json
from gan_augment.settings import check_integer


def seeds_by_look(config: DictConfig) -> list[range]:
    """Return the seeds that each look adds, those of the sweep first; none without `until`.

    Raises:
        ValueError: If the settings do not say how a study goes on.
    """
    from gan_augment.report.statistics import MIN_PAIRS

    if config.until is None:
        return []
    if config.until != "decided":
        raise ValueError(f"until={config.until}: use decided, or null to run only the seeds of the sweep")
    if (sweeper := config.hydra.runtime.choices["hydra/sweeper"]) != "study":
        raise ValueError(
            f"until=decided adds seeds itself, but hydra/sweeper={sweeper} chooses the trials: leave it out"
        )
    swept = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
    seed = next((one for one in reversed(overrides) if one.key_or_group == "seed"), None)
    said = str(seed.input_line) if seed else "seed is not swept"
    sweep = seed.value() if seed else None
    first = sweep.range() if isinstance(sweep, RangeSweep) else None
    if not isinstance(first, range) or len(first) < MIN_PAIRS:
        raise ValueError(
            f"until=decided, but {said}: start with a range of at least {MIN_PAIRS} seeds, such as "
            f"seed=range(0,{MIN_PAIRS}), as fewer allow no verdict"
        )
    check_integer("max_splits", config.max_splits, low=len(first))
    check_integer("step", config.step, low=1)
    seeds = range(first.start, first.start + first.step * config.max_splits, first.step)
    later = range(len(first), config.max_splits, config.step)
    return [first, *(seeds[number : number + config.step] for number in later)]


def all_seeds(config: DictConfig) -> list[str]:
    """Return the override that sweeps the seeds of all looks, which comes after all others; none without `until`."""
    seeds = [seed for added in seeds_by_look(config) for seed in added]
    return [f"seed={','.join(map(str, seeds))}"] if seeds else []


def requests(config: DictConfig, jobs: Mapping[str, str], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of a request with the trials to run now and those that each further look adds.

    A study that has gone on to further looks goes on from there.

    Args:
        config: That of the launch, with `until`.
        jobs: The settings of each job, as one text, and the name of its trial.
        earlier: The requests of earlier launches; those that share no trial with this one do not count.

    Raises:
        ValueError: If the study already has more seeds than it may have.
    """
    shared = [one for one in earlier if set(one.get("requested") or []).intersection(jobs.values())]
    known = {name for one in shared for name in one["requested"]}
    present = {_seed(job) for one in shared for job, name in one.get("jobs", {}).items() if name in known}
    if len(present) > config.max_splits:
        raise ValueError(
            f"max_splits={config.max_splits}, but the study already has {len(present)}: use at least these"
        )
    seeds = seeds_by_look(config)
    names = [list(dict.fromkeys(name for job, name in jobs.items() if _seed(job) in added)) for added in seeds]
    requested = names.pop(0)
    while names and known.intersection(names[0]):
        requested += names.pop(0)
    return {"requested": requested, "further": names, "looks": [*accumulate(map(len, seeds))]}


def more_splits(study: Path, request_file: Path) -> bool:
    """Request the trials of the next look unless every verdict is reached; return whether there are any.

    Before that it writes a report. The last one is left to the end of the launch.
    """
    from gan_augment.report.contrasts import contrasts
    from gan_augment.report.page import write_report
    from gan_augment.report.trials import collect
    from gan_augment.report.wording import shown

    request = read_study(request_file)
    if not request.get("further"):
        return False
    covered = collect([study])
    compared = shown(contrasts(covered))
    decided = [contrast.is_decided for contrast in compared]
    if all(decided):
        return False
    page = write_report([study])
    added, *further = request["further"]
    write_json(request | {"requested": request["requested"] + added, "further": further}, request_file)
    reached = f"{sum(decided)} of {len(decided)} verdicts reached"
    with suppress(OSError):  # the last report says if standard output cannot be written
        print(f"{covered.num_seeds} splits: {reached}, {len(added)} more trials; report so far: {page}")
    return True


def _seed(job: str) -> int:
    """Return the seed in the settings of a job; -1 without one."""
    return next((int(word.removeprefix("seed=")) for word in shlex.split(job) if word.startswith("seed=")), -1)
