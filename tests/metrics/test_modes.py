import math

import numpy as np
import pytest
import torch
from scipy import stats

from gan_augment.data.source import Modes
from gan_augment.data.toy import grid, ring
from gan_augment.metrics.modes import mode_metrics

SQUARE = Modes(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), std=0.1)


def test_a_sample_counts_within_three_standard_deviations_and_not_beyond():
    near, far = torch.tensor([[0.299, 0.0]]), torch.tensor([[0.301, 0.0]])
    found = mode_metrics(near, SQUARE)
    assert (found["modes_found"], found["high_quality"], found["reverse_kl"]) == (1, 1.0, math.log(4))
    nothing = {"modes_found": 0, "high_quality": 0.0, "reverse_kl": None, "spread": 0.0}
    assert mode_metrics(far, SQUARE) == nothing


def test_the_divergence_is_that_of_the_histogram_of_good_samples_from_a_uniform_one():
    counts = [5, 3, 1, 0]
    samples = SQUARE.centres.repeat_interleave(torch.tensor(counts), dim=0)
    noise = torch.full((4, 2), 7.0)  # far from any mode: in none of them
    found = mode_metrics(torch.cat([samples, noise]), SQUARE)
    assert found["modes_found"] == 3
    assert found["high_quality"] == pytest.approx(9 / 13)
    assert found["reverse_kl"] == pytest.approx(stats.entropy(counts, [1, 1, 1, 1]))


def test_equal_shares_have_no_divergence():
    assert mode_metrics(SQUARE.centres.repeat(5, 1), SQUARE)["reverse_kl"] == 0


@pytest.mark.parametrize(("density", "num_modes"), [(ring, 8), (grid, 25)])
def test_the_density_itself_has_all_its_modes_and_what_the_closed_form_says(density, num_modes):
    source = density(20_000)
    found = mode_metrics(source.images.images.flatten(1), source.modes)
    assert found["modes_found"] == num_modes
    assert found["high_quality"] == pytest.approx(stats.chi2(2).cdf(9), abs=0.004)
    assert found["spread"] == pytest.approx(1, abs=0.01)
    # 2N times the divergence of N draws is chi^2 with M - 1 degrees of freedom.
    assert 2 * len(source.images) * found["reverse_kl"] < stats.chi2(num_modes - 1).ppf(0.999)


def test_the_spread_is_that_of_the_samples_near_a_mode_over_the_densitys():
    assert mode_metrics(SQUARE.centres, SQUARE)["spread"] == 0
    narrow = SQUARE.centres[0] + 0.02 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    within = stats.truncnorm  # of one coordinate there is a closed form in SciPy
    line = Modes(torch.zeros(1, 1), std=0.1)
    points = torch.linspace(-0.299, 0.299, 20_001)[:, None]
    expected = points.double().square().mean().sqrt() / 0.1 / within(-3, 3).std()
    assert mode_metrics(points, line)["spread"] == pytest.approx(float(expected), rel=1e-4)
    assert mode_metrics(narrow, SQUARE)["spread"] == pytest.approx(0.2 * 2**0.5 / 1.8989**0.5, rel=0.02)


def test_a_generator_that_makes_half_of_the_modes_is_log_2_away():
    points = grid(20_000).images.images.flatten(1).numpy()
    left = torch.from_numpy(points[np.abs(points[:, 0]) > 0.2])  # four of the five columns
    assert mode_metrics(left, grid(1).modes)["reverse_kl"] == pytest.approx(math.log(25 / 20), abs=0.002)
