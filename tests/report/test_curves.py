from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_page import record, study

from gan_augment.report.configuration import configurations
from gan_augment.report.curves import Curve, budget_curves, cost_curves, worth_in_labels, worths
from gan_augment.report.figures import curves_figure
from gan_augment.report.statistics import Interval
from gan_augment.report.trials import collect

SPLITS = [str(seed) for seed in range(8)]


def curve(arm, means, noise=0.0):
    random = np.random.default_rng(1)
    shift = noise * random.standard_normal((len(SPLITS), 1))
    return Curve(arm, pd.DataFrame(shift + np.array([list(means.values())]), index=SPLITS, columns=list(means)))


BASE = curve("none", {5: 80.0, 10: 85.0, 20: 90.0})


def test_a_gain_is_read_off_the_base_s_curve_over_the_logarithm_of_labels():
    first, second = worth_in_labels(curve("gan", {5: 85.0, 10: 87.5, 20: 90.0}), BASE)
    assert (first.budget, first.labels) == (5, pytest.approx(5))
    assert second.labels == pytest.approx(10 * 2**0.5 - 10)
    assert (first.low, first.high) == (pytest.approx(5), pytest.approx(5))  # no split differs from another
    assert "does as well as none with 5 more, 95 % interval 5 to 5, on these test images (8 splits)" in first.sentence


def test_beyond_the_last_budget_is_at_least_that():
    first, *_ = worth_in_labels(curve("gan", {5: 95.0}), BASE)
    assert first.labels == pytest.approx(15)
    assert "with at least 15 more" in first.sentence


def test_beyond_a_base_that_falls_at_its_end_is_at_least_the_last_budget():
    falling = curve("none", {5: 80.0, 10: 90.0, 20: 92.0, 50: 91.0})
    first, *_ = worth_in_labels(curve("gan", {5: 95.0}), falling)
    assert first.labels == pytest.approx(45)
    assert "with at least 45 more" in first.sentence


def test_an_arm_that_is_no_better_is_worth_nothing():
    first, second = worth_in_labels(curve("gan", {5: 70.0, 10: 82.5}), BASE)
    assert first.labels == pytest.approx(0)
    assert "as well as none with at most 0 more" in first.sentence  # the study has no smaller budget
    assert second.labels == pytest.approx(10 * 2**-0.5 - 10)


def test_a_flat_piece_of_the_base_s_curve_is_reached_at_its_start():
    flat = curve("none", {5: 80.0, 10: 79.0, 20: 90.0})  # noise: pooled to 79.5
    (one, _) = worth_in_labels(curve("gan", {5: 79.5, 10: 79.5}), flat)
    assert one.labels == pytest.approx(0)


def test_the_interval_widens_with_the_spread_of_the_paired_splits():
    random = np.random.default_rng(0)
    jitter = pd.DataFrame(random.standard_normal((8, 3)), index=SPLITS, columns=[5, 10, 20])
    noisy = Curve("none", BASE.accuracies + jitter)
    one, *_ = worth_in_labels(curve("gan", {5: 85.0}), noisy)
    assert one.low < one.labels < one.high
    shared = jitter[[5]].to_numpy()  # a split that is easy for both says nothing
    pair = worth_in_labels(
        Curve("gan", curve("gan", {5: 85.0}).accuracies + shared), Curve("none", BASE.accuracies + shared)
    )
    assert pair[0].high - pair[0].low < 1e-6


@pytest.mark.parametrize("num_splits", [6, 10])
def test_the_interval_of_a_worth_covers_the_truth(num_splits):
    # The true worth is 5 labels: with 10 per class the base is at 85 on average, as the arm is with 5.
    random, covered = np.random.default_rng(num_splits), 0
    index = [str(seed) for seed in range(num_splits)]
    for _ in range(400):
        shared = 2 * random.standard_normal((num_splits, 1))
        base = np.array([80.0, 85.0, 90.0]) + shared + random.standard_normal((num_splits, 3))
        arm = 85 + shared + random.standard_normal((num_splits, 1))
        curves = (Curve("gan", pd.DataFrame(arm, index, [5])), Curve("none", pd.DataFrame(base, index, [5, 10, 20])))
        (found,) = worth_in_labels(*curves)
        covered += found.low - 0.02 <= 5 <= found.high + 0.02  # the grid has steps of 0.01
    assert 0.93 <= covered / 400 <= 0.98


@pytest.mark.parametrize("num_splits", [1, 2, 5])
def test_a_worth_needs_as_many_splits_as_a_verdict(num_splits):
    few = [Curve(one.arm, one.accuracies.iloc[:num_splits]) for one in (curve("gan", {5: 85.0}, noise=1), BASE)]
    (found,) = worth_in_labels(*few)
    assert found.sentence.endswith(f" more (no interval: {num_splits} splits; run at least 6)")


def test_splits_that_only_one_arm_has_are_left_out():
    arm = Curve("gan", pd.DataFrame({5: [85.0, 60.0]}, index=["0", "99"]))
    (one,) = worth_in_labels(arm, BASE)
    assert (one.num_splits, one.labels) == (1, pytest.approx(5))


def test_an_arm_without_a_gan_stands_beside_each_gan(tmp_path):
    records = [record("none", seed, 0.8, labels=labels) for labels in (5, 10) for seed in range(2)]
    records += [
        record("gan", seed, 0.9, labels=labels, loss=loss)
        for labels in (5, 10)
        for loss in ("hinge", "minimax")
        for seed in range(2)
    ]
    found = configurations(collect([study(tmp_path, records)]))
    curves = {setting: [one.arm for one in some] for setting, some in budget_curves(found).items()}
    assert curves == {"loss=hinge": ["none", "gan"], "loss=minimax": ["none", "gan"]}
    assert [(one.setting, one.budget) for one in worths(found)] == [("loss=hinge", 5), ("loss=minimax", 5)]


def test_accuracy_is_drawn_over_seconds_with_a_line_for_each_generator(tmp_path):
    records = []
    for kind, limit, accuracy in (("gan", 10, 0.8), ("gan", 40, 0.9), ("flow", 10, 0.7)):
        for seed in range(4):
            one = record("gan", seed, accuracy, generator=kind, **{"generator.seconds": limit})
            one["costs"]["seconds"]["total"] = {"spent": float(limit), "reused": 5.0}
            records.append(one)
    lines = cost_curves(configurations(collect([study(tmp_path, records)])))
    assert {name: {seconds: round(one.mean, 6) for seconds, one in line.items()} for name, line in lines.items()} == {
        "gan (generator=gan)": {15.0: 80.0, 45.0: 90.0},
        "gan (generator=flow)": {15.0: 70.0},
    }


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ((5, 10, 1187), ["5", "10", "1187"]),
        ((5.32494, 5.41234, 29.6258, 29.7344, 36.0128), None),
        ((1561.23, 1583.02, 1731.02), None),
    ],
    ids=["chosen", "measured", "measured, close together"],
)
def test_the_labels_of_an_axis_can_be_read(monkeypatch, numbers, labels):
    drawn = []
    monkeypatch.setattr("gan_augment.report.figures._png", lambda figure: drawn.append(figure) or b"")
    curves_figure({"": {str(one): {one: Interval(90.0, 89.0, 91.0, 8)} for one in numbers}}, "seconds", "accuracy")
    figure = drawn[0]
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    shown = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in shown]
    assert len(boxes) >= 2
    assert all(one.x1 < two.x0 for one, two in pairwise(boxes))
    assert labels is None or [label.get_text() for label in shown] == labels
    places = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert places == list(numbers)  # nothing is shifted where no two lines meet
