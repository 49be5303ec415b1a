import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from test_best import trials
from test_page import in_one_line, record, study, table

from gan_augment.report.configuration import configurations
from gan_augment.report.confusion import MAX_CLASSES, change_rows, confusion, confusion_rows, confusions
from gan_augment.report.page import main, write_report
from gan_augment.report.trials import collect

NAMES = ["cat", "$dog_", "arm"]
LABELS = np.arange(60) % 3


def predicted(folder, records, names=NAMES, labels=LABELS):
    """A study whose trials stored the classes that they see, and these by trial."""
    for one in records:
        one["metrics"]["test"]["per_class"] = dict.fromkeys(names, 0.5)
        one["provenance"]["test_images"] = len(labels)
    study(folder, records)
    seen = {}
    for number, one in enumerate(records):
        random = np.random.default_rng(number)
        seen[one["trial"]] = np.where(
            random.random(len(labels)) < 0.7, labels, random.integers(0, len(names), len(labels))
        )
        np.savez(
            folder / "trials" / one["trial"] / "predictions.npz",
            ids=np.arange(len(labels)),
            labels=labels,
            predicted=seen[one["trial"]],
        )
    return seen


def test_it_is_the_mean_over_the_splits_of_that_of_scikit_learn(tmp_path):
    records = [record("none", seed, 0.5) for seed in range(3)]
    records += [record("none", 2, 0.5, **{"seeds.gan": 1})]  # split 2 again, which does not count twice
    seen = predicted(tmp_path, records)
    each = [100 * confusion_matrix(LABELS, seen[one["trial"]], normalize="true") for one in records]
    covered = collect([tmp_path])
    found = confusion(covered, configurations(covered)[0])
    assert list(found.index) == list(found.columns) == NAMES
    assert found.to_numpy() == pytest.approx((each[0] + each[1] + (each[2] + each[3]) / 2) / 3)


def test_the_page_has_it_also_of_a_kept_study(tmp_path):
    folder = tmp_path / "pets"
    predicted(folder, [record(arm, seed, 0.5) for arm in ("none", "gan") for seed in range(2)])
    main([str(folder), "--keep", str(tmp_path / "pets.jsonl"), "--output", str(tmp_path / "a")])
    main([str(tmp_path / "pets.jsonl"), "--output", str(tmp_path / "b")])
    page = (tmp_path / "a" / "report.html").read_text()
    assert (tmp_path / "b" / "report.html").read_text() == page
    heading, *rows = table(page, "Predicted classes of the test images of each true class (%)")
    assert heading == ["arm", "class", "as cat", "as $dog_", "as arm"]
    covered = collect([folder])
    shares = confusions(covered, configurations(covered))["none"].loc["$dog_"]
    assert rows[1] == ["none", "$dog_", *(f"{share:.1f}" for share in shares)]
    assert [row[0] for row in rows] == ["none"] * 3 + ["gan"] * 3
    assert (tmp_path / "a" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "The first of" not in page


def test_the_page_says_what_changes_most_against_none(tmp_path):
    folder = tmp_path / "pets"
    records = [
        record(arm, seed, 0.5, labels=labels) for labels in (5, 20) for arm in ("none", "gan") for seed in (0, 1)
    ]
    predicted(folder, records)
    for one in records:  # `none` takes half of the cats for dogs; `gan` takes one dog in ten for an arm, of 20 labels
        seen = LABELS.copy()
        if one["factors"]["augmentation"] == "none":
            seen[LABELS == 0] = np.arange(20) % 2
        elif one["factors"]["labels"] == 20:
            seen[LABELS == 1] = np.where(np.arange(20) < 2, 2, 1)
        file = folder / "trials" / one["trial"] / "predictions.npz"
        np.savez(file, ids=np.arange(60), labels=LABELS, predicted=seen)
    rows = table(write_report([folder]).read_text(), "What changes against none")
    assert rows == [
        ["arm", "class", "taken for", "by none (%)", "by the arm (%)", "change (points)"],
        ["gan (labels=5)", "cat", "$dog_", "50.0", "0.0", "-50.0"],
        ["gan (labels=20)", "cat", "$dog_", "50.0", "0.0", "-50.0"],
        ["gan (labels=20)", "$dog_", "arm", "0.0", "10.0", "+10.0"],
    ]


def test_without_none_or_its_predictions_there_are_no_changes(tmp_path):
    predicted(tmp_path / "alone", [record(arm, 0, 0.5) for arm in ("gan", "classical")])
    predicted(tmp_path / "lost", [record(arm, 0, 0.5) for arm in ("none", "gan")])
    (tmp_path / "lost" / "trials" / "none-seed0" / "predictions.npz").unlink()
    for name in ("alone", "lost"):
        covered = collect([tmp_path / name])
        assert change_rows(covered, configurations(covered)) == []


def test_of_many_arms_the_best_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.report.confusion.MAX_MATRICES", 2)
    records = trials({("none", None): (0, 0)}, "cnn", seeds=[0])
    predicted(tmp_path, records + trials({("none", None): (6, 6), ("gan", 0.1): (7, 7)}, "probe", seeds=[0]))
    page = write_report([tmp_path]).read_text()
    rows = table(page, "Predicted classes")
    assert [*dict.fromkeys(row[0] for row in rows[1:])] == ["none (classifier=probe)", "gan (classifier=probe)"]
    assert "The best arms, then the first of 3 arms." in in_one_line(page)


def test_a_class_without_test_images_has_no_shares_and_many_classes_no_table(tmp_path):
    names = [str(number) for number in range(MAX_CLASSES + 1)]
    predicted(tmp_path, [record("none", 0, 0.5)], names)
    covered = collect([tmp_path])
    found = confusions(covered, configurations(covered))
    assert found["none"].sum(axis="columns").tolist() == pytest.approx([100] * 3 + [0] * (MAX_CLASSES - 2))
    assert found["none"].loc["3"].isna().all()
    assert confusion_rows(found) == []
    page = write_report([tmp_path]).read_text()
    assert "Which classes are taken for which?" in page
    assert "Predicted classes of the test images" not in page


@pytest.mark.parametrize("problem", ["missing", "damaged", "another class", "a class below 0", "an old file"])
def test_without_the_predicted_classes_there_is_none(tmp_path, problem):
    folder = tmp_path / "pets"
    predicted(folder, [record("none", seed, 0.5) for seed in range(2)])
    source, file = folder, folder / "trials" / "none-seed1" / "predictions.npz"
    if problem == "missing":
        file.unlink()
    elif problem == "damaged":
        file.write_bytes(b"PK")
    elif problem == "another class":
        np.savez(file, ids=np.arange(60), labels=LABELS, predicted=np.full(60, 3))
    elif problem == "a class below 0":
        np.savez(file, ids=np.arange(60), labels=LABELS, predicted=np.full(60, -1))
    else:
        source = tmp_path / "pets.jsonl"
        main([str(folder), "--keep", str(source), "--output", str(tmp_path / "out")])
        head, *lines = map(json.loads, source.read_text().splitlines())
        for line in lines:
            assert len(line.pop("wrong")) > 0
        source.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))
    covered = collect([source])
    assert confusions(covered, configurations(covered)) == {}


def test_a_kept_study_with_other_classes_than_it_needs_is_damaged(tmp_path):
    predicted(tmp_path / "pets", [record("none", seed, 0.5) for seed in range(2)])
    kept = tmp_path / "pets.jsonl"
    main([str(tmp_path / "pets"), "--keep", str(kept), "--output", str(tmp_path / "out")])
    head, first, second = map(json.loads, kept.read_text().splitlines())
    number = len(first["wrong"])
    for wrong, message in (
        ([1], f"{number} test images are not right, found the classes of 1"),
        ([1.5] * number, "a predicted class is not a whole number of at least 0"),
        ([-1] * number, "a predicted class is not a whole number of at least 0"),
    ):
        kept.write_text("".join(json.dumps(line) + "\n" for line in (head, first | {"wrong": wrong}, second)))
        assert message in collect([kept]).damaged[0]
