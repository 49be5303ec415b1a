"""Accuracy over labels per class, the worth of a gain in labels, and gain over the dose of synthetic images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gan_augment.report.comparison import pairs
from gan_augment.report.configuration import Configuration, named, pair_unit
from gan_augment.report.contrasts import Contrast
from gan_augment.report.statistics import MIN_PAIRS, Interval, paired_interval
from gan_augment.report.trials import ACCURACY, SPLIT_SEED
from gan_augment.report.wording import mean_cost

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

BUDGET = "labels"  # per class
DOSES = {"augmentation.share": "share of a batch that is extra", "synthesis.per_class": "synthetic images per class"}
LENGTHS = ("generator.seconds", "generator.images_seen")  # settings of how long a generator trains
GRID = 1000  # labels at which an arm and its base are compared


@dataclass(frozen=True)
class Curve:
    """Accuracy of one arm at several budgets."""

    arm: str
    accuracies: pd.DataFrame  # points, one row per split seed, one column per budget in order; nan for none

    @property
    def intervals(self) -> dict[float, Interval]:
        """Budget -> mean accuracy over the splits, with Student's t interval."""
        known = {float(str(budget)): column.dropna() for budget, column in self.accuracies.items()}
        return {budget: paired_interval(accuracies.to_numpy()) for budget, accuracies in known.items()}


@dataclass(frozen=True)
class Worth:
    """The additional labels per class with which a base arm reaches the accuracy of another arm."""

    arm: str  # the arm whose accuracy is reached
    base: str  # the arm that gets more labels
    budget: int  # labels per class of `arm`
    labels: float  # additional labels per class; 0 or fewer if the arm is not better
    low: float  # lower bound of the 95 % interval, on these test images; nan with a single split
    high: float  # upper bound
    least: int  # the smallest budget of the study minus `budget`, at most 0; values that small are "at most"
    most: int  # the largest budget of the study minus `budget`; values that large are "at least"
    num_splits: int  # splits that both have
    setting: str = ""  # the other settings of both, in words

    @property
    def sentence(self) -> str:
        """The answer in words."""
        arm = f"{self.arm} ({self.setting})" if self.setting else self.arm
        start = f"{arm} with {self.budget} labels per class does as well as {self.base} with"

        def more(value: float) -> str:
            if value > self.most - 1e-6:
                return f"at least {self.most}"
            return f"at most {self.least}" if value < self.least + 1e-6 else f"{value:.2g}"

        if self.num_splits < MIN_PAIRS:
            return f"{start} {more(self.labels)} more (no interval: {self.num_splits} splits; run at least {MIN_PAIRS})"
        bounds = f"95 % interval {more(self.low)} to {more(self.high)}"
        return f"{start} {more(self.labels)} more, {bounds}, on these test images ({self.num_splits} splits)"


def budget_curves(found: list[Configuration]) -> dict[str, list[Curve]]:
    """Collect the curves of a study's arms by setting, for settings with two or more budgets of labels per class."""
    import pandas as pd

    with_results = [one for one in found if len(one.with_results)]
    swept = [(one, budget) for one in with_results if isinstance(budget := one.setting.get(BUDGET), int)]
    settings = [{name: value for name, value in one.setting.items() if name != BUDGET} for one, _ in swept]
    # An arm without a GAN belongs in the panel of each GAN: keep only settings that no other one extends.
    whole = [one for one in settings if not any(one.items() < other.items() for other in settings)]
    panels: dict[str, dict[str, dict[int, pd.Series]]] = {}
    for setting in whole:
        arms = panels.setdefault(named("", setting), {})
        for one, budget in swept:
            if all(setting.get(name) == value for name, value in one.setting.items() if name != BUDGET):
                arms.setdefault(one.arm, {})[budget] = one.points([ACCURACY], SPLIT_SEED)[ACCURACY]
    curves = {
        setting: [Curve(arm, pd.DataFrame(dict(sorted(points.items())))) for arm, points in arms.items()]
        for setting, arms in panels.items()
    }
    return {setting: some for setting, some in curves.items() if max(c.accuracies.shape[1] for c in some) > 1}


def worths(found: list[Configuration]) -> list[Worth]:
    """Compute for each planned comparison, setting by setting, the worth of the arm in labels of its base."""
    planned = dict.fromkeys((one.arm, base.arm) for one, base in pairs(found))
    answers = []
    for setting, curves in budget_curves(found).items():
        arms = {curve.arm: curve for curve in curves}
        for one, base in planned:
            if one in arms and base in arms:
                answers += [replace(worth, setting=setting) for worth in worth_in_labels(arms[one], arms[base])]
    return answers


def cost_curves(found: list[Configuration]) -> dict[str, dict[float, Interval]]:
    """Collect accuracy over the mean seconds of a trial, one line for each arm and generator.

    Points of a line differ in how long the generator trained, if the study sweeps that.
    """
    lines: dict[str, dict[float, Interval]] = {}
    for one in found:
        if len(one.with_results) and (seconds := mean_cost(one.ended, "total")) is not None:
            others = {name: value for name, value in one.setting.items() if name not in LENGTHS}
            accuracies = one.points([ACCURACY], pair_unit([one])[0])[ACCURACY].dropna()
            lines.setdefault(named(one.arm, others), {})[seconds] = paired_interval(accuracies.to_numpy())
    return {name: dict(sorted(line.items())) for name, line in lines.items()}


def dose_curves(compared: list[Contrast]) -> dict[str, dict[str, dict[float, Interval]]]:
    """Collect the gains of a study that sweeps the number of synthetic images, or their share.

    Returns:
        Dose -> comparison -> value of the dose -> difference in accuracy with its interval, for comparisons
        with two or more doses.
    """
    found: dict[str, dict[str, dict[float, Interval]]] = {}
    for dose, title in DOSES.items():
        for c in compared:
            value = c.one.setting.get(dose)
            if isinstance(value, int | float) and c.metric == ACCURACY and c.one.arm != c.base.arm:
                found.setdefault(title, {}).setdefault(c.one.against(c.base, [dose]), {})[value] = c.estimate.interval()
    kept = {
        title: {name: dict(sorted(gains.items())) for name, gains in curves.items() if len(gains) > 1}
        for title, curves in found.items()
    }
    return {title: curves for title, curves in kept.items() if curves}


def worth_in_labels(arm: Curve, base: Curve) -> list[Worth]:
    """Compute for each budget how many more labels per class the base arm needs to do as well.

    The base's mean accuracies are made to rise with the labels (isotonic regression) and interpolated between budgets
    on a straight line over the logarithm of the labels. The interval has every number of labels at which Student's t
    test over the splits finds no difference between the arm and the base, interpolated split by split; it never leaves
    the range of budgets that the study tried.

    Returns:
        An answer for each budget that both have, except the base's largest; for the same split seeds.
    """
    budgets = np.array(base.accuracies.columns, dtype=float)
    answers = []
    for budget in (b for b in arm.accuracies.columns if b in base.accuracies.columns and b < budgets[-1]):
        both = base.accuracies.join(arm.accuracies[budget].rename("arm")).dropna()
        if both.empty:
            continue
        table = both.to_numpy(dtype=float)
        labels = _labels_for(table[:, -1].mean(), budgets, table[:, :-1].mean(axis=0))
        low, high = _labels_between(table[:, -1], budgets, table[:, :-1], labels)
        start, (least, most) = float(budget), (int(limit - budget) for limit in (budgets[0], budgets[-1]))
        values = (labels - start, low - start, high - start)
        answers.append(Worth(arm.arm, base.arm, int(budget), *values, least, most, len(table)))
    return answers


def _labels_between(
    accuracies: np.ndarray, budgets: np.ndarray, of_base: np.ndarray, labels: float
) -> tuple[float, float]:
    """Return the bounds of the budgets at which a base, `[splits, budgets]`, is as accurate, around `labels`."""
    from scipy.special import stdtrit

    if len(accuracies) < 2:
        return math.nan, math.nan
    grid = np.geomspace(budgets[0], budgets[-1], GRID)
    at_grid = np.array([np.interp(np.log(grid), np.log(budgets), row) for row in of_base])
    differences, n = accuracies[:, None] - at_grid, len(accuracies)
    half = stdtrit(n - 1, 0.975) * differences.std(axis=0, ddof=1) / math.sqrt(n)
    equal = grid[np.abs(differences.mean(axis=0)) <= half]
    return min([labels, *equal]), max([labels, *equal])


def _labels_for(accuracy: float, budgets: np.ndarray, accuracies: np.ndarray) -> float:
    """Return the budget at which a curve reaches an accuracy, within the budgets."""
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(accuracies).x
    if accuracy > rising[-1]:
        return float(budgets[-1])
    # A flat piece counts from its start, since numpy's interpolation needs rising values.
    values, first = np.unique(rising, return_index=True)
    return float(np.exp(np.interp(accuracy, values, np.log(budgets[first]))))
