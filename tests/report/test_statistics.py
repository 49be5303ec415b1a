import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from gan_augment.report.statistics import (
    MAX_EXACT_PAIRS,
    ImageVariance,
    estimate,
    holm,
    image_variance,
    noise_share,
    paired_interval,
    pairs_to_detect,
    power,
    sign_flip_p,
)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 5, 30])
def test_interval_agrees_with_scipy(n, confidence):
    rng = np.random.default_rng(n)
    one, base = rng.normal(90, 2, n), rng.normal(88, 2, n)
    expected = stats.ttest_rel(one, base).confidence_interval(confidence)
    interval = paired_interval(one - base, confidence)
    assert interval == pytest.approx(((one - base).mean(), expected.low, expected.high, n))


def test_interval_covers_the_truth_as_often_as_it_says():
    differences = np.random.default_rng(0).normal(1.0, 2.0, (2000, 8))
    intervals = [paired_interval(row) for row in differences]
    assert np.mean([low <= 1.0 <= high for _, low, high, _ in intervals]) == pytest.approx(0.95, abs=0.015)


def test_fewer_than_two_pairs_have_no_interval():
    assert paired_interval([1.5])[::3] == (1.5, 1)
    assert all(math.isnan(bound) for bound in paired_interval([1.5])[1:3])
    assert all(math.isnan(value) for value in paired_interval([])[:3])


def test_equal_differences_have_no_spread_whatever_floating_point_makes_of_them():
    differences = 100 * (np.array([0.91, 0.57, 0.3]) - np.array([0.90, 0.56, 0.29]))
    assert len(set(differences)) > 1
    assert paired_interval(differences).has_no_spread
    assert not paired_interval([1.0, 1.1]).has_no_spread
    assert not paired_interval([1.0]).has_no_spread


@pytest.mark.parametrize(("differences", "confidence"), [([1.0, math.nan], 0.95), ([1.0, 2.0], 95)])
def test_values_without_meaning_are_refused(differences, confidence):
    with pytest.raises(ValueError, match="must"):
        paired_interval(differences, confidence)


@pytest.mark.parametrize("n", [2, 6, 30])
def test_p_value_agrees_with_scipy(n):
    differences = np.random.default_rng(n).normal(1, 2, n)
    assert estimate(differences).p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert math.isnan(estimate([1.0]).p_value)
    assert math.isnan(estimate([1.0, 1.0]).p_value)


def test_image_variance_of_additive_differences_is_that_of_the_images():
    of_image, of_split = np.array([0.0, 100.0, -100.0, 50.0]), np.array([[3.0], [-1.0], [7.0]])
    found = image_variance(of_image + of_split)
    assert found == pytest.approx((of_image.var(ddof=1) / 4, 3))


def test_image_variance_worked_out_by_hand():
    # Means of the images: 0, 50 and 100.
    x = np.array([[0.0, 0.0, 150.0], [0.0, 100.0, 50.0]])
    residuals = x - x.mean(axis=1, keepdims=True) - np.array([0, 50, 100]) + 50
    assert residuals.tolist() == [[0, -50, 50], [0, 50, -50]]
    ms_image, ms_residual = 2 * 2500.0, 4 * 50**2 / 2
    assert ms_image == ms_residual  # so the images add nothing that the splits' noise does not explain
    assert image_variance(x) == (0, math.inf)
    x = np.array([[0.0, 0.0, 100.0], [0.0, 100.0, 100.0]])  # images' means 0, 50, 100; residuals of 16.7 and 33.3
    ms_residual = 4 * (1 / 6 * 100) ** 2 / 2 + 2 * (1 / 3 * 100) ** 2 / 2
    variance = (ms_image - ms_residual) / 2 / 3
    noise = ms_image**2 / 2 + ms_residual**2 / 2
    assert image_variance(x) == pytest.approx((variance, variance**2 / (noise / 36)))


def test_image_variance_is_unbiased_and_takes_the_noise_of_splits_off():
    random = np.random.default_rng(0)
    n, m, found = 5, 40, []
    for _ in range(2000):
        x = random.normal(0, 3, m) + random.normal(0, 2, (n, 1)) + random.normal(0, 4, (n, m))
        found.append(image_variance(x).variance)
    assert np.mean(found) == pytest.approx(9 / 40, rel=0.02)


def test_classes_count_alike_in_a_mean_of_class_means():
    of_image, labels = np.array([0.0, 100.0, 0.0, 0.0, 100.0, 100.0, 100.0]), np.array([0, 0, 1, 1, 1, 1, 1])
    x = of_image + np.array([[1.0], [2.0]])
    expected = (of_image[:2].var(ddof=1) / 2 + of_image[2:].var(ddof=1) / 5) / 4
    assert image_variance(x, labels).variance == pytest.approx(expected)
    assert image_variance(x, np.ones(7)) == image_variance(x)


def test_equal_groups_of_images_take_their_place():
    x, groups = np.random.default_rng(0).normal(size=(4, 12)), np.repeat([7, 3, 5, 1], 3)
    of_group = np.stack([x[:, groups == group].mean(axis=1) for group in np.unique(groups)], axis=1)
    assert image_variance(x, groups=groups) == pytest.approx(image_variance(of_group))
    assert image_variance(x, groups=np.arange(12)) == pytest.approx(image_variance(x))


@pytest.mark.parametrize("labels", [None, [0, 0, 1, 1, 1, 0, 1, 0, 1]])
def test_the_variance_over_groups_is_that_of_the_jackknife(labels):
    of_image, groups = np.random.default_rng(1).normal(0, 50, 9), np.array([0, 0, 0, 0, 0, 1, 2, 2, 2])
    strata = np.zeros(9) if labels is None else np.array(labels)

    def result(kept):
        return np.mean([of_image[kept & (strata == name)].mean() for name in np.unique(strata)])

    without = [result(groups != group) for group in range(3)]
    expected = 2 / 3 * np.square(np.subtract(without, np.mean(without))).sum()
    x = of_image + np.array([[1.0], [3.0]])  # nothing but images and splits
    found = image_variance(x, None if labels is None else strata, groups)
    assert found == pytest.approx((expected, 81 / (25 + 1 + 9) - 1))  # sizes 5, 1 and 3


def test_the_variance_over_groups_is_unbiased_where_images_of_a_group_are_alike():
    random, found = np.random.default_rng(0), []
    groups = np.repeat(np.arange(12), 5)
    for _ in range(1000):
        x = random.normal(0, 3, 12)[groups] + random.normal(0, 2, (5, 1)) + random.normal(0, 4, (5, 60))
        found.append(image_variance(x, groups=groups).variance)
    assert np.mean(found) == pytest.approx(9 / 12, rel=0.05)


def test_a_stratum_needs_two_groups():
    with pytest.raises(ValueError, match="at least two groups per stratum"):
        image_variance(np.zeros((2, 4)), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))


@pytest.mark.parametrize(("shape", "labels"), [((1, 5), None), ((3, 1), None), ((3, 3), [0, 0, 1])])
def test_image_variance_needs_two_of_everything(shape, labels):
    with pytest.raises(ValueError, match="at least two splits and two images per stratum"):
        image_variance(np.zeros(shape), None if labels is None else np.array(labels))


def test_where_splits_hardly_vary_the_interval_is_that_of_a_paired_test_over_images():
    of_image = np.random.default_rng(0).choice([-100.0, 0.0, 100.0], 200, p=[0.05, 0.8, 0.15])
    x = of_image + np.array([[0.01], [-0.01], [0.02]])
    interval = estimate(x.mean(axis=1), image_variance(x)).interval()
    expected = stats.ttest_1samp(of_image, 0).confidence_interval()
    assert interval[1:3] == pytest.approx((expected.low, expected.high), abs=0.02)


@given(arrays(float, st.tuples(st.integers(2, 8), st.integers(2, 12)), elements=st.sampled_from([-100.0, 0.0, 100.0])))
def test_an_interval_for_new_images_is_never_the_narrower_and_agrees_with_its_p_value(x):
    new = estimate(x.mean(axis=1), image_variance(x))
    interval, these = new.interval(), new.on_these_images.interval()
    assert interval.mean == these.mean
    assert interval.low <= these.low
    assert interval.high >= these.high
    if not interval.has_no_spread and abs(new.p_value - 0.05) > 1e-6:
        assert (new.p_value < 0.05) == (interval.low > 0 or interval.high < 0)


def test_satterthwaite_degrees_lie_between_those_of_the_parts():
    differences = [1.0, 2.0, 3.0, 4.0]
    splits = estimate(differences).split_variance
    assert estimate(differences).degrees == estimate(differences, ImageVariance(0.0, math.inf)).degrees == 3
    assert estimate(differences, ImageVariance(splits, math.inf)).degrees == pytest.approx(4 * 3)
    assert estimate(differences, ImageVariance(splits, 3)).degrees == pytest.approx(6)  # Welch's of two equal variances
    assert estimate(differences, ImageVariance(1e6 * splits, 50)).degrees == pytest.approx(50, rel=1e-4)


def test_the_share_of_training_noise_is_seldom_set_too_high():
    # Labelled images and training noise, each with half of the variance of the mean of two repeats.
    random = np.random.default_rng(100)
    splits = np.sqrt(0.5) * random.normal(size=(2000, 10, 1)) + random.normal(size=(2000, 10, 2))
    found = np.array([noise_share(list(one)) for one in splits])
    assert (found > 0.5).mean() == pytest.approx(0.2, abs=0.02)
    means, within = splits[0].mean(axis=1), splits[0].var(axis=1, ddof=1).mean() / 2
    expected = within / means.var(ddof=1) / stats.f.ppf(0.8, 10, 9)
    assert found[0] == pytest.approx(expected)


def test_the_share_of_training_noise_needs_repeats():
    assert np.isnan(noise_share([np.zeros(1)] * 6))
    assert np.isnan(noise_share([np.arange(3.0)]))
    assert noise_share([np.ones(2)] * 6) == 0  # nothing varies
    assert noise_share([np.array([-1.0, 1.0 + shift]) for shift in (0, 1e-9)]) == 1
    unequal = [np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0]), np.array([5.0, 7.0])]
    noise = (8 + 2 + 2) / 4 * np.mean([1 / 3, 1 / 2, 1 / 2])
    assert noise_share(unequal) == pytest.approx(noise / np.var([2, 1, 6], ddof=1) / stats.f.ppf(0.8, 4, 2))
    assert np.isnan(noise_share([*unequal, np.array([1.0])]))  # one split is trained once


def test_training_noise_is_not_widened_and_repeats_allow_more_overlap():
    differences = np.arange(10.0)
    plain, repeated = (estimate(differences, overlap=0.07, noise=noise) for noise in (math.nan, 0.25))
    assert repeated.widening == pytest.approx(0.75 * plain.widening)
    assert plain.widening == pytest.approx(10 * 0.07 / 0.93)
    for overlap, beyond, with_repeats in ((0.07, True, True), (0.1, False, True), (0.14, False, False)):
        assert estimate(differences, overlap=overlap).beyond_these_labels == beyond
        for noise in (0.0, 0.9):  # whatever noise is found
            assert estimate(differences, overlap=overlap, noise=noise).beyond_these_labels == with_repeats


@pytest.mark.parametrize("n", [2, 6, 11])
def test_sign_flip_p_is_scipys_exact_one(n):
    random = np.random.default_rng(n)
    for differences in (random.normal(0.5, 1, n), random.integers(-2, 4, n).astype(float)):
        expected = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        assert sign_flip_p(differences) == pytest.approx(expected.pvalue)


def test_sign_flip_p_goes_no_lower_than_its_number_of_signs():
    assert sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0]) == 2 / 2**5
    assert sign_flip_p([0.1] * 6) == 2 / 2**6
    assert sign_flip_p([0.1] * 50) == 1 / 10_000
    assert math.isnan(sign_flip_p([]))


def test_random_signs_agree_with_all_signs():
    differences = np.random.default_rng(0).normal(0.6, 1, MAX_EXACT_PAIRS)
    more = np.append(differences, 0.0)  # whose sign changes nothing, but is one too many to try all
    assert sign_flip_p(more) == pytest.approx(sign_flip_p(differences), abs=0.01)


def test_holm_adjusts_as_published():
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.005, 0.03, math.nan]) == pytest.approx([0.015, 0.06, 1])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_is_never_stricter_than_bonferroni(p):
    adjusted = np.array(holm(p))
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


@pytest.mark.parametrize(("points", "sd", "n"), [(1.68, 1, 5), (1, 1, 10), (1, 2, 34), (1, 5, 199)])
def test_power_agrees_with_published_sample_sizes(points, sd, n):
    # Cohen (1988): a standardised difference of 0.5 takes 34 pairs, one of 0.2 takes 199, for 80 % power.
    assert power(points, n, sd) == pytest.approx(0.8, abs=0.011)
    if n >= 10:
        assert pairs_to_detect(points, sd) == n


@pytest.mark.parametrize(("sd", "images", "comparisons"), [(2.0, 0.0, 1), (2.0, 0.1, 1), (1.5, 0.0, 5)])
def test_a_plan_is_the_smallest_that_is_enough(sd, images, comparisons):
    n = pairs_to_detect(1.5, sd, images, comparisons)
    assert power(1.5, n, sd, images, comparisons) >= 0.8 > power(1.5, n - 1, sd, images, comparisons)
    assert n > pairs_to_detect(1.5, sd) - (images == 0 and comparisons == 1)


def test_power_under_correction_is_how_often_simulated_studies_survive():
    differences = np.random.default_rng(0).normal(1.5, 1.5, (4000, 10))
    survived = np.mean([0 < 4 * estimate(row).p_value < 0.05 and row.mean() > 0 for row in differences])
    assert survived == pytest.approx(power(1.5, 10, 1.5, comparisons=4), abs=0.02)


def test_no_number_of_splits_makes_up_for_few_test_images():
    assert pairs_to_detect(1.0, sd=1.0, image_variance=0.5**2) == math.inf
    assert pairs_to_detect(1.0, sd=1.0, image_variance=0.3**2) < 40
    assert pairs_to_detect(50.0, sd=1.0) == 6  # fewer have no verdict
