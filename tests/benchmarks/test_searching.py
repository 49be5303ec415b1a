import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import searches


def many(way, effect, number=60):
    found = [searches.WAYS[way](effect, np.random.default_rng(seed)) for seed in range(number)]
    return (np.array(column) for column in zip(*found, strict=True))


def test_gains_are_0_on_average_and_at_most_the_effect():
    gains = [searches.gain(setting, 2.0) for setting in np.linspace(0, 1, 1000, endpoint=False)]
    assert np.mean(gains) == pytest.approx(0, abs=1e-9)
    assert max(gains) == pytest.approx(2)


def test_a_search_that_believes_the_best_of_noise_always_finds_something():
    _, said, claims, _ = many("one split", 0.0)
    assert claims.all()
    assert said.mean() == pytest.approx(2.19, abs=0.2)  # the mean maximum of 44 standard normal numbers


def test_a_search_that_is_confirmed_seldom_claims_what_is_not_there():
    truth, _, claims, trials = many("search", 0.0)
    assert (claims & (truth <= 0)).mean() <= 0.1
    assert 40 <= trials.mean() <= 55


def test_it_finds_a_gain_that_is_there():
    truth, said, claims, _ = many("search", 3.0)
    assert claims.mean() > 0.9
    assert said.mean() == pytest.approx(truth.mean(), abs=0.2)
