"""Confirm a search: its best settings, the default ones and its reference arm, on splits that did not choose them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from gan_augment.job import study_folder
from gan_augment.records.factors import OF_THE_LAUNCH, has_effect
from gan_augment.report.searches import Candidate, best_of


def searched(config: DictConfig) -> dict[str, Any] | None:
    """Return what the search that a launch confirms has tried, and what it is about; None if it confirms none.

    Raises:
        ValueError: If there is no such search, or none of its candidates was tried on all splits.
    """
    if config.search is None:
        return None
    file = study_folder({"study": config.search, "paths": config.paths}) / "search.json"
    if not file.exists():
        raise ValueError(f"search={config.search}: there is no {file}: name a study of hydra/sweeper=search")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if best(found) is None:
        raise ValueError(f"search={config.search} has tried no candidate on all splits yet: let it go on")
    return found


def best(search: Mapping[str, Any]) -> Candidate | None:
    """Return the best candidate of a search."""
    return best_of([Candidate(**one) for one in search["tried"]])


def confirming(config: DictConfig, jobs: list[list[str]]) -> list[list[str]]:
    """Return the jobs of a launch; if it confirms a search, three for each seed.

    They are the reference arm, the arm of the search with its default settings, and with the best ones.

    Raises:
        ValueError: If the launch sweeps anything but seeds, or a seed that chose the settings.
    """
    search = searched(config)
    if search is None:
        return jobs
    parser = OverridesParser.create()

    def together(*said: Sequence[str]) -> list[str]:
        parsed = parser.parse_overrides([one for some in said for one in some])
        return [*{one.get_key_element(): str(one.input_line) for one in parsed}.values()]  # the last one counts

    chosen = best(search)
    assert chosen is not None
    for name in {str(one.key_or_group) for one in parser.parse_overrides([one for job in jobs for one in job])}:
        if name != "experiment" and not has_effect(name, (*OF_THE_LAUNCH, "seeds", "measures", "trainer")):
            raise ValueError(f"search={config.search} keeps the settings of the search: leave out {name}")
    fixed = [one for one in search["about"]["fixed"] if not one.startswith("open_test=")]
    seeds = [job_seed(job) for job in jobs]
    if len(set(seeds)) < len(jobs):
        raise ValueError(f"search={config.search} says which arms are run: sweep the seed alone")
    if used := sorted(set(seeds) & {str(seed) for seed in search["about"]["seeds"]}):
        raise ValueError(f"seed={used[0]} chose the settings of search={config.search}: confirm them with other seeds")
    reference = [f"augmentation={search['about']['reference']}"]
    settings = [f"{name}={value}" for name, value in chosen.settings.items()]
    return [together(job, fixed, arm) for job in jobs for arm in (reference, [], settings)]


def job_seed(job: Sequence[str]) -> str:
    """Return the seed in the settings of a job; "" without one."""
    return next((one.partition("=")[2] for one in reversed(job) if one.startswith("seed=")), "")


def confirmation(config: DictConfig, factors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of a request that confirms a search: what was searched, and with what to compare the best.

    Args:
        config: That of the launch.
        factors: Those of its trials, in the order of its jobs.
    """
    search = searched(config)
    if search is None:
        return {}
    _, default, changed = factors[:3]
    names = [name.lstrip("+") for name in search["about"]["space"]]
    return {
        "confirms": {"study": config.search, "candidates": len(search["tried"]), "seeds": search["about"]["seeds"]},
        "baseline": {name: default[name] for name in names if default.get(name) != changed.get(name)},
    }
