"""The best arm with generated images against the best one without: with several classifiers, or arms of no pair."""

import numpy as np
import pytest
from scipy import stats
from test_page import BASE, SEEDS, in_one_line, printed, record, study, table

from gan_augment.report.contrasts import contrasts
from gan_augment.report.curves import dose_curves
from gan_augment.report.page import write_report
from gan_augment.report.statistics import holm
from gan_augment.report.trials import collect
from gan_augment.report.wording import BEST, remarks, verdicts

READS = {"gan": ["generator", "loss"], "synthesis": ["synthesis"], "classifier": ["augmentation", "classifier"]}
# Arm and share -> gain in points over `none` of the CNN, on validation images and on test images.
CNN = {("none", None): (0, 0), ("classical", None): (1, 1), ("gan", 0.1): (2, 2), ("gan", 0.5): (0, 9)}
PROBE = {("none", None): (6, 6), ("classical", None): (5, 20), ("gan", 0.1): (7, 7.5), ("gan", 0.5): (6, 20)}


def trials(gains, classifier, seeds=SEEDS, **keywords):
    """Records of a classifier's arms with these gains, on test images with some noise."""
    made = []
    for (arm, share), (on_validation, on_test) in gains.items():
        for seed in seeds:
            noise = np.random.default_rng([*f"{arm} {share} {classifier}".encode(), seed]).normal(0, 0.003)
            accuracy = BASE[seed] / 2 + on_test / 100 + noise
            factors = {"classifier": classifier, "augmentation.share": share, **keywords}
            one = record(arm, seed, accuracy, provenance={"reads": READS}, **factors)
            one["metrics"]["validation"]["accuracy"] = BASE[seed] / 2 + on_validation / 100
            made.append(one)
    return made


def found(*records, folder):
    return contrasts(collect([study(folder, [one for some in records for one in some])]))


def best(compared):
    return [contrast for contrast in compared if contrast.of_best]


def test_each_number_of_labels_has_its_best_pair_which_is_corrected_with_the_others(tmp_path):
    few, many = ({"labels": labels, "generator.images_seen": 1000 * labels} for labels in (5, 20))
    better = PROBE | {("gan", 0.5): (8, 3)}  # with more labels another share is the best on validation images
    records = [
        *(trials(CNN, "cnn", **few), trials(PROBE, "probe", **few)),
        *(trials(CNN, "cnn", **many), trials(better, "probe", **many)),
    ]
    compared = found(*records, folder=tmp_path)
    assert [contrast.title for contrast in best(compared)] == [
        "gan (labels=5, classifier=probe, augmentation.share=0.1) against none",
        "gan (labels=20, classifier=probe, augmentation.share=0.5) against none",
    ]
    # Of every number of labels and classifier, classical and two shares against none.
    assert len(compared) == 2 * 2 * 3
    assert [contrast.adjusted_p for contrast in compared] == holm([c.estimate.p_value for c in compared])
    few, many = best(compared)
    assert few.interval.mean == pytest.approx(1.5, abs=0.3)
    assert many.sentence.startswith("worse by ")


def test_the_best_two_may_be_of_different_classifiers(tmp_path):
    alone = found(trials(CNN, "cnn"), folder=tmp_path / "cnn")
    assert not best(alone)
    without = {("none", None): (6, 6), ("classical", None): (8, 8)}
    records = [trials(CNN, "cnn"), trials(without, "finetuned"), trials({("none", None): (7, 7)}, "probe")]
    compared = found(*records, folder=tmp_path)
    (pair,) = best(compared)
    assert pair.title == "gan (classifier=cnn, augmentation.share=0.1) against classical (classifier=finetuned)"
    points = {
        arm: [100 * one["metrics"]["test"]["accuracy"] for one in some if one["factors"]["augmentation"] == arm]
        for arm, some in {"gan": records[0][16:24], "classical": records[1]}.items()
    }
    expected = stats.ttest_rel(points["gan"], points["classical"]).confidence_interval()
    assert pair.interval[1:3] == pytest.approx((expected.low, expected.high))
    assert pair.comparisons == len(compared) == 3 + 1 + 1
    assert [contrast.title for contrast in compared if contrast is not pair] == [
        "classical (classifier=cnn) against none",
        "classical (classifier=finetuned) against none",
        "gan (classifier=cnn, augmentation.share=0.1) against none",
        "gan (classifier=cnn, augmentation.share=0.5) against none",
    ]


def test_an_arm_that_is_the_base_of_no_other_meets_the_best_with_generated_images(tmp_path):
    compared = found(trials(CNN | {("cutmix", None): (3, 4)}, "cnn"), folder=tmp_path / "best")
    (pair,) = best(compared)
    assert pair.title == "gan (augmentation.share=0.1) against cutmix"
    assert pair.interval.mean == pytest.approx(-2, abs=0.3)
    assert pair.comparisons == len(compared) == 5
    compared = found(trials(CNN | {("cutmix", None): (-1, 4)}, "cnn"), folder=tmp_path / "not_best")
    assert [pair.title for pair in best(compared)] == ["gan (augmentation.share=0.1) against classical"]


def test_page_and_terminal_say_it_first(tmp_path):
    arms = {arm: gains for arm, gains in PROBE.items() if arm[0] != "classical"}
    folder = study(tmp_path, [*trials({("none", None): (0, 0)}, "cnn"), *trials(arms, "probe")])
    page, text = write_report([folder]).read_text(), in_one_line(printed(folder))
    title = "gan (classifier=probe, augmentation.share=0.1) against none"
    said = f"{BEST}{title}: better by 1."
    assert verdicts(collect([folder]), contrasts(collect([folder])))[0].startswith(said)
    assert f'<ul class="verdicts"> <li>{said}' in in_one_line(page)
    assert said in text
    row = table(page, "Differences in test accuracy")[1]
    assert row[0] == title
    assert row[-1].startswith("better by 1.")
    remark = "those with the largest mean accuracy on the validation images; do not pick others by their test results."
    assert remark in text
    assert remark in in_one_line(page)
    assert "fixed before the test results were seen" in in_one_line(page)


@pytest.mark.parametrize("lacking", ["a class", "all", "of an arm"])
def test_without_validation_images_nothing_is_chosen_and_that_is_said(tmp_path, lacking):
    records = [*trials(CNN, "cnn"), *trials(PROBE, "probe")]
    for one in records:
        if lacking == "a class":
            one["provenance"] |= {"validation_images": 9, "validation_imbalance_ratio": None}
        elif lacking == "all" or one["factors"]["augmentation"] == "classical":
            one["metrics"]["validation"] = {}
    folder = study(tmp_path, records)
    covered = collect([folder])
    compared = contrasts(covered)
    assert not best(compared)
    why = "Validation images choose them, but a class has none, or an arm has no validation results"
    assert why in " ".join(remarks(covered, {}, compared))


def test_on_validation_images_nothing_is_chosen_and_that_is_said(tmp_path):
    records = [*trials(CNN, "cnn"), *trials(PROBE, "probe")]
    for one in records:
        del one["metrics"]["test"]
    folder = study(tmp_path, records)
    covered = collect([folder])
    compared = contrasts(covered)
    assert (len(compared), best(compared)) == (6, [])
    why = "Validation images choose them, but no trial opened the test images, which would compare them."
    assert why in " ".join(remarks(covered, {}, compared))


def test_given_images_count_as_generated(tmp_path):
    gains = {("none", None): (0, 0), ("given", 0.5): (1, 1)}
    records = trials(gains, "cnn") + trials(gains | {("none", None): (3, 3)}, "probe")
    for one in records:
        one["saw"]["given"] = 100 * (one["factors"]["augmentation"] == "given")
    (pair,) = best(found(records, folder=tmp_path))
    assert pair.title == "given (classifier=cnn) against none (classifier=probe)"
    assert pair.sentence.startswith("worse by ")


def test_arms_with_labels_of_the_pool_are_no_rivals(tmp_path):
    gains = {("none", None): (0, 0), ("more_real", 0.5): (30, 30), ("gan", 0.5): (1, 1)}
    records = trials(gains, "cnn") + trials(gains | {("none", None): (3, 3)}, "probe")
    for one in records:
        one["saw"]["pool_labels"] = 900 * (one["factors"]["augmentation"] == "more_real")
    (pair,) = best(found(records, folder=tmp_path))
    assert pair.title == "gan (classifier=cnn) against none (classifier=probe)"


def test_a_diverged_trial_counts_as_no_gain_over_the_best_without(tmp_path):
    gains = {("none", None): (0, 0), ("gan", 0.1): (2, 2), ("gan", 0.5): (3, 3)}
    records = trials(gains, "cnn") + trials({("none", None): (1, 1)}, "probe")
    for one in records:
        if one["factors"]["augmentation.share"] == 0.5 and one["factors"]["seeds.split"] < 5:
            one |= {"status": "diverged", "metrics": {}}
    (pair,) = best(found(records, folder=tmp_path))
    assert pair.title == "gan (classifier=cnn, augmentation.share=0.1) against none (classifier=probe)"


def test_a_curve_over_the_dose_has_only_gains_over_one_base(tmp_path):
    gains = {("none", None): (0, 0), ("gan", 0.1): (2, 2), ("gan", 0.5): (3, 3)}
    folder = study(tmp_path, trials(gains, "cnn") + trials({("none", None): (9, 9)}, "probe"))
    compared = contrasts(collect([folder]))
    assert best(compared)[0].title.endswith("against none (classifier=probe)")
    (curves,) = dose_curves(compared).values()
    assert {name: [*gains] for name, gains in curves.items()} == {"gan (classifier=cnn) against none": [0.1, 0.5]}


def test_a_method_without_a_classifier_of_its_own_is_a_rival(tmp_path):
    records = trials(CNN, "cnn") + trials(PROBE, "probe") + trials({("semi_supervised", None): (9, 9)}, None)
    for one in records:
        if one["factors"]["augmentation"] == "semi_supervised":
            one["factors"]["semi_supervised"] = "default"
    (pair,) = best(found(records, folder=tmp_path))
    assert pair.title == "semi_supervised against none (classifier=probe)"
