"""The report of a study: verdicts, tables and figures, computed from trial folders and from nothing else.

A *configuration* is an arm together with the values of the factors that the study sweeps. A *contrast* compares two
configurations that differ in the arm alone, pair by pair; which arms are compared is fixed before any number is seen.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_augment.study.record import flatten, read_record, write_whole
from gan_augment.study.statistics import Interval, in_words, paired_interval, verdict

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    import pandas as pd
    from rich.console import Console

ARMS = ("none", "classical", "gan", "gan_classical")
CONTRASTS = (("classical", "none"), ("gan", "none"), ("gan_classical", "none"), ("gan_classical", "classical"))
GROUPS = ("trial", "status", "error", "factors", "metrics", "saw", "provenance", "", "costs")  # "": all other columns
LAST_STAGES = ("classifier", "total")
MAX_SAMPLES = 4

ARM = "factors.augmentation"
ACCURACY = "metrics.test.accuracy"
PER_CLASS = "metrics.test.per_class."
SPLIT = "provenance.split"
TRAINING_SEED = "factors.seeds.classifier"
TEST_IMAGES = "provenance.test_images"
VERSIONS = "provenance.versions."
GAN_METRICS = "metrics.gan."
SECONDS = "costs.seconds."
SEEDS = "factors.seeds."
# What the report reads by name; a study without them, for example of generators alone, has empty columns.
NEEDED = ("status", "error", ARM, TRAINING_SEED, ACCURACY, SPLIT, TEST_IMAGES)


@dataclass(frozen=True)
class Study:
    """The trials that a report covers.

    Attributes:
        title: Names of the studies.
        trials: One flattened record a row, sorted by trial.
        missing: Trials that were asked for and have no record.
        folders: Trial -> its folder.
        commands: The commands that launched the studies.
    """

    title: str
    trials: pd.DataFrame
    missing: list[str]
    folders: dict[str, Path]
    commands: list[str]


@dataclass(frozen=True)
class Configuration:
    """An arm at one setting of the swept factors.

    Attributes:
        arm: The arm.
        setting: The swept factors that have an effect here.
        trials: Its trials, failed ones included.
    """

    arm: str
    setting: dict[str, Any]
    trials: pd.DataFrame

    @property
    def tested(self) -> pd.DataFrame:
        """The trials with a test result."""
        return self.trials[(self.trials["status"] == "ok") & self.trials[ACCURACY].notna()]

    def label(self, said: Iterable[str] = ()) -> str:
        """Name the configuration, less the factors that are `said` elsewhere."""
        return _named(self.arm, {name: value for name, value in self.setting.items() if name not in said})

    def points(self, metric: str, by: str) -> pd.Series:
        """Mean of a metric in points for every split or training seed."""
        tested = self.tested
        if metric not in tested:
            return tested[ACCURACY].astype(float).iloc[:0]
        return (100 * tested[metric].astype(float)).groupby(tested[by].astype(str)).mean().dropna()

    def count(self, status: str) -> int:
        """How many trials ended in a status."""
        return int((self.trials["status"] == status).sum())


@dataclass(frozen=True)
class Contrast:
    """One configuration against another that differs in the arm alone.

    Attributes:
        title: For example `gan (loss=hinge) against none`.
        interval: Difference in test accuracy, in points.
        sentence: The verdict.
        per_class: Class -> difference in that class's accuracy, in points.
    """

    title: str
    interval: Interval
    sentence: str
    per_class: dict[str, Interval]


def collect(folders: Sequence[Path | str]) -> Study:
    """Read the trials of one or more study folders.

    The name of a trial is its identity: of several records of one trial, one that is `ok` counts, once.

    Args:
        folders: Study folders, each with `trials/<name>/record.json` and perhaps a `study.json`.

    Returns:
        The study. Where a `study.json` names the requested trials, others in that folder are not covered.

    Raises:
        ValueError: If a folder holds no records, a record cannot be read, or no requested trial has one.
    """
    import pandas as pd

    found: dict[str, tuple[tuple[bool, str], dict[str, Any], Path]] = {}
    wanted: set[str] = set()
    titles, commands = set(), set()
    for folder in sorted({Path(folder) for folder in folders}):
        paths = sorted(folder.glob("trials/*/record.json"))
        if not paths:
            raise ValueError(f"{folder} holds no trial records: give a study folder such as outputs/studies/digits")
        launch = read_record(folder / "study.json") if (folder / "study.json").exists() else {}
        requested = launch.get("requested")
        wanted |= {path.parent.name for path in paths} if requested is None else set(requested)
        titles.add(str(launch.get("study") or folder.resolve().name))
        commands |= {str(launch["command"])} if launch.get("command") else set()
        for path in paths:
            record = read_record(path)
            rank = (record.get("status") != "ok", json.dumps(record, sort_keys=True))
            name = path.parent.name
            if name not in found or rank < found[name][0]:
                found[name] = (rank, {**flatten(record), "trial": name}, path.parent)
    covered = sorted(wanted & set(found))
    if not covered:
        raise ValueError(f"none of the {len(wanted)} requested trials has a record yet: run the study first")
    rows = [found[name][1] for name in covered]
    columns = dict.fromkeys([column for row in rows for column in row] + list(NEEDED))
    return Study(
        title=" + ".join(sorted(titles)),
        trials=pd.DataFrame(rows, columns=sorted(columns, key=_group), dtype=object),  # whole numbers stay whole
        missing=sorted(wanted - set(found)),
        folders={name: found[name][2] for name in covered},
        commands=sorted(commands),
    )


def configurations(study: Study) -> list[Configuration]:
    """Group the trials of a study by arm and by the factors that it sweeps.

    Args:
        study: The study.

    Returns:
        The configurations; `none` first, controls last.
    """
    trials = study.trials
    swept = [c for c in _columns(trials, "factors.") if c != ARM and not c.startswith(SEEDS) and _is_swept(trials, c)]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, row in enumerate(trials[[ARM, *swept]].itertuples(index=False, name=None)):
        groups.setdefault(tuple(value if value == value else None for value in row), []).append(position)
    found = []
    for (arm, *values), positions in groups.items():
        setting = {name.removeprefix("factors."): v for name, v in zip(swept, values, strict=True) if v is not None}
        found.append(Configuration(str(arm or "no classifier"), setting, trials.iloc[positions]))
    return sorted(found, key=lambda c: (_arm_order(c.arm), [(k, _natural(v)) for k, v in c.setting.items()]))


def contrasts(found: list[Configuration]) -> list[Contrast]:
    """Compare the configurations, pair by pair.

    The unit of a pair is the split; repeats under one split are averaged first. Where all trials of a contrast share
    one split, the training seed takes its place, and the verdict says so.

    Args:
        found: The configurations of a study.

    Returns:
        The planned contrasts of which both sides were tested.
    """
    return [_contrast(one, base) for one, _, bases in _planned(found) for base in bases]


def warnings(study: Study) -> list[str]:
    """Say what a reader must know before trusting the comparison: mixed code, data or machines, and what is left out.

    Args:
        study: The study.

    Returns:
        One sentence each.
    """
    trials = study.trials
    ok = trials[trials["status"] == "ok"]
    said = []
    if study.missing:
        names = ", ".join(study.missing[:5]) + (", ..." if len(study.missing) > 5 else "")
        said.append(f"requested trials without a record: {len(study.missing)} ({names})")
    lost = [f"{n} {status}" for status in ("diverged", "failed") if (n := int((trials["status"] == status).sum()))]
    if lost:
        said.append(f"{' and '.join(lost)} of {len(trials)} trials: the differences are between those that ended well")
    for one, base_arm, bases in _planned(configurations(study)):
        if not bases:
            said.append(f"{one.label()} is not compared with {base_arm}: no tested trials at the same setting")
    # A reused stage may have been made by other code than the trial's own.
    made = [c for c in _columns(trials, "provenance.made.") if c.endswith(".commit")]
    named = {
        "commits": ["provenance.commit", *made],
        "devices": ["costs.device"],
        "numbers of threads": ["costs.threads"],
    }
    named |= {f"versions of {c.removeprefix(VERSIONS)}": [c] for c in _columns(trials, VERSIONS)}
    for what, columns in named.items():
        found = [_values(ok, c, unknown="unknown" if c not in made else None) for c in columns]
        values = list(dict.fromkeys(value for one in found for value in one))
        if len(values) > 1:
            said.append(f"trials ran with different {what}: {', '.join(v[:12] for v in values)}")
    if "provenance.clean" in ok and (dirty := int((ok["provenance.clean"] == False).sum())):  # noqa: E712, null is not False
        said.append(f"{dirty} of {len(ok)} trials ran with uncommitted changes")
    if {"factors.data", "provenance.fingerprint"} <= set(ok):
        for data, group in ok.groupby("factors.data"):
            if group["provenance.fingerprint"].nunique() > 1:
                said.append(f"the content of {data} changed between trials")
    return said


def write_report(folders: Sequence[Path | str], output: Path | str | None = None) -> Path:
    """Write `report.html`, `results.csv` and the figures of one or more study folders.

    Args:
        folders: Study folders; their trials are merged.
        output: Where to write; `report/` in the first folder by default.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: If the folders hold no readable trial records.
    """
    return _write(collect(folders), Path(output) if output else Path(folders[0]) / "report")


def print_report(study: Study, console: Console, path: Path | None = None) -> None:
    """Print the arms and the verdicts.

    Args:
        study: The study.
        console: Where to print.
        path: The page to point to.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    found = configurations(study)
    title = f"{study.title}: test accuracy (points) and seconds a trial"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    rows = [{heading: value for heading, value in _arm_row(c).items() if heading != "trials"} for c in found]
    for heading in rows[0]:
        first = heading == "arm"
        table.add_column(heading, justify="left" if first else "right", overflow="fold", no_wrap=not first)
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    console.print(table)
    for line in _verdicts(contrasts(found)):
        console.print(line, markup=False, highlight=False)
    for line in warnings(study):
        console.print(f"warning: {line}", markup=False, highlight=False)
    if path:
        console.print(f"\nreport: {path}", markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `gan-augment-report FOLDER... [--output DIR]`.

    Args:
        argv: Arguments, those of the command line by default.
    """
    parser = argparse.ArgumentParser(
        prog="gan-augment-report",
        description="Compare the arms of a study: verdicts with intervals, as a page, a table and a CSV file.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="study folder; several are merged")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: FOLDER/report)")
    arguments = parser.parse_args(argv)
    try:
        study = collect(arguments.folders)
        path = _write(study, arguments.output or arguments.folders[0] / "report")
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(1)
    from rich.console import Console

    print_report(study, Console(), path)


def _planned(found: list[Configuration]) -> list[tuple[Configuration, str, list[Configuration]]]:
    """Each tested configuration with the arm to compare it with and that arm's configurations at the same setting."""
    tested = [c for c in found if len(c.tested)]
    arms = dict.fromkeys(c.arm for c in tested)
    pairs = [*CONTRASTS, *((arm, "none") for arm in arms if arm not in ARMS)]

    def agree(one: Configuration, base: Configuration) -> bool:
        return all(base.setting.get(name, value) == value for name, value in one.setting.items())

    return [
        (one, base_arm, [base for base in tested if base.arm == base_arm and agree(one, base)])
        for arm, base_arm in pairs
        for one in tested
        if one.arm == arm and base_arm in arms
    ]


def _is_swept(trials: pd.DataFrame, column: str) -> bool:
    """Whether a factor takes several values, other than those by which the arms are told apart."""
    if column.startswith(f"{ARM}."):
        return bool((trials.groupby(ARM)[column].nunique() > 1).any())
    return bool(trials[column].nunique() > 1)


def _contrast(one: Configuration, base: Configuration) -> Contrast:
    by, unit = _unit([one, base])

    def interval(metric: str) -> Interval:
        return paired_interval((one.points(metric, by) - base.points(metric, by)).dropna().to_numpy())

    accuracy = interval(ACCURACY)
    sentence = verdict(accuracy, unit, 100 / float(one.tested[TEST_IMAGES].astype(float).mean()))
    lost = [f"{n} {status}" for status in ("diverged", "failed") if (n := one.count(status) + base.count(status))]
    per_class = {c.removeprefix(PER_CLASS): interval(c) for c in _columns(one.tested, PER_CLASS)}
    return Contrast(
        title=f"{one.label()} against {base.label(said=one.setting)}",
        interval=accuracy,
        sentence=sentence + (f"; left out: {', '.join(lost)}" if lost else ""),
        per_class={name: value for name, value in per_class.items() if value.num_pairs},
    )


def _unit(compared: list[Configuration]) -> tuple[str, str]:
    """The column whose values are the independent pairs, and its name."""
    splits, seeds = ({value for c in compared for value in c.tested[column]} for column in (SPLIT, TRAINING_SEED))
    return (TRAINING_SEED, "training seed") if len(splits) == 1 and len(seeds) > 1 else (SPLIT, "split")


def _verdicts(compared: list[Contrast]) -> list[str]:
    nothing = "Nothing is compared: no two arms that differ in the arm alone have test results."
    return [f"{c.title}: {c.sentence}" for c in compared] or [nothing]


def _arm_row(configuration: Configuration) -> dict[str, str]:
    accuracy = configuration.points(ACCURACY, _unit([configuration])[0])
    return {
        "arm": configuration.label(),
        "accuracy": f"{accuracy.mean():.1f}" if len(accuracy) else "-",
        "splits": str(configuration.tested[SPLIT].nunique()),
        "trials": str(len(configuration.trials)),
        "diverged": str(configuration.count("diverged")),
        "failed": str(configuration.count("failed")),
        "seconds": _seconds(_mean_cost(configuration.trials, "total")),
    }


def _mean_cost(trials: pd.DataFrame, stage: str) -> float | None:
    """Mean seconds a trial needs for a stage, whether it ran it or reused it; None where no trial has the stage."""
    parts = trials.reindex(columns=[f"{SECONDS}{stage}.{part}" for part in ("spent", "reused")]).astype(float)
    seconds = parts.sum(axis=1, min_count=1).mean()
    return float(seconds) if seconds == seconds else None


def _write(study: Study, output: Path) -> Path:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from gan_augment.study import figures

    found = configurations(study)
    compared = contrasts(found)
    output.mkdir(parents=True, exist_ok=True)

    images: dict[str, bytes] = {}
    panels, unit = _panels([c for c in found if len(c.tested)])
    if panels:
        images["arms"] = figures.arms_figure(panels, unit)
    by_class = {c.title: c.per_class for c in compared if c.per_class}
    if by_class:
        images["classes"] = figures.classes_figure(by_class)
    for name, image in images.items():
        write_whole(image, output / f"{name}.png")

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        title=study.title,
        verdicts=_verdicts(compared),
        compared=compared,
        arms=[_arm_row(c) for c in found],
        generators=[row for row in (_generator_row(c) for c in found) if len(row) > 1],
        contrasts=[_contrast_row(c) for c in compared],
        images={name: _embedded(image) for name, image in images.items()},
        facts=_facts(study),
        saw=[_saw_row(c) for c in found],
        warnings=warnings(study),
        classes=_class_rows(by_class),
        samples=_samples(study, found),
        costs=[_cost_row(c, study) for c in found],
        trials=[_trial_row({str(k): v for k, v in row.items()}) for row in study.trials.to_dict("records")],
    )
    write_whole(study.trials.to_csv(index=False, lineterminator="\n").encode(), output / "results.csv")
    path = output / "report.html"
    write_whole(page.encode(), path)
    return path


def _panels(tested: list[Configuration]) -> tuple[dict[str, dict[str, pd.Series]], str]:
    """Accuracies for the arms figure, a panel for every setting of the factors that all arms have, and their unit."""
    shared = [name for name in tested[0].setting if all(name in c.setting for c in tested)] if tested else []
    groups: dict[str, list[Configuration]] = {}
    for c in tested:
        groups.setdefault(_named("", {name: c.setting[name] for name in shared}), []).append(c)
    units = sorted({_unit(group)[1] for group in groups.values()})
    panels = {
        title: {c.label(said=shared): c.points(ACCURACY, _unit(group)[0]) for c in group}
        for title, group in groups.items()
    }
    return panels, " or ".join(units)


def _contrast_row(contrast: Contrast) -> dict[str, str]:
    mean, bounds = in_words(contrast.interval)
    return {
        "contrast": contrast.title,
        "difference (points)": mean or "-",
        "95 % interval": bounds or "-",
        "pairs": str(contrast.interval.num_pairs),
        "verdict": contrast.sentence,
    }


def _class_rows(by_class: dict[str, dict[str, Interval]]) -> list[dict[str, str]]:
    def cell(interval: Interval | None) -> str:
        mean, bounds = in_words(interval) if interval else ("-", "")
        return f"{mean} ({bounds})" if bounds else mean

    names = dict.fromkeys(name for classes in by_class.values() for name in classes)
    return [{"class": name, **{t: cell(classes.get(name)) for t, classes in by_class.items()}} for name in names]


def _generator_row(configuration: Configuration) -> dict[str, str]:
    trials = configuration.trials
    columns = _columns(trials, GAN_METRICS)
    if not trials[columns].notna().any(axis=None):
        return {"arm": configuration.label()}
    means = trials[columns].astype(float).mean()
    return {
        "arm": configuration.label(),
        **{c.removeprefix(GAN_METRICS): f"{means[c]:.4g}" if means[c] == means[c] else "-" for c in columns},
    }


def _saw_row(configuration: Configuration) -> dict[str, str]:
    columns = {"labelled": "labelled images", "pool_images": "pool images", "pool_labels": "pool labels"}
    seen = {what: _values(configuration.tested, f"saw.{name}") for name, what in columns.items()}
    return {"arm": configuration.label(), **{what: ", ".join(values) or "-" for what, values in seen.items()}}


def _cost_row(configuration: Configuration, study: Study) -> dict[str, str]:
    trials = configuration.trials
    stages = dict.fromkeys(c.removeprefix(SECONDS).rsplit(".", 1)[0] for c in _columns(study.trials, SECONDS))
    peak = trials.get("costs.peak_memory_mib")
    return {
        "arm": configuration.label(),
        **{
            f"{stage} (s)": _seconds(_mean_cost(trials, stage))
            for stage in sorted(stages, key=lambda s: LAST_STAGES.index(s) if s in LAST_STAGES else -1)
        },
        "peak memory (MiB)": f"{peak.dropna().max():.0f}" if peak is not None and peak.notna().any() else "-",
    }


def _trial_row(row: dict[str, Any]) -> dict[str, str]:
    seeds = {k.removeprefix(SEEDS): v for k, v in row.items() if k.startswith(SEEDS) and v == v and v is not None}
    distinct = {str(seed) for seed in seeds.values()}
    accuracy = row[ACCURACY]
    return {
        "trial": row["trial"],
        "status": str(row["status"]),
        "seeds": ", ".join(distinct) if len(distinct) < 2 else ", ".join(f"{k} {v}" for k, v in seeds.items()),
        "accuracy (points)": f"{100 * accuracy:.1f}" if accuracy is not None and accuracy == accuracy else "-",
        "error": str(row["error"]) if row["error"] and row["error"] == row["error"] else "",
    }


def _facts(study: Study) -> dict[str, str]:
    """What was compared, one line each."""
    trials = study.trials
    versions = {c.removeprefix(VERSIONS): _values(trials, c) for c in _columns(trials, VERSIONS)}
    facts = {
        "data": _values(trials, "factors.data"),
        "labels per class": _values(trials, "factors.labels_per_class"),
        "test images": _values(trials, TEST_IMAGES),
        "splits": [value[:8] for value in _values(trials, SPLIT)],
        "classifier": _values(trials, "factors.classifier"),
        "versions": [f"{name} {' or '.join(values)}" for name, values in versions.items() if values],
        "commit": [value[:12] for value in _values(trials, "provenance.commit")],
        "device": _values(trials, "costs.device"),
        "threads": _values(trials, "costs.threads"),
        "command": study.commands,
    }
    return {name: ", ".join(values) for name, values in facts.items() if values}


def _samples(study: Study, found: list[Configuration]) -> list[dict[str, str]]:
    """Real beside synthetic images, from the first trial of each configuration that has them."""
    samples = []
    for configuration in found:
        paths = [study.folders[name] / "samples.png" for name in configuration.trials["trial"]]
        path = next((path for path in paths if path.exists()), None)
        if path:
            image = _embedded(path.read_bytes())
            samples.append({"image": image, "arm": configuration.label(), "trial": path.parent.name})
    return samples[:MAX_SAMPLES]


def _values(trials: pd.DataFrame, column: str, unknown: str | None = None) -> list[str]:
    """The distinct values of a column in order, nulls left out or called `unknown`."""
    if column not in trials:
        return []
    known = sorted(trials[column].dropna().unique(), key=_natural)
    return [str(value) for value in known] + ([unknown] if unknown and trials[column].isna().any() else [])


def _columns(trials: pd.DataFrame, prefix: str) -> list[str]:
    return [column for column in map(str, trials.columns) if column.startswith(prefix)]


def _named(name: str, setting: dict[str, Any]) -> str:
    values = ", ".join(f"{key}={value}" for key, value in setting.items())
    return f"{name} ({values})" if name and values else name or values


def _group(column: str) -> int:
    first = column.split(".")[0]
    return GROUPS.index(first if first in GROUPS else "")


def _arm_order(arm: str) -> tuple[int, str]:
    return (ARMS.index(arm) if arm in ARMS else len(ARMS), arm)


def _natural(value: Any) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then words."""
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, str(value))


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def _embedded(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
