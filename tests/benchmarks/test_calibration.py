import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import calibration
from calibration import folds_hold, gaps_hold, holds, holds_in_groups, holds_with_few_groups, main


@pytest.mark.parametrize(("share", "beyond", "sizes"), [(0.08, True, {6}), (0.8, False, {6, 10})])
def test_the_interval_of_a_verdict_holds(share, beyond, sizes, monkeypatch):
    # Fewer studies than for docs/statistics.md: they tell 95 % from the 40 % of intervals without a correction.
    monkeypatch.setattr(calibration, "SIZES", (6, 10))
    monkeypatch.setattr(calibration, "TEST_IMAGES", (60, 2000))
    found = holds(share, beyond, studies=100)
    assert {n for n, _ in found} == sizes
    rates = [rate for of_pair in found.values() for rate in of_pair.values()]
    assert min(rates) >= 0.87
    assert np.mean(rates) >= 0.92


def test_intervals_hold_where_groups_are_told_and_there_are_none_for_few_groups(monkeypatch):
    monkeypatch.setattr(calibration, "GROUP_SIZES", ((30, 30),))
    monkeypatch.setattr(calibration, "GROUPED_TEST_IMAGES", (60, 600))
    found = {cell[1:]: of_pair["different"] for cell, of_pair in holds_in_groups(60).items()}
    assert np.isnan(found[60, "told"])
    assert found[600, "told"] >= 0.85
    assert found[600, "told"] > found[600, "untold"]


def test_few_groups_that_miss_a_rare_kind_are_too_few():
    assert holds_with_few_groups(False, 10, 100) >= 0.9
    assert holds_with_few_groups(True, 4, 100) < 0.85 < holds_with_few_groups(True, 30, 100)


@pytest.mark.parametrize(("num_images", "group_size"), [(60, 1), (100, 5)])
def test_the_interval_of_cross_validation_holds(num_images, group_size, monkeypatch):
    monkeypatch.setattr(calibration, "REPETITIONS", (2,))
    found = folds_hold(num_images, group_size, studies=30)
    assert set(found) == {(1, 2), (0.2, 2)}
    assert min(rate for of_pair in found.values() for rate in of_pair.values()) >= 0.8


def test_the_interval_of_a_share_of_a_gap_holds_and_larger_studies_have_more_of_them(monkeypatch):
    monkeypatch.setattr(calibration, "SIZES_WITH_CEILING", (5, 10))
    monkeypatch.setattr(calibration, "TEST_IMAGES_WITH_CEILING", (60, 600))
    rates, given = gaps_hold(0.08, studies=100)
    assert given[5, 60] < given[10, 60] < given[10, 600]
    assert min(rates[10, 600].values()) >= 0.87


def test_the_tables_are_printed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["calibration", "--studies", "1", "--jobs", "1"])
    monkeypatch.setattr(calibration, "TEST_IMAGES", (60,))
    monkeypatch.setattr(calibration, "GROUPED_TEST_IMAGES", (60,))
    monkeypatch.setattr(calibration, "TEST_IMAGES_WITH_CEILING", (60,))
    monkeypatch.setattr(calibration, "GROUP_SIZES", ((1, 1), (30, 30)))
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| labelled | splits | the verdict speaks for | 60 test images |"
    assert [line.split(" | ")[:3] for line in lines[2:5]] == [
        ["| 4 %", "6", "other images"],
        ["| 4 %", "10", "other images"],
        ["| 4 %", "20", "other choices"],
    ]
    assert "36 cells of 1 studies: " in " ".join(lines)
    assert "| images of a group |  | 60 test images |" in lines
    assert "| 30 | told | no interval |" in lines
    assert sum(line.startswith("| 300 | 5 | ") for line in lines) == 4
