import numpy as np
import pytest

from gan_augment.study.calibration import (
    GAINS,
    NUM_IMAGES,
    SHAPES,
    SIZES,
    components,
    coverage,
    main,
    rates,
    simulated_estimates,
)
from gan_augment.study.statistics import power


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", SIZES)
def test_the_interval_over_splits_covers_as_often_as_it_says(n, shape):
    covered = coverage(shape, n)
    if shape == "skewed":
        assert 0.85 < covered < 0.97  # known to be too few: said in docs/statistics.md
    else:
        assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("n", SIZES)
def test_with_new_images_the_deciding_interval_covers_and_verdicts_come_as_often_as_computed(n, gain):
    found = rates(gain, n)
    assert 0.93 <= found.covered <= 0.97
    assert found.covered_by_splits_alone < 0.88
    expected = power(gain, n, *components(gain)) if gain else 0.025
    assert found.better == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 1000) + 0.01)
    assert found.worse <= 0.03


def test_computed_components_are_those_of_the_simulation():
    found = list(simulated_estimates(1.0, 20, studies=400))
    sd, images = components(1.0)
    assert np.mean([one.mean for one in found]) == pytest.approx(1.0, abs=0.2)
    assert np.sqrt(np.mean([20 * one.split_variance for one in found])) == pytest.approx(sd, rel=0.03)
    assert np.mean([one.images.variance for one in found]) == pytest.approx(images, rel=0.03)
    assert images * NUM_IMAGES > sd**2  # as small test sets have it: the images are the larger part of the noise


def test_the_tables_are_printed(monkeypatch, capsys):
    monkeypatch.setattr("gan_augment.study.calibration.coverage", lambda *_: 0.9512)
    monkeypatch.setattr("gan_augment.study.calibration.rates", lambda gain, n: rates(gain, n, studies=5))
    main()
    lines = capsys.readouterr().out.splitlines()
    assert "| normal | Student's t | 95.1 % | 95.1 % | 95.1 % |" in lines
    assert sum(line.startswith(("| 0 |", "| 1 |", "| 2 |")) for line in lines) == 9
