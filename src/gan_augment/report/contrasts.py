"""The contrasts of a study: differences between two configurations, their intervals and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_augment.report import statistics
from gan_augment.report.choosing import best_of, best_pairs, counting_diverged
from gan_augment.report.comparison import metrics_to_compare, pairs
from gan_augment.report.configuration import Configuration, configurations, pair_unit
from gan_augment.report.outcomes import NoPredictionsError, read_answers
from gan_augment.report.searches import searched
from gan_augment.report.statistics import Estimate, Interval
from gan_augment.report.trials import ACCURACY, BALANCED, NUM_GROUPS, NUM_IMAGES, PER_CLASS, Study, columns_of
from gan_augment.report.verdict import in_words, verdict

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd


@dataclass(frozen=True)
class Contrast:
    """One configuration against another that differs only in the arm or in one setting, in one metric.

    Attributes:
        metric: The column of the compared result; `metric_in_words` is its name.
        part: The images of the results: `test` or `validation`.
        unit: The unit of a pair: `split`, `training seed`, or `fold` if each split has other test images.
        differences: The difference of each pair, in points.
        estimate: Their mean, with the variance from the choice of test images if that is known. For folds that is part
            of the spread, which is nan if it is not known. If the study is looked at several times, its interval holds
            at every look.
        no_new_images: Why there is no interval for new images; empty if there is one.
        num_images: Number of images behind each result; with folds, of all that were tested.
        num_groups: Number of groups of these images; nan without groups.
        with_diverged: The estimate if each diverged trial counts as trained without synthetic images; None if none
            diverged.
        per_class: Class -> difference in that class's accuracy, in points; only for accuracy.
        by_image: Points by which `one` is right more often than `base`, over all splits: one row per image, by its
            number and class; None if predictions are missing.
        of_best: Whether the best configuration with generated images is compared with the best one without.
        adjusted_p: p value of the estimate, adjusted for all `comparisons` of the report.
    """

    one: Configuration
    base: Configuration
    metric: str
    metric_in_words: str
    part: str
    unit: str
    differences: np.ndarray
    estimate: Estimate
    no_new_images: str
    num_images: float
    num_groups: float
    with_diverged: Estimate | None
    per_class: dict[str, Interval]
    by_image: pd.Series | None = None
    of_best: bool = False
    adjusted_p: float = math.nan
    comparisons: int = 1

    @property
    def title(self) -> str:
        """For example `gan (loss=hinge) against none`, with the metric if it is not accuracy."""
        return self.one.against(self.base) + ("" if self.metric == ACCURACY else f", {self.metric_in_words}")

    @property
    def interval(self) -> Interval:
        """Difference on these test images, in points: for other splits, but the same images. Folds have no bounds."""
        interval = replace(self.estimate, images=None, anytime=False).interval()
        return interval._replace(low=math.nan, high=math.nan) if self.unit == "fold" else interval

    @property
    def new_images(self) -> Interval | None:
        """Difference on new images, in points: for other splits and other test images; None if unknown."""
        return None if self.no_new_images else replace(self.estimate, anytime=False).interval()

    @property
    def at_every_look(self) -> Interval | None:
        """The interval that decides where the study is looked at with several numbers of splits; else None."""
        return self.estimate.interval() if self.estimate.anytime else None

    @property
    def scope(self) -> str:
        """What the verdict speaks for: which test images, and which labelled ones, and whether at every look."""
        return self._images_in_words + (", however often you look" if self.estimate.anytime else "")

    @property
    def _images_in_words(self) -> str:
        new = "images" if math.isnan(self.num_groups) else "groups of images"
        if self.estimate.beyond_these_labels:
            return f"on these {self.part} images" if self.no_new_images else f"for new {new}"
        number = self.one.num_training_images
        these = f"these {number:,.0f}" if number > 0 else "the same"
        tested = new.replace("images", "test images")
        images = f"on these {self.part} images for" if self.no_new_images else f"for new {tested} and"
        return f"{images} other choices among {these} training images"

    @property
    def is_decided(self) -> bool:
        """Whether the verdict is *better* or *worse*."""
        _, low, high, num_pairs = self.estimate.interval()
        excludes_zero = low > 0 or high < 0
        return num_pairs >= statistics.MIN_PAIRS and excludes_zero and self.adjusted_p <= statistics.LEVEL

    @property
    def is_better(self) -> bool:
        """Whether the verdict is *better*."""
        return self.is_decided and self.estimate.mean > 0

    @property
    def sign_flip_p(self) -> float:
        """The p value of the sign-flip test on these test images, not adjusted; nan for folds, which share images."""
        return math.nan if self.unit == "fold" else statistics.sign_flip_p(self.differences)

    def pairs_to_detect(self, points: float) -> float:
        """Plan a study like this one: pairs that detect a gain, corrected for all comparisons; nan if unknown.

        For folds it is unknown: more repetitions take away the noise of training, but not the choice of the images.
        """
        n, found = len(self.differences), self.estimate
        if n < 2 or not found.spread or self.unit == "fold":
            return math.nan
        sd, images = math.sqrt(n * found.spread), found.images.variance if found.images else 0.0
        shared = found.widening / n if found.beyond_these_labels else 0.0
        return statistics.pairs_to_detect(points, sd, images, self.comparisons, shared / (1 + shared))

    @property
    def sentence(self) -> str:
        """The verdict."""
        resolution = 100 / self.num_images if self.metric == ACCURACY else math.nan
        correction = self.adjusted_p, self.comparisons, self.no_new_images
        said = verdict(self.estimate.interval(), self.unit, resolution, self.scope, *correction)
        if self.one.is_pretrained or self.base.is_pretrained:
            which = {(True, True): "both", (True, False): "only the first", (False, True): "only the second"}
            said += f"; {which[self.one.is_pretrained, self.base.is_pretrained]} with pretrained weights"
        lost = {status: self.one.count(status) + self.base.count(status) for status in ("diverged", "failed")}
        if any(lost.values()):
            said += f"; left out: {', '.join(f'{number} {status}' for status, number in lost.items() if number)}"
        if self.with_diverged:
            (mean, bounds), n = in_words(self.with_diverged.interval()), self.with_diverged.num_pairs
            said += f"; with diverged trials as if without synthetic images, like {self.base.arm}: {mean} points"
            said += (f", 95 % interval {bounds}" if bounds else "") + f", {n} {self.unit}{'s' * (n != 1)}"
        return said


@dataclass(frozen=True)
class Choice:
    """The best of several configurations that differ only in their GAN, chosen on the validation images.

    It has the largest mean gain in accuracy over `base`, in points; `others` were not chosen.
    """

    best: Configuration
    base: Configuration
    others: list[Configuration]
    gain: float


def contrasts(study: Study) -> list[Contrast]:
    """Compare the configurations of a study, pair by pair.

    The unit of a pair is the split; repeats under one split are averaged first. If all trials of a contrast share one
    split, the unit is the training seed, and the verdict says so. The p values of all contrasts are adjusted together.
    Returned are those of the best configurations, then the planned ones with results on both sides, metric by metric.
    The candidates of a search are not compared: the best of them was chosen for its gain.
    """
    if searched(study):
        return []
    metrics, found = metrics_to_compare(study), configurations(study)
    best = best_pairs(found) if study.part == "test" else []
    compared = dict.fromkeys([*best, *pairs(found, study.against)])
    made = [replace(c, of_best=pair in best) for pair in compared for c in _compare(study, *pair, metrics)]
    # Every trial with a result has an accuracy, but a recall of rare classes only if a class is rare, and a metric of a
    # measure only if the trial has the measure.
    made = [contrast for contrast in made if contrast.metric == ACCURACY or contrast.estimate.num_pairs]
    made = sorted(made, key=lambda contrast: list(metrics).index(contrast.metric))
    adjusted = statistics.holm([contrast.estimate.p_value for contrast in made])
    return [replace(c, adjusted_p=p, comparisons=len(made)) for c, p in zip(made, adjusted, strict=True)]


def are_folds(compared: Sequence[Contrast]) -> bool:
    """Whether all contrasts are from cross-validation."""
    return {contrast.unit for contrast in compared} == {"fold"}


def choices(compared: Sequence[Contrast]) -> list[Choice]:
    """Choose among several GANs for one arm by the validation images, never by the test images.

    There is a choice for each arm and base that were compared with several GANs, all with validation images of every
    class, but none if the contrasts themselves are on validation images. A diverged trial counts as no gain.
    """
    made = []
    for group in rivals(compared):
        if (found := best_of([(contrast.one, contrast.base) for contrast in group])) is not None:
            chosen, gain = found
            others = [contrast.one for contrast in group if contrast is not group[chosen]]
            made.append(Choice(group[chosen].one, group[chosen].base, others, gain))
    return made


def rivals(compared: Sequence[Contrast]) -> list[list[Contrast]]:
    """Return the contrasts on test accuracy that differ only in the GAN of one arm, for each arm with several."""
    groups: dict[tuple[Any, ...], list[Contrast]] = {}
    for contrast in compared:
        one, base = contrast.one, contrast.base
        if one.arm != base.arm and one.has_generator and contrast.metric == ACCURACY and contrast.part == "test":
            rest = [(name, value) for name, value in one.setting.items() if not _is_of_generator(one, name)]
            groups.setdefault((one.arm, base.label(), *rest), []).append(contrast)
    return [group for group in groups.values() if len(group) > 1]


def _compare(study: Study, one: Configuration, base: Configuration, metrics: Mapping[str, str]) -> list[Contrast]:
    by, unit = pair_unit([one, base])
    classes = columns_of(one.with_results, PER_CLASS)
    points = base.points([*metrics, *classes], by)
    differences = one.points([*metrics, *classes], by) - points
    # Training seeds under one split say nothing of other labelled images, and the verdict says so.
    overlap = float(np.maximum(one.overlap, base.overlap)) if unit == "split" else 0.0  # nan if either is unknown
    count_diverged = one.count("diverged") and one.has_generator and not base.has_generator
    try:
        (images, equal), why = image_differences(study, one, base, by, unit), ""
    except NoPredictionsError as error:
        images, equal, why = None, None, str(error)
    num_images = one.with_results[NUM_IMAGES].astype(float).mean()
    if unit == "fold" and images is not None and len(images):
        num_images = images.shape[1]
    looks, made = bool(study.other_looks), []
    for metric, words in metrics.items():
        values, before = differences[metric].dropna(), points[[metric]].dropna()
        reason = why or why_not_on_new_images(metric, len(values), images)
        num_groups = one.with_results.reindex(columns=[NUM_GROUPS]).astype(float)[NUM_GROUPS].mean()
        rows = None if reason or images is None else images.loc[values.index]
        noise = _noise(one, base, metric, by, values) if unit == "split" and not looks else math.nan
        with_diverged = None
        if count_diverged:
            zeros = None
            if rows is not None and equal is not None:
                zeros = counting_diverged(rows, equal.loc[before.index], one, by)
            counted = counting_diverged(values.to_frame(), 0 * before, one, by)[metric]
            of_noise = noise * min(1.0, values.var() / counted.var()) if counted.var() else noise
            with_diverged = estimate_of(metric, counted, zeros, overlap, unit, looks, of_noise)
        made.append(
            Contrast(
                one=one,
                base=base,
                metric=metric,
                metric_in_words=words,
                part=study.part,
                unit=unit,
                differences=values.to_numpy(),
                estimate=estimate_of(metric, values, rows, overlap, unit, looks, noise),
                no_new_images=reason,
                num_images=float(num_images),
                num_groups=float(num_groups),
                with_diverged=with_diverged,
                per_class=_per_class(differences[classes], unit) if metric == ACCURACY else {},
                by_image=images.mean() if images is not None and len(images) else None,
            )
        )
    return made


def estimate_of(
    metric: str,
    differences: pd.Series,
    images: pd.DataFrame | None,
    overlap: float,
    unit: str,
    anytime: bool,
    noise: float,
) -> Estimate:
    """Estimate the mean of paired differences, in points, for new images where their answers are known.

    Args:
        metric: Of the differences.
        differences: One per pair.
        images: Those of the pairs by image; None for an estimate on these test images.
        overlap: As in an `Estimate`.
        unit: Of a pair.
        anytime: As in an `Estimate`.
        noise: As in an `Estimate`.
    """
    values = differences.to_numpy()
    if images is None:
        found = statistics.estimate(values, None, overlap, anytime, noise)
        return replace(found, spread=math.nan) if unit == "fold" else found
    strata = _classes(images) if metric == BALANCED else None
    if unit == "fold":
        return statistics.fold_estimate(values, images.to_numpy(), strata, _groups(images), anytime)
    of_images = statistics.image_variance(images.to_numpy(), strata, _groups(images))
    return statistics.estimate(values, of_images, overlap, anytime, noise)


def _noise(one: Configuration, base: Configuration, metric: str, by: str, differences: pd.Series) -> float:
    """Return the least share of training noise in the spread; nan unless both have the same repeats of every split."""
    repeats = dict([*(one.repeats(metric, by) - base.repeats(metric, by)).dropna().groupby(level=0)])
    return statistics.noise_share(
        [repeats[split].to_numpy() if split in repeats else [] for split in differences.index]
    )


def _classes(images: pd.DataFrame) -> np.ndarray:
    return images.columns.get_level_values("class").to_numpy()


def _groups(images: pd.DataFrame) -> np.ndarray | None:
    columns = images.columns
    return columns.get_level_values("group").to_numpy() if "group" in columns.names else None


def _per_class(differences: pd.DataFrame, unit: str) -> dict[str, Interval]:
    values = {str(name): column.dropna().to_numpy() for name, column in differences.items()}
    found = {c.removeprefix(PER_CLASS): statistics.paired_interval(some) for c, some in values.items() if len(some)}
    if unit == "fold":  # Student's t would take folds as independent
        return {name: interval._replace(low=math.nan, high=math.nan) for name, interval in found.items()}
    return found


def image_differences(
    study: Study, one: Configuration, base: Configuration, by: str, unit: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the points by which `one` is right more often than `base` `[pairs, images]`, and 0 where `base` has any.

    With folds, they are nan where an image is not in the fold of a pair.
    """
    import pandas as pd

    if study.part != "test":
        raise NoPredictionsError("predictions on validation images are not stored")
    sides = [one.with_results, base.with_results]
    answers = read_answers(pd.concat(sides)["trial"], study.outcomes, of_folds=unit == "fold")
    first, second = (answers.loc[trials.index].groupby(trials[by].astype(str)).mean() for trials in sides)
    found = 100 * (first - second).dropna(how="all")
    return found.loc[:, found.notna().any() | found.empty], 0 * second


def why_not_on_new_images(metric: str, num_pairs: int, images: pd.DataFrame | None) -> str:
    """Return why there is no interval for new images, in words; empty if there is one."""
    if metric not in (ACCURACY, BALANCED):
        return "it is computed only for accuracy and balanced accuracy"
    if num_pairs < 2:
        return "it needs at least two splits"
    if images is not None and images.shape[1] < 2:
        return "there is a single test image"
    strata = _classes(images) if metric == BALANCED and images is not None else None
    if strata is not None and np.unique(strata, return_counts=True)[1].min() < 2:
        return "a class has a single test image"
    groups = None if images is None else _groups(images)
    if groups is not None:
        number, worth = len(np.unique(groups)), statistics.effective_groups(groups)
        if worth < statistics.MIN_GROUPS:
            unequal = f", whose sizes make them worth {worth:.1f} equal ones" if worth < number else ""
            return f"the test images are of {number} groups{unequal}, and it needs at least {statistics.MIN_GROUPS}"
        if strata is not None and min(len(np.unique(groups[strata == label])) for label in np.unique(strata)) < 2:
            return "a class has test images of a single group"
    return ""


def _is_of_generator(one: Configuration, name: str) -> bool:
    return name.startswith(("augmentation.", "measures.")) or one.is_read_by(name, "gan", "synthesis")
