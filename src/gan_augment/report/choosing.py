"""Which configurations are the best, chosen on the validation images, never on the test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gan_augment.report.comparison import Pair, contests
from gan_augment.report.configuration import Configuration, pair_unit

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

VALIDATION_ACCURACY = "metrics.validation.accuracy"


def best_pairs(found: list[Configuration]) -> list[Pair]:
    """Choose the best configuration with generated images and the best one without, by the validation images.

    There is a pair for each of the `contests`, if all have validation images of every class. The best is the one with
    the largest mean gain over a common base: without generated images the first configuration, and with them the best
    one without. A diverged trial counts as no gain.
    """
    made = []
    for generated, others in contests(found):
        if (first := best_of([(one, others[0]) for one in others])) is not None:
            base = others[first[0]]
            if (second := best_of([(one, base) for one in generated])) is not None:
                made.append((generated[second[0]], base))
    return made


def best_of(some: Sequence[Pair]) -> tuple[int, float] | None:
    """Return which has the largest validation gain, and the gain; None unless all have validation images."""
    gains = [_validation_gain(*pair) for pair in some]
    if np.isnan(gains).any() or any(one.lacks_validation for one, _ in some):
        return None
    return int(np.argmax(gains)), max(gains)


def counting_diverged(differences: pd.DataFrame, equal: pd.DataFrame, one: Configuration, by: str) -> pd.DataFrame:
    """Return one row per split or training seed of the base, with diverged trials counted as equal to the base.

    `equal` is a difference of 0 wherever the base has a result.
    """
    shares = one.share_ended(by).filter(equal.index)
    return differences.reindex(index=shares.index, columns=equal.columns).fillna(equal).mul(shares, axis=0)


def _validation_gain(one: Configuration, base: Configuration) -> float:
    """Return the mean gain in validation accuracy, in points; nan if no split has it on both sides."""
    by, _ = pair_unit([one, base])
    before = base.points([VALIDATION_ACCURACY], by).dropna()
    gains = (one.points([VALIDATION_ACCURACY], by) - before).dropna()
    counted = counting_diverged(gains, 0 * before, one, by)
    return float(counted[VALIDATION_ACCURACY].mean()) if len(gains) else math.nan
