import itertools

import numpy as np
import pandas as pd
import pytest

from gan_augment.report.configuration import Configuration
from gan_augment.report.spread import spread
from gan_augment.report.trials import ACCURACY, SEEDS, SPLIT, TRAINING_SEED

NAMES = ("split", "GAN", "synthesis", "classifier")


def nested(numbers, deviations, seed=0):
    """Trials of a nested design with known standard deviations, in points."""
    random = np.random.default_rng(seed)
    sizes, rows = list(numbers), []
    drawn = {}
    for place in itertools.product(*(range(size) for size in sizes)):
        effects = 0.0
        for depth, deviation in enumerate(deviations):
            key = place[: depth + 1]
            if key not in drawn:
                drawn[key] = deviation * random.standard_normal()
            effects += drawn[key]
        columns = dict(zip((SPLIT, f"{SEEDS}gan", f"{SEEDS}synthesis", TRAINING_SEED), map(str, place), strict=True))
        rows.append({**columns, ACCURACY: (80 + effects) / 100, "status": "ok"})
    return Configuration("gan", {}, pd.DataFrame(rows, dtype=object), {})


def test_known_deviations_are_found():
    found = spread(nested((60, 6, 6, 6), (3.0, 2.0, 1.0, 0.5)))
    assert found.numbers == dict(zip(NAMES, (60, 6, 6, 6), strict=True))
    assert list(found.deviations) == list(NAMES)
    assert list(found.deviations.values()) == pytest.approx([3, 2, 1, 0.5], rel=0.2)


def test_one_way_equals_the_textbook_s_analysis_of_variance():
    # Two splits with two trainings each: 80, 82 and 86, 88. Within: var 2; means 81 and 87: var 18, less 2 / 2.
    rows = [("a", "0", 0.80), ("a", "1", 0.82), ("b", "0", 0.86), ("b", "1", 0.88)]
    trials = pd.DataFrame(
        [{SPLIT: s, TRAINING_SEED: c, ACCURACY: accuracy, "status": "ok"} for s, c, accuracy in rows], dtype=object
    )
    found = spread(Configuration("none", {}, trials, {}))
    assert found.deviations == pytest.approx({"split": 17**0.5, "classifier": 2**0.5})


def test_splits_that_share_images_vary_less_than_independent_ones():
    independent = nested((60, 1, 1, 6), (3.0, 0.0, 0.0, 0.5))
    sharing = Configuration("gan", {}, independent.trials.assign(**{"provenance.overlap": 0.64}), {})
    alone, corrected = spread(independent).deviations, spread(sharing).deviations
    assert corrected["split"] == pytest.approx(alone["split"] / 0.6)
    assert corrected["classifier"] == alone["classifier"]


def test_a_source_that_adds_nothing_has_no_deviation():
    found = spread(nested((30, 4, 1, 4), (2.0, 0.0, 0.0, 1.0)))
    assert list(found.deviations) == ["split", "GAN", "classifier"]
    assert found.deviations["GAN"] < 0.4


def test_seeds_that_all_change_at_once_cannot_be_told_apart():
    seeds = [str(seed) for seed in range(6)]
    trials = pd.DataFrame(
        {SPLIT: seeds, f"{SEEDS}gan": seeds, TRAINING_SEED: seeds, ACCURACY: [0.8] * 6, "status": "ok"}, dtype=object
    )
    assert spread(Configuration("gan", {}, trials, {})) is None


def test_an_unbalanced_design_is_left_alone():
    whole = nested((4, 2, 1, 2), (1.0, 1.0, 0.0, 1.0))
    assert spread(Configuration("gan", {}, whole.trials.iloc[:-1], {})) is None
