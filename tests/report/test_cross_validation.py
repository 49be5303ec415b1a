"""Studies by cross-validation: each split is tested on another fold of the images."""

import math

import numpy as np
import pytest
from test_contrasts import store
from test_page import compare, facts, in_one_line, printed, record, study, table, unequal

from gan_augment.report.configuration import configurations
from gan_augment.report.page import main, write_report
from gan_augment.report.statistics import estimate, fold_estimate
from gan_augment.report.trials import collect

NUM_IMAGES, FOLDS = 60, 5
LABELS = np.arange(NUM_IMAGES) // (NUM_IMAGES // 3)
RATES = {"none": 0.5, "gan": 0.9}


def folded(folder, rates=RATES, seeds=range(10), lost=(), stored=True, ratio=1.0, groups=None, domains=None):
    """A study by folds; each arm is right on an image as often as its rate says. Returns answers `[arm][seed, image]`.

    `lost` are the seeds whose trial of the last arm diverged.
    """
    records, answers = [], {arm: np.full((len(seeds), NUM_IMAGES), np.nan) for arm in rates}
    for arm, rate in rates.items():
        for seed in seeds:
            order = np.random.default_rng(seed // FOLDS).permutation(NUM_IMAGES)
            ids = np.sort(order[seed % FOLDS :: FOLDS])
            right = np.random.default_rng([*arm.encode(), seed]).random(len(ids)) < rate
            gone = arm == list(rates)[-1] and seed in lost
            one = record(arm, seed, None if gone else float(right.mean()), status="diverged" if gone else "ok", folds=5)
            one["provenance"] |= {"test_images": len(ids), "domains": domains}
            one["saw"]["imbalance_ratio"], one["provenance"]["test_imbalance_ratio"] = ratio, ratio
            if not gone:
                recalls = [float(right[LABELS[ids] == label].mean()) for label in range(3)]
                one["metrics"]["test"]["balanced_accuracy"] = float(np.mean(recalls))
                answers[arm][seed, ids] = right
            records.append((one, ids, right, gone))
    study(folder, [one for one, *_ in records])
    for one, ids, right, gone in records:
        if stored and not gone:
            store(folder, one["trial"], right, ids, LABELS[ids], **({} if groups is None else {"groups": groups[ids]}))
    return answers


def test_the_variance_is_the_larger_of_that_over_images_and_that_over_folds():
    nan = np.nan
    # Two repetitions of two folds; the images' means are 100, 0, 50, 50, those of folds 50, 50, 100, 0.
    x = np.array([[100, 0, nan, nan], [nan, nan, 0, 100], [100, nan, 100, nan], [nan, 0, nan, 0]])
    of_folds = estimate([50, 50, 100, 0])
    found = fold_estimate([50, 50, 100, 0], x, None)
    assert found.mean == 50
    assert found.spread == pytest.approx(of_folds.spread) == pytest.approx((0 + 0 + 2500 + 2500) / 3 / 4)
    # With equal folds the images decide: their squares around 50 are 2500, 2500, 0, 0.
    x = np.array([[100, 0, nan, nan], [nan, nan, 0, 100], [100, 0, nan, nan], [nan, nan, 100, 0]])
    found = fold_estimate([50, 49, 51, 50], x, None)
    assert found.spread == pytest.approx((2500 + 2500) / 3 / 4)
    assert found.degrees == 3
    of_equal_folds = estimate([50, 49, 51, 50])
    # Class by class: images of the first have means 100 and 0, those of the second 50 and 50.
    found = fold_estimate([50, 49, 51, 50], x, np.array([0, 0, 1, 1]))
    assert found.spread == pytest.approx((5000 / 2 + 0 / 2) / 2**2)
    # Two groups of two images: their means are 50 and 50, or 75 and 25.
    assert fold_estimate([50, 49, 51, 50], x, groups=np.array([0, 0, 1, 1])).spread == of_equal_folds.spread
    assert fold_estimate([50, 49, 51, 50], x, groups=np.array([0, 1, 1, 0])).spread == pytest.approx(2 * 25**2 / 2)


def test_the_verdict_pools_the_images_of_all_folds(tmp_path):
    answers = folded(tmp_path)
    contrast = compare(tmp_path)["gan against none"]
    x = 100 * (answers["gan"] - answers["none"])
    expected = fold_estimate(np.nanmean(x, axis=1), x, None)
    assert contrast.new_images == pytest.approx(expected.interval())
    assert contrast.estimate.interval() == contrast.new_images
    assert (contrast.unit, contrast.num_images) == ("fold", NUM_IMAGES)
    assert contrast.sentence.startswith("better by ")
    assert " points for new images, 95 % interval " in contrast.sentence
    assert contrast.sentence.endswith(", 10 folds")
    assert contrast.by_image[3].item() == pytest.approx(np.nanmean(x[:, 3]))
    assert math.isnan(contrast.sign_flip_p)
    assert math.isnan(contrast.pairs_to_detect(1.0))
    assert all(math.isnan(interval.low) for interval in contrast.per_class.values())


def test_the_verdict_counts_the_groups_of_all_folds(tmp_path):
    answers = folded(tmp_path / "alone")
    x = 100 * (answers["gan"] - answers["none"])
    groups = np.nanmean(x, axis=0).argsort().argsort() // 4  # images of one group are alike
    folded(tmp_path / "grouped", groups=groups)
    expected = fold_estimate(np.nanmean(x, axis=1), x, groups=groups)
    assert compare(tmp_path / "grouped")["gan against none"].new_images == pytest.approx(expected.interval())
    assert expected.spread > 1.5 * fold_estimate(np.nanmean(x, axis=1), x).spread


def test_balanced_accuracy_is_pooled_class_by_class(tmp_path):
    answers = folded(tmp_path, ratio=2.0)
    contrast = compare(tmp_path)["gan against none, balanced accuracy"]
    x = 100 * (answers["gan"] - answers["none"])
    of_class = [x[:, label == LABELS] for label in range(3)]
    folds = np.mean([np.nanmean(part, axis=1) for part in of_class], axis=0)
    expected = fold_estimate(folds, x, LABELS)
    assert contrast.new_images == pytest.approx(expected.interval())


def test_diverged_folds_count_as_equal_on_their_images(tmp_path):
    answers = folded(tmp_path, lost=(0, 5, 6))
    contrast = compare(tmp_path)["gan against none"]
    x = 100 * (answers["gan"] - answers["none"])
    ended = x[~np.isnan(x).all(axis=1)]
    assert contrast.estimate.num_pairs == len(ended) == 7
    tested = ~np.isnan(ended).all(axis=0)
    assert contrast.num_images == tested.sum() < NUM_IMAGES
    expected = fold_estimate(np.nanmean(ended, axis=1), ended[:, tested], None)
    assert contrast.new_images == pytest.approx(expected.interval())
    zeros = np.where(np.isnan(x), 0 * answers["none"], x)
    expected = fold_estimate(np.nanmean(zeros, axis=1), zeros, None)
    assert contrast.with_diverged.interval() == pytest.approx(expected.interval())


def test_without_answers_there_is_no_verdict(tmp_path):
    folded(tmp_path, stored=False)
    contrast = compare(tmp_path)["gan against none"]
    reason = "20 of 20 trials did not store which test images they got right"
    assert contrast.new_images is None
    assert not contrast.is_better
    assert contrast.adjusted_p == 1
    mean = f"{contrast.estimate.mean:+.1f}"
    assert contrast.sentence == f"no verdict: {mean} points, but no interval, because {reason} (10 folds)"


def test_a_metric_that_has_no_answers_has_no_verdict(tmp_path):
    records = [unequal(arm, seed, rare, folds=5) for arm, rare in (("none", 0.4), ("gan", 0.6)) for seed in range(10)]
    found = compare(study(tmp_path, records))
    assert found["gan against none, recall of rare classes"].sentence.startswith("no verdict: +20.0 points, ")


def test_one_repetition_of_five_is_too_few(tmp_path):
    folded(tmp_path, seeds=range(5))
    assert compare(tmp_path)["gan against none"].sentence.startswith("too few folds (n = 5; run at least 6): ")


def test_the_page_says_how_images_were_tested_and_leaves_out_what_needs_independent_splits(tmp_path, capsys):
    folded(tmp_path)
    page = write_report([tmp_path]).read_text()
    rows = table(page, "Differences in test accuracy, paired")
    assert rows[0] == ["contrast", "difference (points)", "95 %, new images", "pairs", "verdict"]
    assert facts(page)["folds"] == "5"
    text = in_one_line(page)
    for said in (text, in_one_line(printed(tmp_path))):
        assert (
            "60 images, each tested once in every repetition: 10 folds are 2 repetitions of 5. The verdict is" in said
        )
        assert "have in common" not in said
    assert "Student's t over the pairs" not in text
    assert facts(page)["test images"].startswith("12 in a fold")
    assert "Difference in class accuracy (points)<" in page
    assert "intervals miss zero by chance" not in page
    main([str(tmp_path), "--detect", "1"])
    assert "gan against none: not planned with folds; more" in in_one_line(capsys.readouterr().out)


def test_a_study_with_folds_is_not_mixed_with_one_without(tmp_path):
    folded(tmp_path / "folds")
    study(tmp_path / "whole", [record(arm, seed, 0.8) for arm in RATES for seed in range(8)])  # written before folds
    found = configurations(collect([tmp_path / "folds", tmp_path / "whole"]))
    assert {(one.arm, one.setting["folds"]): len(one.trials) for one in found} == {
        (arm, folds): number for arm in RATES for folds, number in ((5, 10), ("null", 8))
    }
    assert sorted(compare(tmp_path / "folds", tmp_path / "whole")) == [
        "gan (folds=5) against none",
        "gan against none",
    ]


def test_of_two_domains_the_folds_are_of_the_target(tmp_path):
    folded(tmp_path, domains="here to there")
    said = in_one_line(printed(tmp_path))
    assert "for classifiers that see no images of the target, or 4 of 5 parts of them." in said
    assert "parts of such a set" not in said
