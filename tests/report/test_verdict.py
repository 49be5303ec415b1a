import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_augment.report.statistics import Interval
from gan_augment.report.verdict import in_words, verdict

NUMBER = r"-?\d+\.\d+"


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        (Interval(-1.8, -2.6, -0.9, 10), "worse by 1.8 points, 95 % interval -2.6 to -0.9, 10 splits"),
        (Interval(0.3, 0.02, 0.58, 10), "better by 0.30 points, 95 % interval 0.02 to 0.58, 10 splits"),
        (
            Interval(0.5, 0.0, 1.0, 6),
            "no detectable effect: gains above 1.0 points are excluded, and losses above 0.0 points (6 splits)",
        ),
        (
            Interval(0.28, 0.28, 0.28, 6),
            "every split gave the same difference (+0.3 points): no interval; one image is 0.28 points",
        ),
        (
            Interval(0.0, 0.0, 0.0, 9),
            "every split gave the same difference (+0.0 points): no interval; one image is 0.28 points",
        ),
        (
            Interval(-0.04, math.nan, math.nan, 1),
            "too few splits (n = 1; run at least 6): -0.04 points, no interval",
        ),
        (
            Interval(1.0, 1.0, 1.0, 5),
            "too few splits (n = 5; run at least 6): +1.0 points, every split gave the same difference",
        ),
        (Interval(math.nan, math.nan, math.nan, 0), "nothing to compare: no split has a result on both sides"),
    ],
)
def test_verdict_says_what_the_interval_says(interval, sentence):
    assert verdict(interval, "split", 100 / 360) == sentence


def test_verdict_names_training_noise_for_what_it_is():
    assert verdict(Interval(1.8, 0.9, 2.6, 8), "training seed", 0.28) == (
        "on this one split, over 8 training seeds (training noise only): "
        "better by 1.8 points, 95 % interval 0.9 to 2.6, 8 training seeds"
    )


def test_a_verdict_says_what_it_is_on_and_whether_it_survives():
    interval = Interval(1.8, 0.9, 2.6, 10)
    assert verdict(interval, "split", 0.28, "for new images", 0.049, 3).startswith(
        "better by 1.8 points for new images"
    )
    assert verdict(interval, "split", 0.28, "for new images", 0.051, 3) == (
        "interval excludes 0 but does not survive correction for 3 comparisons: "
        "+1.8 points for new images, 95 % interval 0.9 to 2.6, 10 splits"
    )
    none = verdict(Interval(0.1, -0.9, 1.1, 10), "split", 0.28, "for new images", 1.0, 3)
    assert none.startswith("no detectable effect for new images: gains above 1.1 points are excluded")


def test_an_unknown_resolution_is_left_unsaid():
    assert verdict(Interval(1.0, 1.0, 1.0, 6), "split", math.nan).endswith("(+1.0 points): no interval")


@given(st.floats(-20, 20), st.floats(1e-5, 30), st.integers(6, 50))
def test_words_never_contradict_or_exceed_the_numbers(mean, half, n):
    interval = Interval(mean, mean - half, mean + half, n)
    sentence = verdict(interval, "split", 0.28)
    low, high = map(float, re.fullmatch(f"({NUMBER}) to ({NUMBER})", in_words(interval)[1]).groups())
    assert low <= interval.low + 1e-6  # rounded outwards: nothing is excluded that the interval does not exclude
    assert high >= interval.high - 1e-6
    printed = [float(number) for number in re.findall(NUMBER, sentence)]
    if sentence.startswith("better"):
        assert printed[1:] == [low, high]
        assert 0 < low <= printed[0] <= high
    elif sentence.startswith("worse"):
        assert printed[1:] == [low, high]
        assert low <= -printed[0] <= high < 0
    else:
        assert sentence.startswith("no detectable effect")
        assert printed == [high, -low]
        assert interval.low <= 1e-6
        assert interval.high >= -1e-6
