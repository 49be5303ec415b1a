import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_contrasts import answered, image_differences
from test_cross_validation import folded
from test_page import SEEDS, in_one_line, planted, record, study, table, unequal

from gan_augment.report.configuration import configurations
from gan_augment.report.contrasts import contrasts
from gan_augment.report.figures import gaps_figure
from gan_augment.report.gap import gaps
from gan_augment.report.page import write_report
from gan_augment.report.statistics import Interval, estimate, image_variance, share_interval
from gan_augment.report.trials import ACCURACY, BALANCED, collect
from gan_augment.report.wording import gaps_in_words

CAPTION = "Share of the gap that an arm closes (%)"


def found_in(folder):
    covered = collect([folder])
    return gaps(covered, configurations(covered), contrasts(covered))


def share(gains, sizes):
    return share_interval(estimate(sizes), lambda part: estimate(gains - part * sizes))


def fieller(gains, sizes):
    """The bounds in closed form: the roots of a quadratic; None if they enclose no interval."""
    n, t = len(gains), stats.t.ppf(0.975, len(gains) - 1)
    (vx, c), (_, vy) = t**2 * np.cov(gains, sizes) / n
    x, y = gains.mean(), sizes.mean()
    if y < 0 or y**2 <= vy:
        return None
    root = np.sqrt((x * y - c) ** 2 - (x**2 - vx) * (y**2 - vy))
    return np.array([x * y - c - root, x * y - c + root]) / (y**2 - vy)


@given(st.integers(2, 20), st.floats(-3, 3), st.floats(-1, 5), st.integers(0, 2**32 - 1))
def test_the_interval_is_that_of_fiellers_theorem(n, gain, size, seed):
    floor, arm, ceiling = np.random.default_rng(seed).normal(size=(3, n))
    gains, sizes = arm - floor + gain, ceiling - floor + size
    found, expected = share(gains, sizes), fieller(gains, sizes)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.mean == pytest.approx(gains.mean() / sizes.mean())
        assert found[1:3] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("truth", [0, 0.5, 1])
def test_it_covers_the_truth_as_often_as_it_says(n, truth):
    random, held = np.random.default_rng(n), []
    for _ in range(600):
        floor, arm, ceiling = random.normal(size=(3, n)) + random.normal(size=n)
        if (found := share(arm - floor + 4 * truth, ceiling - floor + 4)) is not None:
            held.append(found.low <= truth <= found.high)
    assert len(held) > 500
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_it_excludes_0_and_1_where_the_arm_differs_from_floor_and_ceiling():
    random, excludes = np.random.default_rng(0), []
    for _ in range(100):
        easy = 0.2 * random.normal(size=80)  # images, for all arms
        right = 100.0 * (random.random((3, 6, 80)) < np.array([0.5, 0.59, 0.68])[:, None, None] + easy)
        gain, size = right[1] - right[0], right[2] - right[0]

        def of(x):
            return estimate(x.mean(axis=1), image_variance(x))

        found = share_interval(of(size), lambda part, gain=gain, size=size: of(gain - part * size))
        if found is not None:
            excludes.append((found.low > 0, found.high < 1))
            assert excludes[-1] == (of(gain).interval().low > 0, of(gain - size).interval().high < 0)
    assert 0.3 < np.mean(excludes, axis=0).min() <= np.mean(excludes, axis=0).max() < 1  # not always the same


def test_a_gap_that_is_not_told_from_0_has_no_shares_and_equal_pairs_have_no_spread():
    gains = np.array([1.0, 2.0, 3.0, 4.0])
    assert share(gains, np.array([1.0, -1.0, 2.0, -1.5])) is None
    assert share(gains, -gains) is None
    assert share(gains[:1], gains[:1]) is None
    assert share(0.25 * gains, gains) == (0.25, 0.25, 0.25, 4)


def test_arms_lie_between_the_floor_and_the_ceiling_of_their_setting(tmp_path):
    records = [
        one
        for labels, ceiling in ((5, 8), (20, 4))
        for one in planted({"none": 0, "classical": 2, "gan": 1, "more_real": ceiling}, labels=labels)
    ]
    few, many = found_in(study(tmp_path, records + planted({"gan_classical": 1}, labels=50)))
    assert (few.title, many.title) == ("labels=5", "labels=20")
    assert list(few.accuracies) == ["none", "classical", "gan", "more_real"]
    assert list(few.shares) == ["classical (labels=5)", "gan (labels=5)"]
    points = {arm: [] for arm in ("none", "classical", "gan", "more_real")}
    for one in records[:32]:
        points[one["factors"]["augmentation"]].append(100 * one["metrics"]["test"]["accuracy"])
    gains, sizes = (np.subtract(points[arm], points["none"]) for arm in ("gan", "more_real"))
    found = few.shares["gan (labels=5)"][ACCURACY]
    assert found[:3] == pytest.approx([100 * value for value in share(gains, sizes)[:3]], abs=0.01)
    assert few.accuracies["gan"].mean == pytest.approx(np.mean(points["gan"]))


def test_the_page_has_a_figure_a_table_and_the_size_of_the_gap(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 2, "more_real": 8}))
    page = in_one_line(write_report([folder]).read_text())
    (found,) = found_in(folder)
    mean, low, high, _ = found.shares["gan"][ACCURACY]
    heading, row = table(page, CAPTION)
    assert heading == ["arm", "accuracy", "pairs"]
    cells = [float(part) for part in row[1].replace("(", "").replace(")", "").split() if part != "to"]
    assert cells == pytest.approx([mean, low, high], abs=0.11)
    assert row[::2] == ["gan", "8"]
    size = found.sizes[ACCURACY].interval.mean
    assert f"more_real against none: the gap is {size:.1f} points, 95 % interval " in page
    assert (folder / "report" / "gaps.png").read_bytes().startswith(b"\x89PNG")
    assert "the dashed lines are floor and ceiling. The intervals are" in page


def test_without_a_gap_no_share_is_given(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 1, "more_real": -0.3}))
    page = in_one_line(write_report([folder]).read_text())
    assert table(page, CAPTION)[1] == ["gan", "-", "-"]
    assert "more_real against none: no share can be given, because the gap is not told from 0 (" in page
    (found,) = found_in(study(tmp_path / "below", planted({"none": 0, "gan": 1, "more_real": -4})))
    assert "because the ceiling lies below the floor (-" in gaps_in_words([found])[0]


@pytest.mark.parametrize("gains", [{"none": 0, "more_real": 8}, {"none": 0, "gan": 2}, {"gan": 2, "more_real": 8}])
def test_without_floor_ceiling_or_an_arm_between_them_the_page_says_nothing_of_it(tmp_path, gains):
    folder = study(tmp_path, planted(gains))
    assert found_in(folder) == []
    assert "dashed lines" not in write_report([folder]).read_text()


def test_shares_are_of_the_pairs_that_all_three_have(tmp_path):
    records = planted({"none": 0, "more_real": 8}) + planted({"gan": 2}, seeds=range(5))
    folder = study(tmp_path, [*records, record("gan", 7, None, status="diverged")])
    (found,) = found_in(folder)
    assert found.shares["gan"][ACCURACY].num_pairs == 5
    assert found.sizes[ACCURACY].interval.num_pairs == 8


def test_with_stored_answers_the_interval_is_for_new_test_images(tmp_path):
    folder, right = answered(tmp_path, {"none": 0.4, "gan": 0.6, "more_real": 0.9})
    (found,) = found_in(folder)
    gain, size = (image_differences(right, one, "none") for one in ("gan", "more_real"))

    def of(x):
        return estimate(x.mean(axis=1), image_variance(x))

    expected = share_interval(of(size), lambda part: of(gain - part * size))
    assert found.shares["gan"][ACCURACY][:3] == pytest.approx([100 * value for value in expected[:3]], abs=0.01)


def test_with_unequal_classes_balanced_accuracy_comes_second(tmp_path):
    recalls = {"none": 0.4, "gan": 0.5, "more_real": 0.8}
    records = [
        unequal(arm, seed, rare + 0.01 * np.random.default_rng([seed, *arm.encode()]).normal())
        for arm, rare in recalls.items()
        for seed in SEEDS
    ]
    folder = study(tmp_path, records)
    (found,) = found_in(folder)
    assert list(found.sizes) == [ACCURACY, BALANCED]
    assert found.shares["gan"][BALANCED].mean == pytest.approx(25, abs=5)
    page = write_report([folder]).read_text()
    assert table(page, CAPTION)[0] == ["arm", "accuracy", "balanced accuracy", "pairs"]
    assert "more_real against none, balanced accuracy: the gap is " in in_one_line(page)


def test_folds_have_shares_from_the_answers_to_single_images(tmp_path):
    rates = {"none": 0.3, "gan": 0.5, "more_real": 0.9}
    folded(tmp_path / "folds", rates, lost=(3,))
    (found,) = found_in(tmp_path / "folds")
    assert found.unit == "fold"
    assert np.isnan(found.accuracies["gan"].low)
    mean, low, high, _ = found.shares["gan"][ACCURACY]
    assert low < mean < high
    folded(tmp_path / "lost", rates, stored=False)
    assert found_in(tmp_path / "lost")[0].shares["gan"][ACCURACY] is None
    page = write_report([tmp_path / "lost"]).read_text()
    assert "no share can be given" in in_one_line(page)


def test_one_split_for_all_trials_has_shares_over_training_seeds(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 2, "more_real": 8}, split="same", labels="all"))
    (found,) = found_in(folder)
    assert (found.unit, found.shares["gan"][ACCURACY].num_pairs) == ("training seed", 8)


def test_the_figure_draws_lines_at_floor_and_ceiling(monkeypatch):
    drawn = []
    monkeypatch.setattr("gan_augment.report.figures._png", lambda figure: drawn.append(figure) or b"")
    arms = {"none": 60.0, "$gan_": 70.0, "more_real": 90.0}
    gaps_figure({"": {arm: Interval(mean, mean - 2, mean + 2, 5) for arm, mean in arms.items()}}, "split", "test")
    (axes,) = drawn[0].axes
    assert [line.get_xdata()[0] for line in axes.lines] == [60.0, 90.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(arms)
    assert "95 % intervals over splits" in axes.get_xlabel()


def test_the_ceiling_with_transforms_is_that_of_a_study_that_has_it(tmp_path):
    gains = {"none": 0, "gan": 2, "more_real": 4, "more_real_classical": 8}
    (found,) = found_in(study(tmp_path, planted(gains)))
    assert list(found.accuracies) == ["none", "gan", "more_real", "more_real_classical"]
    assert found.shares["more_real"][ACCURACY].mean == pytest.approx(50, abs=15)
