"""The trials of a study as one table, with one flattened record per row, and facts about them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_augment.records.aliases import reads_of, renewed
from gan_augment.records.factors import LATER, NULL, OF_EVERY_TRIAL, has_effect
from gan_augment.records.findings import Section
from gan_augment.records.received import printable
from gan_augment.records.record import flatten
from gan_augment.records.usability import NOT_USABLE
from gan_augment.report.archive import SUFFIX, read_archive
from gan_augment.report.outcomes import Outcome, read_folder

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

GROUPS = ("trial", "status", "error", "factors", "metrics", "saw", "provenance", "", "costs")  # "": all other columns
ARM = "factors.augmentation"
# The results by which trials are compared: on the test images, or on the validation images while settings are chosen
# and no trial has opened the test images. These columns are made here.
RESULT = "result."
ACCURACY = "result.accuracy"
BALANCED = "result.balanced_accuracy"
RARE = "result.rare_recall"
PER_CLASS = "result.per_class."
NUM_IMAGES = "result.images"
NUM_GROUPS = "result.groups"
IMBALANCE = "result.imbalance_ratio"
SPLIT = "provenance.split"
FINGERPRINT = "provenance.fingerprint"
CONTENT = "factors.images"  # made here
FOLDS = "factors.folds"
SPLIT_SEED = "factors.seeds.split"
TRAINING_SEED = "factors.seeds.classifier"
DOMAINS = "provenance.domains"
LABELLED_RATIO = "saw.imbalance_ratio"
PRETRAINED = "saw.pretrained"
VERSIONS = "provenance.versions."
SEEDS = "factors.seeds."
GAN_METRICS = "metrics.gan."
MAJORITY = "metrics.operating_point.majority"
MAX_NAMED = 20  # rare classes named
CLASSES = re.compile(r"\d+ of \d+ classes(?: \([^)]*\))?")
# Columns that the report reads by name; they are empty in a study without them, for example of generators alone.
NEEDED = ("status", "error", ARM, SPLIT_SEED, TRAINING_SEED, ACCURACY, SPLIT, NUM_IMAGES)


@dataclass(frozen=True)
class Study:
    """The trials that a report covers."""

    title: str  # names of the studies
    trials: pd.DataFrame  # one flattened record per row, sorted by trial
    missing: list[str]  # requested trials without a record
    left_out: list[str]  # trials with a record that no launch asks for
    launches: list[dict[str, Any]]  # the request of each launch, without its looks
    outcomes: dict[str, Outcome]  # by trial, in the order of `trials`
    part: str  # the images of its results: `test`, or `validation` if no trial opened the test images
    commands: list[str]  # the commands that launched the studies
    against: list[dict[str, Any]]  # baselines: settings with values, with which all other values are compared
    notes: dict[str, int]  # note about images or classifier -> number of trials with it
    reads: dict[str, frozenset[str]]  # role of a stage -> the configuration nodes that it depends on
    compared: dict[str, str]  # column of a metric that its measure wants compared like accuracy -> its words
    sections: dict[str, Section]  # by their titles: what measures want said of their metrics
    damaged: list[str]  # a sentence for each file, or part of one, that is left out because it is damaged
    looks: frozenset[int]  # numbers of seeds with which a report was, or is to be, written

    @property
    def num_seeds(self) -> int:
        """Number of distinct seeds of split and training that were asked for, whatever became of their trials."""
        return len(self.trials[[SPLIT_SEED, TRAINING_SEED]].drop_duplicates())

    @property
    def other_looks(self) -> list[int]:
        """Other numbers of seeds with which a report was, or is to be, written."""
        return sorted(self.looks - {self.num_seeds})


def collect(sources: Sequence[Path | str]) -> Study:
    """Read the trials of one or more studies: folders, and `.jsonl` files that keep a study.

    The name of a trial is its identity. If it is found several times, one with status `ok` counts, preferably with its
    answers to the test images. A study covers what its launches ask for; other trials in its folder are left out.

    Raises:
        ValueError: If a folder holds no records, a file cannot be read at all, or no requested trial has a record.
    """
    import pandas as pd

    found: dict[str, Outcome] = {}
    launches: list[dict[str, Any]] = []
    wanted: set[str] = set()
    looks: set[int] = set()
    damaged: list[str] = []
    unasked: set[str] = set()  # by what a file keeps
    for source in sorted({Path(source) for source in sources}):
        launched, outcomes, lost = read_archive(source) if source.suffix == SUFFIX else read_folder(source)
        damaged += map(printable, lost)
        for launch in launched:
            requested = launch.get("requested")
            wanted |= {outcome.trial for outcome in outcomes} if requested is None else set(requested)
            against = renewed(launch.get("against") or {})
            launch["against"] = {name: NULL if value is None else value for name, value in against.items()}
            looks.update(launch.pop("looks", []))
            unasked.update(launch.pop("left_out", []))
            if launch not in launches:
                launches.append(launch)
        for outcome in outcomes:
            reads = {*OF_EVERY_TRIAL, *chain.from_iterable(reads_of(outcome.record).values())}
            later = {name: value if has_effect(name, reads) else None for name, value in LATER.items()}
            factors = later | renewed(outcome.record["factors"])
            one = replace(outcome, record=outcome.record | {"factors": factors})
            if one.trial not in found or _rank(one) < _rank(found[one.trial]):
                found[one.trial] = one
    covered = sorted(wanted & set(found))
    if not covered:
        why = damaged[0] if damaged else "run the study first"
        raise ValueError(f"none of the {len(wanted)} requested trials has a record yet: {why}")
    records = [found[name].record for name in covered]
    parts = {part for record in records for part in ("test", "validation") if record["metrics"].get(part)}
    part = "validation" if parts == {"validation"} else "test"
    rows = [row | _results(row, part) for row in map(flatten, records)]
    columns = dict.fromkeys([*chain.from_iterable(rows), *NEEDED])
    groups = {column: group if (group := column.split(".")[0]) in GROUPS else "" for column in columns}
    ordered = sorted(columns, key=lambda column: GROUPS.index(groups[column]))
    trials = pd.DataFrame(rows, columns=ordered, dtype=object)  # whole numbers stay whole
    return Study(
        title=" + ".join(sorted({str(launch["study"]) for launch in launches})),
        trials=_with_contents(trials),
        missing=sorted(wanted - set(found)),
        left_out=sorted((unasked | set(found)) - wanted),
        launches=launches,
        outcomes={name: found[name] for name in covered},
        part=part,
        commands=sorted({str(launch["command"]) for launch in launches if launch.get("command")}),
        against=_baselines(launches),
        notes=_notes(records),
        reads=_reads(records),
        damaged=damaged,
        compared={f"metrics.{name}": words for one in records for name, words in one.get("compared", {}).items()},
        sections=_sections(records),
        looks=frozenset(looks),
    )


def _baselines(launches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the baselines that launches name: values of one setting each, or those that a search started from."""
    named = [{name: value} for launch in launches for name, value in launch["against"].items()]
    found: list[dict[str, Any]] = []
    for one in [*named, *(launch.get("baseline") for launch in launches)]:
        if one and one not in found:
            found.append(one)
    return found


def _sections(records: Sequence[dict[str, Any]]) -> dict[str, Section]:
    """Unite the sections of several trials, by title: what a later trial says counts."""
    found: dict[str, Section] = {}
    for title, one in chain.from_iterable(record.get("sections", {}).items() for record in records):
        each_arm = bool(one.get("each_arm"))
        found[title] = Section(one.get("explained", ""), one.get("columns", {}), each_arm=each_arm)
    return found


def _notes(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count the trials with each note; notes that differ only in the classes are merged into one without names."""
    said = [dict.fromkeys(record.get("notes", []) + record.get("warnings", [])) for record in records]
    said = [{note: None for note in notes if NOT_USABLE not in note} for notes in said]  # what a report says first
    variants: dict[str, set[str]] = {}
    for note in chain.from_iterable(said):
        variants.setdefault(CLASSES.sub("some classes", note), set()).add(note)
    whole = {note: general if len(notes) > 1 else note for general, notes in variants.items() for note in notes}
    return Counter(chain.from_iterable(dict.fromkeys(whole[note] for note in notes) for notes in said))


def _reads(records: Sequence[dict[str, Any]]) -> dict[str, frozenset[str]]:
    """Unite the nodes that the stages of several trials depended on, by role."""
    found: dict[str, frozenset[str]] = {}
    for role, nodes in chain.from_iterable(reads_of(record).items() for record in records):
        found[role] = found.get(role, frozenset()).union(nodes)
    return found


def _results(row: dict[str, Any], part: str) -> dict[str, Any]:
    """Return the columns of the results on one part of the images."""
    found = {c.removeprefix(f"metrics.{part}."): c for c in row if c.startswith(f"metrics.{part}.")}
    found |= {name: c for name in ("images", "groups", "imbalance_ratio") if (c := f"provenance.{part}_{name}") in row}
    return {RESULT + name: row[column] for name, column in found.items()}


def _with_contents(trials: pd.DataFrame) -> pd.DataFrame:
    """Add a factor that distinguishes different images under the same settings: a changed folder, or two folders."""
    settings = [c for c in columns_of(trials, "factors.data") if not c.startswith("factors.data.classical")]
    if FINGERPRINT in trials and settings:
        fingerprints = trials.groupby(settings, dropna=False)[FINGERPRINT]
        if (fingerprints.nunique() > 1).any():
            return trials.assign(**{CONTENT: trials[FINGERPRINT].where(fingerprints.transform("nunique") > 1).str[:8]})
    return trials


def values_of(trials: pd.DataFrame, column: str, unknown: str | None = None) -> list[str]:
    """Return the distinct values of a column in order; nulls are left out or named `unknown`."""
    if column not in trials:
        return []
    known = sorted(trials[column].dropna().unique(), key=natural)
    return [str(value) for value in known] + ([unknown] if unknown and trials[column].isna().any() else [])


def columns_of(trials: pd.DataFrame, prefix: str) -> list[str]:
    """Return the columns whose names start with a prefix."""
    return [column for column in map(str, trials.columns) if column.startswith(prefix)]


def _rank(outcome: Outcome) -> tuple[bool, bool, str]:
    """Return a sort key for the outcomes of one trial: the smallest counts."""
    failed = outcome.record.get("status") != "ok"
    return (failed, outcome.answers is None, json.dumps(outcome.record, sort_keys=True))


def natural(value: Any) -> tuple[bool, float, str]:
    """Return a sort key: numbers by size, then words."""
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, str(value))


def facts(study: Study) -> dict[str, str]:
    """Return facts about the study: name -> values in words."""
    trials = study.trials
    versions = {c.removeprefix(VERSIONS): values_of(trials, c) for c in columns_of(trials, VERSIONS)}
    facts = {
        "data": values_of(trials, "factors.data"),
        "domains": [
            f"{names}: labelled and validation images of the first, the source; pool and test of the second, the target"
            for names in values_of(trials, DOMAINS)
        ],
        "labels per class": [value.replace("%", " % of each class") for value in values_of(trials, "factors.labels")],
        "labelled images": _amounts(trials, "saw.labelled", LABELLED_RATIO) if LABELLED_RATIO in trials else [],
        "rare classes": _rare_classes(study),
        "pool images": values_of(trials, "provenance.pool_images"),
        "validation images": values_of(trials, "provenance.validation_images"),
        f"{study.part} images": _amounts(trials, NUM_IMAGES, IMBALANCE),
        "accuracy of the largest class alone": [f"{100 * float(one):.1f} %" for one in values_of(trials, MAJORITY)],
        "settings": _confirmed(study.launches),
        "folds": [value for value in values_of(trials, FOLDS) if value != NULL],
        "splits": [value[:8] for value in values_of(trials, SPLIT)],
        "seeds": _seeds(trials),
        "classifier": values_of(trials, "factors.classifier"),
        "versions": [f"{name} {' or '.join(values)}" for name, values in versions.items() if values],
        "commit": [value[:12] for value in values_of(trials, "provenance.commit")],
        "device": values_of(trials, "costs.device"),
        "threads": values_of(trials, "costs.threads"),
        "command": ["\n".join(study.commands)] if study.commands else [],
    }
    return {name: ", ".join(values) for name, values in facts.items() if values}


def _confirmed(launches: Sequence[dict[str, Any]]) -> list[str]:
    """Say how the settings of a study were chosen, if a search did so."""
    found = [one["confirms"] for one in launches if one.get("confirms")]
    return [
        f"the best of {one['candidates']} candidates, chosen on validation images of the splits "
        f"{', '.join(map(str, one['seeds']))} (search {one['study']}), and the default ones: confirmed here on splits "
        "that chose nothing"
        for one in found
        if one == found[-1]
    ][:1]


def _seeds(trials: pd.DataFrame) -> list[str]:
    """Return the seeds, or those of each part if they differ between parts."""
    seeds = {c.removeprefix(SEEDS): values for c in columns_of(trials, SEEDS) if (values := values_of(trials, c))}
    if len(set(map(tuple, seeds.values()))) < 2:
        return next(iter(seeds.values()), [])
    return ["; ".join(f"{', '.join(values)} of {part}" for part, values in seeds.items())]


def _amounts(trials: pd.DataFrame, images: str, ratio: str) -> list[str]:
    """Return the numbers of images, and how unequal the classes are, if the records contain that."""
    numbers = values_of(trials, images)
    if images == NUM_IMAGES and (groups := values_of(trials, NUM_GROUPS)):
        numbers = [f"{', '.join(numbers)} of {', '.join(groups)} groups"]
    if images == NUM_IMAGES and (trials[FOLDS] != NULL).any():
        numbers = [f"{', '.join(numbers)} in a fold"]
    ratios = [f"{round(float(value), 2):g}" for value in values_of(trials, ratio)]
    if not ratios or trials[ratio].isna().any():  # unknown, or a class has no image
        return numbers
    times = " to ".join(dict.fromkeys([ratios[0], ratios[-1]]))
    spread = "all classes equal" if times == "1" else f"the largest class has {times} times as many as the smallest"
    return [f"{', '.join(numbers)} ({spread})"]


def _rare_classes(study: Study) -> list[str]:
    """Name the rare classes, and whether they differ between trials."""
    saw = [outcome.record.get("saw", {}) for outcome in study.outcomes.values()]
    lists = [one["rare_classes"] for one in saw if "rare_classes" in one]
    names = list(dict.fromkeys(chain.from_iterable(lists)))
    listed = ", ".join(names[:MAX_NAMED])
    listed += f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    listed += " (not the same in all trials)" if any(one != lists[0] for one in lists) else ""
    return [listed] if names else []
