import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

sys.path += [str(Path(__file__).parents[2] / "benchmarks"), str(Path(__file__).parents[1] / "report")]

from quick_studies import (
    OWN,
    TEST,
    TRAINING,
    Counted,
    Images,
    differences,
    discriminant,
    draw_splits,
    own_images,
    percents,
    speaks_beyond,
    tree,
    with_copies,
)
from test_contrasts import store
from test_page import record, study

from gan_augment.report.contrasts import contrasts
from gan_augment.report.statistics import estimate, image_variance
from gan_augment.report.trials import collect

ARMS = ("none", "gan")


def test_the_discriminant_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    splits = draw_splits(own_images(random), 0.4, 3, random)
    splits[0, :20] = splits[0, -20:]  # classes of different sizes
    found = discriminant(TRAINING.take(splits), TEST, 0.9)
    for row, labelled in zip(found, splits, strict=True):
        learner = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.9)
        learner.fit(TRAINING.features[labelled], TRAINING.classes[labelled])
        assert ((learner.predict(TEST.features) == TEST.classes) == row).mean() > 0.9999


def test_a_split_can_have_test_images_of_its_own():
    random = np.random.default_rng(0)
    labelled = TRAINING.take(draw_splits(own_images(random), 0.4, 2, random))
    tested = np.stack([np.arange(50), np.arange(50, 100)])
    of_all = discriminant(labelled, TEST.take(np.arange(100)), 0.1)
    of_each = discriminant(labelled, TEST.take(tested), 0.1)
    assert (of_each == np.take_along_axis(of_all, tested, axis=1)).all()


def test_trainings_with_copies_and_of_trees_differ_by_chance():
    random = np.random.default_rng(0)
    labelled = TRAINING.take(draw_splits(own_images(random), 0.4, 2, random))
    tested = TEST.take(np.tile(np.arange(500), (2, 1)))
    for train in (with_copies, tree):
        one, again = (train(labelled, tested, random) for _ in range(2))
        assert 0 < (one != again).mean() < 0.5
        assert one.mean() > 0.6


def test_images_of_a_group_share_half_of_their_variance():
    random = np.random.default_rng(0)
    groups, classes = np.arange(40_000) // 2, np.zeros(40_000, dtype=int)
    alone, together = (Images.draw(classes, random, some).features for some in (None, groups))
    assert alone.std(axis=0) == pytest.approx(together.std(axis=0), rel=0.02)
    assert alone.mean(axis=0) == pytest.approx(together.mean(axis=0), abs=0.06)
    assert np.corrcoef(together[::2, 0], together[1::2, 0])[0, 1] == pytest.approx(0.5, abs=0.02)


def test_splits_share_images_as_their_overlap_says():
    random = np.random.default_rng(0)
    own = own_images(random)
    first, *others = (set(split) for split in draw_splits(own, 0.4, 101, random))
    assert len(first) == 0.4 * OWN
    assert first <= set(own.ravel())
    assert np.mean([len(first & other) for other in others]) / len(first) == pytest.approx(0.4, abs=0.02)
    assert np.bincount(TRAINING.classes[list(first)]).tolist() == [30] * 4


def test_the_truth_for_a_study_is_the_mean_of_the_others_of_the_same_person():
    counted = Counted()
    # The truths of person 0 are 2.5, 2 and 1.5, that of either study of person 1 is the other's mean.
    for person, mean in ((0, 1.0), (0, 2.0), (0, 3.0), (1, 5.0), (1, 7.0)):
        bounds = {"around 2": (1.9, 2.1), "above 2": (2, 10), "none": (np.nan, np.nan)}
        counted.add("different", person, mean, bounds)
    counted.add("same", 0, 5.0, {"around 2": (-1, 1), "above 2": (1, 2), "none": (np.nan, np.nan)})
    rates = counted.rates()
    assert rates["around 2"] == {"different": 0.2, "same": 1}
    assert rates["above 2"] == {"different": 0.8, "same": 0}
    assert percents(rates["above 2"]) == "80.0, 0.0 %"
    assert percents(rates["none"]) == "no interval"


def test_a_report_on_stored_predictions_has_the_interval_that_is_counted(tmp_path):
    random = np.random.default_rng(0)
    splits = TRAINING.take(draw_splits(own_images(random), 0.04, 6, random))
    x = differences(splits, TEST.take(np.arange(60)), random)["different"]
    provenance = {"test_images": 60, "overlap": 0.04}
    study(tmp_path, [record(a, seed, 0.5, provenance=provenance) for a in ARMS for seed in range(6)])
    for seed, row in enumerate(x):
        store(tmp_path, f"gan-seed{seed}", row > 0)
        store(tmp_path, f"none-seed{seed}", row < 0)
    for path in tmp_path.glob("trials/gan-*/record.json"):
        one = json.loads(path.read_text())
        one["metrics"]["test"]["accuracy"] = 0.5 + float(x[one["factors"]["seeds.split"]].mean()) / 100
        path.write_text(json.dumps(one))
    (contrast,) = contrasts(collect([tmp_path]))
    assert contrast.estimate.beyond_these_labels == speaks_beyond(0.04, 6)
    expected = estimate(x.mean(axis=1), image_variance(x), 0.04).interval()
    assert contrast.estimate.interval() == pytest.approx(expected)
