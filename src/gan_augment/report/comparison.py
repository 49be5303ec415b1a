"""The comparison: which configurations of a study are compared with which.

A *configuration* is an arm with values of the factors that the study sweeps. A *contrast* compares two configurations,
pair by pair, that differ only in the arm or in one setting that the study names. The comparisons are fixed before
any result is seen, and every verdict is corrected for their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from gan_augment.records.factors import NULL, has_effect
from gan_augment.report.trials import (
    ACCURACY,
    ARM,
    BALANCED,
    CONTENT,
    FOLDS,
    IMBALANCE,
    LABELLED_RATIO,
    PRETRAINED,
    RARE,
    SEEDS,
    SPLIT,
    SPLIT_SEED,
    TRAINING_SEED,
    VERSIONS,
    Study,
    columns_of,
    natural,
    values_of,
)

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

ARMS = ("none", "classical", "gan", "gan_classical")
# Each arm and the one that lacks only what the arm adds, fixed before any result is seen. The controls `half_batch` and
# `placebo` show how much of the gain of `gan` does not come from its images, so `gan` is compared with them. An arm
# whose partner is not in the study is compared with `none`.
CONTRASTS = (
    ("classical", "none"),
    ("gan", "none"),
    ("gan_classical", "classical"),
    ("gan", "half_batch"),
    ("gan", "placebo"),
    ("given", "none"),
    ("given", "gan"),
    # An arm that sees the pool against arms that do not, and against those that use it without a GAN.
    ("pseudo_label", "classical"),
    ("semi_supervised", "classical"),
    ("semi_supervised", "pseudo_label"),
    ("consistency", "classical"),
    ("semi_supervised", "consistency"),
    ("gan_pool", "gan"),
    ("gan_pool_classical", "classical"),
    ("gan_pool_classical", "pseudo_label"),
    ("pseudo_label_gan", "pseudo_label"),
    ("semi_supervised", "pseudo_label_gan"),
    ("gan_pool_classical", "pseudo_label_gan"),
    *((arm, "none") for arm in ("synthetic_only", "more_real", "oversampling", "mixup", "cutmix")),
)

LABELLED = "saw.labelled"
OVERLAP = "provenance.overlap"
POOL_IMAGES = "provenance.pool_images"
VALIDATION = ["provenance.validation_images", "provenance.validation_imbalance_ratio"]
SEEN_POOL = ["saw.pool_images", "saw.pool_labels"]
GENERATORS = "provenance.stages.gan"
GIVEN = "provenance.stages.synthesis"  # of images that no stage of the study made
AMOUNTS = ("synthesis.per_class", "synthesis.quotas")  # settings of how many images are drawn, not how
PENALTY = "factors.penalty"
REPEATED = [f"{SEEDS}gan", f"{SEEDS}synthesis", TRAINING_SEED]  # seeds of training, from the first stage to the last
METHOD = "factors.augmentation.method"
WORDS = {ACCURACY: "accuracy", BALANCED: "balanced accuracy", RARE: "recall of rare classes"}
# Smallest ratio of the largest class to the smallest at which classes count as unequal. Below it, accuracy and balanced
# accuracy differ by at most about a tenth of the difference between the best and the worst recall of a class.
UNEQUAL = 1.5


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
        return _with_results(self.trials)

    @property
    def overlap(self) -> float:
        """Expected share of its training images that a split has in common with another one; nan if unknown.

        Training that sees the pool sees all images in every split.
        """
        counts = self.with_results.reindex(columns=[OVERLAP, LABELLED, POOL_IMAGES, *SEEN_POOL]).astype(float)
        shares = counts[OVERLAP].fillna(counts[LABELLED] / (counts[LABELLED] + counts[POOL_IMAGES]))
        return float(shares.mask(counts[SEEN_POOL].gt(0).any(axis=1), 1).max(skipna=False))

    @property
    def num_training_images(self) -> float:
        """Number of images from which its labelled ones are drawn; nan if unknown."""
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
        """Whether its trials have a GAN, semi-supervised ones included; in trials without one its factors are null."""
        return bool(self.trials.reindex(columns=[GENERATORS, "factors.semi_supervised"]).notna().any(axis=None))

    @property
    def uses_generated(self) -> bool:
        """Whether its trials use generated images, those of a GAN or given ones."""
        return self.has_generator or self.saw("saw.given")

    def saw(self, column: str) -> bool:
        """Whether any of its trials saw images or labels of some kind, such as `saw.pool_labels`."""
        return bool((self.trials.reindex(columns=[column]).astype(float) > 0).any(axis=None))

    @property
    def task(self) -> frozenset[tuple[str, Any]]:
        """Its settings of what is to be learned, such as the number of labels: those that no training reads."""
        of_training = {"classifier", "augmentation", "measures", *chain.from_iterable(self.reads.values())}
        return frozenset(item for item in self.setting.items() if not has_effect(item[0], of_training))

    def is_read_by(self, name: str, *roles: str) -> bool:
        """Whether a stage of one of these roles depends on a setting."""
        return any(has_effect(name, self.reads.get(role, ())) for role in roles)

    @property
    def has_other_method(self) -> bool:
        """Whether it trains another network than the classifier, in its own steps, so it is not step-matched."""
        return values_of(self.trials, METHOD) not in ([], ["classifier"])

    def share_ended(self, by: str) -> pd.Series:
        """Share of the trials that did not diverge, among those with a result or diverged, per split or seed."""
        known = self.trials[(self.trials["status"] == "diverged") | self.trials.index.isin(self.with_results.index)]
        return (known["status"] == "ok").groupby(known[by].astype(str)).mean()

    def count(self, status: str) -> int:
        """Number of trials with a status."""
        return int((self.trials["status"] == status).sum())


Pair = tuple[Configuration, Configuration]  # a configuration and its base


def has_unequal_classes(study: Study) -> bool:
    """Whether any trial with a result has classes so unequal in number that accuracy may mislead."""
    ratios = _with_results(study.trials).reindex(columns=[LABELLED_RATIO, IMBALANCE]).astype(float)
    return bool((ratios >= UNEQUAL).any(axis=None))


def metrics_to_compare(study: Study) -> dict[str, str]:
    """Choose the metrics by which a study is compared: their columns -> their words.

    First accuracy. With unequal classes also balanced accuracy, unless the classes are equal in the test images so that
    the two are the same, and the recall of the rare classes, if there are any. Last the metrics that measures named.
    """
    words = WORDS | study.compared
    known = _with_results(study.trials).reindex(columns=[*words, IMBALANCE])
    left_out = set() if has_unequal_classes(study) else {BALANCED, RARE}
    if (known[IMBALANCE] == 1).all():
        left_out.add(BALANCED)
    return {m: words[m] for m in words if m == ACCURACY or (m not in left_out and known[m].notna().any())}


def configurations(study: Study) -> list[Configuration]:
    """Group the trials of a study by arm and by the swept factors; `none` comes first, controls last."""
    trials = study.trials
    swept = [c for c in columns_of(trials, "factors.") if c != ARM and not c.startswith(SEEDS) and _is_swept(trials, c)]
    # Settings that follow from a choice are not listed with it: loss=hinge implies its learning rates, and
    # loss=relativistic its penalty.
    named = [f"factors.{name}" for name, _ in study.against]
    for column in [c for c in swept if ("." in c.removeprefix("factors.") or c == PENALTY) and c not in named]:
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


def pairs(found: list[Configuration], against: Sequence[tuple[str, Any]] = ()) -> list[Pair]:
    """Pair each configuration with results with its bases, arm by arm, then setting by setting.

    `against` are settings with their baseline values, with which all other values are compared.
    """
    return [(one, base) for one, _, bases in _planned(found, against) for base in bases]


def contests(found: list[Configuration]) -> list[tuple[list[Configuration], list[Configuration]]]:
    """Return configurations with generated images and those without, for each task whose best pair may be unplanned.

    That is where several classifiers learn it, or an arm without generated images is the base of no other arm, such as
    `cutmix`. All have results. Those that saw labels of the pool, which are hidden from all others, are left out.
    """
    tasks: dict[frozenset[tuple[str, Any]], list[Configuration]] = {}
    for one in found:
        if len(one.with_results) and not one.saw("saw.pool_labels"):
            tasks.setdefault(one.task, []).append(one)
    sides = []
    for some in tasks.values():
        generated, others = [c for c in some if c.uses_generated], [c for c in some if not c.uses_generated]
        classifiers = {c.setting.get("classifier") for c in some} - {None}
        is_open = len(classifiers) > 1 or {c.arm for c in others} - {base for _, base in CONTRASTS}
        if is_open and generated and others:
            sides.append((generated, others))
    return sides


def warnings(study: Study) -> list[str]:
    """Return warnings about the comparison: mixed code, data or machines, and trials that are left out."""
    trials = study.trials
    ok = trials[trials["status"] == "ok"]
    said = [*study.damaged]
    unasked = "trials that are left out, because no launch of the study asks for them or a later one replaced them"
    for what, trials_of in {"requested trials without a record": study.missing, unasked: study.left_out}.items():
        if trials_of:
            names = ", ".join(trials_of[:5]) + (", ..." if len(trials_of) > 5 else "")
            said.append(f"{what}: {len(trials_of)} ({names})")
    pictures = {name: outcome.samples for name, outcome in study.outcomes.items() if outcome.samples}
    if lacking := [f"{path} of {name}" for name, path in pictures.items() if not path.exists()]:
        said.append(f"pictures of samples are missing: {', '.join(lacking)}")
    with_results = _with_results(trials)
    if len(with_results) and (closed := len(ok) - len(with_results)):
        said.append(f"{closed} of {len(ok)} trials have no {study.part} results and are not compared")
    numbers = trials["status"].value_counts()
    if lost := [f"{numbers[status]} {status}" for status in ("diverged", "failed") if status in numbers]:
        said.append(f"{' and '.join(lost)} of {len(trials)} trials: only the others are compared")
    for one, base_name, bases in _planned(configurations(study), study.against):
        if not bases:
            said.append(f"{one.label()} is not compared with {base_name}: no trials with a result at the same setting")
    # A reused stage may have been made by other code than the trial, or with another number of threads.
    made = columns_of(trials, "provenance.made.")
    same = {
        "commits": ["provenance.commit", *(c for c in made if c.endswith(".commit"))],
        "devices": ["costs.device"],
        "numbers of threads": ["costs.threads", *(c for c in made if c.endswith(".threads"))],
    }
    same |= {f"versions of {c.removeprefix(VERSIONS)}": [c] for c in columns_of(trials, VERSIONS)}
    for what, columns in same.items():
        values = dict.fromkeys(v for c in columns for v in values_of(ok, c, None if c in made else "unknown"))
        if len(values) > 1:
            said.append(f"trials ran with different {what}: {', '.join(v[:12] for v in values)}")
    if "provenance.clean" in ok and (dirty := int(ok["provenance.clean"].eq(False).sum())):
        said.append(f"{dirty} of {len(ok)} trials ran with uncommitted changes")
    if contents := values_of(trials, CONTENT):
        said.append(f"there are {len(contents)} sets of images under the same settings: they are compared separately")
    return said


def _planned(
    found: list[Configuration], against: Sequence[tuple[str, Any]]
) -> list[tuple[Configuration, str, list[Configuration]]]:
    """Return each configuration with results, the name of its base, and the configurations that match the base."""
    with_results = [c for c in found if len(c.with_results)]
    arms = dict.fromkeys(c.arm for c in with_results)
    pairs = [pair for pair in CONTRASTS if arms.keys() >= set(pair)]
    named = {arm for pair in pairs for arm in pair}
    pairs += [(arm, "none") for arm in arms if arm not in named and "none" in arms and arm != "none"]
    planned = [
        (one, base_arm, [base for base in with_results if base.arm == base_arm and _agree(one, base)])
        for arm, base_arm in pairs
        for one in with_results
        if one.arm == arm
    ]
    for name, value in against:
        sides = [(c.setting[name] == value, c) for c in with_results if name in c.setting]
        for one in [c for is_base, c in sides if not is_base]:
            bases = [c for is_base, c in sides if is_base and c.arm == one.arm and _agree(one, c, less=name)]
            planned.append((one, f"{name}={value}", bases))
    return planned


def _agree(one: Configuration, base: Configuration, less: str | None = None) -> bool:
    """Whether two configurations agree in all settings that both have, except `less`."""
    return all(base.setting.get(name, value) == value for name, value in one.setting.items() if name != less)


def _is_swept(trials: pd.DataFrame, column: str) -> bool:
    """Whether a factor takes several values, apart from values that define the arms."""
    if column.startswith(f"{ARM}."):
        return bool((trials.groupby(ARM)[column].nunique() > 1).any())
    return bool(trials[column].nunique() > 1)


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


def _with_results(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[(trials["status"] == "ok") & trials[ACCURACY].notna()]


def _arm_order(arm: str) -> tuple[int, str]:
    return (ARMS.index(arm) if arm in ARMS else len(ARMS), arm)
