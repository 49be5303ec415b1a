"""Intervals that hold at every look: a confidence sequence for the mean of normal differences of unknown variance."""

import math


def critical(num_pairs: int, level: float) -> float:
    r"""Critical value of $t = \bar d / \sqrt{s^2 / n}$ that chance exceeds at any n with at most a given probability.

    For normal differences with the true mean 0, $E_n = \sqrt{1 / (n + 1)} \, (1 - S^2 / ((n + 1) V))^{-n/2}$, with
    their sum $S$ and sum of squares $V$, is a nonnegative martingale that starts at 1. So the probability that it ever
    reaches 1 / level is at most the level (Ville's inequality), whenever and for whatever reason you look. It mixes
    scale-invariant likelihood ratios over a normal distribution of true means, whose standard deviation is that of the
    differences (Lai 1976 with a flat one; Wang and Ramdas 2024, theorem 4.9, with c = 1). In terms of t, with
    $r = 1 / (n + 1)$ and $u = t^2 / (n - 1)$, $E_n = \sqrt r \, ((1 + u) / (1 + r u))^{n/2}$. It reaches 1 / level at
    $u = (K - 1) / (1 - r K)$ with $K = (r \, level^2)^{-1/n}$.

    Args:
        num_pairs: Independent pairs n, at least 2.
        level: In (0, 1].

    Returns:
        The value; infinite if so few pairs can never reach it.

    Example:
        >>> round(critical(6, 0.05), 2), round(critical(20, 0.05), 2), critical(3, 0.05)
        (5.45, 3.42, inf)
    """
    r = 1 / (num_pairs + 1)
    k = math.exp(-(math.log(r) + 2 * math.log(level)) / num_pairs)
    return math.sqrt((num_pairs - 1) * (k - 1) / (1 - r * k)) if r * k < 1 else math.inf


def half_width(num_pairs: int, spread: float, fixed: float, level: float) -> float:
    """Half the width of an interval that holds at every look.

    Only the part of the variance that more splits make smaller changes from look to look, so only this part has the
    larger critical value. The rest comes from test images or labelled images that all splits share. It is the same at
    every look, and keeps Student's t. That their sum holds is no theorem; benchmarks/peeking.py measures it.

    Args:
        num_pairs: Independent pairs n, at least 2.
        spread: Variance of the mean over splits, s^2 / n.
        fixed: Variance of the mean that more splits do not make smaller.
        level: One minus the coverage, in (0, 1].
    """
    from scipy.special import stdtrit

    return math.sqrt(critical(num_pairs, level) ** 2 * spread + float(stdtrit(num_pairs - 1, level / 2)) ** 2 * fixed)


def p_value(mean: float, num_pairs: int, spread: float, fixed: float) -> float:
    """The smallest level whose interval excludes 0; without a fixed part, min(1, 1 / E_n).

    It is valid at every look by itself. The smallest value of all looks so far would be valid, too, but would depend on
    the order of the splits, and would not agree with the interval of the present ones.
    """
    from scipy.optimize import bisect

    def excess(log_level: float) -> float:
        return half_width(num_pairs, spread, fixed, math.exp(log_level)) - abs(mean)

    lowest = -60.0  # where Student's quantile is still finite with a single degree of freedom
    if excess(0) >= 0:
        return 1.0
    return math.exp(bisect(excess, lowest, 0)) if excess(lowest) > 0 else 0.0
