"""The comparison: which configurations of a study are compared with which.

A *configuration* is an arm with values of the factors that the study sweeps. A *contrast* compares two configurations,
pair by pair, that differ only in the arm or in one setting that the study names. The comparisons are fixed before
any result is seen, and every verdict is corrected for their number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gan_augment.report.configuration import Configuration, configurations, having_results
from gan_augment.report.searches import searched
from gan_augment.report.trials import (
    ACCURACY,
    BALANCED,
    CONTENT,
    IMBALANCE,
    LABELLED_RATIO,
    RARE,
    VERSIONS,
    Study,
    columns_of,
    values_of,
)

ENCODERS = ("autoencoder", "adversarial_autoencoder", "bigan", "infogan")
# Each arm and the one that lacks only what the arm adds, fixed before any result is seen. The controls `half_batch` and
# `placebo` show how much of the gain of `gan` does not come from its images, so `gan` is compared with them. An arm
# whose partner is not in the study is compared with `none`, and in a study without `none` with `classical`.
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
    # Methods of domain adaptation train under classical transforms.
    *((arm, "classical") for arm in ("dann", "cdan", "mcd", "adda", "information_maximisation")),
    ("synthetic_features", "classical"),
    ("synthetic_features", "gaussian_features"),
    ("gaussian_features", "classical"),
    # Encoders against what needs no training, and those with an adversary against one without.
    *((arm, base) for arm in ENCODERS for base in ("raw_pixels", "random_encoder")),
    *((arm, "autoencoder") for arm in ENCODERS if arm != "autoencoder"),
    ("random_encoder", "raw_pixels"),
    ("low", "classical"),
    ("bicubic", "low"),
    *((arm, "bicubic") for arm in ("sr_l1", "sr_gan", "sr_task")),
    ("sr_gan", "sr_l1"),
    ("sr_task", "sr_l1"),
    ("translated_classical", "classical"),
    ("translated", "none"),
    ("style_classical", "classical"),
    ("class_mates_classical", "classical"),
    ("random_convolution_classical", "classical"),
    *(
        (arm, "none")
        for arm in ("synthetic_only", "more_real", "more_real_classical", "oversampling", "mixup", "cutmix")
    ),
)

# What learns from the labelled images alone, and what also has labels of the pool: other arms lie between them. Of two
# ceilings in a study the first counts.
FLOOR, CEILINGS = "none", ("more_real_classical", "more_real")

WORDS = {ACCURACY: "accuracy", BALANCED: "balanced accuracy", RARE: "recall of rare classes"}
# Smallest ratio of the largest class to the smallest at which classes count as unequal. Below it, accuracy and balanced
# accuracy differ by at most about a tenth of the difference between the best and the worst recall of a class.
UNEQUAL = 1.5

Pair = tuple[Configuration, Configuration]  # a configuration and its base


def has_unequal_classes(study: Study) -> bool:
    """Whether any trial with a result has classes so unequal in number that accuracy may mislead."""
    ratios = having_results(study.trials).reindex(columns=[LABELLED_RATIO, IMBALANCE]).astype(float)
    return bool((ratios >= UNEQUAL).any(axis=None))


def metrics_to_compare(study: Study) -> dict[str, str]:
    """Choose the metrics by which a study is compared: their columns -> their words.

    First accuracy. With unequal classes also balanced accuracy, unless the classes are equal in the test images so that
    the two are the same, and the recall of the rare classes, if there are any. Last the metrics that measures named.
    """
    words = WORDS | study.compared
    known = having_results(study.trials).reindex(columns=[*words, IMBALANCE])
    left_out = set() if has_unequal_classes(study) else {BALANCED, RARE}
    if (known[IMBALANCE] == 1).all():
        left_out.add(BALANCED)
    return {m: words[m] for m in words if m == ACCURACY or (m not in left_out and known[m].notna().any())}


def pairs(found: list[Configuration], against: Sequence[Mapping[str, Any]] = ()) -> list[Pair]:
    """Pair each configuration with results with its bases, arm by arm, then setting by setting.

    `against` are baselines, settings with values, with which all other values are compared.
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
    with_results = having_results(trials)
    if len(with_results) and (closed := len(ok) - len(with_results)):
        said.append(f"{closed} of {len(ok)} trials have no {study.part} results and are not compared")
    numbers = trials["status"].value_counts()
    if lost := [f"{numbers[status]} {status}" for status in ("diverged", "failed") if status in numbers]:
        said.append(f"{' and '.join(lost)} of {len(trials)} trials: only the others are compared")
    for one, base_name, bases in _planned(configurations(study), study.against):
        if not bases and not searched(study):
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
    found: list[Configuration], against: Sequence[Mapping[str, Any]]
) -> list[tuple[Configuration, str, list[Configuration]]]:
    """Return each configuration with results, the name of its base, and the configurations that match the base."""
    with_results = [c for c in found if len(c.with_results)]
    arms = dict.fromkeys(c.arm for c in with_results)
    pairs = [pair for pair in CONTRASTS if arms.keys() >= set(pair)]
    named = {arm for pair in pairs for arm in pair}
    if floor := next((base for base in (FLOOR, "classical") if base in arms), None):
        pairs += [(arm, floor) for arm in arms if arm not in named and arm != floor]
    planned = [
        (one, base_arm, [base for base in with_results if base.arm == base_arm and agree(one, base)])
        for arm, base_arm in pairs
        for one in with_results
        if one.arm == arm
    ]
    for baseline in against:
        known = [c for c in with_results if baseline.keys() & c.setting.keys()]
        sides = [(all(c.setting.get(name) == value for name, value in baseline.items()), c) for c in known]
        for one in [c for is_base, c in sides if not is_base]:
            bases = [c for is_base, c in sides if is_base and c.arm == one.arm and agree(one, c, less=baseline)]
            planned.append((one, ", ".join(f"{name}={value}" for name, value in baseline.items()), bases))
    return planned


def agree(one: Configuration, base: Configuration, less: Collection[str] = ()) -> bool:
    """Whether two configurations agree in all settings that both have, except `less`."""
    return all(base.setting.get(name, value) == value for name, value in one.setting.items() if name not in less)
