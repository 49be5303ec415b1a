import re

import numpy as np
import pytest
from scipy import stats
from test_page import BASE, in_one_line, planted, record, study, table

from gan_augment.report.configuration import configurations
from gan_augment.report.figures import prediction_figure
from gan_augment.report.page import write_report
from gan_augment.report.prediction import MIN_SPLITS, PREDICTORS, Point, predictions
from gan_augment.report.trials import collect

LOSSES = ("hinge", "least_squares", "minimax", "non_saturating", "relativistic", "wasserstein", "wasserstein_gp")
QUESTION = "Does a metric of the generator predict the classifier"


def of_generator(arm, seed, gain, metrics, loss, **keywords):
    """A record of an arm with generated images that gains some points over `none`."""
    one = record(arm, seed, BASE[seed] + gain / 100, loss=loss, **keywords)
    one["metrics"]["gan"] = metrics
    return one


def sweep(folder, metrics_and_gain, losses=LOSSES, seeds=range(5), arm="gan"):
    """A study of some losses, each with the metrics and the gain that a function of loss and seed gives."""
    records = [record("none", seed, BASE[seed]) for seed in seeds]
    for number, loss in enumerate(losses):
        for seed in seeds:
            metrics, gain = metrics_and_gain(number, seed)
            records.append(of_generator(arm, seed, gain, metrics, loss))
    return study(folder, records)


def predicted(folder):
    return {(p.title, p.metric): p for p in predictions(configurations(collect([folder])))}


def in_gan(folder, metric):
    return predicted(folder)["gan against none", metric]


@pytest.mark.parametrize(("direction", "said"), [(1, "predicts"), (-1, "predicts the opposite")])
def test_a_metric_that_orders_the_gains_predicts_them(tmp_path, direction, said):
    def ordered(number, seed):
        noisy = number if seed or number > 1 else 1 - number  # the first split has two generators the other way round
        return {"precision": direction * number**3, "recall": direction * noisy}, 1.5 * number

    folder = sweep(tmp_path, ordered)
    perfect, nearly = (in_gan(folder, metric) for metric in ("precision", "recall"))
    assert perfect.interval == pytest.approx((direction, direction, direction, 5))
    assert perfect.sentence == "every split gave the same correlation: no interval"
    assert nearly.interval.mean == pytest.approx(direction * (4 + 1 - 6 * 2 / (7 * 48)) / 5)
    assert nearly.sentence == said


@pytest.mark.parametrize("metric", PREDICTORS)
def test_a_distance_is_better_when_it_is_smaller(tmp_path, metric):
    interval = in_gan(sweep(tmp_path, lambda number, seed: ({metric: 1.0 + number}, number)), metric).interval
    assert interval.mean == pytest.approx(-1 if "distance" in metric else 1)


def test_noise_is_not_seen_and_agrees_with_scipy(tmp_path):
    random = np.random.default_rng(0)
    # Few distinct values, so that there are ties.
    values = {(n, s): (random.integers(0, 4) / 4, random.integers(-6, 6) / 2) for n in range(7) for s in range(8)}

    def noise(number, seed):
        metric, gain = values[number, seed]
        return {"judge_kernel_distance": metric}, gain

    found = in_gan(sweep(tmp_path, noise, seeds=range(8)), "judge_kernel_distance")
    correlations = [-stats.spearmanr(*zip(*(values[n, s] for n in range(7)), strict=True)).statistic for s in range(8)]
    expected = stats.ttest_1samp(correlations, 0).confidence_interval()
    assert found.interval == pytest.approx((np.mean(correlations), expected.low, expected.high, 8))
    assert abs(found.interval.mean) < 0.3
    assert found.sentence == "not seen"


def test_differences_between_splits_alone_do_not_count(tmp_path):
    def easier_splits(number, seed):
        # Both rise with the split by far more than they vary in it, where they run against each other.
        return {"coverage": 10 * seed + (number if seed or number > 1 else 1 - number)}, 3 * seed - number / 5

    found = in_gan(sweep(tmp_path, easier_splits), "coverage")
    pooled = stats.spearmanr([p.metric for p in found.points], [p.gain for p in found.points]).statistic
    assert pooled > 0.8
    assert found.interval.mean < -0.9
    assert found.sentence == "predicts the opposite"


def test_bounds_are_clipped(tmp_path):
    # Rank correlations of 1, 1, 1, 1 and -1: 0.6 and an interval of 2.776 * 0.894 / sqrt(5) = 1.11 to both sides.
    folder = sweep(tmp_path, lambda number, seed: ({"density": number if seed else -number}, number))
    found = in_gan(folder, "density")
    assert found.interval == pytest.approx((0.6, 0.6 - 1.1106, 1, 5), abs=1e-4)
    assert found.sentence == "not seen"
    page = write_report([folder]).read_text()
    assert table(page, "Rank correlation")[1:] == [
        ["gan against none", "density (higher is better)", "+0.60", "-0.52 to 1.00", "5 splits", "not seen"]
    ]


def test_splits_without_a_correlation_are_left_out_and_counted(tmp_path):
    def holes(number, seed):
        metrics = {
            0: {"recall": 0.5},  # the same for all
            1: {"recall": 0.1 * number} if number < 3 else {"recall": None},  # too few
        }.get(seed, {"recall": 0.1 * number})
        return metrics, 2.0 if seed == 2 else number

    folder = sweep(tmp_path, holes)
    found = in_gan(folder, "recall")
    assert (found.interval.num_pairs, found.left_out, len(found.points)) == (2, 3, 7 * 5 - 4)
    assert found.sentence == f"too few splits (n = 2; run at least {MIN_SPLITS})"
    assert table(write_report([folder]).read_text(), "Rank correlation")[1][4] == "2 splits, 3 left out"


@pytest.mark.parametrize("num_seeds", [0, 1])
def test_too_few_splits_have_no_interval(tmp_path, num_seeds):
    folder = sweep(tmp_path, lambda number, seed: ({"recall": number * num_seeds}, number), seeds=range(1))
    assert in_gan(folder, "recall").interval[:3] == pytest.approx(
        [1.0 if num_seeds else np.nan, *[np.nan] * 2], nan_ok=True
    )
    row = table(write_report([folder]).read_text(), "Rank correlation")[1]
    assert row[2:4] == ["+1.00" if num_seeds else "-", "-"]


def test_repeats_under_one_split_are_averaged_first(tmp_path):
    repeats = [(0.1, 0.2), (0.15, 0.15), (0.3, 0.3), (0.4, 0.4)]  # the first two are equal but for floating point
    records = [record("none", 0, 0.5)]
    for (first, second), loss in zip(repeats, LOSSES, strict=False):
        for repeat, value in enumerate((first, second)):
            records.append(of_generator("gan", 0, value, {"recall": value}, loss, **{"seeds.gan": repeat}))
    found = in_gan(study(tmp_path, records), "recall")
    assert len(found.points) == 4
    assert found.interval.mean == pytest.approx(1)


def test_one_split_for_all_trials_is_counted_by_training_seed_and_said(tmp_path):
    records = [record("none", seed, BASE[seed], split="same") for seed in range(5)]
    records += [
        of_generator("gan", seed, number, {"recall": number if seed else -number}, loss, split="same")
        for number, loss in enumerate(LOSSES)
        for seed in range(5)
    ]
    folder = study(tmp_path, records)
    assert in_gan(folder, "recall").sentence == "on this one split: not seen"
    assert table(write_report([folder]).read_text(), "Rank correlation")[1][4] == "5 training seeds"


def test_each_arm_is_told_once_against_the_nearer_base(tmp_path):
    records = planted({"none": 0, "classical": 1}, seeds=range(5))
    for arm in ("gan", "gan_classical", "synthetic_only"):
        for number, loss in enumerate(LOSSES[:4]):
            records += [of_generator(arm, seed, number, {"recall": number}, loss) for seed in range(5)]
    titles = [title for title, _ in predicted(study(tmp_path, records))]
    assert titles == ["gan against none", "gan_classical against classical", "synthetic_only against none"]


def test_generators_are_compared_at_the_same_values_of_all_else(tmp_path):
    records = [r for n in (5, 10) for r in planted({"none": 0}, seeds=range(5), labels=n)]
    for labels, share in ((5, 0.5), (5, 0.8), (10, 0.5)):
        other = {"labels": labels, "augmentation.share": share}
        for number, loss in enumerate(LOSSES[:4] if labels == 5 else LOSSES[:3]):
            records += [of_generator("gan", s, number, {"recall": number}, loss, **other) for s in range(5)]
    found = predicted(study(tmp_path, records))
    assert [title for title, _ in found] == [
        "gan (labels=5, augmentation.share=0.5) against none",
        "gan (labels=5, augmentation.share=0.8) against none",
    ]
    first, *_ = found.values()
    assert {point.generator for point in first.points} == {f"loss={loss}" for loss in LOSSES[:4]}
    assert first.interval.num_pairs == 5


@pytest.mark.parametrize(("losses", "metric"), [(LOSSES[:3], "recall"), (LOSSES, "another")])
def test_without_enough_generators_or_a_metric_there_is_no_section(tmp_path, losses, metric):
    folder = sweep(tmp_path, lambda number, seed: ({metric: number}, number), losses=losses)
    assert predicted(folder) == {}
    assert QUESTION not in write_report([folder]).read_text()
    assert not (folder / "report" / "prediction.png").exists()


def test_the_page_has_a_table_a_figure_and_what_they_mean(tmp_path):
    def but_one_constant(number, seed):
        return {m: number if seed else -number for m in PREDICTORS} | {"diversity": 1, "other": number}, number

    folder = sweep(tmp_path, but_one_constant)
    page = write_report([folder]).read_text()
    assert QUESTION in page
    assert [row[1].split()[0] for row in table(page, "Rank correlation")[1:]] == list(PREDICTORS)
    assert "of 8 intervals expect about 0.4 to miss" in in_one_line(page)
    assert "same validation images" not in page
    assert (folder / "report" / "prediction.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r'alt="Gain in test accuracy, in points, over metrics', page)
    assert ",result." not in (folder / "report" / "results.csv").read_text().split("\n")[0]


def test_the_figure_draws_three_metrics_of_every_arm_and_generators_without_one(monkeypatch):
    drawn = []
    monkeypatch.setattr("gan_augment.report.figures._png", lambda figure: drawn.append(figure) or b"")
    points = [Point(split + number, number, f"loss={number}", str(split)) for number in range(7) for split in range(5)]
    metrics = {f"metric{n} (higher is better)": points[5 * (n == 2) :] for n in range(9)}
    prediction_figure({"gan against none": metrics, "synthetic_only against none": dict([*metrics.items()][:1])})
    (figure,) = drawn
    labels = [f"metric{n}\n(higher is better)" for n in (0, 1, 2, 0)]
    assert [axes.get_xlabel() for axes in figure.axes] == labels
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Gain of gan against none", "", "", "Gain of synthetic_only against none"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [f"loss={number}" for number in range(7)]
    looks = {
        (tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in figure.axes[0].collections
    }
    assert len(looks) == 7


def test_without_test_results_the_images_that_metric_and_gain_share_are_named(tmp_path):
    records = [record("none", seed, BASE[seed]) for seed in range(5)]
    records += [of_generator("gan", s, n, {"recall": n}, loss) for n, loss in enumerate(LOSSES) for s in range(5)]
    for one in records:
        one["metrics"]["validation"] = one["metrics"].pop("test")
    page = in_one_line(write_report([study(tmp_path, records)]).read_text())
    assert "the gain in validation accuracy" in page
    assert "Metric and gain are from the same validation images here" in page
