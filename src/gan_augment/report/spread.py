"""Spread: how much split, GAN, synthetic set and classifier training each add to the variation of an arm's results."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gan_augment.report.configuration import Configuration
from gan_augment.report.trials import ACCURACY, SEEDS, SPLIT, TRAINING_SEED

# From the outermost to the innermost: each is drawn anew within the one before it.
LEVELS = {"split": SPLIT, "GAN": f"{SEEDS}gan", "synthesis": f"{SEEDS}synthesis", "classifier": TRAINING_SEED}


@dataclass(frozen=True)
class Spread:
    """The sources of the differences between the trials of one configuration, outermost first."""

    deviations: dict[str, float]  # that each adds to the accuracy, in points; 0 if its variance is not above 0
    numbers: dict[str, int]  # of its draws within one draw of the source before it


def spread(configuration: Configuration) -> Spread | None:
    """Separate the variances of a nested design (random effects by moments: Searle, Casella and McCulloch 1992).

    The variance of a source's means, within one draw of the source before it, is its own variance plus that of the
    sources drawn anew within it, divided by their number of draws. From the innermost source outwards, the second part
    is known and subtracted. The variance of splits is that of independent ones: what splits of the same images vary by
    is divided by the share that two of them do not have in common, where that is known.

    Returns:
        The standard deviations of the sources that vary, outermost first; a source that changes only with the one
        before it counts as part of that. None unless at least two vary, each equally often within every draw of the
        source before it.
    """
    trials = configuration.with_results
    varied: dict[str, str] = {}  # the sources that change within those before them
    for name, column in LEVELS.items():
        if column in trials and trials.groupby([*varied.values(), "status"])[column].nunique().max() > 1:
            varied[name] = column
    if len(varied) < 2:
        return None
    means = (100 * trials[ACCURACY].astype(float)).groupby([trials[column].astype(str) for column in varied.values()])
    if means.size().nunique() > 1:
        return None
    values, known = means.mean(), 0.0
    deviations: dict[str, float] = {}
    numbers: dict[str, int] = {}
    for name in reversed(varied):
        outer = list(range(values.index.nlevels - 1))
        groups = values.groupby(level=outer) if outer else values.groupby(lambda _: 0)
        sizes = groups.size()
        if sizes.nunique() > 1 or (number := int(sizes.iloc[0])) < 2:
            return None
        own = float(groups.var(ddof=1).mean())
        # Splits that share a part of their images are more alike than independent ones.
        unshared = 1 - configuration.overlap if name == "split" and configuration.overlap < 1 else 1.0
        deviations[name], numbers[name] = math.sqrt(max(own - known, 0.0) / unshared), number
        values, known = groups.mean(), own / number
    return Spread(dict(reversed(deviations.items())), dict(reversed(numbers.items())))
