import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[2] / "benchmarks"), str(Path(__file__).parents[1] / "report")]

from same_arm import main, same_against_same
from test_archive import keep
from test_contrasts import store
from test_page import record, study

from gan_augment.report.trials import collect


def trainings(folder, right):
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
    for intervals in same_against_same(trainings(tmp_path, right)):
        assert len(intervals) == 200
        assert 180 <= sum(low <= 0 <= high for _, low, high, _ in intervals) <= 197


def test_a_split_takes_part_with_two_of_its_own_trainings(tmp_path):
    # Accuracies are powers of two: a sum of differences tells of which trainings they are.
    num_right = np.array([[1, 2], [4, 8], [16, 32]])
    right = np.arange(64) < num_right[:, :, None]
    _, intervals = same_against_same(trainings(tmp_path, right))
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    possible = {round(float(sum_), 6) for sum_ in signs @ (num_right[:, 1] - num_right[:, 0])}
    assert {round(3 * interval.mean * 64 / 100, 6) for interval in intervals} == possible


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            [record(arm, 0, 0.9) for arm in ("none", "gan")],
            "digits compares 2 arms or settings: use a study of a single one",
        ),
        ([record("none", 0, None, status="failed")], "no trial of digits has results"),
        ([record("none", 0, 0.9)], "1 of 1 trials did not store which test images they got right"),
    ],
)
def test_a_study_that_is_not_of_one_arm_with_its_predictions_is_refused(tmp_path, monkeypatch, records, said):
    study(tmp_path, records)
    monkeypatch.setattr("sys.argv", ["same_arm", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"same_arm: {said}"):
        main()


def test_a_split_with_a_single_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"needs two splits or more, with two seeds\.classifier or more"):
        same_against_same(trainings(tmp_path, np.zeros((3, 1, 60), dtype=bool)))


def test_real_studies_are_counted(tmp_path, monkeypatch, capsys):
    right = np.random.default_rng(0).random((6, 3, 60)) < 0.8
    trainings(tmp_path, right)
    monkeypatch.setattr("sys.argv", ["same_arm", str(tmp_path)])
    main()
    assert "of 200 called different; median width" in capsys.readouterr().out


def test_a_kept_study_is_read_like_its_folder(tmp_path, monkeypatch, capsys):
    right = np.random.default_rng(0).random((6, 3, 60)) < 0.8
    trainings(tmp_path / "digits", right)
    keep([tmp_path / "digits"], tmp_path / "digits.jsonl", tmp_path / "out")
    capsys.readouterr()
    printed_lines = []
    for source in ("digits", "digits.jsonl"):
        monkeypatch.setattr("sys.argv", ["same_arm", str(tmp_path / source)])
        main()
        printed_lines.append(capsys.readouterr().out)
    assert "of 200 called different" in printed_lines[0]
    assert printed_lines[0] == printed_lines[1]
