import base64
import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from gan_augment.report.comparison import metrics_to_compare, warnings
from gan_augment.report.contrasts import contrasts
from gan_augment.report.page import main, write_report
from gan_augment.report.terminal import print_report
from gan_augment.report.trials import collect

SEEDS = range(8)
BASE = dict(zip(SEEDS, np.random.default_rng(0).integers(300, 320, len(SEEDS)) / 360, strict=True))


def record(arm, seed, accuracy, *, status="ok", split=None, per_class=None, provenance=(), costs=(), **factors):
    gan = arm.startswith("gan")
    metrics = {"validation": {"accuracy": 0.5}, "gan": {}}
    if status == "ok" and accuracy is not None:
        metrics["test"] = {"accuracy": accuracy, "per_class": per_class or {"0": accuracy, "1": 0.5}}
    stages = {"gan": 8.0, "classifier": 5.0} if gan else {"classifier": 5.0}
    seconds = {stage: {"spent": 0.0, "reused": spent} for stage, spent in stages.items()}
    seconds["total"] = {"spent": 1.0, "reused": sum(stages.values())}
    trial = "-".join([arm, *map(str, factors.values()), f"seed{seed}"])
    return {
        "schema": "1.0",
        "trial": trial,
        "status": status,
        "error": "RuntimeError: out of memory" if status == "failed" else None,
        "factors": {
            "data": "digits",
            "labels": 5,
            "augmentation": arm,
            "loss": "hinge" if gan else None,
            "seeds.split": seed,
            "seeds.gan": seed if gan else None,
            "seeds.classifier": seed,
            **factors,
        },
        "metrics": metrics,
        "confusion_matrix": [[1, 0], [0, 1]],
        "costs": {"seconds": seconds, "peak_memory_mib": 812, "device": "cpu", "threads": 2, **dict(costs)},
        "saw": {"labelled": 50, "pool_images": 0, "pool_labels": 0},
        "provenance": {
            "split": split or f"split{seed}",
            "fingerprint": "f",
            "test_images": 360,
            "overlap": 0.0,
            "stages": {"gan": f"generator of {trial}"} if gan or factors.get("loss") else {},
            "versions": {"torch": "2.9"},
            "commit": "c" * 40,
            "clean": True,
            "command": "gan-augment",
            "test_opened": "2026-01-01T00:00:00",
            **dict(provenance),
        },
    }


def png(mark, size=(1, 1)):
    """The start of a PNG, which a report takes for a picture, and a mark to know it by."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"".join(side.to_bytes(4, "big") for side in size) + mark.encode()


def study(folder, records, requested=None):
    for one in records:
        trial = folder / "trials" / one["trial"]
        trial.mkdir(parents=True)
        (trial / "record.json").write_text(json.dumps(one))
    launch = {"schema": "1.0", "study": "digits", "requested": requested, "command": "gan-augment -m"}
    (folder / "study.json").write_text(json.dumps(launch))
    return folder


def planted(gains, seeds=SEEDS, **keywords):
    """Records of arms that gain a known number of points over `none`, with some noise."""
    noise = {a: np.random.default_rng([*repr((a, keywords)).encode()]).normal(0, 0.004, 100) for a in gains}
    return [
        record(arm, s, BASE[s] + gain / 100 + noise[arm][s], **keywords) for arm, gain in gains.items() for s in seeds
    ]


def unequal(arm, seed, rare, *, labelled_ratio=9.0, test_ratio=9.0, names=("emu",), **keywords):
    """A record of a study with nine common test images, recalled nine times in ten, for every rare one."""
    one = record(arm, seed, 0.9 * 0.9 + 0.1 * rare, per_class={"cat": 0.9, "emu": rare}, **keywords)
    if "test" in one["metrics"]:
        one["metrics"]["test"] |= {"balanced_accuracy": (0.9 + rare) / 2, "rare_recall": rare if names else None}
    one["saw"] |= {"imbalance_ratio": labelled_ratio, "rare_classes": list(names)}
    one["provenance"]["test_imbalance_ratio"] = test_ratio
    return one


def rare_study(folder, **keywords):
    """GAN-made images raise the recall of the rare class by 19 and 21 points in turn."""
    records = [
        unequal(arm, seed, rare, **keywords)
        for seed in SEEDS
        for arm, rare in (("none", 0.4), ("gan", 0.59 + 0.02 * (seed % 2)))
    ]
    return study(folder, records)


def compare(*folders):
    covered = collect(folders)
    return {c.title: c for c in contrasts(covered)}


def printed(folder, width=80):
    console = Console(file=StringIO(), width=width)
    print_report(collect([folder]), console)
    return console.file.getvalue()


def table(page, caption):
    """The cells of the HTML table with this caption."""
    body = page.split(f"<caption>{caption}")[1].split("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]


def facts(page):
    return dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def in_one_line(text):
    return " ".join(text.split())


def test_planted_differences_are_found_and_agree_with_scipy(tmp_path):
    records = planted({"none": 0, "classical": 3, "gan": 0, "gan_classical": 3, "shuffled": -2})
    found = compare(study(tmp_path, records))
    accuracy = {arm: [100 * r["metrics"]["test"]["accuracy"] for r in records if r["factors"]["augmentation"] == arm]
                for arm in ("classical", "none")}  # fmt: skip
    expected = stats.ttest_rel(accuracy["classical"], accuracy["none"]).confidence_interval()
    assert found["classical against none"].interval[1:3] == pytest.approx((expected.low, expected.high))
    assert {title: contrast.sentence.split()[0] for title, contrast in found.items()} == {
        "classical against none": "better",
        "gan against none": "no",
        "gan_classical against classical": "no",
        "shuffled against none": "worse",
    }


def test_repeats_under_one_split_are_averaged_first(tmp_path):
    gains = {0: (0.01, 0.03), 1: (0.05,), 2: (0.03,)}
    records = [record("none", seed, 0.8) for seed in gains]
    for seed, repeats in gains.items():
        for repeat, gain in enumerate(repeats):
            records.append(record("gan", seed, 0.8 + gain, **{"seeds.gan": repeat}))
    assert compare(study(tmp_path, records))["gan against none"].interval[::3] == pytest.approx((10 / 3, 3))


def test_one_split_for_all_trials_is_compared_by_training_seed_and_said(tmp_path):
    found = compare(study(tmp_path, planted({"none": 0, "gan": 3}, split="same", labels="all")))
    sentence = found["gan against none"].sentence
    assert sentence.startswith("on this one split, over 8 training seeds (training noise only): better by ")


def test_only_pairs_with_both_results_count(tmp_path):
    records = planted({"none": 0}) + planted({"gan": 3}, seeds=range(6))
    records += [record("gan", 6, None, status="diverged"), record("gan", 7, None, status="failed")]
    folder = study(tmp_path, records, requested=[r["trial"] for r in records] + ["gan-seed8"])
    contrast = compare(folder)["gan against none"]
    assert contrast.interval.num_pairs == 6
    assert "6 splits; left out: 1 diverged, 1 failed" in contrast.sentence
    page = write_report([folder]).read_text()
    assert table(page, "Arms")[2] == ["gan", table(page, "Arms")[2][1], "6", "8", "1", "1", "14.0"]
    assert "requested trials without a record: 1 (gan-seed8)" in page
    trials = f"{tmp_path.name}/trials"
    assert [f"{trials}/gan-seed7", "failed", "7", "-", "RuntimeError: out of memory"] in table(page, "Trials")


def test_a_swept_factor_pairs_none_with_every_gan_configuration(tmp_path):
    records = planted({"none": 0}) + planted({"gan": 3}, loss="hinge") + planted({"gan": 0}, loss="wgan")
    found = compare(study(tmp_path, records))
    assert {title: contrast.sentence.split()[0] for title, contrast in found.items()} == {
        "gan (loss=hinge) against none": "better",
        "gan (loss=wgan) against none": "no",
    }


def test_a_factor_of_both_arms_pairs_like_with_like(tmp_path):
    records = [r for labels in (5, 20) for r in planted({"none": 0, "gan": labels / 5}, labels=labels)]
    records += planted({"gan": 0}, labels=50)
    folder = study(tmp_path, records)
    means = {title: contrast.interval.mean for title, contrast in compare(folder).items()}
    assert means == pytest.approx({"gan (labels=5) against none": 1, "gan (labels=20) against none": 4}, abs=0.5)
    assert warnings(collect([folder])) == [
        "gan (labels=50) is not compared with none: no trials with a result at the same setting"
    ]


def test_folders_merge_by_trial_and_ok_wins(tmp_path):
    records = planted({"none": 0, "gan": 3})
    whole = study(tmp_path / "whole", records)
    half = study(tmp_path / "a", records[:10])
    rest = study(tmp_path / "b", [record("none", 0, None, status="failed"), *records[8:]])
    expected = (write_report([whole]).parent / "results.csv").read_bytes()
    for folders in ([half, rest], [rest, half], [rest, half, rest]):
        assert (write_report(folders, tmp_path / "out").parent / "results.csv").read_bytes() == expected


def test_only_requested_trials_are_covered(tmp_path):
    records = planted({"none": 0, "gan": 3})
    folder = study(tmp_path, records, requested=["none-seed0", "gan-seed0", "gan-seed99"])
    covered = collect([folder])
    assert list(covered.trials["trial"]) == ["gan-seed0", "none-seed0"]
    assert covered.missing == ["gan-seed99"]
    (folder / "study.json").unlink()
    assert len(collect([folder]).trials) == len(records)


def test_results_are_one_row_a_trial_in_a_fixed_order(tmp_path):
    records = planted({"none": 0, "gan": 3}, seeds=range(2))
    with (write_report([study(tmp_path, records[::-1])], tmp_path / "out").parent / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["gan-seed0", "gan-seed1", "none-seed0", "none-seed1"]
    columns = list(rows[0])
    groups = list(dict.fromkeys(column.split(".")[0] for column in columns))
    assert groups == ["trial", "status", "error", "factors", "metrics", "saw", "provenance", "schema", "costs"]
    assert (rows[0]["factors.seeds.gan"], rows[2]["factors.seeds.gan"]) == ("0", "")
    assert float(rows[2]["metrics.test.accuracy"]) == records[0]["metrics"]["test"]["accuracy"]
    assert not {"provenance.command", "provenance.test_opened"} & set(columns)


def test_classes_are_compared_one_by_one_and_escaped(tmp_path):
    records = [
        record(arm, seed, BASE[seed], per_class={"<b>$x_": 0.5 + gain + 0.001 * seed * (arm == "gan"), "cat": 0.7})
        for arm, gain in (("none", 0.0), ("gan", 0.2))
        for seed in SEEDS
    ]
    folder = study(tmp_path, records)
    per_class = compare(folder)["gan against none"].per_class
    assert per_class["<b>$x_"].mean == pytest.approx(20.35)
    assert per_class["cat"][:3] == (0, 0, 0)
    page = write_report([folder]).read_text()
    assert "<b>" not in page
    assert [row[0] for row in table(page, "Difference in class accuracy")[1:]] == ["&lt;b&gt;$x_", "cat"]


def test_the_page_stands_alone_and_can_be_read_aloud(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 3}))
    first = folder / "trials" / "gan-seed1" / "samples.png"
    write_report([folder])
    shutil.copy(folder / "report" / "arms.png", first)
    page = write_report([folder]).read_text()
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 3
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,iVBOR") for image in images)
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe"}
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//)|url\(|@import", page)
    assert {attributes.get("scope") for tag, attributes in tags if tag == "th"} == {"col", "row"}
    assert ("html", {"lang": "en"}) in tags
    assert "gan, trial gan-seed1." in page
    assert not list(folder.rglob("*.partial"))


def test_mixed_provenance_is_warned_of(tmp_path):
    clean = planted({"none": 0, "gan": 1})
    assert warnings(collect([study(tmp_path / "clean", clean)])) == []
    other = {"commit": None, "clean": False, "versions": {"torch": "2.10"}, "fingerprint": "g"}
    mixed = [*clean[:-1], record("gan", 7, 0.9, provenance=other, costs={"device": "cuda", "threads": 4})]
    assert warnings(collect([study(tmp_path / "mixed", mixed)])) == [
        "gan (images=g) is not compared with none: no trials with a result at the same setting",
        "trials ran with different commits: cccccccccccc, unknown",
        "trials ran with different devices: cpu, cuda",
        "trials ran with different numbers of threads: 2, 4",
        "trials ran with different versions of torch: 2.10, 2.9",
        "1 of 16 trials ran with uncommitted changes",
        "there are 2 sets of images under the same settings: they are compared separately",
    ]


def test_null_and_a_value_of_one_setting_stand_apart(tmp_path):
    records = [
        record(arm, seed, BASE[seed] + 0.01 * gain * (arm == "gan"), **{"data.image_size": size})
        for size, gain in (("null", 2), (16, 5))
        for arm in ("none", "gan")
        for seed in SEEDS
    ]
    found = compare(study(tmp_path, records))
    assert {title: contrast.interval.mean for title, contrast in found.items()} == pytest.approx(
        {"gan against none": 2, "gan (data.image_size=16) against none": 5}
    )


def test_images_that_differ_under_the_same_settings_stand_apart(tmp_path):
    records = []
    for name, gain in (("one", 2), ("other", 5)):
        for one in planted({"none": 0, "gan": gain}):
            one["provenance"]["fingerprint"] = name
            records.append(one | {"trial": f"{one['trial']}-{name}"})
    found = compare(study(tmp_path, records))
    assert list(found) == ["gan (images=one) against none", "gan (images=other) against none"]
    assert [contrast.interval.num_pairs for contrast in found.values()] == [8, 8]


def test_other_images_under_other_settings_are_no_surprise(tmp_path):
    records = [
        record(arm, seed, BASE[seed], provenance={"fingerprint": str(size)}, **{"data.image_size": size})
        for size in (8, 16)
        for arm in ("none", "gan")
        for seed in SEEDS
    ]
    assert warnings(collect([study(tmp_path, records)])) == []


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_without_test_results_nothing_is_compared_and_that_is_said(tmp_path, status):
    generators = [record("gan", seed, None, status=status) for seed in range(3)]
    for one in generators:
        one["factors"]["augmentation"] = None
        one["metrics"] = {"gan": {"fid": 10.0 + one["factors"]["seeds.gan"]}}
    folder = study(tmp_path, generators)
    page = write_report([folder]).read_text()
    sentence = "Nothing is compared: no trial has a classifier, the study trained only generators."
    assert sentence in page
    assert sentence in in_one_line(printed(folder))
    assert "How to read this" not in page
    ended = 3 if status == "ok" else 0
    assert table(page, "Arms")[1][:4] == ["no classifier", "-", str(ended), "3"]
    assert table(page, "What the training of each arm saw")[1][1] == ("50" if ended else "-")
    assert table(page, "Generators") == [["metric", "no classifier"], ["fid", "11"]]
    assert "<img" not in page


def test_the_metrics_of_generators_stand_beside_those_of_real_images_and_are_explained(tmp_path):
    records = planted({"none": 0, "gan": 1})
    for one in records:
        if one["factors"]["augmentation"] == "gan":
            seed = one["factors"]["seeds.split"]
            found = {"judge_frechet_distance": 4.0 + seed, "recall": 0.25, "judged_real": 200}
            found["real"] = {"judge_frechet_distance": 0.5, "recall": 0.75}
            one["metrics"]["gan"] = found | {
                "per_class": {"0": {"recall": 0.1}, "1": {}},
                "confusion_matrix": [[1, 0], [0, 1]],
            }
    page = write_report([study(tmp_path, records)]).read_text()
    rows = table(page, "Generators")
    assert rows[0] == ["metric", "gan", "real images that the judge learned from"]
    assert rows[1:] == [
        ["judge_frechet_distance", "7.5", "0.5"],
        ["recall", "0.25", "0.75"],
        ["judged_real", "200", "-"],
    ]
    assert "The judge knows these images, so new real images may score differently" in in_one_line(page)
    explained = {row[0]: row[1:] for row in table(page, "What the metrics mean")[1:]}
    assert set(explained) == {"judge_frechet_distance", "recall"}
    assert explained["judge_frechet_distance"][:2] == ["lower", "at least 0"]
    assert explained["recall"][:2] == ["higher", "0 to 1"]
    assert explained["recall"][3] == "Kynkaanniemi et al. 2019"


def chosen_on_validation(folder, against=None, **settings):
    """Two losses of which one makes images that are worth 5 points more; no trial opened the test images."""
    records = planted({"synthetic_only": 0}, loss="hinge", penalty="none", **settings)
    records += planted({"synthetic_only": 5}, loss="relativistic", penalty="r1_r2", **settings)
    for one in records:
        one["metrics"] = {"validation": one["metrics"]["test"]}
        one["provenance"] |= {"validation_images": 200, "test_opened": None}
        one["factors"]["penalty.r1"] = float(one["factors"]["loss"] == "relativistic")  # as any group has settings
    return name_base(study(folder, records), against)


def test_without_test_results_those_on_validation_are_compared_and_that_is_said(tmp_path):
    folder = chosen_on_validation(tmp_path)
    page, text = write_report([folder]).read_text(), in_one_line(printed(folder))
    assert "No trial opened the test images" in page
    assert "No trial opened the test images" in text
    assert "validation accuracy (points)" in text
    assert "<dt>validation images</dt><dd>200</dd>" in page
    assert "test accuracy" not in page + text
    header = (folder / "report" / "results.csv").read_text().split("\n")[0].split(",")
    assert not [column for column in header if column.startswith("result.")]


def test_one_test_result_is_enough_for_a_report_on_test_images(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 3}))
    path = next(folder.glob("trials/gan*/record.json"))
    one = json.loads(path.read_text())
    del one["metrics"]["test"]
    path.write_text(json.dumps(one))
    assert collect([folder]).part == "test"
    assert compare(folder)["gan against none"].interval.num_pairs == len(SEEDS) - 1


def test_a_setting_is_compared_with_the_one_that_the_study_names(tmp_path):
    compared = compare(chosen_on_validation(tmp_path, against={"loss": "hinge"}))
    (title,) = compared
    assert title == "synthetic_only (loss=relativistic) against synthetic_only (loss=hinge)"
    assert compared[title].interval.mean == pytest.approx(5, abs=0.6)


def test_settings_are_compared_at_the_same_values_of_the_others(tmp_path):
    folders = [
        chosen_on_validation(tmp_path / str(labels), against={"loss": "hinge"}, labels=labels) for labels in (5, 10)
    ]
    assert sorted(compare(*folders)) == [
        f"synthetic_only (labels={labels}, loss=relativistic) against synthetic_only (loss=hinge)" for labels in (10, 5)
    ]


def test_a_setting_without_a_counterpart_is_named(tmp_path):
    folder = chosen_on_validation(tmp_path, against={"loss": "minimax"})
    assert sum("is not compared with loss=minimax" in said for said in warnings(collect([folder]))) == 2


def test_an_arm_that_is_trained_otherwise_is_marked(tmp_path):
    records = planted({"none": 0, "pseudo_label": 3}, **{"augmentation.method": "classifier"})
    records += planted({"semi_supervised": 6}, **{"augmentation.method": "semi_supervised"})
    records += planted({"batch_norm": 1}, **{"augmentation.method": "batch_norm"})  # the same network and steps
    for one in records:
        is_other = one["factors"]["augmentation"] == "semi_supervised"
        part = "semi_supervised" if is_other else "classifier"
        one["factors"] |= {"classifier.num_steps": None, "semi_supervised.num_steps": None, f"{part}.num_steps": 700}
        one["factors"]["classifier"] = None if is_other else "cnn"
        one["saw"] = {"labelled": 10, "pool_images": 90 * (one["factors"]["augmentation"] != "none"), "pool_labels": 0}
    folder = study(tmp_path, records)
    page = write_report([folder]).read_text()
    assert table(page, "What the training of each arm saw") == [
        ["arm", "labelled images", "pool images", "pool labels", "validation images", "steps"],
        ["none", "10", "0", "0", "-", "700"],
        ["batch_norm", "10", "90", "0", "-", "700"],
        ["pseudo_label", "10", "90", "0", "-", "700"],
        ["semi_supervised", "10", "90", "0", "-", "700 (not step-matched)"],
    ]
    for text in (page, in_one_line(printed(folder))):
        assert text.count("not step-matched.") == text.count("semi_supervised: not step-matched.") == 1


def test_with_two_domains_the_table_counts_images_and_labels_of_the_target(tmp_path):
    records = planted({"none": 0, "pseudo_label": 3, "more_real": 6})
    for one in records:
        pool, labels = {"none": (0, 0), "pseudo_label": (90, 0)}.get(one["factors"]["augmentation"], (90, 90))
        one["saw"] = {"labelled": 10, "pool_images": pool, "pool_labels": labels}
        one["saw"] |= {"target_images": pool, "target_labels": labels}
    headings = ["arm", "labelled images", "pool images", "pool labels", "validation images", "steps"]
    page = write_report([study(tmp_path / "one", records)]).read_text()
    assert table(page, "What the training of each arm saw")[0] == headings
    for one in records:
        one["provenance"] |= {"domains": "mnist to usps", "pool_images": 90}
    folder = study(tmp_path / "two", records)
    page = write_report([folder]).read_text()
    headings[2:4] = ["target images", "target labels"]
    assert table(page, "What the training of each arm saw") == [
        headings,
        ["none", "10", "0", "0", "-", "-"],
        ["more_real", "10", "90", "90", "-", "-"],
        ["pseudo_label", "10", "90", "0", "-", "-"],
    ]
    assert facts(page)["domains"].startswith("mnist to usps: labelled and validation images of the first")
    scope = compare(folder)["more_real against none"].scope  # the labelled images are not drawn from the pool
    assert scope.endswith("other choices among the same training images")


def test_the_labels_of_teachers_are_counted_and_measured(tmp_path):
    records = planted({"none": 0, "pseudo_label": 3, "gan_pool": 3})
    for one in records:
        arm = one["factors"]["augmentation"]
        if arm != "none":
            accuracy = None if arm == "gan_pool" else 0.9 + 0.01 * one["factors"]["seeds.split"]
            one["metrics"]["pseudo_labels"] = {
                "images": 800,
                "share": 0.8,
                "accuracy": accuracy,
                "per_class": {"0": 800},
            }
            one["factors"]["augmentation.teacher"] = "classifier" if arm == "pseudo_label" else "semi_supervised"
    page = write_report([study(tmp_path, records)]).read_text()
    assert table(page, "Labels that a teacher gave to images of the pool") == [
        ["arm", "teacher", "images", "of the pool (%)", "right (%)"],
        ["gan_pool", "semi_supervised", "800", "80.0", "-"],
        ["pseudo_label", "classifier", "800", "80.0", "93.50"],
    ]
    assert "Labels that a teacher gave" not in write_report([study(tmp_path / "b", records[:8])]).read_text()


def test_arms_that_see_the_pool_are_compared_with_what_does_without_it_or_without_a_gan(tmp_path):
    on_pool = ("consistency", "gan_pool", "gan_pool_classical", "pseudo_label", "pseudo_label_gan", "semi_supervised")
    arms = ("none", "classical", "gan", *on_pool)
    titles = compare(study(tmp_path, planted(dict.fromkeys(arms, 0))))
    assert sorted(title for title in titles if title.startswith(on_pool)) == [
        "consistency against classical",
        "gan_pool against gan",
        "gan_pool_classical against classical",
        "gan_pool_classical against pseudo_label",
        "gan_pool_classical against pseudo_label_gan",
        "pseudo_label against classical",
        "pseudo_label_gan against pseudo_label",
        "semi_supervised against classical",
        "semi_supervised against consistency",
        "semi_supervised against pseudo_label",
        "semi_supervised against pseudo_label_gan",
    ]


def name_base(folder, against):
    """Make a study compare with some values."""
    launch = json.loads((folder / "study.json").read_text()) | {"against": against}
    (folder / "study.json").write_text(json.dumps(launch))
    return folder


@pytest.mark.parametrize(("base", "other"), [(True, False), (64, 32)])
def test_a_setting_may_be_a_number_or_a_truth(tmp_path, base, other):
    records = [
        record("synthetic_only", seed, 0.5 + 0.1 * (value is base), **{"generator.odd": value})
        for seed in SEEDS
        for value in (base, other)
    ]
    compared = compare(name_base(study(tmp_path, records), {"generator.odd": base}))
    title = f"synthetic_only (generator.odd={other}) against synthetic_only (generator.odd={base})"
    assert list(compared) == [title]
    assert compared[title].interval.mean == pytest.approx(-10)


def test_a_penalty_that_a_loss_brings_along_is_not_compared_alone(tmp_path):
    folder = chosen_on_validation(tmp_path, against={"penalty": "none"})
    assert compare(folder) == {}  # no two configurations differ in the penalty and in nothing else
    assert any("is not compared with penalty=none" in said for said in warnings(collect([folder])))


def test_budgets_of_one_seed_are_pairs_though_their_splits_differ(tmp_path):
    records = [
        record("none", seed, 0.8 + labels / 1000, split=f"split{seed}-{labels}", labels=labels)
        for seed in SEEDS
        for labels in (5, 10)
    ]
    folder = name_base(study(tmp_path, records), {"labels": 5})
    interval = compare(folder)["none (labels=10) against none (labels=5)"].interval
    assert (interval.num_pairs, interval.mean) == (len(SEEDS), pytest.approx(0.5))


def test_trials_that_kept_the_test_images_closed_are_counted_beside_others(tmp_path):
    said = warnings(collect([study(tmp_path, [record("none", 0, 0.9), record("gan", 0, None)])]))
    assert "1 of 2 trials have no test results and are not compared" in said


def test_samples_are_written_beside_the_page_and_earlier_ones_go(tmp_path):
    names = "/é".join(["a" * 40] * 3)  # as long as the names of some classes
    records = [record("gan", seed, 0.9) for seed in (0, 1)]
    for seed, one in enumerate(records):
        one["factors"]["x"] = f"{seed}{names}"
    folder = study(tmp_path, records)
    for number, path in enumerate(sorted(folder.glob("trials/*"))):
        (path / "samples.png").write_bytes(png(str(number)))
    (folder / "report" / "samples").mkdir(parents=True)
    (folder / "report" / "samples" / "old.png").touch()
    write_report([folder])
    found = sorted(path.name for path in (folder / "report" / "samples").iterdir())
    assert [name[:10] for name in found] == ["01-gan-x-0", "02-gan-x-1"]


def test_the_terminal_shows_arms_and_verdicts_in_80_columns(tmp_path):
    text = printed(study(tmp_path, planted({"none": 0, "gan_classical": 3, "[red]odd": 0})))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"gan_classical +\d\d\.\d +8 +0 +0 +14\.0", text)
    assert "gan_classical against none: better by" in text
    assert "[red]odd" in text


def test_command_line_writes_where_it_is_told(tmp_path, capsys):
    folder = study(tmp_path / "digits", planted({"none": 0, "gan": 3}))
    main([str(folder), "--output", str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.html", "results.csv", "arms.png", "classes.png"}
    assert f"report: {tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out


def test_slips_of_users_end_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path)])
    assert stop.value.code == 1
    message = f"{tmp_path} holds no trial records: use a study folder such as outputs/studies/digits, or a file such as"
    assert capsys.readouterr().err == f"gan-augment-report: {message} results/digits.jsonl\n"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "Traceback" in (trace := capsys.readouterr().err)
    assert f"ValueError: {message}" in trace


def test_a_newer_schema_and_a_study_without_results_are_refused(tmp_path):
    none = record("none", 0, 0.9)
    with pytest.raises(ValueError, match=r"has schema 2\.0"):
        collect([study(tmp_path / "newer", [{**none, "schema": "2.0"}])])
    with pytest.raises(ValueError, match="none of the 2 requested trials has a record yet"):
        collect([study(tmp_path / "early", [none], requested=["gan-seed0", "gan-seed1"])])


def test_help_waits_for_no_heavy_import():
    code = (
        "import sys; from gan_augment.report.page import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'pandas', 'matplotlib', 'jinja2', 'scipy', 'torch'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.endswith("set()\n")


def test_a_stage_that_other_code_made_is_warned_of(tmp_path):
    trials = planted({"none": 0, "gan": 1})
    trials[-1]["provenance"]["made"] = {"gan": {"commit": "d" * 40, "clean": True}}
    assert warnings(collect([study(tmp_path, trials)])) == [
        "trials ran with different commits: cccccccccccc, dddddddddddd"
    ]


def test_a_stage_that_was_made_with_other_threads_is_warned_of(tmp_path):
    trials = planted({"none": 0, "gan": 1})
    for trial, threads in zip(trials, [2, 2, 2, None, None, 1, 4, 2] * 2, strict=True):  # null: of an earlier version
        trial["provenance"]["made"] = {"gan": {"commit": "c" * 40, "clean": True, "threads": threads}}
    del trials[0]["provenance"]["made"]["gan"]["threads"]
    assert warnings(collect([study(tmp_path, trials)])) == ["trials ran with different numbers of threads: 2, 1, 4"]


def test_unequal_classes_are_compared_in_balanced_accuracy_and_in_the_recall_of_rare_classes(tmp_path):
    # Eight differences of d - s and d + s in turn: d, with an interval of 2.3646 s sqrt(8 / 7) / sqrt(8) = 0.894 s.
    folder = rare_study(tmp_path)
    verdicts = {
        f"gan against none{metric}": f"better by {mean} points on these test images, 95 % interval {bounds}, 8 splits"
        for metric, mean, bounds in (
            ("", "2.0", "1.9 to 2.1"),
            (", balanced accuracy", "10.0", "9.5 to 10.5"),
            (", recall of rare classes", "20.0", "19.1 to 20.9"),
        )
    }
    found = compare(folder)
    assert [(title, contrast.sentence) for title, contrast in found.items()] == list(verdicts.items())
    assert [bool(contrast.per_class) for contrast in found.values()] == [True, False, False]
    page = write_report([folder]).read_text()
    assert [row[:3] for row in table(page, "Differences in test results, paired")[1:]] == [
        ["gan against none", "+2.0", "1.9 to 2.1"],
        ["gan against none, balanced accuracy", "+10.0", "9.5 to 10.5"],
        ["gan against none, recall of rare classes", "+20.0", "19.1 to 20.9"],
    ]
    assert [row[:4] for row in table(page, "Arms: mean test results")] == [
        ["arm", "accuracy", "balanced accuracy", "recall of rare classes"],
        ["none", "85.0", "65.0", "40.0"],
        ["gan", "87.0", "75.0", "60.0"],
    ]
    assert "of 3 intervals expect about 0.1 to miss" in in_one_line(page)
    assert "Balanced accuracy is the mean recall of the classes" in in_one_line(page)
    assert "The recall of rare classes is the mean class accuracy over" in in_one_line(page)
    assert facts(page)["rare classes"] == "emu"
    assert facts(page)["labelled images"] == "50 (the largest class has 9 times as many as the smallest)"
    assert facts(page)["test images"] == "360 (the largest class has 9 times as many as the smallest)"


def test_unequal_classes_are_told_in_80_columns(tmp_path):
    records = [unequal(arm, seed, 0.4) for arm in ("none", "gan_classical") for seed in SEEDS]
    text = printed(study(tmp_path, records))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"gan_classical +85\.0 +65\.0 +40\.0 +8 +0 +0 +14\.0", text)
    # What one image is worth in a mean over classes depends on its class.
    same = "every split gave the same difference (+0.0 points): no interval"
    assert f"gan_classical against none: {same}; one image is 0.28 points" in in_one_line(text)
    assert f"gan_classical against none, balanced accuracy: {same} gan_classical" in in_one_line(text)


@pytest.mark.parametrize(
    ("ratios", "metrics"),
    [((1.4, 1.4), 1), ((1.5, 1.4), 3), ((1.4, 1.5), 3), ((None, None), 1)],
)
def test_classes_are_unequal_from_a_ratio_on(tmp_path, ratios, metrics):
    folder = rare_study(tmp_path, labelled_ratio=ratios[0], test_ratio=ratios[1])
    failed = unequal("gan", 9, 0.5, status="failed")
    (folder / "trials" / "failed").mkdir()
    (folder / "trials" / "failed" / "record.json").write_text(json.dumps(failed))
    assert len(metrics_to_compare(collect([folder]))) == metrics


@pytest.mark.parametrize("names", [("emu",), ()])
def test_equal_test_classes_give_one_accuracy_and_that_is_said(tmp_path, names):
    folder = rare_study(tmp_path, test_ratio=1.0, names=names)
    titles = ["gan against none", "gan against none, recall of rare classes"]
    assert list(compare(folder)) == titles[: 1 + len(names)]
    page = write_report([folder]).read_text()
    sentence = "Every class has the same number of test images, so accuracy and balanced accuracy are equal."
    assert sentence in in_one_line(page)
    assert sentence in in_one_line(printed(folder))
    assert "Balanced accuracy is" not in page
    assert "balanced accuracy" not in table(page, "Arms")[0]
    assert facts(page)["test images"] == "360 (all classes equal)"
    assert ("rare classes" in facts(page)) == bool(names)


def test_classes_are_not_called_equal_if_one_has_no_image(tmp_path):
    page = write_report([rare_study(tmp_path, test_ratio=None)]).read_text()
    assert facts(page)["test images"] == "360"


def test_records_of_the_first_schema_are_compared_in_accuracy(tmp_path):
    folder = study(tmp_path, planted({"none": 0, "gan": 3}))
    assert list(compare(folder)) == ["gan against none"]
    page = write_report([folder]).read_text()
    assert "alanced accuracy" not in page + printed(folder)
    assert "rare classes" not in page + printed(folder)
    assert facts(page)["test images"] == "360"
    assert "labelled images" not in facts(page)


def test_amounts_of_labels_are_compared_like_with_like_though_they_may_be_null(tmp_path):
    rare = {"imbalance.classes": "emu", "imbalance.share": 0.1}
    none = {"labelled_ratio": 1.0, "names": ()} | dict.fromkeys(rare, "null")
    fraction = none | {"labels": "25%"}
    records = [
        unequal(arm, seed, 0.4 + gain * (arm == "gan"), **amount)
        for gain, amount in ((0.3, rare), (0.2, none), (0.1, fraction))
        for arm in ("none", "gan")
        for seed in SEEDS
    ]
    folder = study(tmp_path, records)
    setting = "gan (labels=5, imbalance.classes=emu, imbalance.share=0.1) against none"
    assert {title: contrast.interval.mean for title, contrast in compare(folder).items()} == pytest.approx(
        {
            setting: 3,
            "gan (labels=5) against none": 2,
            "gan (labels=25%) against none": 1,
            f"{setting}, balanced accuracy": 15,
            "gan (labels=5) against none, balanced accuracy": 10,
            "gan (labels=25%) against none, balanced accuracy": 5,
            f"{setting}, recall of rare classes": 30,
        }
    )
    page = write_report([folder]).read_text()
    assert facts(page)["labels per class"] == "5, 25 % of each class"
    assert facts(page)["rare classes"] == "emu (not the same in all trials)"
    assert facts(page)["labelled images"] == "50 (the largest class has 1 to 9 times as many as the smallest)"


def earlier(one):
    """Return a record as earlier versions wrote it: the factors under their old names, no nodes that stages read."""
    one["factors"] |= {"labels_per_class": one["factors"].pop("labels"), "label_fraction": "null", "judge": "default"}
    one["factors"] |= {"gan": "default", "gan.decay": one["factors"].pop("generator.decay")}
    assert "reads" not in one["provenance"]
    return one


def test_records_of_earlier_names_pair_with_new_ones(tmp_path):
    nodes = {"generator": "gan", "generator.decay": True}
    without = dict.fromkeys(nodes)
    records = [earlier(one) for one in planted({"none": 0}, **without)] + planted({"gan": 3}, **nodes)
    contrast = compare(study(tmp_path / "arms", records))["gan against none"]
    assert len(contrast.differences) == len(SEEDS)
    # A setting in which half of the trials are of an earlier version, compared with a base that its name names.
    decays, constant = (nodes | {"generator.decay": value} for value in (True, False))
    records = [earlier(one) for one in planted({"gan": 3}, **decays)] + planted({"gan": 1}, **constant)
    folder = name_base(study(tmp_path / "settings", records), {"gan.decay": False})
    (contrast,) = compare(folder).values()
    assert contrast.title == "gan (generator.decay=True) against gan (generator.decay=False)"
    assert contrast.interval.mean == pytest.approx(2, abs=0.5)
    assert len(contrast.differences) == len(SEEDS)


def test_notes_that_differ_in_their_classes_are_one(tmp_path):
    records = planted({"gan": 0})
    for number, one in enumerate(records):
        one["warnings"] = [f"Mode collapse in {number % 3} of 10 classes ({number}): they are all alike"]
        one["warnings"] += ["recall is refused for 10 of 10 classes: raise it"]
    found = collect([study(tmp_path, records)]).notes
    assert found == {
        "Mode collapse in some classes: they are all alike": 8,
        "recall is refused for 10 of 10 classes: raise it": 8,
    }


def test_notes_are_shown_once_with_the_trials_they_concern(tmp_path):
    records = planted({"none": 0, "gan": 3})
    files = ", ".join(f"train/{'cat' * 30}/{number}.png" for number in range(9))
    for one in records:
        pretrained = ["the classifier started from <b>elsewhere</b>"] * (one["factors"]["augmentation"] == "gan")
        one["notes"] = [f"9 files could not be read: {files}", *pretrained]
    folder = study(tmp_path, records)
    page = write_report([folder]).read_text()
    assert page.count("9 files could not be read") == 1
    assert "<li>the classifier started from &lt;b&gt;elsewhere&lt;/b&gt; (8 of 16 trials)</li>" in page
    text = printed(folder)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("note: ") == 2
    assert "note: the classifier started from <b>elsewhere</b> (8 of 16 trials)" in text
    assert "notes" not in (folder / "report" / "results.csv").read_text()


@pytest.mark.parametrize(
    ("pretrained", "said"),
    [
        (("none", "gan"), "; both with pretrained weights"),
        (("gan",), "; only the first with pretrained weights"),
        (("none",), "; only the second with pretrained weights"),
        ((), ""),
    ],
)
def test_a_verdict_names_the_arms_with_pretrained_weights(tmp_path, pretrained, said):
    records = planted({"none": 0, "gan": 3})
    for one in records:
        if pretrained:  # else as in a record of an earlier version
            one["saw"]["pretrained"] = one["factors"]["augmentation"] in pretrained
    folder = study(tmp_path, records)
    (contrast,) = contrasts(collect([folder]))
    assert contrast.sentence.endswith(f"8 splits{said}")
    rows = re.findall(r"<tr>\s*<t[dh][^>]*>(none|gan)</t[dh]>(.*?)</tr>", write_report([folder]).read_text(), re.DOTALL)
    assert {arm for arm, row in rows if ">yes<" in row} == set(pretrained)


@pytest.mark.parametrize(
    ("data", "size", "pretrained", "is_noted"),
    [
        ("image_folder", 64, (), True),
        ("image_folder", 64, ("none",), False),
        ("image_folder", 64, ("none", "gan"), False),
        ("image_folder", 64, ("gan",), True),  # it is the discriminator's
        ("image_folder", 28, (), False),
        ("image_folder", "many", (), False),
        ("cifar10", "null", (), True),
        ("mnist", 32, (), False),
    ],
)
def test_a_report_on_photographs_names_the_stronger_baseline_that_it_lacks(tmp_path, data, size, pretrained, is_noted):
    records = planted({"none": 0, "gan": 3}, **{"data": data, "data.image_size": size})
    for one in records:
        one["saw"]["pretrained"] = one["factors"]["augmentation"] in pretrained
    text = " ".join(printed(study(tmp_path, records)).split())
    note = "a stronger baseline exists for photographs: a classifier on ImageNet features"
    assert (note in text) is is_noted
    assert ("classifier=cnn,probe,finetuned" in text) is is_noted


def test_of_many_classes_the_table_shows_those_with_the_largest_differences(tmp_path):
    records = [
        record(arm, seed, 0.5, per_class={f"c{k}": 0.5 + gain * k / 1000 for k in range(150)})
        for arm, gain in (("none", 0), ("gan", -1))
        for seed in range(2)
    ]
    for one in records:
        one["saw"]["rare_classes"] = [f"c{k}" for k in range(50)]
    page = write_report([study(tmp_path, records)]).read_text()
    rows = table(page, "Difference in class accuracy")[1:]
    assert [row[0] for row in rows] == [f"c{k}" for k in range(50, 150)]
    assert rows[0][1] == "-5.0"
    assert "The 100 classes with the largest differences, of 150; results.csv has all." in page
    assert facts(page)["rare classes"].endswith(", c19 and 30 more")
    header = (tmp_path / "report" / "results.csv").read_text().splitlines()[0]
    assert "metrics.test.per_class.c0," in header


def test_the_page_goes_from_verdicts_to_single_trials(tmp_path):
    page = write_report([study(tmp_path, planted({"none": 0, "gan": 3}))]).read_text()
    parts = ["What the study found", "What was compared", "How much does it help?", "What does it cost?", "Every trial"]
    assert re.findall("<h2>(.*?)</h2>", page) == parts


def test_accuracy_over_labels_is_drawn_and_read_backwards(tmp_path):
    records = [
        record(arm, seed, accuracy + seed / 1000, labels=labels)
        for arm, curve in (("none", {5: 0.80, 10: 0.85, 20: 0.90}), ("gan", {5: 0.85, 10: 0.85, 20: 0.90}))
        for labels, accuracy in curve.items()
        for seed in SEEDS
    ]
    page = write_report([study(tmp_path, records)]).read_text()
    worth = "gan with 5 labels per class does as well as none with 5 more, 95 % interval 5 to 5, on these test images"
    assert f"{worth} (8 splits)" in page
    assert (tmp_path / "report" / "labels.png").exists()
    assert 'alt="Mean test accuracy over labels per class' in page


def test_one_amount_of_labels_makes_no_curve(tmp_path):
    write_report([study(tmp_path, planted({"none": 0, "gan": 3}))])
    assert not (tmp_path / "report" / "labels.png").exists()


def test_gain_over_the_dose_of_synthetic_images_is_drawn(tmp_path):
    records = planted({"none": 0})
    for number in (50, 200):
        records += planted({"gan": 1}, **{"synthesis.per_class": number})
    page = write_report([study(tmp_path, records)]).read_text()
    assert "How does the gain change with the synthetic images per class?" in page
    assert (tmp_path / "report" / "dose1.png").exists()


def test_a_nested_study_says_where_its_spread_comes_from(tmp_path):
    records = []
    for split in range(3):
        for number in range(2):
            one = record("gan", split, 0.80 + split / 100 + number / 1000)
            one["trial"] += f"-{number}"
            one["factors"] |= {"seeds.gan": split, "seeds.classifier": number}
            records.append(one)
    page = write_report([study(tmp_path, records)]).read_text()
    ((_, of_split, of_classifier),) = table(page, "Standard deviation that each source adds")[1:]
    assert of_classifier == f"{0.1 / 2**0.5:.2f} (2)"
    assert of_split == f"{(1 - 0.005 / 2) ** 0.5:.2f} (3)"


def test_a_generator_that_arms_share_is_measured_once(tmp_path):
    records = planted({"none": 0, "gan": 1, "gan_classical": 2})
    for one in records:
        if one["factors"]["augmentation"] != "none":
            agreement = {"cat": {"label_agreement": 0.9}, "emu": {"label_agreement": 0.4}}
            seen = [[90, 10], [1, 0]] if one["factors"]["seeds.split"] else []  # one of the trials knows no confusion
            one["metrics"]["gan"] = {"label_agreement": 0.65, "per_class": agreement, "confusion_matrix": seen}
            one["provenance"]["stages"] = {"gan": f"key{one['factors']['seeds.split']}"}
    page = write_report([study(tmp_path, records)]).read_text()
    assert table(page, "Generators")[0] == ["metric", "gan and gan_classical"]
    assert table(page, "Images of each class in which the judge sees")[1:] == [
        ["cat", "90 (emu: 10)"],
        ["emu", "40 (cat: 100)"],
    ]


def test_generators_that_are_drawn_from_otherwise_are_told_apart(tmp_path):
    name = "synthesis.latent_scale"
    records = [record("gan", seed, 0.9, **{name: scale}) for scale in (1.0, 2.0) for seed in (0, 1)]
    for one in records:
        one["provenance"]["stages"] = {"gan": f"key{one['factors']['seeds.split']}"}
        one["metrics"]["gan"] = {"judge_frechet_distance": 3 * one["factors"][name]}
    heads, row = table(write_report([study(tmp_path, records)]).read_text(), "Generators")
    assert heads[1:] == ["gan (synthesis.latent_scale=1.0)", "gan (synthesis.latent_scale=2.0)"]
    assert row[1:] == ["3", "6"]


def test_arms_and_doses_that_share_a_generator_show_its_samples_once(tmp_path):
    doses = [
        record(arm, seed, 0.9, dose=dose) for arm in ("gan", "gan_classical") for seed in (0, 1) for dose in (10, 50)
    ]
    records = [record("none", seed, 0.9) for seed in (0, 1)] + doses
    for one in doses:
        one["provenance"]["stages"] = {"gan": f"key{one['factors']['seeds.split']}"}
    folder = study(tmp_path, records)
    for path in folder.glob("trials/gan*"):
        (path / "samples.png").write_bytes(png(""))
    page = write_report([folder]).read_text()
    assert (
        page.count("Real and synthetic images side by side, by class: gan and gan_classical, trial gan-10-seed0.") == 1
    )
    assert [path.name for path in (folder / "report" / "samples").iterdir()] == ["01-gan-and-gan_classical.png"]


def test_a_gain_has_a_price_where_it_is_one(tmp_path):
    records = planted({"none": 0, "gan": 4, "gan_classical": 0, "classical": 0})
    rows = {row[0]: row[1:] for row in table(write_report([study(tmp_path, records)]).read_text(), "What a gain costs")}
    more, each = rows["gan against none"]
    assert more == "8.0"
    assert float(each) == pytest.approx(2, abs=0.3)
    assert rows["gan_classical against classical"] == ["8.0", "-"]


def test_the_cost_of_measures_stands_before_the_total_where_records_know_it(tmp_path):
    records = planted({"none": 0, "gan": 1})
    page = write_report([study(tmp_path / "old", records)]).read_text()
    assert table(page, "Mean cost of a trial")[0] == ["arm", "gan (s)", "classifier (s)", "total (s)"]
    for one in records[1:]:  # one is of an earlier version
        one["costs"]["seconds"] = {"measures": {"spent": 3.0, "reused": 0.0}} | one["costs"]["seconds"]
    page = write_report([study(tmp_path / "new", records)]).read_text()
    assert table(page, "Mean cost of a trial") == [
        ["arm", "gan (s)", "classifier (s)", "measures (s)", "total (s)"],
        ["none", "-", "5.0", "3.0", "6.0"],
        ["gan", "8.0", "5.0", "3.0", "14.0"],
    ]


def test_memory_is_told_by_stage_where_records_know_it(tmp_path):
    records = planted({"none": 0, "gan": 1})
    page = write_report([study(tmp_path / "old", records)]).read_text()
    assert table(page, "Largest memory") == [["arm", "total (MiB)"], ["none", "812"], ["gan", "812"]]
    for number, one in enumerate(records):
        stages = one["costs"]["seconds"].keys() - {"total"}
        one["costs"]["memory"] = {
            name: {"peak_memory_mib": 500 + number, "peak_gpu_memory_mib": None} for name in stages
        }
    page = write_report([study(tmp_path / "new", records)]).read_text()
    assert table(page, "Largest memory") == [
        ["arm", "gan (MiB)", "classifier (MiB)", "total (MiB)"],
        ["none", "-", "507", "812"],
        ["gan", "515", "515", "812"],
    ]


def test_energy_is_told_by_stage_where_a_machine_tells_it(tmp_path):
    records = planted({"none": 0, "gan": 1})
    assert "Mean energy" not in write_report([study(tmp_path / "old", records)]).read_text()
    for one in records:
        stages = one["costs"]["seconds"].keys() - {"total", "measures"}
        one["costs"]["energy"] = {name: {"cpu_joules": 1500.0, "gpu_joules": None} for name in stages}
    page = write_report([study(tmp_path / "new", records)]).read_text()
    assert table(page, "Mean energy") == [
        ["arm", "gan (kJ)", "classifier (kJ)"],
        ["none", "-", "1.50"],
        ["gan", "1.50", "1.50"],
    ]


def test_probabilities_are_told_by_arm(tmp_path):
    records = planted({"none": 0, "gan": 1})
    for one in records:
        one["metrics"]["test"] |= {"nll": 0.5, "brier": 0.25, "ece": 0.05}
    rows = table(write_report([study(tmp_path, records)]).read_text(), "Mean over the test images")
    assert rows[1] == ["none", "0.500", "0.250", "0.050"]


def test_the_page_shows_the_images_as_they_were_read_and_no_other_file(tmp_path):
    folder = study(tmp_path / "study", planted({"none": 0, "gan": 1}))
    (folder / "images").mkdir()
    one, secret = png("one"), png("secret")
    (folder / "images" / "f.png").write_bytes(one)
    (folder / "images" / "others.png").write_bytes(secret)
    (tmp_path / "elsewhere.png").write_bytes(secret)
    page = write_report([folder]).read_text()
    shown = re.findall(r'src="data:image/png;base64,([^"]*)" alt="Some images of each class', page)
    assert [base64.b64decode(each) for each in shown] == [one]
    (folder / "images" / "f.png").unlink()
    assert "as they were read" not in write_report([folder]).read_text()
    for harm in (lambda path: path.symlink_to(tmp_path / "elsewhere.png"), lambda path: path.write_bytes(b"secret")):
        harm(folder / "images" / "f.png")
        assert "as they were read" not in write_report([folder]).read_text()
        (folder / "images" / "f.png").unlink()


def test_a_measure_has_a_section_with_its_means(tmp_path):
    section = {"explained": "How hot it is.", "columns": {"oven.temperature": "temperature", "oven.colour": "colour"}}
    records = planted({"none": 0, "gan": 0})
    for one in records:
        if one["factors"]["augmentation"] == "gan":
            one["sections"] = {"Oven": section}
            one["metrics"]["oven"] = {"temperature": 200 + one["factors"]["seeds.split"], "colour": None}
    page = write_report([study(tmp_path, records)]).read_text()
    part = page.split("<h2>What did the other measures find?</h2>")[1]
    assert "<h3>Oven</h3>\n<p>How hot it is.</p>" in part
    assert table(part, "Means over the trials") == [["arm", "temperature"], ["gan", "204"]]  # no colour is known
    assert "sections." not in (tmp_path / "report" / "results.csv").read_text()


def test_generators_that_arms_share_have_one_row_in_a_section(tmp_path):
    section = {"explained": "Their copies.", "columns": {"gan.copies.named": "copied"}}
    records = planted({"none": 0, "gan": 0, "gan_classical": 0})
    for one in records:
        if one["factors"]["augmentation"] != "none":
            one["sections"] = {"Copies": section}
            one["metrics"]["gan"]["copies"] = {"named": 3}
            one["provenance"]["stages"] = {"gan": f"generator of seed {one['factors']['seeds.split']}"}
    page = write_report([study(tmp_path, records)]).read_text()
    rows = table(page.split("<h3>Copies</h3>")[1], "Means over the trials")
    assert rows == [["generator", "copied"], ["gan and gan_classical", "3"]]


def test_a_section_shows_what_the_first_trial_found_with_its_picture(tmp_path):
    columns = {"oven.temperature": "temperature"}
    records = planted({"none": 0})
    for one in records:
        said = [f"It is {one['trial']}."] if one["factors"]["seeds.split"] in (2, 3) else []
        picture = "oven.png" if said else None
        one["sections"] = {"Oven": {"explained": "Hot.", "columns": columns, "sentences": said, "picture": picture}}
        one["metrics"]["oven"] = {"temperature": 200}
    folder = study(tmp_path, records)
    (folder / "trials" / "none-seed2" / "oven.png").write_bytes(png("of the oven"))
    part = write_report([folder]).read_text().split("<h3>Oven</h3>")[1]
    assert "<p>In trial none-seed2:</p>\n<ul>\n<li>It is none-seed2.</li>\n</ul>" in part
    assert base64.b64encode(png("of the oven")).decode() in part
    assert "none-seed3." not in part
    (folder / "trials" / "none-seed2" / "oven.png").unlink()
    assert "<img" not in write_report([folder]).read_text().split("<h3>Oven</h3>")[1].split("<h2>")[0]


def test_a_section_may_have_a_picture_without_words(tmp_path):
    records = planted({"none": 0})
    for one in records:
        columns = {"oven.temperature": "temperature"}
        one["sections"] = {"Oven": {"explained": "Hot.", "columns": columns, "sentences": [], "picture": "oven.png"}}
        one["metrics"]["oven"] = {"temperature": 200}
    folder = study(tmp_path, records)
    (folder / "trials" / "none-seed0" / "oven.png").write_bytes(png("of the oven"))
    part = write_report([folder]).read_text().split("<h3>Oven</h3>")[1].split("<h2>")[0]
    assert base64.b64encode(png("of the oven")).decode() in part
    assert "<figcaption>Trial none-seed0.</figcaption>" in part
    assert "In trial" not in part


def test_a_section_may_have_a_picture_of_each_arm_and_no_table(tmp_path):
    records = planted({"none": 0, "gan": 0})
    for one in records:
        section = {"explained": "Hot.", "columns": {}, "sentences": [], "picture": "oven.png"}
        one["sections"] = {"Oven": section | {"each_arm": True}, "Stove": section | {"picture": "stove.png"}}
    folder = study(tmp_path, records)
    for trial, name in (("none-seed3", "oven"), ("gan-seed0", "oven"), ("gan-seed1", "oven"), ("gan-seed0", "stove")):
        (folder / "trials" / trial / f"{name}.png").write_bytes(png(f"{name} of {trial}"))
    oven, stove = write_report([folder]).read_text().split("<h3>Oven</h3>")[1].split("<h2>")[0].split("<h3>Stove</h3>")
    captions = re.findall("<figcaption>(.*)</figcaption>", oven)
    assert captions == ["none, trial none-seed3.", "gan, trial gan-seed0."]
    for trial in ("none-seed3", "gan-seed0"):
        assert base64.b64encode(png(f"oven of {trial}")).decode() in oven
    assert re.findall("<figcaption>(.*)</figcaption>", stove) == ["Trial gan-seed0."]
    assert "<table>" not in oven + stove


@pytest.mark.parametrize("picture", ["/", "..", "../../secret.png", "missing.png"])
def test_a_section_that_is_damaged_or_names_another_file_shows_nothing(tmp_path, picture):
    (tmp_path / "secret.png").write_bytes(png("secret"))
    records = planted({"none": 0})
    for one in records:
        one["sections"] = {"Oven": {"sentences": ["Hot."], "picture": picture}, "Stove": {}}
    page = write_report([study(tmp_path, records)]).read_text()
    assert "Oven" not in page
    assert base64.b64encode(png("secret")).decode() not in page


@pytest.mark.parametrize(
    ("seconds", "said"), [(600, "All had the same time to train."), (None, "Their times to train")]
)
def test_generators_of_several_kinds_are_compared_at_their_times(tmp_path, seconds, said):
    alone = planted({"none": 0, "gan": 1})
    assert "Mean time to train each generator" not in write_report([study(tmp_path / "one", alone)]).read_text()
    settings = {"generator.seconds": seconds, "generator.images_seen": "null" if seconds else 30_000}
    records = alone[: len(SEEDS)]
    for kind in ("gan", "flow"):
        records += [record("gan", seed, 0.9, generator=kind, **settings) for seed in SEEDS]
    for one in records[len(SEEDS) :]:
        one["costs"]["seconds"]["synthesis"] = {"spent": 30.0, "reused": 0.0}
        one["metrics"]["gan"]["training"] = {"images_seen": 16_000} if seconds else {}
    page = write_report([study(tmp_path / "two", records)]).read_text()
    told = "Mean time to train each generator, and to make its images: flow 8.0 s and 30.0 s; gan 8.0 s and 30.0 s."
    assert f"{told} {said}" in in_one_line(page)
    assert ("2000" if seconds else "3750") in table(page, "Mean cost of a trial")[2]
    assert (tmp_path / "two" / "report" / "seconds.png").exists()
