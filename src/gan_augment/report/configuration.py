"""Configurations: the arms of a study with values of the factors that it sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from gan_augment.records.factors import NULL, has_effect
from gan_augment.report.trials import (
    ACCURACY,
    ARM,
    DOMAINS,
    FOLDS,
    PRETRAINED,
    SEEDS,
    SPLIT,
    SPLIT_SEED,
    TRAINING_SEED,
    Study,
    columns_of,
    natural,
    values_of,
)

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

ARMS = ("none", "classical", "gan", "gan_classical")
LABELLED = "saw.labelled"
OVERLAP, POOL_OVERLAP = "provenance.overlap", "provenance.pool_overlap"
POOL_IMAGES = "provenance.pool_images"
VALIDATION = ["provenance.validation_images", "provenance.validation_imbalance_ratio"]
SEEN_POOL = ["saw.pool_images", "saw.pool_labels"]
GENERATORS, TRANSLATORS = "provenance.stages.gan", "provenance.stages.translator"
GIVEN = "provenance.stages.synthesis"  # of images that no stage of the study made
AMOUNTS = ("synthesis.per_class", "synthesis.quotas")  # settings of how many images are drawn, not how
IMPLIED = ("factors.penalty", "factors.translation", "factors.encoder")  # choices that others may bring with them
REPEATED = [f"{SEEDS}gan", f"{SEEDS}synthesis", TRAINING_SEED]  # seeds of training, from the first stage to the last
METHOD = "factors.augmentation.method"
NETWORK = "factors.classifier"  # null in arms whose method has a network of its own


@dataclass(frozen=True, eq=False)
class Configuration:
    """An arm at one setting of the swept factors.

    Attributes:
        setting: The swept factors that have an effect here.
        trials: Its trials, failed ones included.
        reads: Role of a stage -> the configuration nodes that it depends on.
    """

    arm: str
    setting: dict[str, Any]
    trials: pd.DataFrame
    reads: dict[str, frozenset[str]]

    @property
    def ended(self) -> pd.DataFrame:
        """The trials with status ok, with a classifier or without."""
        return self.trials[self.trials["status"] == "ok"]

    @property
    def with_results(self) -> pd.DataFrame:
        """The trials with a result."""
        return having_results(self.trials)

    @property
    def overlap(self) -> float:
        """Expected share of its training images that a split has in common with another one; nan if unknown.

        Training that sees the pool sees all images in every split, unless each draws some of a larger pool.
        """
        columns = [OVERLAP, POOL_OVERLAP, LABELLED, POOL_IMAGES, *SEEN_POOL]
        counts = self.with_results.reindex(columns=columns).astype(float)
        shares = counts[OVERLAP].fillna(counts[LABELLED] / (counts[LABELLED] + counts[POOL_IMAGES]))
        of_pool = counts[POOL_OVERLAP].fillna(1).clip(lower=shares)
        return float(shares.mask(counts[SEEN_POOL].gt(0).any(axis=1), of_pool).max(skipna=False))

    @property
    def has_domains(self) -> bool:
        """Whether its labelled images are of one domain, and the pool of another."""
        return bool(self.trials.reindex(columns=[DOMAINS]).notna().any(axis=None))

    @property
    def num_training_images(self) -> float:
        """Number of images from which its labelled ones are drawn; nan if unknown."""
        if self.has_domains:  # none of them is in the pool
            return math.nan
        counts = self.with_results.reindex(columns=[LABELLED, POOL_IMAGES]).astype(float)
        return float(counts.sum(axis=1, skipna=False).max())

    @property
    def lacks_validation(self) -> bool:
        """Whether a class has no validation images in some trial with such images; the ratio is null then."""
        number, ratio = self.with_results.reindex(columns=VALIDATION).astype(float).to_numpy().T
        return bool(((number > 0) & (ratio != ratio)).any())

    def label(self, known: Iterable[str] = ()) -> str:
        """Name the configuration without the `known` factors."""
        return named(self.arm, {name: value for name, value in self.setting.items() if name not in known})

    def against(self, base: Configuration, known: Iterable[str] = ()) -> str:
        """Name a comparison without the `known` factors, such as `gan (loss=hinge) against none`."""
        shared = [name for name, value in self.setting.items() if base.setting.get(name) == value]
        return f"{self.label(known)} against {base.label(shared)}"

    def points(self, metrics: Iterable[str], by: str) -> pd.DataFrame:
        """Mean of metrics in points, one row per split or training seed; nan if a metric is unknown."""
        trials = self.with_results
        return (100 * trials.reindex(columns=[*metrics]).astype(float)).groupby(trials[by].astype(str)).mean()

    def repeats(self, metric: str, by: str) -> pd.Series:
        """Points of a metric by split and by repeat: by the first of the training seeds that varies under a split."""
        trials = self.with_results
        split = trials[by].astype(str)
        seeds = [
            column for column in REPEATED if column in trials and trials.groupby(split)[column].nunique().max() > 1
        ]
        repeat = trials[seeds[0] if seeds else TRAINING_SEED].astype(str).rename("repeat")
        return (100 * trials[metric].astype(float)).groupby([split, repeat]).mean()

    @property
    def is_pretrained(self) -> bool:
        """Whether any of its trials used pretrained weights; records of earlier versions do not say."""
        return bool(self.trials.reindex(columns=[PRETRAINED]).eq(True).any(axis=None))

    @property
    def has_generator(self) -> bool:
        """Whether its trials have a GAN, semi-supervised ones and translators included.

        In trials without one its factors are null.
        """
        columns = [GENERATORS, TRANSLATORS, "factors.semi_supervised"]
        return bool(self.trials.reindex(columns=columns).notna().any(axis=None))

    @property
    def uses_generated(self) -> bool:
        """Whether its trials use generated images, those of a GAN or given ones."""
        return self.has_generator or self.saw("saw.given")

    def saw(self, column: str) -> bool:
        """Whether any of its trials saw images or labels of some kind, such as `saw.pool_labels`."""
        return bool((self.trials.reindex(columns=[column]).astype(float) > 0).any(axis=None))

    @property
    def task(self) -> frozenset[tuple[str, Any]]:
        """Its settings of what is to be learned, such as the number of labels: those that no training reads.

        How images lose resolution is one of these.
        """
        of_training = {"classifier", "augmentation", "measures", *chain.from_iterable(self.reads.values())}
        of_training.discard("degrade")
        return frozenset(item for item in self.setting.items() if not has_effect(item[0], of_training))

    def is_read_by(self, name: str, *roles: str) -> bool:
        """Whether a stage of one of these roles depends on a setting."""
        return any(has_effect(name, self.reads.get(role, ())) for role in roles)

    @property
    def has_other_method(self) -> bool:
        """Whether it trains another network than the classifier, in its own steps, so it is not step-matched."""
        known = self.trials.reindex(columns=[METHOD, NETWORK])
        return bool((known[METHOD].notna() & known[METHOD].ne("classifier") & known[NETWORK].isna()).any())

    def share_ended(self, by: str) -> pd.Series:
        """Share of the trials that did not diverge, among those with a result or diverged, per split or seed."""
        known = self.trials[(self.trials["status"] == "diverged") | self.trials.index.isin(self.with_results.index)]
        return (known["status"] == "ok").groupby(known[by].astype(str)).mean()

    def count(self, status: str) -> int:
        """Number of trials with a status."""
        return int((self.trials["status"] == status).sum())


def configurations(study: Study) -> list[Configuration]:
    """Group the trials of a study by arm and by the swept factors; `none` comes first, controls last."""
    trials = study.trials
    swept = [c for c in columns_of(trials, "factors.") if c != ARM and not c.startswith(SEEDS) and _is_swept(trials, c)]
    # Settings that follow from a choice are not listed with it: loss=hinge implies its learning rates, and
    # loss=relativistic its penalty, and augmentation=bigan its encoder.
    named = [f"factors.{name}" for baseline in study.against for name in baseline]
    for column in [c for c in swept if ("." in c.removeprefix("factors.") or c in IMPLIED) and c not in named]:
        others = [c for c in swept if c != column and "." not in c.removeprefix("factors.")]
        if not (trials.groupby([ARM, *others], dropna=False)[column].nunique() > 1).any():
            swept.remove(column)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, row in enumerate(trials[[ARM, *swept]].itertuples(index=False, name=None)):
        groups.setdefault(tuple(value if value == value else None for value in row), []).append(position)
    found = []
    for (arm, *values), positions in groups.items():
        # A null setting of an arm has no meaning for it, such as the share of synthetic images in an arm without any.
        known = ((c, v) for c, v in zip(swept, values, strict=True) if v is not None)
        setting = {c.removeprefix("factors."): v for c, v in known if not (c.startswith(f"{ARM}.") and v == NULL)}
        found.append(Configuration(str(arm or "no classifier"), setting, trials.iloc[positions], study.reads))
    return sorted(found, key=lambda c: (_arm_order(c.arm), [(k, natural(v)) for k, v in c.setting.items()]))


def pair_unit(compared: list[Configuration]) -> tuple[str, str]:
    """Return the column whose values identify the pairs, and the unit's name: a fold has test images of its own."""
    splits, seeds = ([set(c.with_results[column]) for c in compared] for column in (SPLIT, TRAINING_SEED))
    if len(set.union(*splits)) == 1 and len(set.union(*seeds)) > 1:
        return TRAINING_SEED, "training seed"
    unit = "fold" if any((c.trials[FOLDS] != NULL).any() for c in compared) else "split"
    if len(compared) > 1 and not set.intersection(*splits):
        return SPLIT_SEED, unit  # for two budgets: the smaller one's labelled images lie within the larger one's
    return SPLIT, unit


def generators(
    found: list[Configuration], is_wanted: Callable[[Configuration], bool] = lambda one: True
) -> dict[str, Configuration]:
    """Choose one configuration for each set of generators sampled in the same way, which arms and doses may share.

    It is the first that is wanted; sets without such a one are left out. The keys name the arms that share a set, with
    their common settings.
    """
    same: dict[Any, list[Configuration]] = {}
    for c in found:
        drawn = {(k, v) for k, v in c.setting.items() if k.startswith("synthesis") and k not in AMOUNTS}
        made_by = frozenset(values_of(c.trials, GENERATORS) or values_of(c.trials, GIVEN)) or c.label()
        same.setdefault((made_by, frozenset(drawn)), []).append(c)
    made: dict[str, Configuration] = {}
    for sharing in same.values():
        first, arms = next(filter(is_wanted, sharing), None), " and ".join(dict.fromkeys(c.arm for c in sharing))
        if first is None:
            continue
        common = dict(item for item in first.setting.items() if all(item in c.setting.items() for c in sharing))
        name = named(arms, common)
        made[named(arms, first.setting) if name in made else name] = first
    return made


def named(name: str, setting: dict[str, Any]) -> str:
    """Append the values of a setting to a name, without null ones."""
    values = ", ".join(f"{key}={value}" for key, value in setting.items() if value != NULL)
    return f"{name} ({values})" if name and values else name or values


def having_results(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with a result."""
    return trials[(trials["status"] == "ok") & trials[ACCURACY].notna()]


def _is_swept(trials: pd.DataFrame, column: str) -> bool:
    """Whether a factor takes several values, apart from values that define the arms."""
    if column.startswith(f"{ARM}."):
        return bool((trials.groupby(ARM)[column].nunique() > 1).any())
    return bool(trials[column].nunique() > 1)


def _arm_order(arm: str) -> tuple[int, str]:
    return (ARMS.index(arm) if arm in ARMS else len(ARMS), arm)
