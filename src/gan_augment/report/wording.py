"""The sentences that the page and the terminal share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gan_augment.records.factors import NULL
from gan_augment.report.comparison import CEILINGS, FLOOR, contests, has_unequal_classes
from gan_augment.report.configuration import GENERATORS, Configuration, configurations, pair_unit
from gan_augment.report.contrasts import Contrast, choices, rivals
from gan_augment.report.gap import Gap
from gan_augment.report.searches import outcome_in_words, searched
from gan_augment.report.statistics import MAX_PAIRS
from gan_augment.report.trials import ACCURACY, ARM, BALANCED, FOLDS, PRETRAINED, SPLIT, Study
from gan_augment.report.usability import is_not_usable
from gan_augment.report.verdict import in_words

if TYPE_CHECKING:
    import pandas as pd

SECONDS = "costs.seconds."
STRONGER_BASELINE = (
    "a stronger baseline exists for photographs: a classifier on ImageNet features, which needs seconds a trial and no "
    "GAN; compare it too, with -m classifier=cnn,probe,finetuned (pip install 'gan-augment[pretrained]')"
)

GAP = (
    f"{FLOOR} is the floor: it learns from the labelled images alone. {CEILINGS[1]} is the ceiling, or {CEILINGS[0]} "
    "in a study that has it: they also have labels of the pool. The share of the gap that an arm closes is its gain "
    "over the floor, divided by that of the ceiling; at 100 % it is as good as the ceiling. The interval has all "
    "shares of the gap from which the gain is not told (Fieller 1954), on the images that the verdict on the gap "
    "speaks for."
)
BEST = "The best with generated images against the best without, both chosen on the validation images: "


def verdicts(study: Study, compared: list[Contrast]) -> list[str]:
    """Return the verdict of each comparison, one sentence each, or the reason why there are none.

    If an arm ran with several GANs, the verdict is on the best one by the validation images. That on the best
    configuration with generated images against the best without comes first, if there is one.
    """
    if tried := searched(study):
        return [f"{outcome_in_words(tried)}."]
    reason = "no two configurations that differ only in the arm have results"
    if study.trials[ARM].isna().all():
        reason = "no trial has a classifier, the study trained only generators"
    best = {(choice.best.label(), choice.base.label()): choice for choice in choices(compared)}
    said = []
    for c in shown(compared):
        chosen = ""
        if not c.of_best and (choice := best.get((c.one.label(), c.base.label()))):
            settings = f"{1 + len(choice.others)} settings on the validation images"
            chosen = f", the best of {settings} ({choice.gain:+.1f} points)"
        this = ", with this generator" if is_not_usable(c.one) else ""
        said.append(f"{BEST if c.of_best else ''}{c.title}{chosen}{this}: {c.sentence}")
    return said or [f"Nothing is compared: {reason}."]


def plans(compared: list[Contrast], points: float) -> list[str]:
    """Return how many splits would detect a gain, one sentence for each comparison that has a verdict."""
    said = []
    for c in shown(compared):
        if c.unit == "fold":
            said.append(f"{c.title}: not planned with folds; more seeds help little, more images do")
            continue
        n = pairs_in_words(c.pairs_to_detect(points))
        sentence = f"about {n} {c.unit}s would detect a gain of {points:g} points at 80 % power"
        if n.startswith("over"):
            sentence = f"{n} {c.unit}s would be needed to detect a gain of {points:g} points"
            if c.estimate.images:
                sentence += f": more of them do not make up for having {c.num_images:.0f} test images"
                sentence += "" if math.isnan(c.num_groups) else f" of {c.num_groups:.0f} groups"
        said.append(f"{c.title}: " + ("too few results to plan by" if n == "-" else sentence))
    return said


def shown(compared: list[Contrast]) -> list[Contrast]:
    """Return the contrasts that have a verdict: all except those of GANs that the validation images did not choose."""
    made = choices(compared)
    passed_over = {other.label() for choice in made for other in choice.others} - {one.best.label() for one in made}
    return [c for c in compared if c.of_best or c.one.arm == c.base.arm or c.one.label() not in passed_over]


def pairs_in_words(number: float) -> str:
    """Write a planned number of pairs."""
    return f"over {MAX_PAIRS:,}" if math.isinf(number) else in_digits(number, ".0f")


def notes(study: Study) -> list[str]:
    """Return the trials' notes on images and classifier, each with the number of trials if not all have it."""
    n = len(study.trials)
    said = [note + (f" ({number} of {n} trials)" if number < n else "") for note, number in study.notes.items()]
    return said + ([STRONGER_BASELINE] if lacks_pretrained_baseline(study) else [])


def lacks_pretrained_baseline(study: Study) -> bool:
    """Whether a study classifies photographs, files or CIFAR-10 of 32 pixels or more, with no pretrained classifier."""
    import pandas as pd

    trials = study.trials.reindex(columns=[ARM, "factors.data", "factors.data.image_size", PRETRAINED, GENERATORS])
    sizes = trials["factors.data.image_size"]
    sizes = pd.to_numeric(sizes.where(sizes != NULL, 32), errors="coerce")  # as they are: CIFAR-10 has 32 pixels
    are_photographs = trials["factors.data"].isin(["image_folder", "cifar10"]) & (sizes >= 32)
    # With a generator, the weights may be those through which its discriminator sees images.
    is_known = (trials[PRETRAINED].eq(True) & trials[GENERATORS].isna()).any()
    return bool((are_photographs & trials[ARM].notna()).any() and not is_known)


def results_in_words(study: Study, metrics: Mapping[str, str]) -> str:
    """Name the results, such as `test accuracy`."""
    return f"{study.part} {'accuracy' if len(metrics) == 1 else 'results'}"


def without_new_images(compared: list[Contrast]) -> list[str]:
    """Return which comparisons have no interval for new images, and why: one sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for c in compared:
        if c.no_new_images and c.part == "test" and c.unit != "fold":  # a verdict on folds says so itself
            reasons.setdefault(c.no_new_images, []).append(c.title)
    said = []
    for reason, titles in reasons.items():
        which = f" of {' and of '.join(titles)}" if len(titles) < 4 else f" of {len(titles)} comparisons"
        which = "" if len(titles) == len(compared) else which
        said.append(
            f"There is no interval for new images{which}: {reason}. "
            "The verdict is for these test images; on others the difference varies more."
        )
    return said


def overlap_in_words(compared: list[Contrast]) -> str:
    """Return what splits have in common, and what follows for the intervals; empty without splits."""
    overlaps = sorted(c.estimate.overlap for c in compared if c.unit == "split" and len(c.differences))
    if not overlaps:
        return ""
    if any(map(math.isnan, overlaps)):
        start = "The records do not say how many of the images that they train on two splits have in common."
    else:
        shares = " to ".join(dict.fromkeys(f"{float(f'{100 * one:.2g}'):g}" for one in (overlaps[0], overlaps[-1])))
        start = f"Two splits have about {shares} % of the images that they train on in common."
    return (
        f"{start} The intervals are widened for common images, and less where repeats show training noise; where that "
        "would widen them too much, or their number is unknown, the verdict speaks only for other choices among the "
        "same training images."
    )


def folds_in_words(compared: list[Contrast]) -> list[str]:
    """Return how folds were tested, and what that means for the report: one sentence each."""
    said: list[str] = []
    for c in compared:
        if c.unit == "fold" and c.metric == ACCURACY and (n := c.estimate.num_pairs):
            (k,) = c.one.trials[FOLDS].unique()
            times = f"{n / k:.2g} repetition{'s' * (n != k)}"
            said.append(
                f"{c.num_images:,.0f} images, each tested once in every repetition: {n} folds are {times} of {k}. "
                + (
                    f"The verdict is for classifiers that see no images of the target, or {k - 1} of {k} parts of them."
                    if c.one.has_domains
                    else f"The verdict is for classifiers that learn from {k - 1} of {k} parts of such a set."
                )
            )
    if said:
        said.append(
            "Folds share images, so an interval needs the answers to single images. Metrics without them have no "
            "verdict, differences by class have no interval, and curves over labels, the worth in labels, and what "
            "makes the results vary or predicts them are left out."
        )
    return list(dict.fromkeys(said))


def remarks(study: Study, metrics: Mapping[str, str], compared: list[Contrast]) -> list[str]:
    """Return remarks on how to read the results, one sentence each."""
    said = []
    if looks := study.other_looks:
        numbers = " to ".join(map(str, dict.fromkeys((looks[0], looks[-1]))))
        said.append(
            f"Reports on this study are written with several numbers of seeds ({numbers} besides the present "
            f"{study.num_seeds}), so the verdicts rest on wider intervals, which hold however often you look."
        )
    if study.part == "validation" and study.trials[ACCURACY].notna().any():
        said.append("No trial opened the test images: these results choose settings, and flatter the chosen ones.")
    if has_unequal_classes(study) and BALANCED not in metrics:
        said.append(
            f"Every class has the same number of {study.part} images, so accuracy and balanced accuracy are equal."
        )
    said += folds_in_words(compared)
    if choices(compared):
        said.append(
            "If an arm ran with several GANs, the verdict is on the one with the largest gain on the validation "
            "images; the others are in the table, but do not pick one of them by its test result."
        )
    if any(contrast.one.lacks_validation for group in rivals(compared) for contrast in group):
        said.append(
            "An arm ran with several GANs, but a class has no validation images, so none is chosen. Do not pick "
            "one by its test result: set validation_per_class to 1 or more, or add validation images, and run again."
        )
    num_best = sum(c.of_best and c.metric == ACCURACY for c in compared)
    if num_best:
        said.append(
            "The best with and without generated images are those with the largest mean accuracy on the validation "
            "images; do not pick others by their test results."
        )
    if num_best < len(contests(configurations(study))):
        why = "a class has none, or an arm has no validation results: set validation_per_class to 1 or more"
        why = "no trial opened the test images, which would compare them" if study.part == "validation" else why
        said.append(
            "The best with generated images is not compared with the best without. Validation images choose them, "
            f"but {why}."
        )
    if others := list(dict.fromkeys(one.arm for c in compared for one in (c.one, c.base) if one.has_other_method)):
        said.append(
            f"{' and '.join(others)}: not step-matched. Another network is trained in its own steps, so a difference "
            "from arms that train the classifier comes from the whole method, not from the images alone."
        )
    return said


def gaps_in_words(found: list[Gap]) -> list[str]:
    """Return how large each gap is, or why no share of it can be given: one sentence for each metric."""
    said = []
    for c in (contrast for gap in found for contrast in gap.sizes.values()):
        interval = c.estimate.interval()
        (mean, bounds), n = in_words(interval), interval.num_pairs
        size = f"{mean} points" + (f", 95 % interval {bounds}" if bounds else "") + f", {n} {c.unit}{'s' * (n != 1)}"
        if interval.low > 0:
            said.append(f"{c.title}: the gap is {size.removeprefix('+')}.")
        else:
            why = "the ceiling lies below the floor" if interval.high < 0 else "the gap is not told from 0"
            said.append(f"{c.title}: no share can be given, because {why} ({size}).")
    return said


def arm_row(configuration: Configuration, metrics: Mapping[str, str]) -> dict[str, str]:
    """Return a configuration's row of the main table: mean results in points, numbers of trials, seconds per trial."""
    means = configuration.points(metrics, pair_unit([configuration])[0]).mean()
    return {
        "arm": configuration.label(),
        **{words: in_digits(means[metric], ".1f") for metric, words in metrics.items()},
        "splits": str(configuration.ended[SPLIT].nunique()),
        "trials": str(len(configuration.trials)),
        "diverged": str(configuration.count("diverged")),
        "failed": str(configuration.count("failed")),
        "seconds": in_seconds(mean_cost(configuration.ended, "total")),
    }


def mean_cost(trials: pd.DataFrame, stage: str) -> float | None:
    """Return the mean seconds of a stage per trial, run or reused; None if no trial has the stage."""
    parts = trials.reindex(columns=[f"{SECONDS}{stage}.{part}" for part in ("spent", "reused")]).astype(float)
    seconds = parts.sum(axis=1, min_count=1).mean()
    return float(seconds) if seconds == seconds else None


def in_seconds(seconds: float | None) -> str:
    """Write seconds with one decimal below 100, and without decimals above."""
    return in_digits(seconds, ".1f" if seconds is not None and seconds < 100 else ".0f")


def in_digits(value: float | None, digits: str) -> str:
    """Write a number in a format such as `.2f`; None and nan as `-`."""
    return "-" if value is None or value != value else f"{value:{digits}}"
