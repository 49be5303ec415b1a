"""Paired differences, their intervals and tests, and the number of pairs a study needs. All values are in points."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gan_augment.report import sequence

MIN_PAIRS = 6  # an exact sign-flip test of five pairs cannot go below p = 0.0625, however large the effect
MIN_GROUPS = 12  # of test images, in equal ones: with fewer, an interval holds too seldom (docs/statistics.md)
MAX_EXACT_PAIRS = 20  # with at most this many, all 2^n signs are tried
MAX_PAIRS = 10_000  # the most that the planner considers
RESAMPLES = 9_999
LEVEL = 0.05  # of the tests
WANTED_POWER = 0.8  # of a planned study
# An interval that is widened because splits overlap may promise too much: where only training noise makes the
# difference, nothing is shared. With a variance up to 1.8 times as large, a nominal 95 % stay within 95 and 99 %.
MOST_WIDENED = 0.8
MOST_WIDENED_WITH_REPEATS = 1.5  # these tell a part of the training noise, which is then not widened
FARTHEST = 1e4  # gaps: a share whose bounds are farther away than this has none
NOISE_LEVEL = 0.2  # how often the share of training noise may be set too high; of 0.05 to 0.5, the best coverage


class Interval(NamedTuple):
    """A mean difference and its confidence interval.

    Attributes:
        mean: The mean difference; nan without pairs.
        low, high: The bounds; nan with fewer than two pairs, the mean if all differences are equal.
        num_pairs: Number of independent pairs.
    """

    mean: float
    low: float
    high: float
    num_pairs: int

    @property
    def has_no_spread(self) -> bool:
        """Whether all differences were equal, so that their uncertainty is unknown."""
        return self.num_pairs > 1 and self.low == self.high


class ImageVariance(NamedTuple):
    """The variance of a mean difference that comes from the choice of test images, and its degrees of freedom."""

    variance: float
    degrees: float


@dataclass(frozen=True)
class Estimate:
    """A mean difference with the variance of that mean.

    Attributes:
        mean, num_pairs: As in an `Interval`.
        spread: Variance of the differences over n, s^2 / n; nan with fewer than two pairs.
        images: The variance from the choice of test images; None to leave it out.
        overlap: Expected share rho of its training images that a split has in common with another one; nan if unknown.
        noise: Share of the spread that is training noise at least, as repeats of the splits show; nan without repeats.
        anytime: Whether its interval and p value hold at every look at a growing number of pairs, not only at a planned
            number.
    """

    mean: float
    num_pairs: int
    spread: float
    images: ImageVariance | None = None
    overlap: float = 0.0
    noise: float = math.nan
    anytime: bool = False

    @property
    def on_these_images(self) -> "Estimate":
        """The same estimate for these test images, without the variance from their choice."""
        return replace(self, images=None)

    @property
    def widening(self) -> float:
        r"""The share that overlap adds to the variance, $n \rho / (1 - \rho)$ (Nadeau and Bengio 2003, eq. 9).

        Splits that share images are alike, so their spread is smaller than that of independent ones. This is the safe
        end: it takes the whole spread as due to the labelled images, but for the training noise that repeats show.
        """
        return self._overlap_widening * (1 - np.nan_to_num(self.noise))

    @property
    def _overlap_widening(self) -> float:
        return self.num_pairs * self.overlap / (1 - self.overlap) if self.overlap < 1 else math.inf

    @property
    def beyond_these_labels(self) -> bool:
        """Whether it speaks for other images of this kind, or only for other choices among the same images."""
        # Not by the noise found: scopes chosen by the differences would hold too seldom.
        return self._overlap_widening <= (MOST_WIDENED if math.isnan(self.noise) else MOST_WIDENED_WITH_REPEATS)

    @property
    def split_variance(self) -> float:
        """Variance of the mean over splits, widened for their overlap where it speaks beyond the same images."""
        return self.spread * (1 + self.widening) if self.beyond_these_labels else self.spread

    @property
    def variance(self) -> float:
        """Variance of the mean."""
        return self.split_variance + (self.images.variance if self.images else 0.0)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance, by Satterthwaite (1946)."""
        if not self.images or not self.images.variance:
            return self.num_pairs - 1
        split, (image, image_degrees) = self.split_variance, self.images
        return (split + image) ** 2 / (split**2 / (self.num_pairs - 1) + image**2 / image_degrees)

    def interval(self, confidence: float = 0.95) -> Interval:
        """Student's t interval with a nominal coverage, or one that holds at every look.

        An interval that includes the choice of images is never narrower than the one that does not. The approximate
        degrees of freedom alone would make it so, by about a percent, if images add almost nothing.

        Raises:
            ValueError: If `confidence` lies outside (0, 1).
        """
        from scipy.special import stdtrit

        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence}, but it must lie between 0 and 1, for example 0.95")
        if self.num_pairs < 2:
            return Interval(self.mean, math.nan, math.nan, self.num_pairs)
        if self.split_variance == 0:
            return Interval(self.mean, self.mean, self.mean, self.num_pairs)
        if self.anytime:
            half = sequence.half_width(self.num_pairs, self.spread, self.variance - self.spread, 1 - confidence)
        else:
            half = max(
                float(stdtrit(one.degrees, (1 + confidence) / 2)) * math.sqrt(one.variance)
                for one in (self, self.on_these_images)
            )
        return Interval(self.mean, self.mean - half, self.mean + half, self.num_pairs)

    @property
    def p_value(self) -> float:
        """The two-sided p value that agrees with the interval; nan if there is no interval."""
        from scipy.special import stdtr

        if self.num_pairs < 2 or self.split_variance == 0:
            return math.nan
        if self.anytime:
            return sequence.p_value(self.mean, self.num_pairs, self.spread, self.variance - self.spread)
        return max(
            float(2 * stdtr(one.degrees, -abs(one.mean) / math.sqrt(one.variance)))
            for one in (self, self.on_these_images)
        )


def estimate(
    differences: Sequence[float] | np.ndarray,
    images: ImageVariance | None = None,
    overlap: float = 0.0,
    anytime: bool = False,
    noise: float = math.nan,
) -> Estimate:
    """Estimate a mean difference from pairs `[n]`, in points; with `images`, the estimate is for new images.

    Differences that are equal up to rounding errors have a variance of 0. With fewer than `MIN_PAIRS` pairs there is no
    verdict, and the interval is the plain one.

    Raises:
        ValueError: If a difference is not finite.
    """
    values = np.asarray(differences, dtype=float)
    n = values.size
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, got {values.tolist()}")
    mean = float(values.mean()) if n else math.nan
    variance = math.nan if n < 2 else 0.0 if np.ptp(values) < 1e-9 else float(values.var(ddof=1) / n)
    return Estimate(mean, n, variance, images, overlap, noise, anytime and n >= MIN_PAIRS)


def noise_share(repeats: Sequence[np.ndarray]) -> float:
    r"""Share of the spread over splits that is training noise at least, from the differences of repeated trainings.

    The variance within splits $s_w^2 / r$ over the variance of the splits' means, divided by the true share, has an F
    distribution. The result is the lower end of a one-sided interval for this share. The ratio itself would be too high
    half of the time, which costs coverage.

    Args:
        repeats: The differences of each split's repeats, in points.

    Returns:
        A share from 0 to 1; nan unless every split has repeats, or with fewer than two splits.
    """
    from scipy.special import fdtri

    sizes = np.array([len(one) for one in repeats])
    if len(sizes) < 2 or sizes.min() < 2:
        return math.nan
    within, between = int((sizes - 1).sum()), len(sizes) - 1
    noise = sum(np.square(one - np.mean(one)).sum() for one in repeats) / within * (1 / sizes).mean()
    spread = np.var([np.mean(one) for one in repeats], ddof=1)
    return float(min(1, noise / spread / fdtri(within, between, 1 - NOISE_LEVEL))) if spread else 0.0


def paired_interval(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    r"""Mean of paired differences with Student's t interval, $\bar d \pm t_{n-1} \, s_d / \sqrt n$.

    With five to twenty independent pairs `[n]` its coverage stays near the nominal one, while a bootstrap's is too low.

    Raises:
        ValueError: If a difference is not finite or `confidence` lies outside (0, 1).

    Example:
        >>> interval = paired_interval([1.0, 2.0, 3.0])
        >>> interval.mean, round(interval.low, 3), round(interval.high, 3)
        (2.0, -0.484, 4.484)
    """
    return estimate(differences).interval(confidence)


def image_variance(
    differences: np.ndarray, strata: np.ndarray | None = None, groups: np.ndarray | None = None
) -> ImageVariance:
    r"""Variance that the choice of test images adds to a mean difference over splits.

    All $n$ splits are tested on the same $m$ images, so averaging over splits does not reduce chance in the choice of
    images. With $x_{ji} = 100 (r_{ji} - r^0_{ji})$, where $r$ and $r^0$ are 1 if the two classifiers of split $j$ are
    right on image $i$, splits are crossed with images and both are random:

    $x_{ji} = \mu + a_j + b_i + e_{ji}$,  $\mathrm{Var}(\bar x) = \sigma_a^2 / n + \sigma_b^2 / m + \sigma_e^2 / (nm)$.

    The variance of the splits' means over $n$ estimates the first and the last term together: the variance of the mean
    on these images. The missing term is $\sigma_b^2 / m$. The variance over images of the mean over splits estimates
    $\sigma_b^2 + \sigma_e^2 / n$, which includes noise of the splits; the interaction's mean square removes it:
    $\hat\sigma_b^2 = (MS_{image} - MS_{residual}) / n$, and 0 if that is negative. The parts are uncorrelated for any
    distribution of $x$ (here it is -100, 0 or 100, far from normal), so the estimates are unbiased before the cut at 0;
    the degrees of freedom are Satterthwaite's (1946). Rasmussen (1996, chapter 2) analyses training sets crossed with
    test cases in this way, Obuchowski and Rockette (1995) and Hillis (2007) readers crossed with cases.

    Images of one group, such as those of one patient, are not independent. With groups, these take the place of the
    images: $x_{jg}$ is the pseudo-value of the delete-a-group jackknife, $G \bar x_j - (G - 1) \bar x_{j(-g)}$, with
    the result $\bar x_{j(-g)}$ on all images but those of group $g$ (Bell and McCaffrey 2002). With equal groups it is
    the mean of the group's images. Unequal groups have the degrees of freedom of their effective number.

    Args:
        differences: Points `[n, m]`, one row per split (repeats averaged), one column per test image.
        strata: Class of each image `[m]`, for a mean of class means such as balanced accuracy: classes have equal
            weight, and new images have the same number of each class. By default one stratum, for accuracy.
        groups: Group of each image `[m]`; by default every image is alone. Groups may span strata.

    Raises:
        ValueError: With fewer than two splits, or fewer than two images or groups in a stratum.
    """
    x = np.asarray(differences, dtype=float)
    strata = np.zeros(x.shape[1]) if strata is None else np.asarray(strata)
    n, names = len(x), np.unique(strata)
    if n < 2 or min((strata == name).sum() for name in names) < 2:
        raise ValueError(f"differences must have at least two splits and two images per stratum, got {x.shape}")
    worth = 1.0
    if groups is not None:
        x = _pseudo_values(x, strata, groups)
        strata = np.zeros(x.shape[1])
        names = strata[:1]
        worth = (effective_groups(groups) - 1) / (x.shape[1] - 1)
    variance = noise = 0.0
    for name in names:
        part = x[:, strata == name]
        m, of_image = part.shape[1], part.mean(axis=0)
        residuals = part - part.mean(axis=1, keepdims=True) - of_image + part.mean()
        ms_image = n * of_image.var(ddof=1)
        ms_residual = np.square(residuals).sum() / ((n - 1) * (m - 1))
        share = 1 / (len(names) ** 2 * n * m)
        variance += share * (ms_image - ms_residual)
        noise += share**2 * (ms_image**2 + ms_residual**2 / (n - 1)) / (m - 1)
    if variance <= 1e-12:
        return ImageVariance(0, math.inf)
    return ImageVariance(float(variance), float(worth * variance**2 / noise))


def effective_groups(groups: np.ndarray) -> float:
    r"""Number of equal groups that groups `[m]` are worth, $m^2 / \sum_g m_g^2$ (Kish 1965).

    Example:
        >>> effective_groups(np.array([1, 1, 2, 2])), effective_groups(np.array([1, 1, 1, 2]))
        (2.0, 1.6)
    """
    sizes = np.unique(groups, return_counts=True)[1]
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def _pseudo_values(x: np.ndarray, strata: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the pseudo-values `[n, G]` of differences `[n, m]`, whose result is the mean of the strata's means."""
    _, group = np.unique(groups, return_inverse=True)
    num_groups, names = int(group.max()) + 1, np.unique(strata)
    whole, without = np.zeros(len(x)), np.zeros((num_groups, len(x)))
    for name in names:
        mine = strata == name
        sums, sizes = np.zeros((num_groups, len(x))), np.bincount(group[mine], minlength=num_groups)
        if sizes.max() == sizes.sum():
            raise ValueError("there must be at least two groups per stratum")
        np.add.at(sums, group[mine], x[:, mine].T)
        total, share = sums.sum(axis=0), 1 / len(names)
        whole += share * total / sizes.sum()
        without += share * (total - sums) / (sizes.sum() - sizes)[:, None]
    return (num_groups * whole - (num_groups - 1) * without).T


def fold_estimate(
    differences: Sequence[float] | np.ndarray,
    images: np.ndarray,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    anytime: bool = False,
) -> Estimate:
    r"""Estimate a mean difference for new images from cross-validation, where each split is tested on another fold.

    The variance of the mean is the larger of two. Over the $m$ images, $s^2(\bar x_i) / m$ of each image's mean
    difference over the repetitions (Bayle, Bayle, Janson and Mackey 2020), which leaves out that the images of a
    fold share a training; with groups, over these, as in `image_variance`. Over the $n$ folds, $s^2(d_j) / n$, which
    leaves out that repetitions share the images. Neither includes what all training sets have in common;
    benchmarks/calibration.py measures how often the interval holds all the same, with n - 1 degrees of freedom.

    Args:
        differences: Points `[n]`, one per fold (repeats averaged).
        images: Points `[n, m]`, one column per image; nan where the image is not in the fold.
        strata: Class of each image `[m]`, for a mean of class means such as balanced accuracy; None for accuracy.
        groups: Group of each image `[m]`; None if every image is alone.
        anytime: Whether the interval holds at every look, as in `estimate`.
    """
    found = estimate(differences, anytime=anytime)
    of_image = np.nanmean(images, axis=0)
    if groups is not None:
        strata = np.zeros(len(of_image)) if strata is None else strata
        of_image, strata = _pseudo_values(of_image[None], strata, groups)[0], None
    parts = [of_image] if strata is None else [of_image[strata == name] for name in np.unique(strata)]
    over_images = sum(part.var(ddof=1) / len(part) for part in parts) / len(parts) ** 2
    return replace(found, spread=max(found.spread, float(over_images)))


def share_interval(gap: Estimate, rest: Callable[[float], Estimate]) -> Interval | None:
    r"""Share of a gap that a gain closes, with its 95 % interval by Fieller's theorem (1954).

    The share is $\theta = \bar a / \bar g$, for gains $a_j$ and gaps $g_j$ of the same pairs. At the true share the
    mean of what is left, $a_j - \theta g_j$, is 0, so the interval has every share at which the interval of this mean
    contains 0. With Student's t over the pairs these are Fieller's bounds. Other estimates work in the same way: where
    the interval of the mean includes the choice of test images, so does that of the share. It excludes 0 where the
    interval of the gain does, and 1 where that of gain less gap does.

    Args:
        gap: The estimate of the mean gap.
        rest: Share -> the estimate of the mean gain less that share of the gap, from the same pairs.

    Returns:
        Shares as fractions, which may lie outside [0, 1]; None if the interval of the gap is not above 0, because the
        shares then have no bounds.

    Example:
        >>> gains, gaps = np.array([1.0, 2.0, 3.0, 2.0]), np.array([4.0, 5.0, 4.0, 5.0])
        >>> found = share_interval(estimate(gaps), lambda share: estimate(gains - share * gaps))
        >>> [round(value, 3) for value in found[:3]]
        [0.444, 0.154, 0.774]
    """
    from scipy.optimize import brentq

    if not gap.interval().low > 0:
        return None
    share = rest(0).mean / gap.mean
    if rest(share).variance == 0:
        return Interval(share, share, share, gap.num_pairs)

    def excess(distance: float) -> float:
        """How far the interval of what is left lies from 0; negative if it contains 0."""
        _, low, high, _ = rest(share + distance).interval()
        return max(low, -high)

    bounds = []
    for sign in (-1, 1):
        reach = -sign * excess(0) / gap.mean
        while excess(reach) < 0:
            if abs(reach) > FARTHEST:
                return None
            reach *= 2
        bounds.append(share + float(brentq(excess, 0, reach, xtol=1e-5)))
    return Interval(share, bounds[0], bounds[1], gap.num_pairs)


def sign_flip_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p value of the sign-flip test: how often random signs make a mean as far from 0 (Fisher 1935).

    It only assumes that a difference and its opposite are equally likely if there is no effect. With at most
    `MAX_EXACT_PAIRS` pairs all 2^n signs are tried and the p value is exact; with more, `RESAMPLES` random ones with a
    fixed seed, and the observed signs count as one of them (Phipson and Smyth 2010). It is nan without pairs.

    Example:
        >>> sign_flip_p([1.0, 2.0, 3.0])
        0.25
    """
    values = np.asarray(differences, dtype=float)
    if not values.size:
        return math.nan
    extreme = abs(values.sum()) - 1e-9
    if values.size <= MAX_EXACT_PAIRS:
        sums = values[:1]  # the other sign of the first mirrors all that follows
        for value in values[1:]:
            sums = np.concatenate([sums - value, sums + value])
        return float((abs(sums) >= extreme).mean())
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (RESAMPLES, values.size))
    return float((1 + (abs(signs @ values) >= extreme).sum()) / (1 + RESAMPLES))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values so that a false finding among all of them is as rare as in a single test (Holm 1979).

    Their order stays; a p value of nan counts as 1.

    Example:
        >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03, 0.02])]
        [0.04, 0.06, 0.06, 0.06]
    """
    p = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    order = p.argsort()
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted.tolist()


def power(
    points: float, num_pairs: int, sd: float, image_variance: float = 0.0, comparisons: int = 1, overlap: float = 0.0
) -> float:
    r"""Probability that a study calls a true gain *better*.

    $P(T > t_{\nu,\, 1 - 0.025/k})$, $T$ noncentral t with $\nu$ degrees of freedom and noncentrality
    $\delta / \sqrt{s^2 / n + s^2 \rho / (1 - \rho) + v}$.

    Args:
        points: The true gain $\delta$, above 0.
        num_pairs: Independent pairs n, at least 2.
        sd: Standard deviation s of the paired differences, above 0.
        image_variance: Variance v of the mean from the choice of test images.
        comparisons: Number k of comparisons to correct for, by Bonferroni; Holm's correction is at most as strict.
        overlap: Share rho of its training images that a split has in common with another one; 0 for a verdict on other
            choices among the same images.

    Example:
        >>> round(power(1.0, 10, sd=1.0), 2)
        0.8
    """
    from scipy.special import stdtrit
    from scipy.stats import nct

    split_variance = sd**2 * (1 / num_pairs + overlap / (1 - overlap))
    variance = split_variance + image_variance
    degrees = (num_pairs - 1) * (variance / split_variance) ** 2
    critical = float(stdtrit(degrees, 1 - LEVEL / 2 / comparisons))
    return float(nct.sf(critical, degrees, points / math.sqrt(variance)))


def pairs_to_detect(
    points: float, sd: float, image_variance: float = 0.0, comparisons: int = 1, overlap: float = 0.0
) -> float:
    """Plan a study: the fewest pairs that call a true gain *better* with a probability of `WANTED_POWER`.

    They are at least `MIN_PAIRS`, and infinite if `MAX_PAIRS` are too few. The arguments are those of `power`.

    Example:
        >>> pairs_to_detect(1.0, sd=1.0), pairs_to_detect(1.0, sd=1.0, image_variance=0.25)
        (10, inf)
    """
    choices = range(MIN_PAIRS, MAX_PAIRS + 1)
    found = bisect_left(choices, WANTED_POWER, key=lambda n: power(points, n, sd, image_variance, comparisons, overlap))
    return choices[found] if found < len(choices) else math.inf
