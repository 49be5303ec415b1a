import re

import numpy as np
import pytest
from scipy import stats
from test_contrasts import answered, store
from test_page import BASE, SEEDS, compare, in_one_line, name_base, printed, record, study, table, unequal

from gan_augment.report.archive import read_archive
from gan_augment.report.comparison import metrics_to_compare
from gan_augment.report.page import main, write_report
from gan_augment.report.statistics import holm
from gan_augment.report.trials import ACCURACY, collect

WORDS = "accuracy in the dark"


def with_metric(one, value, words=WORDS):
    """Give a record a metric that its measure wants compared."""
    one["metrics"]["night"] = {"dark": value, "moonlit": 0.5}
    one["compared"] = {"night.dark": words}
    return one


def dark(arm, seed):
    """A gain of 5 and of 6 points in turn over `none`, where the arm gains nothing in accuracy."""
    return BASE[seed] / 2 + (0.05 + 0.01 * (seed % 2)) * (arm == "gan")


def night_study(folder, arms=("none", "gan")):
    records = [
        record(arm, seed, BASE[seed] + (0.004 * (seed % 2) - 0.002) * (arm == "gan")) for arm in arms for seed in SEEDS
    ]
    return study(
        folder,
        [with_metric(one, dark(one["factors"]["augmentation"], one["factors"]["seeds.split"])) for one in records],
    )


def test_a_metric_that_a_measure_names_is_paired_like_accuracy(tmp_path):
    found = compare(night_study(tmp_path))
    assert list(found) == ["gan against none", f"gan against none, {WORDS}"]
    contrast = found[f"gan against none, {WORDS}"]
    sides = [[100 * dark(arm, seed) for seed in SEEDS] for arm in ("gan", "none")]
    expected = stats.ttest_rel(*sides).confidence_interval()
    assert contrast.interval == pytest.approx((5.5, expected.low, expected.high, len(SEEDS)))
    assert contrast.sentence.startswith("better by 5.5 points on these test images, 95 % interval ")
    assert found["gan against none"].sentence.startswith("no detectable effect")


def test_verdicts_are_corrected_for_metrics_that_measures_name_too(tmp_path):
    found = compare(night_study(tmp_path)).values()
    p = [stats.ttest_1samp(contrast.differences, 0).pvalue for contrast in found]
    assert [contrast.adjusted_p for contrast in found] == pytest.approx(holm(p))
    assert {contrast.comparisons for contrast in found} == {2}


def test_its_words_stand_in_the_tables_and_verdicts_of_page_and_terminal(tmp_path):
    folder = night_study(tmp_path)
    page, text = write_report([folder]).read_text(), printed(folder)
    rows = table(page, "Arms: mean test results (points)")
    assert rows[0][:3] == ["arm", "accuracy", WORDS]
    means = [f"{np.mean([100 * dark(arm, seed) for seed in SEEDS]):.1f}" for arm in ("none", "gan")]
    assert [row[2] for row in rows[1:]] == means
    assert [row[0] for row in table(page, "Differences in test results")[1:]][1] == f"gan against none, {WORDS}"
    assert f"gan against none, {WORDS}: better by 5.5 points" in in_one_line(page)
    assert f"gan against none, {WORDS}: better by 5.5 points" in in_one_line(text)
    assert max(map(len, text.splitlines())) <= 80
    header = (tmp_path / "report" / "results.csv").read_text().splitlines()[0].split(",")
    assert "metrics.night.dark" in header
    assert not [column for column in header if column.startswith("compared")]


def test_two_such_metrics_leave_the_names_of_arms_whole_in_80_columns(tmp_path):
    records = [
        with_metric(record(arm, seed, 0.9), 0.7, "accuracy under corruption")
        for arm in ("none", "gan_classical")
        for seed in SEEDS
    ]
    for one in records:
        one["metrics"]["night"]["attack"] = 0.8
        one["compared"]["night.attack"] = "accuracy under attack"
    text = printed(study(tmp_path, records))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"gan_classical +90\.0 +70\.0 +80\.0 +8 +0 +0 +14\.0", text)


def test_more_metrics_than_80_columns_hold_are_on_the_page_and_in_the_verdicts(tmp_path):
    records = [record(arm, seed, 0.9) for arm in ("none", "gan_classical") for seed in SEEDS]
    words = ["AUROC", "average precision", "sensitivity", "specificity"]
    for one in records:
        one["metrics"]["night"] = dict.fromkeys(words, 0.8)
        one["compared"] = {f"night.{name}": name for name in words}
    text = printed(study(tmp_path, records))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"gan_classical +90\.0 +80\.0 +80\.0 +8 +0 +0 +14\.0", text)
    assert "gan_classical against none, specificity: " in in_one_line(text)
    assert table(write_report([tmp_path]).read_text(), "Arms")[0][1:6] == ["accuracy", *words]


def test_only_accuracy_has_classes_images_and_a_price(tmp_path):
    page = write_report([night_study(tmp_path)]).read_text()
    assert [row[0] for row in table(page, "What a gain costs")[1:]] == ["gan against none"]
    assert len(table(page, "Difference in class accuracy")[0]) == 2


def test_it_has_no_interval_for_new_images_and_that_is_said(tmp_path):
    folder, right = answered(tmp_path / "plain", {"none": 0.5, "gan": 0.8})
    records = [with_metric(record(arm, seed, float(one.mean())), dark(arm, seed)) for (arm, seed), one in right.items()]
    folder = study(tmp_path / "night", records)
    for one, answers in zip(records, right.values(), strict=True):
        store(folder, one["trial"], answers)
    found = compare(folder)
    assert found["gan against none"].new_images is not None
    assert found[f"gan against none, {WORDS}"].new_images is None
    said = f"of gan against none, {WORDS}: it is computed only for accuracy and balanced accuracy."
    assert f"There is no interval for new images {said}" in in_one_line(printed(folder))


def test_trials_without_the_measure_are_left_out_of_its_comparison_only(tmp_path):
    records = [record(arm, seed, BASE[seed]) for arm in ("none", "gan", "classical") for seed in SEEDS]
    for one in records:  # old records know no `compared`
        arm, seed = one["factors"]["augmentation"], one["factors"]["seeds.split"]
        if arm != "classical" and seed < 7:
            with_metric(one, dark(arm, seed))
    found = compare(study(tmp_path, records))
    assert list(found) == ["classical against none", "gan against none", f"gan against none, {WORDS}"]
    assert found["gan against none"].interval.num_pairs == 8
    assert found[f"gan against none, {WORDS}"].interval.num_pairs == 7
    rows = table(write_report([tmp_path]).read_text(), "Arms")
    assert {row[0]: row[2] for row in rows}["classical"] == "-"


@pytest.mark.parametrize("value", [None, "absent"])
def test_a_metric_that_no_trial_has_is_not_compared(tmp_path, value):
    records = [with_metric(record("none", seed, 0.8), value) for seed in SEEDS]
    for one in records:
        if value == "absent":
            del one["metrics"]["night"]
    assert metrics_to_compare(collect([study(tmp_path, records)])) == {ACCURACY: "accuracy"}


def test_it_comes_after_the_metrics_of_unequal_classes(tmp_path):
    records = [with_metric(unequal(arm, seed, 0.4), dark(arm, seed)) for arm in ("none", "gan") for seed in SEEDS]
    words = list(metrics_to_compare(collect([study(tmp_path, records)])).values())
    assert words == ["accuracy", "balanced accuracy", "recall of rare classes", WORDS]


def test_a_kept_study_compares_the_same(tmp_path):
    folder = night_study(tmp_path / "night")
    path = tmp_path / "night.jsonl"
    main([str(folder), "--keep", str(path), "--output", str(tmp_path / "a")])
    assert {outcome.record["compared"]["night.dark"] for outcome in read_archive(path)[1]} == {WORDS}
    assert {t: c.sentence for t, c in compare(path).items()} == {t: c.sentence for t, c in compare(folder).items()}
    main([str(path), "--output", str(tmp_path / "b")])
    assert (tmp_path / "b" / "report.html").read_text() == (tmp_path / "a" / "report.html").read_text()


def test_a_later_setting_that_a_record_lacks_has_no_value_where_it_has_no_effect(tmp_path):
    # The trials of `none` were recorded before anybody started a generator from another.
    started = [record("gan", seed, 0.9, **{"generator.start": "f" * 16}) for seed in SEEDS]
    records = [record(arm, seed, 0.8) for arm in ("none", "gan") for seed in SEEDS] + started
    for one in records:
        stages = {"gan": ["generator"]} if one["factors"]["augmentation"] == "gan" else {}
        one["provenance"]["reads"] = {"classifier": ["classifier"], **stages}
    folder = study(tmp_path, records)
    arms = ["gan (generator.start=ffffffffffffffff) against none", "gan against none"]
    assert list(compare(folder)) == arms
    assert list(compare(name_base(folder, {"generator.start": None}))) == [
        *arms,
        "gan (generator.start=ffffffffffffffff) against gan",
    ]


def test_arms_that_adapt_are_compared_with_the_transforms_that_they_train_under(tmp_path):
    arms = ("none", "classical", "matched", "dann", "translated", "translated_classical")
    records = [record(arm, seed, BASE[seed] + 0.01 * place) for place, arm in enumerate(arms) for seed in SEEDS]
    for one in records:
        if one["factors"]["augmentation"].startswith("translated"):
            one["provenance"]["stages"] = {"translator": f"t{one['factors']['seeds.split']}"}
    found = {title for title in compare(study(tmp_path, records)) if "balanced" not in title}
    assert {title for title in found if not title.endswith("against none")} == {
        "dann against classical",
        "translated_classical against classical",
    }
    assert found >= {"matched against none", "translated against none"}
