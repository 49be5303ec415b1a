import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_contrasts import answered, store
from test_page import compare, in_one_line, planted, png, printed, record, study

from gan_augment.report.archive import read_archive, write_archive
from gan_augment.report.comparison import warnings
from gan_augment.report.outcomes import Outcome
from gan_augment.report.page import main, write_report
from gan_augment.report.trials import collect

NEEDED = {"status": "ok", "factors": {}, "metrics": {}, "provenance": {}}


def text(content):
    """JSON tells 1 from 1.0 and True, and one order of fields from another, as == does not."""
    return json.dumps(content)


def kept(records, path, launches=({"study": "digits"},)):
    write_archive(launches, [Outcome("digits", one) for one in records], {}, path)
    return [outcome.record for outcome in read_archive(path)[1]]


def keep(sources, path, output):
    """Write a report on a study that it keeps in a file."""
    main([*map(str, sources), "--keep", str(path), "--output", str(output)])
    return (output / "report.html").read_text()


def test_records_come_back_in_every_digit_and_order(tmp_path):
    records = [
        {"trial": "a", "x": 0.1 + 0.2, "y": {"b": 1e-300, "a": [1, [2.0, None]]}, "z": None, "w": 1, "empty": {}},
        {"trial": "b", "x": 0.1 + 0.2, "y": {"b": 2**0.5, "a": [1, [2.0, None]]}, "z": None, "w": True, "empty": {}},
        {"trial": "c", "x": None, "y": {"b": 1e-300, "a": []}, "z": "é", "w": 1.0, "empty": {}},
        {"trial": "d", "x": 0.1 + 0.2, "y": {"a": [], "b": 1e-300}, "z": None, "w": 1, "empty": {}},  # another order
        {"trial": "e", "y": {"b": 1e-300}, "z": {"b": 1}, "w": 1, "empty": None},  # other fields
        {"trial": "f", "y": {"b": 1e-300}, "z": {"b": 1}, "w": 1, "empty": None},
    ]
    records = [{**NEEDED, **one} for one in records]
    assert text(kept(records, tmp_path / "x.jsonl")) == text(records)


def test_what_records_have_in_common_is_written_once(tmp_path):
    records = [
        {**NEEDED, "trial": str(number), "settings": {"name": "common"}, "accuracy": number / 3} for number in range(9)
    ]
    kept(records, tmp_path / "x.jsonl")
    content = (tmp_path / "x.jsonl").read_text()
    assert content.count("common") == 1
    assert content.count("settings") == 1
    assert len(content.splitlines()) == 1 + 9


def with_pictures(folder):
    for path in folder.glob("trials/gan-*"):
        (path / "samples.png").write_bytes(png(path.name))
    return folder


def files_under(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_kept_study_gives_the_report_of_its_folder(tmp_path):
    folder, _ = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8})
    study(folder, [record("gan", 9, None, status="diverged"), record("gan", 10, None, status="failed")])
    path, docs = tmp_path / "results" / "digits.jsonl", tmp_path / "docs" / "digits"
    (folder / "images").mkdir()
    (folder / "images" / "f.png").write_bytes(png("contact sheet"))
    keep([with_pictures(folder)], path, docs)
    before = files_under(tmp_path)
    expected = compare(folder)["gan against none"]
    shutil.rmtree(folder)

    contrast = compare(path)["gan against none"]
    assert contrast.new_images is not None
    assert contrast.new_images == expected.new_images
    assert contrast.sentence == expected.sentence
    page = keep(
        [tmp_path / "results" / "digits.jsonl"], tmp_path / "results" / "digits.jsonl", tmp_path / "docs/digits"
    )
    assert "gan, trial gan-seed0." in page
    after = files_under(tmp_path)
    assert after == {path: content for path, content in before.items() if path.parts[0] != "digits"}
    assert (docs / "samples" / "01-gan.png").read_bytes() == png("gan-seed0")
    assert (docs / "samples" / "f.png").read_bytes() == png("contact sheet")
    shown = re.findall(r'src="data:image/png;base64,([^"]*)" alt="Some images of each class', page)
    assert [base64.b64decode(each) for each in shown] == [png("contact sheet")]
    (docs / "samples" / "f.png").unlink()
    assert "as they were read" not in keep([path], path, docs)


@pytest.mark.parametrize("num_images", [1, 8, 13])
def test_answers_come_back_image_by_image_and_test_sets_are_written_once(tmp_path, num_images):
    folder, right = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8}, num_images=num_images)
    ids, labels = np.arange(num_images)[::-1] + 70_000, np.arange(num_images) % 2
    other = np.random.default_rng(0).random(num_images) < 0.5
    study(folder, [record("mixup", 0, float(other.mean()))])
    store(folder, "mixup-seed0", other, ids=ids, labels=labels, groups=other + 1)
    path = tmp_path / "digits.jsonl"
    keep([folder], path, tmp_path / "out")
    found = {outcome.trial: outcome.answers() for outcome in read_archive(path)[1]}
    for (arm, seed), expected in right.items():
        np.testing.assert_array_equal(found[f"{arm}-seed{seed}"].right, expected)
        assert found[f"{arm}-seed{seed}"].groups is None
        np.testing.assert_array_equal(found[f"{arm}-seed{seed}"].ids, np.arange(num_images))
        np.testing.assert_array_equal(found[f"{arm}-seed{seed}"].labels, np.arange(num_images) % 3)
    predicted = np.where(other, labels, (labels + 1) % 3)
    for stored, expected in zip(found["mixup-seed0"], (ids, labels, other, other + 1, predicted), strict=True):
        np.testing.assert_array_equal(stored, expected)
    assert len(json.loads(path.read_text().splitlines()[0])["tests"]) == 2


def test_a_file_and_folders_merge_into_the_file(tmp_path):
    whole, _ = answered(tmp_path / "whole" / "digits", {"none": 0.5, "gan": 0.8})
    first, later = (tmp_path / name / "digits" for name in ("first", "later"))
    for part, arm in ((first, "none"), (later, "gan")):
        shutil.copytree(whole, part)
        for other in part.glob("trials/*"):
            if not other.name.startswith(f"{arm}-"):
                shutil.rmtree(other)
    path = tmp_path / "digits.jsonl"
    keep([first], path, tmp_path / "out")
    expected = keep([whole], tmp_path / "whole.jsonl", tmp_path / "out")
    for _ in range(2):  # what is there already changes nothing
        assert keep([path, later], path, tmp_path / "out") == expected
        assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert write_report([path], tmp_path / "out").read_text() == expected


def test_merged_studies_keep_their_names_launches_and_what_is_missing(tmp_path):
    names = ["none-seed0", "none-seed1"]
    study(tmp_path / "a", planted({"none": 0}, seeds=range(3)), requested=names)  # the third is not part of it
    study(tmp_path / "b", planted({"gan": 0}, seeds=range(2)), requested=["gan-seed0", "gan-seed1", "gan-seed2"])
    for name, base in (("a", "hinge"), ("b", "wgan")):
        launch = json.loads((tmp_path / name / "study.json").read_text())
        launch |= {"study": name, "command": f"gan-augment -m study={name}", "against": {"loss": base}}
        (tmp_path / name / "study.json").write_text(json.dumps(launch))
    path = tmp_path / "both.jsonl"
    page = keep([tmp_path / "a", tmp_path / "b"], path, tmp_path / "out")
    assert write_report([path], tmp_path / "out").read_text() == page
    covered = collect([path])
    assert list(covered.trials["trial"]) == ["gan-seed0", "gan-seed1", *names]
    assert covered.title == "a + b"
    assert covered.missing == ["gan-seed2"]
    assert covered.commands == ["gan-augment -m study=a", "gan-augment -m study=b"]
    assert "<dd>gan-augment -m study=a\ngan-augment -m study=b</dd>" in page
    assert covered.against == [{"loss": "hinge"}, {"loss": "wgan"}]
    assert "a/trials/none-seed0" in page
    assert "b/trials/gan-seed0" in page
    assert covered.left_out == ["none-seed2"]
    left_out = {"left_out": ["none-seed2"]}
    launches = [json.loads((tmp_path / name / "study.json").read_text()) | left_out for name in ("a", "b")]
    assert read_archive(path)[0] == launches


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_outcomes_of_a_trial_the_one_with_answers_counts(tmp_path, reverse):
    folder, _ = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8})
    without = shutil.copytree(folder, tmp_path / ("a" if reverse else "z"))
    for path in without.glob("trials/*"):
        (path / "predictions.npz").unlink()
        one = json.loads((path / "record.json").read_text())
        one["costs"]["peak_memory_mib"] = 0 if reverse else 9999
        (path / "record.json").write_text(json.dumps(one))
    keep([without], tmp_path / "without.jsonl", tmp_path / "out")
    assert compare(tmp_path / "without.jsonl")["gan against none"].new_images is None
    for sources in ([without, folder], [tmp_path / "without.jsonl", folder]):
        assert compare(*sources)["gan against none"].new_images is not None


def test_lost_answers_are_said_beside_the_verdicts(tmp_path):
    folder, _ = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8, "mixup": 0.5})
    for path in folder.glob("trials/gan-*/predictions.npz"):
        path.unlink()
    study(folder, [record("gan", 9, None, status="failed")])  # has no results to lose
    path = tmp_path / "digits.jsonl"
    page = keep([folder], path, tmp_path / "out")
    reason = "8 of 24 trials did not store which test images they got right"
    said = f"There is no interval for new images of gan against none: {reason}."
    assert said in in_one_line(page.split("<h2>What was compared")[0])
    assert said in in_one_line(printed(path))
    assert page.count("There is no interval for new images") == 1


def test_a_picture_that_is_missing_is_warned_of(tmp_path):
    folder = with_pictures(study(tmp_path / "digits", planted({"none": 0, "gan": 3})))
    path = tmp_path / "results" / "digits.jsonl"
    keep([folder], path, tmp_path / "docs")
    assert json.loads(path.read_text().splitlines()[1])["samples"] == "../docs/samples/01-gan.png"
    assert warnings(collect([path])) == []
    (tmp_path / "docs/samples/01-gan.png").unlink()
    missing = tmp_path / "results/../docs/samples/01-gan.png"
    assert warnings(collect([path])) == [f"pictures of samples are missing: {missing} of gan-seed0"]
    assert "<h2>How good are the generators?" not in write_report([path], tmp_path / "docs").read_text()


def replaced(old, new, line):
    def change(lines):
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced('"schema"', '"schema":"2.0","was"', 0), "has schema 2.0, this version reads up to"),
        (replaced('"schema"', '"was"', 0), "is not a readable record: schema=None is not a number"),
        (replaced('"tests"', '"was"', 0), "line 1 is damaged (KeyError: 'tests')"),
        (replaced('"labels":[0,', '"labels":[', 0), "line 1 is damaged (ValueError: a test set has 60 ids, 59 labels)"),
        (list.clear, "line 1 is damaged (ValueError: "),
        (lambda lines: lines.insert(0, "[" * 5000), "line 1 is damaged (ValueError: values are nested deeper than 32"),
    ],
)
def test_a_damaged_file_is_refused_in_a_line(tmp_path, capsys, monkeypatch, change, said):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    folder, _ = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8})
    path = tmp_path / "digits.jsonl"
    keep([folder], path, tmp_path / "out")
    capsys.readouterr()
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines))
    with pytest.raises(SystemExit) as stop:
        main([str(path), "--output", str(tmp_path / "out")])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gan-augment-report: {path}")
    assert said in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("}", "", 3), "line 4 is damaged (JSONDecodeError: "),
        (replaced('"right":"', '"right":"AAAA', 2), "60 test images take 8 bytes of answers, found 11"),
        (replaced('"right":"', '"right":"!', 2), "line 3 is damaged (Error: "),
        (replaced('"test":0', '"test":1', 2), "line 3 is damaged (ValueError: test set 1 is unknown: the file has 1)"),
        (replaced('"template":', '"template":-1', 2), "template -1"),
        (replaced('"record":{', '"record":{"odd":1,', 1), "its template has no field odd"),
        (replaced('"record":{', '"record":5,"was":{', 1), "line 2 is damaged (AttributeError: "),
        (replaced('{"accuracy":0', '{"accuracy":7', 1), "line 2 is damaged (ValueError: metrics.test.accuracy=7"),
        (lambda lines: lines.append("[" * 5000), "line 18 is damaged (ValueError: values are nested deeper than 32"),
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_compared(tmp_path, capsys, monkeypatch, change, said):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    folder, _ = answered(tmp_path / "digits", {"none": 0.5, "gan": 0.8})
    path = tmp_path / "digits.jsonl"
    keep([folder], path, tmp_path / "out")
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines))
    damaged = [line for line in warnings(collect([path])) if "is damaged" in line]
    assert len(damaged) == 1
    assert damaged[0].startswith(f"{path}, line ")
    assert said in damaged[0]
    assert compare(path)["gan against none"].estimate.num_pairs >= 7
    with pytest.raises(SystemExit):  # keeping it would lose the damaged trial for good
        keep([path], path, tmp_path / "out")
    assert f"so {path} is not written" in capsys.readouterr().err
    assert path.read_text() == "\n".join(lines)


def test_predictions_that_cannot_be_read_are_not_left_out_unsaid(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    folder, _ = answered(tmp_path / "digits", {"none": 0.5})  # a single arm: nothing is compared
    broken = folder / "trials" / "none-seed3" / "predictions.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    path = tmp_path / "digits.jsonl"
    with pytest.raises(SystemExit) as stop:
        keep([folder], path, tmp_path / "out")
    assert stop.value.code == 1
    said = (
        f"the predictions of none-seed3 cannot be read, so {path} is not written: delete them to keep the study anyway"
    )
    assert capsys.readouterr().err == f"gan-augment-report: {said}\n"
    assert not path.exists()
    broken.unlink()
    keep([folder], path, tmp_path / "out")
    assert [outcome.trial for outcome in read_archive(path)[1] if not outcome.answers] == ["none-seed3"]


def test_a_file_that_is_not_there_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "digits.jsonl")])
    assert f"No such file or directory: '{tmp_path / 'digits.jsonl'}'" in capsys.readouterr().err


def test_a_study_is_kept_in_a_jsonl_file_alone(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--keep", "results/digits"])
    assert stop.value.code == 2
    assert "results/digits does not end in .jsonl: use a file such as results/digits.jsonl" in capsys.readouterr().err


def test_the_report_on_a_file_goes_to_a_folder_with_its_name(tmp_path):
    keep([study(tmp_path / "digits", planted({"none": 0, "gan": 3}))], tmp_path / "kept.jsonl", tmp_path / "out")
    assert write_report([tmp_path / "kept.jsonl"]) == tmp_path / "kept" / "report" / "report.html"


@pytest.mark.parametrize("study", ["probe_sn", "probe_weak"])
def test_a_kept_study_without_baselines_is_read(study):
    found = read_archive(Path(__file__).parents[2] / "results" / f"{study}.jsonl")
    assert found[0][0]["against"] is None
    assert len(found[1]) == {"probe_sn": 4, "probe_weak": 2}[study]
