"""Paired differences, their intervals, and the words that may be said about them. Everything here is in points."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_PAIRS = 6  # an exact sign-flip test of five pairs cannot go below p = 0.0625, however large the effect


class Interval(NamedTuple):
    """A mean difference and its confidence interval.

    Attributes:
        mean: The mean difference; nan without pairs.
        low: Lower bound; nan with fewer than two pairs, the mean if all differences are equal.
        high: Upper bound, likewise.
        num_pairs: How many independent pairs stand behind it.
    """

    mean: float
    low: float
    high: float
    num_pairs: int

    @property
    def has_no_spread(self) -> bool:
        """Whether all differences were equal, so that they say nothing about their own uncertainty."""
        return self.num_pairs > 1 and self.low == self.high


def paired_interval(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    r"""Mean of paired differences with Student's t interval, $\bar d \pm t_{n-1} \, s_d / \sqrt n$.

    With five to twenty pairs its coverage stays near the nominal one, where a bootstrap's falls short.

    Args:
        differences: One difference a pair `[n]`; pairs must be independent.
        confidence: Nominal coverage, in (0, 1).

    Returns:
        The interval, in the unit of the differences.

    Raises:
        ValueError: If a difference is not finite or `confidence` lies outside (0, 1).

    Example:
        >>> interval = paired_interval([1.0, 2.0, 3.0])
        >>> interval.mean, round(interval.low, 3), round(interval.high, 3)
        (2.0, -0.484, 4.484)
    """
    from scipy.special import stdtrit

    values = np.asarray(differences, dtype=float)
    n = values.size
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, got {values.tolist()}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}, but it must lie between 0 and 1, for example 0.95")
    mean = float(values.mean()) if n else math.nan
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    if np.ptp(values) < 1e-9:  # equal but for floating point
        return Interval(mean, mean, mean, n)
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def in_words(interval: Interval, decimals: int = 1) -> tuple[str, str]:
    """Round an interval for print.

    Bounds are rounded outwards, so that the print never excludes more than the interval does, and to as
    many decimals as it takes that a bound beside zero is not printed as zero.

    Args:
        interval: In any unit.
        decimals: The fewest to print.

    Returns:
        The mean and the interval, empty where there is none.

    Example:
        >>> in_words(Interval(1.84, 0.93, 2.58, 10))
        ('+1.8', '0.9 to 2.6')
        >>> in_words(Interval(0.3, 0.02, 0.58, 10))
        ('+0.30', '0.02 to 0.58')
    """
    mean, low, high = (round(value, 6) for value in interval[:3])
    if interval.num_pairs == 0:
        return "", ""
    if interval.num_pairs == 1 or interval.has_no_spread:
        return _signed(mean, max(decimals, _decimals(mean))), ""
    most = 2 if low <= 0 <= high else 6
    decimals = max(decimals, min(most, _decimals(low, high)))
    scale = 10**decimals
    low, high = math.floor(round(low * scale, 6)) / scale, math.ceil(round(high * scale, 6)) / scale
    return _signed(mean, decimals), f"{low + 0.0:.{decimals}f} to {high + 0.0:.{decimals}f}"


def verdict(interval: Interval, unit: str, resolution: float) -> str:
    """Say in one sentence what a 95 % interval of a difference in results allows, and no more.

    Args:
        interval: The 95 % interval of the difference, in points.
        unit: What a pair is: `split`, or `training seed` where all trials share one split.
        resolution: What one image is worth, in points; left unsaid where it is nan,
            as for means over classes, in which an image of a small class is worth more than another.

    Returns:
        The sentence.

    Example:
        >>> verdict(Interval(1.8, 0.9, 2.6, 10), "split", 0.28)
        'better by 1.8 points, 95 % interval 0.9 to 2.6, 10 splits'
        >>> verdict(Interval(-0.1, -1.2, 0.9, 10), "split", 0.28)
        'no detectable effect: gains above 0.9 points are excluded, and losses above 1.2 points (10 splits)'
        >>> verdict(Interval(1.2, -0.4, 2.8, 3), "split", 0.28)
        'too few splits (n = 3; run at least 6): +1.2 points, 95 % interval -0.4 to 2.8'
    """
    n = interval.num_pairs
    if n == 0:
        return f"nothing to compare: no {unit} has a result on both sides"
    mean, bounds = in_words(interval)
    pairs = f"{n} {unit}{'s' if n > 1 else ''}"
    if n < MIN_PAIRS:
        reason = f"every {unit} gave the same difference" if interval.has_no_spread else "no interval"
        detail = f"95 % interval {bounds}" if bounds else reason
        sentence = f"too few {unit}s (n = {n}; run at least {MIN_PAIRS}): {mean} points, {detail}"
    elif interval.has_no_spread:
        sentence = f"every {unit} gave the same difference ({mean} points): no interval"
        if resolution > 0:
            sentence += f"; one image is {float(f'{resolution:.2g}'):g} points"
    elif round(interval.low, 6) > 0 or round(interval.high, 6) < 0:
        word = "better" if interval.mean > 0 else "worse"
        sentence = f"{word} by {mean[1:]} points, 95 % interval {bounds}, {pairs}"
    else:
        low, high = bounds.split(" to ")
        sentence = (
            f"no detectable effect: gains above {high} points are excluded, "
            f"and losses above {low.removeprefix('-')} points ({pairs})"
        )
    return sentence if unit == "split" else f"on this one split, over {pairs} (training noise only): {sentence}"


def _decimals(*values: float) -> int:
    """The fewest decimals, up to six, that print no value other than zero as zero."""
    return next((d for d in range(1, 6) if all(abs(value) >= 10**-d for value in values if value)), 6)


def _signed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # adding 0.0 turns -0.0 into 0.0
