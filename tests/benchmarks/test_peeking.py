import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import peeking

from gan_augment.report.statistics import ImageVariance, estimate


@pytest.mark.parametrize(("fixed", "plain"), [(0.0, 0.24), (0.5, 0.07)])
def test_only_the_interval_at_every_look_is_seldom_wrong(fixed, plain):
    student, sequence = (found.any(axis=1).mean() for found in peeking.peeked(0.0, fixed, 4000))
    assert student == pytest.approx(plain, abs=0.02)
    assert sequence <= 0.06


def test_the_intervals_are_those_of_the_report(monkeypatch):
    student, sequence = peeking.peeked(1.0, 0.02, 3)
    random = np.random.default_rng([peeking.SEED, 10, 2])
    values = 1 + random.normal(size=(3, 40)) + random.normal(scale=0.02**0.5, size=(3, 1))
    for one, expected in zip(values, sequence, strict=True):
        found = [estimate(one[:n], ImageVariance(0.02, np.inf), anytime=True).interval() for n in peeking.LOOKS]
        assert [low > 0 for _, low, _, _ in found] == expected.tolist()
    assert peeking.student(6) == pytest.approx(stats.t.ppf(0.975, 5))
    assert (student >= sequence).all()


def test_studies_of_quick_learners_are_seldom_wrong(monkeypatch):
    monkeypatch.setattr(peeking, "TEST_IMAGES", (60,))
    rates = peeking.holds(0.4, False, studies=50)
    assert set(rates) == {(60, True), (60, False)}
    for pair in ("different", "same"):
        assert rates[60, True][pair] >= 0.9
        assert rates[60, True][pair] >= rates[60, False][pair]
    assert peeking.holds(0.4, True, studies=50) == {}  # from 6 splits on, no verdict speaks for other images
