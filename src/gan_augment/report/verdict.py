"""The wording that a difference and its interval allow."""

import math

from gan_augment.report.statistics import LEVEL, MIN_PAIRS, Interval


def in_words(interval: Interval, decimals: int = 1) -> tuple[str, str]:
    """Round an interval for print: the mean and the bounds, each empty if there is none.

    Bounds are rounded outwards, so that the text never excludes more than the interval does, and to enough decimals, at
    least the given number, that a bound next to zero is not printed as zero.

    Example:
        >>> in_words(Interval(1.84, 0.93, 2.58, 10))
        ('+1.8', '0.9 to 2.6')
        >>> in_words(Interval(0.3, 0.02, 0.58, 10))
        ('+0.30', '0.02 to 0.58')
    """
    mean, low, high = (round(value, 6) for value in interval[:3])
    if interval.num_pairs == 0:
        return "", ""
    if interval.num_pairs == 1 or interval.has_no_spread or math.isnan(interval.low):
        return _signed(mean, max(decimals, _decimals(mean))), ""
    most = 2 if low <= 0 <= high else 6
    decimals = max(decimals, min(most, _decimals(low, high)))
    scale = 10**decimals
    low, high = math.floor(round(low * scale, 6)) / scale, math.ceil(round(high * scale, 6)) / scale
    return _signed(mean, decimals), f"{low + 0.0:.{decimals}f} to {high + 0.0:.{decimals}f}"


def verdict(
    interval: Interval,
    unit: str,
    resolution: float,
    scope: str = "",
    adjusted_p: float = 0.0,
    comparisons: int = 1,
    why_none: str = "",
) -> str:
    """Return the one sentence about a difference in results that its 95 % interval allows.

    Args:
        interval: In points.
        unit: The unit of a pair: `split`, `fold`, or `training seed` if all trials share one split.
        resolution: The worth of one image, in points; nan leaves it out, as for means over classes, in which an image
            of a small class is worth more than another.
        scope: What the interval is about, such as `for new images`.
        adjusted_p: p value of the difference, adjusted for all comparisons.
        comparisons: Their number.
        why_none: Why there is no interval, although there are enough pairs.

    Example:
        >>> verdict(Interval(1.8, 0.9, 2.6, 10), "split", 0.28, "for new images")
        'better by 1.8 points for new images, 95 % interval 0.9 to 2.6, 10 splits'
        >>> verdict(Interval(-0.1, -1.2, 0.9, 10), "split", 0.28)
        'no detectable effect: gains above 0.9 points are excluded, and losses above 1.2 points (10 splits)'
        >>> verdict(Interval(1.8, 0.1, 3.5, 10), "split", 0.28, adjusted_p=0.2, comparisons=5).split(": ")[0]
        'interval excludes 0 but does not survive correction for 5 comparisons'
        >>> verdict(Interval(1.2, -0.4, 2.8, 3), "split", 0.28)
        'too few splits (n = 3; run at least 6): +1.2 points, 95 % interval -0.4 to 2.8'
    """
    n = interval.num_pairs
    if n == 0:
        return f"nothing to compare: no {unit} has a result on both sides"
    mean, bounds = in_words(interval)
    pairs = f"{n} {unit}{'s' if n > 1 else ''}"
    scope = f" {scope}" if scope else ""
    if n < MIN_PAIRS:
        reason = f"every {unit} gave the same difference" if interval.has_no_spread else "no interval"
        detail = f"95 % interval {bounds}" if bounds else reason
        sentence = f"too few {unit}s (n = {n}; run at least {MIN_PAIRS}): {mean} points{scope}, {detail}"
    elif math.isnan(interval.low):
        sentence = f"no verdict: {mean} points, but no interval, because {why_none} ({pairs})"
    elif interval.has_no_spread:
        sentence = f"every {unit} gave the same difference ({mean} points): no interval"
        if resolution > 0:
            sentence += f"; one image is {float(f'{resolution:.2g}'):g} points"
    elif not (round(interval.low, 6) > 0 or round(interval.high, 6) < 0):
        low, high = bounds.split(" to ")
        excluded = f"gains above {high} points are excluded, and losses above {low.removeprefix('-')} points"
        sentence = f"no detectable effect{scope}: {excluded} ({pairs})"
    elif adjusted_p > LEVEL:
        sentence = f"interval excludes 0 but does not survive correction for {comparisons} comparisons: "
        sentence += f"{mean} points{scope}, 95 % interval {bounds}, {pairs}"
    else:
        word = "better" if interval.mean > 0 else "worse"
        sentence = f"{word} by {mean[1:]} points{scope}, 95 % interval {bounds}, {pairs}"
    return sentence if unit != "training seed" else f"on this one split, over {pairs} (training noise only): {sentence}"


def _decimals(*values: float) -> int:
    """Return the fewest decimals, up to six, with which only zero is printed as zero."""
    return next((d for d in range(1, 6) if all(abs(value) >= 10**-d for value in values if value)), 6)


def _signed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # adding 0.0 turns -0.0 into 0.0
