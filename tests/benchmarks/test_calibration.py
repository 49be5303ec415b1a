import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[2] / "benchmarks"), str(Path(__file__).parents[1] / "report")]

from calibration import (
    GAINS,
    NUM_IMAGES,
    SHAPES,
    SIZES,
    components,
    coverage,
    estimate_gain,
    main,
    rates,
    same_against_same,
    simulated_answers,
)
from test_archive import keep
from test_contrasts import store
from test_page import record, study

from gan_augment.report.contrasts import contrasts
from gan_augment.report.statistics import power
from gan_augment.report.trials import collect

ARMS = ("none", "gan")


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
    found = [estimate_gain(answers) for answers in simulated_answers(1.0, 20, studies=400)]
    sd, images = components(1.0)
    assert np.mean([one.mean for one in found]) == pytest.approx(1.0, abs=0.2)
    assert np.sqrt(np.mean([20 * one.split_variance for one in found])) == pytest.approx(sd, rel=0.03)
    assert np.mean([one.images.variance for one in found]) == pytest.approx(images, rel=0.03)
    assert images * NUM_IMAGES > sd**2  # as small test sets have it: the images are the larger part of the noise


@pytest.mark.parametrize("gain", GAINS)
def test_a_report_on_stored_predictions_estimates_what_the_simulation_counts(tmp_path, gain):
    for number, answers in enumerate(simulated_answers(gain, 6, studies=5)):
        folder = tmp_path / str(number)
        study(
            folder,
            [record(arm, seed, float(answers[i, seed].mean())) for i, arm in enumerate(ARMS) for seed in range(6)],
        )
        for i, arm in enumerate(ARMS):
            for seed in range(6):
                store(folder, f"{arm}-seed{seed}", answers[i, seed])
        (contrast,) = contrasts(collect([folder]))
        assert contrast.decides_for_new_images
        assert contrast.deciding.interval() == pytest.approx(estimate_gain(answers).interval())


def same_arm(folder, right):
    """A study of one arm, with several trainings in each split, of which a row each says what they get right."""
    trials = [(seed, training) for seed in range(right.shape[0]) for training in range(right.shape[1])]
    rows = {trial: record("none", trial[0], float(right[trial].mean())) for trial in trials}
    for (_, training), row in rows.items():
        row["trial"] += f"-{training}"
        row["factors"]["seeds.classifier"] = training
    study(folder, rows.values())
    for trial, row in rows.items():
        store(folder, row["trial"], right[trial])
    return collect([folder])


def test_the_same_against_the_same_is_seldom_called_different(tmp_path):
    random = np.random.default_rng(0)
    right = random.random((10, 12, 60)) < random.uniform(0.5, 1, size=(10, 1, 60))
    for intervals in same_against_same(same_arm(tmp_path, right)):
        assert len(intervals) == 200
        assert 180 <= sum(low <= 0 <= high for _, low, high, _ in intervals) <= 197


def test_a_split_takes_part_with_two_of_its_own_trainings(tmp_path):
    # Accuracies are powers of two: a sum of differences tells of which trainings they are.
    num_right = np.array([[1, 2], [4, 8], [16, 32]])
    right = np.arange(64) < num_right[:, :, None]
    _, intervals = same_against_same(same_arm(tmp_path, right))
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    possible = {round(float(sum_), 6) for sum_ in signs @ (num_right[:, 1] - num_right[:, 0])}
    assert {round(3 * interval.mean * 64 / 100, 6) for interval in intervals} == possible


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([record(arm, 0, 0.9) for arm in ARMS], "digits compares 2 arms or settings: use a study of a single one"),
        ([record("none", 0, None, status="failed")], "no trial of digits has results"),
        ([record("none", 0, 0.9)], "1 of 1 trials did not store which test images they got right"),
    ],
)
def test_a_study_that_is_not_of_one_arm_with_its_predictions_is_refused(tmp_path, monkeypatch, records, said):
    study(tmp_path, records)
    monkeypatch.setattr("sys.argv", ["calibration", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"calibration: {said}"):
        main()


def test_a_split_with_a_single_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"needs two splits or more, with two seeds\.classifier or more"):
        same_against_same(same_arm(tmp_path, np.zeros((3, 1, 60), dtype=bool)))


def test_real_studies_are_counted(tmp_path, monkeypatch, capsys):
    right = np.random.default_rng(0).random((6, 3, 60)) < 0.8
    same_arm(tmp_path, right)
    monkeypatch.setattr("sys.argv", ["calibration", str(tmp_path)])
    main()
    assert "of 200 called different; median width" in capsys.readouterr().out


def test_a_kept_study_is_read_like_its_folder(tmp_path, monkeypatch, capsys):
    right = np.random.default_rng(0).random((6, 3, 60)) < 0.8
    same_arm(tmp_path / "digits", right)
    keep([tmp_path / "digits"], tmp_path / "digits.jsonl", tmp_path / "out")
    capsys.readouterr()
    printed_lines = []
    for source in ("digits", "digits.jsonl"):
        monkeypatch.setattr("sys.argv", ["calibration", str(tmp_path / source)])
        main()
        printed_lines.append(capsys.readouterr().out)
    assert "of 200 called different" in printed_lines[0]
    assert printed_lines[0] == printed_lines[1]


def test_the_tables_are_printed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["calibration"])
    monkeypatch.setattr("calibration.coverage", lambda *_: 0.9512)
    monkeypatch.setattr("calibration.rates", lambda gain, n: rates(gain, n, studies=5))
    main()
    lines = capsys.readouterr().out.splitlines()
    assert "| normal | Student's t | 95.1 % | 95.1 % | 95.1 % |" in lines
    assert sum(line.startswith(("| 0 |", "| 1 |", "| 2 |")) for line in lines) == 9
