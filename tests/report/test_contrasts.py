import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_page import BASE, SEEDS, compare, in_one_line, planted, printed, record, study, table, unequal

from gan_augment.report.contrasts import choices, contrasts
from gan_augment.report.page import main, write_report
from gan_augment.report.statistics import estimate, holm, image_variance, noise_share, pairs_to_detect, sign_flip_p
from gan_augment.report.trials import collect
from gan_augment.report.wording import plans, remarks, verdicts

NUM_IMAGES = 60
LABELS = np.arange(NUM_IMAGES) % 3


def answered(folder, rates, seeds=SEEDS, num_images=NUM_IMAGES, provenance=(), **keywords):
    """A study whose trials stored predictions: each arm is right on an image as often as its rate says."""
    right = {
        (arm, seed): np.random.default_rng([*arm.encode(), seed]).random(num_images) < rate
        for arm, rate in rates.items()
        for seed in seeds
    }
    records = [
        record(arm, seed, float(answers.mean()), provenance={"test_images": num_images, **dict(provenance)}, **keywords)
        for (arm, seed), answers in right.items()
    ]
    study(folder, records)
    for one, answers in zip(records, right.values(), strict=True):
        store(folder, one["trial"], answers)
    return folder, right


def store(folder, trial, right, ids=None, labels=None, **arrays):
    """Store predictions as earlier versions did, without the predicted classes."""
    labels = np.arange(len(right)) % 3 if labels is None else labels
    predicted = np.where(right, labels, (labels + 1) % 3)
    np.savez_compressed(
        folder / "trials" / trial / "predictions.npz",
        ids=np.arange(len(right)) if ids is None else ids,
        labels=labels,
        probabilities=np.eye(3, dtype=np.float16)[predicted],
        **arrays,
    )


def image_differences(right, one, base):
    seeds = sorted({seed for _, seed in right})
    return 100.0 * np.array([right[one, seed].astype(int) - right[base, seed] for seed in seeds])


def test_stored_predictions_give_an_interval_for_new_images_which_decides(tmp_path):
    folder, right = answered(tmp_path, {"none": 0.5, "gan": 0.8})
    contrast = compare(folder)["gan against none"]
    x = image_differences(right, "gan", "none")
    new = estimate(x.mean(axis=1), image_variance(x)).interval()
    assert contrast.new_images == pytest.approx(new)
    assert contrast.interval == pytest.approx(estimate(x.mean(axis=1)).interval())
    assert contrast.sentence.startswith("better by ")
    assert " points for new images, 95 % interval " in contrast.sentence
    page = write_report([folder]).read_text()
    rows = table(page, "Differences in test accuracy, paired")
    assert rows[0][2:4] == ["95 %, these test images", "95 %, new images"]
    assert "stored, and decides the verdict." in in_one_line(page)
    assert "There is no interval for new images" not in page + printed(folder)


@pytest.mark.parametrize("num_images", [60, 1999, 2000, 5000])
def test_the_interval_for_new_images_decides_at_any_number_of_them(tmp_path, num_images):
    folder, _ = answered(tmp_path, {"none": 0.5, "gan": 0.8}, num_images=num_images)
    contrast = compare(folder)["gan against none"]
    assert contrast.estimate.interval() == contrast.new_images
    assert " points for new images, 95 % interval " in contrast.sentence


OVERLAP = {  # share of common training images -> what the verdict of eight splits speaks for
    0.0: "for new images",
    0.05: "for new images",
    0.09: "for new images",
    0.1: "for new test images and other choices among these 1,000 training images",
    0.8: "for new test images and other choices among these 1,000 training images",
    1.0: "for new test images and other choices among these 1,000 training images",
}


@pytest.mark.parametrize("overlap", OVERLAP)
def test_width_and_scope_follow_from_the_images_that_splits_share(tmp_path, overlap):
    known = {"overlap": overlap, "pool_images": 950}
    folder, right = answered(tmp_path, {"none": 0.5, "gan": 0.8}, provenance=known)
    contrast = compare(folder)["gan against none"]
    x = image_differences(right, "gan", "none")
    n, widened = len(x), OVERLAP[overlap] == "for new images"
    # Nadeau and Bengio (2003), eq. 9: the variance of the splits times 1/n + rho / (1 - rho).
    factor = 1 / n + (overlap / (1 - overlap) if widened else 0)
    half = stats.t.ppf(0.975, n - 1) * x.mean(axis=1).std(ddof=1) * math.sqrt(factor)
    assert contrast.interval.high - contrast.interval.mean == pytest.approx(half)
    assert contrast.new_images.high - contrast.new_images.mean >= half - 1e-9
    assert f" points {OVERLAP[overlap]}, 95 % interval " in contrast.sentence


def repeated(folder, seeds_of, right):
    """A study whose splits 0 to 7 are trained several times, with an accuracy for each arm, split and repeat."""
    records = []
    for arm, of_arm in right.items():
        for (split, repeat), accuracy in np.ndenumerate(of_arm):
            one = record(arm, split, accuracy, provenance={"overlap": 0.14, "pool_images": 950})
            one["trial"] += f"-{repeat}"
            one["factors"] |= {f"seeds.{name}": repeat for name in seeds_of[arm]}
            records.append(one)
    study(folder, records)
    return compare(folder)["gan against none"]


def test_repeats_tell_training_noise_from_the_part_of_the_labelled_images(tmp_path):
    random = np.random.default_rng(0)
    right = {arm: 0.8 + 0.02 * random.normal(size=(8, 2)) for arm in ("none", "gan")}
    contrast = repeated(tmp_path, {arm: ["classifier"] for arm in right}, right)
    differences = 100 * (right["gan"] - right["none"])
    assert contrast.differences == pytest.approx(differences.mean(axis=1))
    assert contrast.estimate.noise == pytest.approx(noise_share(list(differences)))
    assert contrast.estimate.noise > 0
    assert contrast.estimate.beyond_these_labels  # 8 splits without repeats would not speak for other images
    assert "less where repeats show training noise" in in_one_line(write_report([tmp_path]).read_text())


def test_the_plan_of_a_study_with_repeats_does_not_widen_training_noise(tmp_path):
    random = np.random.default_rng(0)
    right = {arm: 0.8 + 0.02 * random.normal(size=(8, 2)) for arm in ("none", "gan")}
    contrast = repeated(tmp_path, {arm: ["classifier"] for arm in right}, right)
    sd = contrast.differences.std(ddof=1)
    shared = (1 - contrast.estimate.noise) * 0.14 / 0.86
    assert contrast.pairs_to_detect(3) == pairs_to_detect(3, sd, overlap=shared / (1 + shared))
    assert contrast.pairs_to_detect(3) < pairs_to_detect(3, sd, overlap=0.14)


def test_repeats_are_those_of_the_first_stage_that_is_trained_again(tmp_path):
    right = {arm: np.arange(16).reshape(8, 2) / 100 for arm in ("none", "gan")}
    contrast = repeated(tmp_path / "both", {"gan": ["gan", "classifier"], "none": ["classifier"]}, right)
    assert contrast.estimate.noise == 0  # the pairs of repeats are alike
    alone = repeated(
        tmp_path / "one", {"gan": ["gan", "classifier"], "none": ["classifier"]}, right | {"none": right["none"][:, :1]}
    )
    assert math.isnan(alone.estimate.noise)
    assert not alone.estimate.beyond_these_labels


def arm_that_saw(tmp_path, saw, **provenance):
    """Return the contrast of an arm that saw more than the labelled images."""
    known = {"overlap": 0.05, "pool_images": 950, **provenance}
    folder, _ = answered(tmp_path, {"none": 0.5, "gan": 0.8}, provenance=known)
    for path in (folder / "trials").glob("gan-*/record.json"):
        one = json.loads(path.read_text())
        one["saw"] |= saw
        path.write_text(json.dumps(one))
    return compare(folder)["gan against none"]


@pytest.mark.parametrize("saw", [{"pool_images": 950}, {"pool_labels": 950}])
@pytest.mark.parametrize("provenance", [{}, {"pool_overlap": 1.0}])
def test_an_arm_that_sees_the_pool_has_all_its_images_in_every_split(tmp_path, saw, provenance):
    contrast = arm_that_saw(tmp_path, saw, **provenance)
    assert contrast.estimate.overlap == 1
    assert "other choices among these 1,000 training images" in contrast.sentence


@pytest.mark.parametrize(("of_pool", "overlap"), [(0.07, 0.07), (0.01, 0.05)])
def test_a_pool_of_which_each_split_draws_some_is_shared_in_part(tmp_path, of_pool, overlap):
    contrast = arm_that_saw(tmp_path, {"pool_images": 950}, pool_overlap=of_pool)
    assert contrast.estimate.overlap == pytest.approx(overlap)
    assert "for new images" in contrast.sentence


@pytest.mark.parametrize(
    ("provenance", "overlap", "said"),
    [({"pool_images": 950}, 0.05, "for new images"), ({}, math.nan, "other choices among the same training images")],
)
def test_of_an_older_record_the_overlap_follows_from_its_counts(tmp_path, provenance, overlap, said):
    folder, _ = answered(tmp_path, {"none": 0.5, "gan": 0.8}, provenance={"overlap": None, **provenance})
    contrast = compare(folder)["gan against none"]
    assert contrast.estimate.overlap == pytest.approx(overlap, nan_ok=True)
    assert said in contrast.sentence
    page = in_one_line(write_report([folder]).read_text())
    assert ("Two splits have about 5 % of the images" in page) == (overlap == 0.05)
    assert ("The records do not say how many of the images" in page) == math.isnan(overlap)


@pytest.mark.parametrize(("overlap", "per_cent"), [(0.04, "4"), (0.0084, "0.84"), (1.0, "100")])
def test_the_page_says_what_splits_have_in_common(tmp_path, overlap, per_cent):
    folder, _ = answered(tmp_path, {"none": 0.5, "gan": 0.8}, provenance={"overlap": overlap})
    page = write_report([folder]).read_text()
    assert f"Two splits have about {per_cent} % of the images that they train on in common." in in_one_line(page)


def test_correction_is_of_the_interval_that_decides(tmp_path):
    rates = {arm: np.random.default_rng([*arm.encode()]).uniform(size=NUM_IMAGES) for arm in ("none", "gan", "mixup")}
    folder, _ = answered(tmp_path, {arm: np.clip(rate + 0.2 * (arm != "none"), 0, 1) for arm, rate in rates.items()})
    found = list(compare(folder).values())
    expected = holm([one.estimate.p_value for one in found])
    assert [one.adjusted_p for one in found] == pytest.approx(expected)
    # The other interval would give other values.
    on_these = holm([one.estimate.on_these_images.p_value for one in found])
    assert expected != pytest.approx(on_these, rel=0.5)


def test_repeats_under_one_split_are_averaged_image_by_image(tmp_path):
    folder, right = answered(tmp_path, {"none": 0.5, "gan": 0.8})
    again = {seed: np.random.default_rng(seed).random(NUM_IMAGES) < 0.7 for seed in SEEDS}
    records = [record("gan", seed, float(again[seed].mean()), **{"seeds.gan": 99}) for seed in SEEDS]
    for one in records:
        one["provenance"]["test_images"] = NUM_IMAGES
    study(folder, records)
    for one in records:
        store(folder, one["trial"], again[one["factors"]["seeds.split"]])
    contrast = compare(folder)["gan against none"]
    x = image_differences(right, "gan", "none")
    repeated = 100.0 * np.array([again[seed].astype(int) - right["none", seed] for seed in SEEDS])
    mean = (x + repeated) / 2
    assert contrast.new_images == pytest.approx(estimate(mean.mean(axis=1), image_variance(mean)).interval())


def test_balanced_accuracy_on_new_images_counts_classes_alike(tmp_path):
    labels = np.array([0] * 40 + [1] * 15 + [2] * 5)
    records, differences = [], []
    for seed in SEEDS:
        found = {arm: np.random.default_rng([*arm.encode(), seed]).random(60) < 0.6 for arm in ("none", "gan")}
        differences.append(100.0 * (found["gan"].astype(int) - found["none"]))
        for arm, right in found.items():
            one = unequal(arm, seed, 0.5)
            recalls = [right[labels == k].mean() for k in range(3)]
            one["metrics"]["test"] |= {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
            one["provenance"]["test_images"] = 60
            records.append((one, right))
    study(tmp_path, [one for one, _ in records])
    for one, right in records:
        store(tmp_path, one["trial"], right, labels=labels)
    found = compare(tmp_path)
    x = np.array(differences)
    means = np.mean([x[:, labels == k].mean(axis=1) for k in range(3)], axis=0)
    expected = estimate(means, image_variance(x, labels)).interval()
    assert found["gan against none, balanced accuracy"].new_images == pytest.approx(expected)
    assert found["gan against none, recall of rare classes"].new_images is None
    said = "of gan against none, recall of rare classes: it is computed only for accuracy and balanced accuracy."
    assert f"There is no interval for new images {said}" in in_one_line(printed(tmp_path))


def in_groups(folder, num_groups):
    """A study whose test images are of groups, and what each trial got right."""
    _, right = answered(folder, {"none": 0.5, "gan": 0.8}, provenance={"test_groups": num_groups})
    groups = np.arange(NUM_IMAGES) * num_groups // NUM_IMAGES
    for (arm, seed), answers in right.items():
        store(folder, f"{arm}-seed{seed}", answers, groups=groups)
    return right, groups


def test_images_that_belong_together_count_as_groups(tmp_path):
    right, groups = in_groups(tmp_path / "digits", 12)
    x = image_differences(right, "gan", "none")
    expected = estimate(x.mean(axis=1), image_variance(x, groups=groups))
    main([str(tmp_path / "digits"), "--keep", str(tmp_path / "kept.jsonl"), "--output", str(tmp_path / "out")])
    for source in (tmp_path / "digits", tmp_path / "kept.jsonl"):
        contrast = compare(source)["gan against none"]
        assert contrast.new_images == pytest.approx(expected.interval())
        assert contrast.sentence.split(", ")[0].endswith(" points for new groups of images")
        page = in_one_line(write_report([source], tmp_path / "out").read_text())
        assert "60 of 12 groups" in page
    assert "right only with the first" in page
    said = plans([replace(contrast, estimate=replace(expected, images=expected.images._replace(variance=1e4)))], 1)
    assert said[0].endswith("more of them do not make up for having 60 test images of 12 groups")


def test_of_few_groups_there_is_no_interval_for_new_images(tmp_path):
    right, _ = in_groups(tmp_path, 9)
    contrast = compare(tmp_path)["gan against none"]
    assert contrast.new_images is None
    assert contrast.sentence.split(", ")[0].endswith(" points on these test images")
    worth = 60**2 / (3 * 6**2 + 6 * 7**2)
    reason = f"the test images are of 9 groups, whose sizes make them worth {worth:.1f} equal ones, and it needs at "
    assert f"There is no interval for new images: {reason}least 12." in in_one_line(printed(tmp_path))
    for (arm, seed), answers in right.items():
        store(tmp_path, f"{arm}-seed{seed}", answers, groups=np.arange(NUM_IMAGES) // 12)
    assert compare(tmp_path)["gan against none"].no_new_images == (
        "the test images are of 5 groups, and it needs at least 12"
    )


def test_balanced_accuracy_needs_two_groups_of_each_class(tmp_path):
    names, labels = ("emu",), np.zeros(NUM_IMAGES, dtype=int)
    labels[:5] = 1  # all of the first group
    study(tmp_path, [unequal(arm, seed, 0.5, names=names) for arm in ("none", "gan") for seed in SEEDS])
    random = np.random.default_rng(0)
    for path in tmp_path.glob("trials/*"):
        store(tmp_path, path.name, random.random(NUM_IMAGES) < 0.7, labels=labels, groups=np.arange(NUM_IMAGES) // 5)
    found = compare(tmp_path)
    assert found["gan against none"].new_images is not None
    assert found["gan against none, balanced accuracy"].no_new_images == "a class has test images of a single group"


@pytest.mark.parametrize("problem", ["missing", "broken", "other images", "other groups"])
def test_without_usable_predictions_the_splits_decide_and_that_is_said(tmp_path, problem):
    folder, right = answered(tmp_path, {"none": 0.5, "gan": 0.8})
    path = folder / "trials" / "gan-seed3" / "predictions.npz"
    if problem == "missing":
        path.unlink()
        reason = "1 of 16 trials did not store which test images they got right"
    elif problem == "broken":
        path.write_bytes(path.read_bytes()[:100])
        reason = "the predictions of gan-seed3 cannot be read"
    elif problem == "other groups":
        store(folder, "gan-seed3", right["gan", 3], groups=np.arange(NUM_IMAGES) // 2)
        reason = "the trials differ in the groups of the test images"
    else:
        store(folder, "gan-seed3", right["gan", 3], ids=np.arange(1, NUM_IMAGES + 1))
        reason = "the trials were tested on different images"
    contrast = compare(folder)["gan against none"]
    assert contrast.new_images is None
    assert contrast.no_new_images == reason
    assert " on these test images, 95 % interval " in contrast.sentence
    page = write_report([folder]).read_text()
    assert f"There is no interval for new images: {reason}." in in_one_line(page)
    assert f"There is no interval for new images: {reason}." in in_one_line(printed(folder))
    assert "95 %, new images" not in page


@pytest.mark.parametrize(
    ("arms", "titles"),
    [
        (("none", "classical", "gan", "gan_classical"), ["classical-none", "gan-none", "gan_classical-classical"]),
        (("none", "gan_classical"), ["gan_classical-none"]),
        (("none", "half_batch", "gan"), ["gan-none", "gan-half_batch"]),
        (("none", "half_batch"), ["half_batch-none"]),
        (("none", "gan", "placebo"), ["gan-none", "gan-placebo"]),
        (("none", "more_real", "mixup", "new"), ["more_real-none", "mixup-none", "new-none"]),
        (("classical", "synthetic_only"), ["synthetic_only-classical"]),
        (("classical", "half_batch", "gan"), ["gan-half_batch"]),
        (("cutmix", "mixup"), []),
    ],
)
def test_what_is_compared_is_fixed_by_the_arms_alone(tmp_path, arms, titles):
    found = compare(study(tmp_path, planted(dict.fromkeys(arms, 0))))
    assert [title.replace(" against ", "-") for title in found] == titles


def test_shares_are_compared_with_the_arm_that_has_none(tmp_path):
    records = planted({"none": 0}, **{"augmentation.share": "null"})
    records += [r for share in (0.25, 0.5) for r in planted({"gan": 3}, **{"augmentation.share": share})]
    assert list(compare(study(tmp_path, records))) == [
        "gan (augmentation.share=0.25) against none",
        "gan (augmentation.share=0.5) against none",
    ]


def test_verdicts_are_corrected_for_all_that_the_report_prints(tmp_path):
    # Eight differences half a point above and below a gain: a standard error of 0.19.
    gains = {"none": 0, "classical": 0.9, "gan": 0.57, "mixup": 0.2, "cutmix": 0, "oversampling": -1}
    records = [
        record(arm, seed, BASE[seed] + (gain + (arm != "none") * (seed % 2 - 0.5)) / 100)
        for arm, gain in gains.items()
        for seed in SEEDS
    ]
    found = compare(study(tmp_path, records))
    p = {title: stats.ttest_1samp(contrast.differences, 0).pvalue for title, contrast in found.items()}
    assert [contrast.adjusted_p for contrast in found.values()] == pytest.approx(holm([*p.values()]))
    assert 0.01 < p["gan against none"] < 0.05
    assert {title: contrast.sentence.split(" by ")[0].split(":")[0] for title, contrast in found.items()} == {
        "classical against none": "better",
        "gan against none": "interval excludes 0 but does not survive correction for 5 comparisons",
        "oversampling against none": "worse",
        "mixup against none": "no detectable effect on these test images",
        "cutmix against none": "no detectable effect on these test images",
    }
    assert "Holm's correction for all 5" in in_one_line(write_report([tmp_path]).read_text())


def test_diverged_trials_are_counted_and_taken_as_trained_without_synthetic_images(tmp_path):
    folder, right = answered(tmp_path, {"none": 0.5}, seeds=range(9))
    more, right_too = answered(tmp_path / "more", {"gan": 0.8}, seeds=range(7))
    lost = [record("gan", 7, None, status="diverged"), record("gan", 8, None, status="failed")]
    study(more, lost)
    contrast = contrasts(collect([folder, more]))[0]
    x = 100.0 * np.array([right_too["gan", seed].astype(int) - right["none", seed] for seed in range(7)])
    with_zeros = np.vstack([x, np.zeros(NUM_IMAGES)])
    assert contrast.interval.num_pairs == 7
    expected = estimate(with_zeros.mean(axis=1), image_variance(with_zeros)).interval()
    assert contrast.with_diverged.interval() == pytest.approx(expected)
    mean = f"{with_zeros.mean():+.1f}"
    assert re.search(
        "7 splits; left out: 1 diverged, 1 failed; with diverged trials as if without synthetic images, like none: "
        rf"{re.escape(mean)} points, 95 % interval \d+\.\d to \d+\.\d, 8 splits$",
        contrast.sentence,
    )


def test_a_repeat_that_diverged_counts_as_no_gain_in_its_share_of_the_split(tmp_path):
    records = [*planted({"none": 0, "gan": 3}), record("gan", 0, None, status="diverged", **{"seeds.gan": 99})]
    contrast = compare(study(tmp_path, records))["gan against none"]
    expected = [contrast.differences[0] / 2, *contrast.differences[1:]]
    assert contrast.with_diverged.mean == pytest.approx(np.mean(expected))


def test_between_two_arms_with_gans_a_diverged_one_is_not_replaced(tmp_path):
    records = planted({"gan": 3}) + planted({"placebo": 0}, seeds=range(7), loss="hinge")
    records.append(record("placebo", 7, None, status="diverged", loss="hinge"))
    records[0] = record("gan", 0, None, status="diverged")
    contrast = compare(study(tmp_path, records))["gan against placebo"]
    assert contrast.with_diverged is None
    assert contrast.sentence.endswith("left out: 2 diverged")


def sweep(folder, validation, test, losses=("hinge", "minimax", "wgan")):
    """A study of some losses with a mean gain on the validation and on the test images each."""
    records = planted({"none": 0})
    for loss, on_validation, on_test in zip(losses, validation, test, strict=True):
        for one in planted({"gan": on_test}, loss=loss):
            one["metrics"]["validation"]["accuracy"] = 0.5 + on_validation / 100
            records.append(one)
    return study(folder, records)


def test_of_several_gans_the_verdict_is_on_the_best_on_validation(tmp_path):
    folder = sweep(tmp_path, validation=(1, 4, 2), test=(5, 2, 1))
    covered = collect([folder])
    compared = contrasts(covered)
    (choice,) = choices(compared)
    assert (choice.best.label(), choice.gain) == ("gan (loss=minimax)", pytest.approx(4))
    (said,) = verdicts(covered, compared)
    title = "gan (loss=minimax) against none, the best of 3 settings on the validation images (+4.0 points)"
    assert said.startswith(f"{title}: better by 2.")
    page = write_report([folder]).read_text()
    assert len(table(page, "Differences in test accuracy")) == 1 + 3
    assert "do not pick one of them by its test result" in in_one_line(page)
    assert "loss=hinge) against" not in printed(folder)


def test_a_gan_that_diverges_is_not_the_best_for_the_splits_that_are_left(tmp_path):
    folder = sweep(tmp_path, validation=(3, 2, 1), test=(3, 2, 1))
    more = study(
        tmp_path / "more",
        [record("gan", 100 + seed, None, status="diverged", loss="hinge") for seed in range(8)]
        + [record("none", 100 + seed, BASE[seed]) for seed in range(8)],
    )
    (choice,) = choices(contrasts(collect([folder, more])))
    assert choice.best.setting == {"loss": "minimax"}


def test_gans_that_were_passed_over_have_no_verdict_against_controls_either(tmp_path):
    folder = sweep(tmp_path, validation=(1, 4, 2), test=(5, 2, 1))
    records = [one for loss in ("hinge", "minimax", "wgan") for one in planted({"placebo": 0}, loss=loss)]
    study(folder, records)
    covered = collect([folder])
    titles = [said.split(":")[0] for said in verdicts(covered, contrasts(covered))]
    assert titles == [
        "gan (loss=minimax) against none, the best of 3 settings on the validation images (+4.0 points)",
        "gan (loss=minimax) against placebo",
    ]


def test_without_validation_results_all_have_their_verdict(tmp_path):
    records = planted({"none": 0}) + planted({"gan": 1}, loss="hinge") + planted({"gan": 2}, loss="wgan")
    for one in records:
        one["metrics"]["validation"] = {}
    covered = collect([study(tmp_path, records)])
    assert choices(contrasts(covered)) == []
    assert len(verdicts(covered, contrasts(covered))) == 2


@pytest.mark.parametrize("ratio", [1.0, None])
def test_without_validation_images_of_a_class_no_gan_is_chosen(tmp_path, ratio):
    folder = sweep(tmp_path, validation=(1, 4, 2), test=(5, 2, 1))
    for path in folder.glob("trials/*/record.json"):
        one = json.loads(path.read_text())
        one["provenance"] |= {"validation_images": 19, "validation_imbalance_ratio": ratio}
        path.write_text(json.dumps(one))
    covered = collect([folder])
    compared = contrasts(covered)
    refused = (
        "An arm ran with several GANs, but a class has no validation images, so none is chosen. Do not pick one "
        "by its test result: set validation_per_class to 1 or more, or add validation images, and run again."
    )
    assert (refused in remarks(covered, {}, compared)) == (ratio is None)
    assert len(choices(compared)) == (0 if ratio is None else 1)
    assert len(verdicts(covered, compared)) == (3 if ratio is None else 1)


def test_amounts_of_labels_are_no_choice(tmp_path):
    records = [r for labels in (5, 20) for r in planted({"none": 0, "gan": 1}, labels=labels)]
    assert choices(contrasts(collect([study(tmp_path, records)]))) == []


def test_a_plan_says_how_many_splits_would_detect_a_gain(tmp_path, capsys):
    folder = study(tmp_path, planted({"none": 0, "gan": 3, "mixup": 0}))
    contrast = compare(folder)["gan against none"]
    expected = pairs_to_detect(0.3, contrast.differences.std(ddof=1), comparisons=2)
    assert contrast.pairs_to_detect(0.3) == expected
    main([str(folder), "--detect", "0.3"])
    said = f"gan against none: about {expected} splits would detect a gain of 0.3 points at 80 % power"
    assert said in in_one_line(capsys.readouterr().out)
    rows = table((folder / "report" / "report.html").read_text(), "Differences")
    assert rows[0][-2] == "pairs for 0.3"
    assert rows[1][-2] == str(expected)
    main([str(folder)])
    assert "power" not in capsys.readouterr().out
    assert table((folder / "report" / "report.html").read_text(), "Differences")[0][-2] == "pairs for 1"


def test_a_plan_that_no_number_of_splits_fulfils_says_so(tmp_path, capsys):
    folder, _ = answered(tmp_path, {"none": 0.5})
    # Right on the same images in every split, apart from one: the images are what varies.
    records = [record("gan", seed, 0.5) for seed in SEEDS]
    always = np.random.default_rng(0).random(NUM_IMAGES) < 0.7
    for seed, one in zip(SEEDS, records, strict=True):
        right = always.copy()
        right[seed] = not right[seed]
        one["metrics"]["test"]["accuracy"] = float(right.mean())
        one["provenance"]["test_images"] = NUM_IMAGES
        study(folder, [one])
        store(folder, one["trial"], right)
    main([str(folder), "--detect", "1"])
    said = in_one_line(capsys.readouterr().out)
    assert "gan against none: over 10,000 splits would be needed to detect a gain of 1 points: more of them" in said
    assert "do not make up for having 60 test images" in said


@pytest.mark.parametrize("records", [planted({"none": 0, "gan": 3}, seeds=[0]), None])
def test_without_spread_there_is_nothing_to_plan_by(tmp_path, capsys, records):
    records = records or [record(arm, seed, 0.5) for arm in ("none", "gan") for seed in SEEDS]
    folder = study(tmp_path, records)
    assert math.isnan(compare(folder)["gan against none"].pairs_to_detect(1.0))
    main([str(folder), "--detect", "1"])
    assert "gan against none: too few results to plan by" in in_one_line(capsys.readouterr().out)


@pytest.mark.parametrize("points", ["0", "-1", "nan", "much"])
def test_a_gain_to_detect_is_a_number_of_points(tmp_path, capsys, points):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--detect", points])
    assert stop.value.code == 2
    assert "--detect" in capsys.readouterr().err


def test_the_sign_flip_test_stands_next_to_the_interval(tmp_path):
    seeds = range(20)
    accuracy = np.random.default_rng(0).integers(300, 320, (2, 20)) / 360
    records = [record(arm, seed, accuracy[side, seed]) for side, arm in enumerate(("none", "gan")) for seed in seeds]
    folder = study(tmp_path, records)
    contrast = compare(folder)["gan against none"]
    rows = table(write_report([folder]).read_text(), "Differences")
    row = dict(zip(rows[0], rows[1], strict=True))
    assert row["sign-flip p"] == f"{sign_flip_p(contrast.differences):.2g}"
