"""Whether a metric of the generator predicts the classifier's gain: rank correlations over a study's generators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.report.comparison import pairs
from gan_augment.report.configuration import Configuration, named, pair_unit
from gan_augment.report.statistics import Interval, paired_interval
from gan_augment.report.trials import ACCURACY, GAN_METRICS

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

# In the order of the figure's panels.
PREDICTORS = (
    *("judge_frechet_distance", "recall", "label_agreement", "judge_kernel_distance", "precision", "coverage"),
    *("density", "gan_test", "diversity"),
)
MIN_GENERATORS = 4  # three have only six orders, one of which is perfect
MIN_SPLITS = 5  # in simulated studies without a correlation, intervals over five splits excluded 0 in 5 to 6 %


class Point(NamedTuple):
    """A metric of one generator in one split (or training seed), and the gain in accuracy over the base, in points."""

    metric: float
    gain: float
    generator: str
    split: str


@dataclass(frozen=True)
class Prediction:
    """One metric as a predictor of the gain of one arm.

    Attributes:
        title: The arm and its base, such as `gan against none`.
        metric: One of `PREDICTORS`.
        interval: Mean rank correlation over the splits with its 95 % interval, in [-1, 1]; above 0 if generators with
            the better metric gain more.
        unit: The unit of the interval: `split` or `training seed`.
        left_out: Number of splits without a rank correlation.
        points: The data, including splits that are left out.
    """

    title: str
    metric: str
    interval: Interval
    unit: str
    left_out: int
    points: list[Point]

    @property
    def metric_in_words(self) -> str:
        """The metric, and whether lower or higher values are better."""
        return f"{self.metric} ({GENERATOR_METRICS[self.metric].better} is better)"

    @property
    def sentence(self) -> str:
        """The conclusion that the interval allows."""
        n = self.interval.num_pairs
        if n < MIN_SPLITS:
            said = f"too few {self.unit}s (n = {n}; run at least {MIN_SPLITS})"
        elif self.interval.has_no_spread:
            said = f"every {self.unit} gave the same correlation: no interval"
        elif self.interval.low > 0:
            said = "predicts"
        else:
            said = "predicts the opposite" if self.interval.high < 0 else "not seen"
        return said if self.unit != "training seed" else f"on this one split: {said}"


def predictions(found: list[Configuration]) -> list[Prediction]:
    r"""Correlate each of `PREDICTORS` with the gain from the images, for each arm with `MIN_GENERATORS` or more.

    Within one split, Spearman's rank correlation (1904) over its generators $g$, ties averaged,
    $\rho_s = \mathrm{corr}_g(\mathrm{rank}(\pm m_{sg}), \mathrm{rank}(a_{sg} - a_s))$, of metric $m$, accuracy $a_{sg}$
    and the base's accuracy $a_s$; then the mean of $\rho_s$ over the splits, with Student's t interval clipped to
    [-1, 1]. The trials of one split share labelled images and base, so 7 losses under 5 seeds are 5 independent numbers
    and not 35. Ranks are taken within a split, so a split that is easy for both metric and classifier has no effect.
    All generators of a split share the base, so it changes no rank: an arm with two bases is reported once, against the
    first planned one. A split is left out if fewer of its generators have both numbers, or if one of the two numbers is
    the same for all of them.

    In simulations with 5 or 10 splits of 4 or 7 generators, the interval contains a mean of 0 in 94 % of the studies,
    and a mean of 0.7 to 0.9, where the correlations are skewed, in 87 to 95 %.
    """
    made = []
    for title, base, generators in _generators(found):
        by, unit = pair_unit([base, *generators.values()])
        before = _means(base, ACCURACY, by)
        gains = {name: (100 * (_means(one, ACCURACY, by) - before)).dropna() for name, one in generators.items()}
        splits = {split for gain in gains.values() for split in gain.index}
        for metric in PREDICTORS:
            sign = 1 if GENERATOR_METRICS[metric].better == "higher" else -1
            values = {name: _means(one, GAN_METRICS + metric, by).dropna() for name, one in generators.items()}
            points = [
                Point(float(values[name][split]), float(gain[split]), name, str(split))
                for name, gain in gains.items()
                for split in gain.index.intersection(values[name].index)
            ]
            if points:
                correlations = _rank_correlations(points, sign)
                interval = paired_interval(correlations)
                low, high = np.clip(interval[1:3], -1, 1).tolist()
                interval = interval._replace(low=low, high=high)
                made.append(Prediction(title, metric, interval, unit, len(splits) - len(correlations), points))
    return made


def _generators(found: list[Configuration]) -> list[tuple[str, Configuration, dict[str, Configuration]]]:
    """Return the arms with enough generators to correlate: title, base, and generator -> configuration."""
    first: dict[str, tuple[Configuration, Configuration]] = {}
    for one, base in pairs(found):
        first.setdefault(one.label(), (one, base))
    groups: dict[str, tuple[Configuration, dict[str, Configuration]]] = {}
    for one, base in first.values():
        generator = {name: v for name, v in one.setting.items() if one.is_read_by(name, "gan")}
        groups.setdefault(one.against(base, generator), (base, {}))[1][named("", generator)] = one
    return [(title, *group) for title, group in groups.items() if len(group[1]) >= MIN_GENERATORS]


def _means(configuration: Configuration, column: str, by: str) -> pd.Series:
    """Return the mean of a column for every split or training seed; nan if it is unknown."""
    with_results = configuration.with_results
    return with_results.reindex(columns=[column])[column].astype(float).groupby(with_results[by].astype(str)).mean()


def _rank_correlations(points: list[Point], sign: int) -> list[float]:
    """Return Spearman's rank correlation of every split that has one."""
    from scipy.stats import spearmanr

    splits: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        # Means of repeats that are equal up to rounding errors are ties.
        splits.setdefault(point.split, []).append((sign * round(point.metric, 12), round(point.gain, 9)))
    return [
        float(spearmanr(split).statistic)
        for split in splits.values()
        if len(split) >= MIN_GENERATORS and all(len(set(values)) > 1 for values in zip(*split, strict=True))
    ]
