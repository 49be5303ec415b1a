import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq

from gan_augment.report.sequence import critical, half_width, p_value
from gan_augment.report.statistics import ImageVariance, estimate


def evidence(differences, mean):
    """E_n from its definition, of differences from a mean."""
    values = np.asarray(differences) - mean
    n, total, squares = len(values), values.sum(), (values**2).sum()
    return math.sqrt(1 / (n + 1)) * (1 - total**2 / ((n + 1) * squares)) ** (-n / 2)


@pytest.mark.parametrize("n", [6, 10, 40])
def test_the_interval_has_every_mean_that_the_evidence_does_not_exclude(n):
    differences = np.random.default_rng(n).normal(1, 2, n)
    mean, far = differences.mean(), 20 * differences.std()
    low, high = (brentq(lambda mu: evidence(differences, mu) - 20, mean, mean + side * far) for side in (-1, 1))
    found = estimate(differences, anytime=True)
    assert found.interval() == pytest.approx((mean, low, high, n))
    assert found.p_value == pytest.approx(min(1, 1 / evidence(differences, 0)))


def test_p_values_agree_with_the_evidence_however_large_it_is():
    differences = np.random.default_rng(0).normal(5, 1, 12)
    assert evidence(differences, 0) > 1000
    assert estimate(differences, anytime=True).p_value == pytest.approx(1 / evidence(differences, 0))
    assert estimate(differences - differences.mean(), anytime=True).p_value == 1
    assert p_value(1e6, 10_000, 1e-9, 0) == 0


@pytest.mark.parametrize("n", [2, 6, 25])
def test_without_an_effect_the_expected_evidence_is_one(n):
    def of_t(t):
        u, r = t**2 / (n - 1), 1 / (n + 1)
        return math.sqrt(r) * ((1 + u) / (1 + r * u)) ** (n / 2)

    expected, _ = quad(lambda t: of_t(t) * stats.t.pdf(t, n - 1), -math.inf, math.inf)
    assert expected == pytest.approx(1, abs=1e-6)


def test_up_to_four_pairs_exclude_nothing():
    assert [math.isinf(critical(n, 0.05)) for n in (2, 3, 4, 5, 6)] == [True, True, True, False, False]
    few = [1.0, 1.1, 1.2, 1.3, 1.4]  # no verdict, so the plain interval
    assert estimate(few, anytime=True).interval() == estimate(few).interval()


def test_only_what_more_splits_make_smaller_pays_for_the_looks():
    student = stats.t.ppf(0.975, 9)
    assert half_width(10, 0.0, 4.0, 0.05) == pytest.approx(2 * student)
    assert half_width(10, 4.0, 0.0, 0.05) == pytest.approx(2 * critical(10, 0.05))
    differences, images = np.random.default_rng(1).normal(1, 2, 10), ImageVariance(0.5, 300)
    found = estimate(differences, images, overlap=0.05, anytime=True)
    spread = differences.var(ddof=1) / 10
    fixed = spread * 10 * 0.05 / 0.95 + 0.5
    _, low, high, _ = found.interval()
    assert (high - low) / 2 == pytest.approx(math.sqrt(critical(10, 0.05) ** 2 * spread + student**2 * fixed))


@pytest.mark.parametrize("fixed", [0.0, 0.2, 5.0])
def test_the_p_value_is_the_level_whose_interval_ends_at_zero(fixed):
    for level in (0.5, 0.05, 1e-6):
        assert p_value(half_width(12, 0.3, fixed, level), 12, 0.3, fixed) == pytest.approx(level)


@pytest.mark.parametrize("fixed", [0.0, 1.0])
def test_looking_after_every_split_is_seldom_wrong(fixed):
    random, images = np.random.default_rng(100), ImageVariance(fixed, math.inf)

    def ever_wrong(differences, anytime):
        found = (estimate(differences[:n], images, anytime=anytime).interval() for n in range(6, 41))
        return any(not low <= 0 <= high for _, low, high, _ in found)

    studies = random.normal(size=(200, 40)) + math.sqrt(fixed) * random.normal(size=(200, 1))
    assert sum(ever_wrong(one, anytime=True) for one in studies) <= 18  # 2.5 to 5 % of many more studies
    assert fixed or sum(ever_wrong(one, anytime=False) for one in studies) >= 30
