"""A study's folder may come from anybody: what is wrong in it costs a line, not the report, and harms nobody."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from test_contrasts import answered
from test_page import compare, png, printed

from gan_augment.records.record import read_record
from gan_augment.report import outcomes
from gan_augment.report.archive import read_archive, write_archive
from gan_augment.report.outcomes import NoPredictionsError, read_folder
from gan_augment.report.page import main, write_report
from gan_augment.report.trials import collect

SECRET = "nobody may read this"
ODD = "gan-seed3"  # the trial that is damaged


pytestmark = pytest.mark.usefixtures("nothing_hangs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, _ = answered(tmp_path_factory.mktemp("whole") / "digits", {"none": 0.5, "gan": 0.8})
    for path in folder.glob("trials/gan-*"):
        (path / "samples.png").write_bytes(png(path.name))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    return shutil.copytree(whole, tmp_path / "digits")


def is_link(path):
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def leads_out(path):
    path.unlink()
    path.symlink_to(next(folder / "secret" for folder in path.parents if (folder / "secret").exists()))


def leads_nowhere(path):
    path.unlink()
    path.symlink_to("nowhere")


def is_zero(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def is_pipe(path):
    path.unlink()
    os.mkfifo(path)


def is_huge(path):
    os.truncate(path, 2**27)


def is_folder(path):
    path.unlink()
    path.mkdir()


def holds(content):
    return lambda path: path.write_bytes(content)


def changed(**changes):
    """Change values of a record, by dotted names."""

    def change(path):
        record = json.loads(path.read_text())
        for name, value in changes.items():
            *nodes, last = name.split("__")
            place = record
            for node in nodes:
                place = place[node]
            place[last] = value
        path.write_text(json.dumps(record))

    return change


def without(name):
    def change(path):
        record = json.loads(path.read_text())
        del record[name]
        path.write_text(json.dumps(record))

    return change


FILES = [is_link, leads_out, is_zero, is_pipe, is_folder, is_huge, holds(b""), holds(b"\xff\xfe\0")]
RECORDS = [
    *(holds(text) for text in (b"[]", b"null", b"7", b'"x"', b"[" * 10**5, b'{"schema": "1.8"}')),
    holds(b'{"schema": ' + b"9" * 5000 + b"}"),
    *map(without, ("status", "factors", "metrics", "provenance")),
    changed(status="fine"),
    changed(status=["ok"]),
    changed(error={"x": 1}),
    changed(metrics=[1]),
    changed(metrics__test=3),
    changed(metrics__test__accuracy="high"),
    changed(metrics__test__accuracy=17.0),
    changed(metrics__test__accuracy=10**400),
    changed(metrics__test__per_class=[1]),
    changed(metrics__test__per_class={"a": "b"}),
    changed(metrics__gan={"confusion_matrix": "x"}),
    changed(metrics__gan={"confusion_matrix": [[-1]]}),
    changed(metrics__gan={"per_class": [2]}),
    changed(metrics__gan={"judge_frechet_distance": "x"}),
    changed(factors=None),
    changed(factors={"augmentation": {"x": []}}),
    changed(factors__labels=float("nan")),
    changed(factors__labels=-5),
    changed(factors__folds="x"),
    changed(costs=3),
    changed(costs={"seconds": {"total": {"spent": "x"}}}),
    changed(costs={"seconds": 1}),
    changed(saw=[]),
    changed(saw={"labelled": "x"}),
    changed(saw={"rare_classes": "abc"}),
    changed(saw={"rare_classes": [1]}),
    changed(notes="abc"),
    changed(notes=[1, [2]]),
    changed(warnings={"x": 1}),
    changed(compared={"x": 1}),
    changed(provenance=None),
    changed(provenance__reads={"gan": 3}),
    changed(provenance__reads=[1]),
    changed(provenance__overlap="x"),
    changed(provenance__test_images="many"),
    changed(provenance__commit=7),
    changed(provenance__versions={"torch": 2.1}),
    changed(result={"accuracy": "x"}),
    changed(new={str(number): number for number in range(10**5 + 1)}),
]


@pytest.mark.parametrize("harm", RECORDS)
def test_a_record_of_another_shape_is_refused_in_a_line(whole, tmp_path, harm):
    path = tmp_path / "record.json"
    shutil.copy(whole / "trials" / ODD / "record.json", path)
    harm(path)
    with pytest.raises(ValueError, match=r"^.*/record\.json is not a readable record: .+$"):
        read_record(path)


@pytest.mark.parametrize("harm", [*FILES, leads_nowhere, changed(metrics__test__accuracy="high")])
def test_a_damaged_record_is_one_line_and_the_others_are_compared(folder, harm):
    harm(folder / "trials" / ODD / "record.json")
    study = collect([folder])
    (line,) = study.damaged
    assert line.startswith(f"{ODD} is left out: {folder}/trials/{ODD}/record.json ")
    assert "\n" not in line
    assert SECRET not in line
    assert len(study.outcomes) == 15


def test_the_line_is_on_the_page_and_in_the_terminal(folder):
    for seed, harm in enumerate((is_pipe, holds(b"{"), leads_out)):
        harm(folder / "trials" / f"gan-seed{seed}" / "record.json")
    page = write_report([folder]).read_text()
    text = " ".join(printed(folder).split())
    assert page.count("is left out: ") == text.count("is left out: ") == 3
    assert SECRET not in page + text
    assert compare(folder)["gan against none"].estimate.num_pairs == 5


@pytest.mark.parametrize("harm", [*FILES, holds(b'{"requested": 3}'), changed(requested="x"), changed(looks=[-1])])
def test_a_damaged_study_file_is_a_line_too(folder, harm):
    harm(folder / "study.json")
    study = collect([folder])
    (line,) = study.damaged
    assert line.startswith(f"{folder}/study.json ")
    assert line.endswith(": all trials in the folder are compared")
    assert SECRET not in line
    assert len(study.outcomes) == 16


def test_looks_that_are_lost_are_named(folder):
    launch = folder / "launches" / "one"
    launch.mkdir(parents=True)
    (folder / "study.json").rename(launch / "request.json")
    (folder / "study.json").write_text("{")
    unreadable, lost = collect([folder]).damaged
    assert unreadable.startswith(f"{folder}/study.json is not a readable record: ")
    assert lost.startswith("study.json lists the looks at earlier reports: if you added seeds after one, the verdicts ")


def packed(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def bomb():
    """16 kilobytes that unpack to 16 megabytes."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members,
        members.open("ids.npy", "w", force_zip64=True) as ids,
    ):
        np.lib.format.write_array_header_1_0(ids, {"descr": "|u1", "fortran_order": False, "shape": (2**24,)})
        for _ in range(2**4):
            ids.write(bytes(2**20))
    return file.getvalue()


def lying(shape):
    """An array whose header promises more than there is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members, members.open("ids.npy", "w") as ids:
        np.lib.format.write_array_header_1_0(ids, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


N = np.arange(60)
PREDICTIONS = [
    *FILES,
    *(holds(content) for content in (lying((10**12,)), lying((10**7, 10**7)), packed(ids=N), packed())),
    holds(packed(ids=N, labels=N, predicted=N[:3])),
    holds(packed(ids=N[:3], labels=N, predicted=N)),
    holds(packed(ids=N * 0, labels=N, predicted=N)),
    holds(packed(ids=N, labels=N, predicted=N, groups=N[:2])),
    holds(packed(ids=N * 1.5, labels=N, predicted=N)),
    holds(packed(ids=N[:, None], labels=N[:, None], predicted=N[:, None])),
    holds(packed(ids=N, labels=N.astype(str), predicted=N.astype(str))),
    holds(packed(ids=N, labels=N, probabilities=np.zeros(3))),
    holds(packed(ids=np.array([{}], dtype=object), labels=N, predicted=N)),
]


@pytest.mark.parametrize("harm", PREDICTIONS)
def test_damaged_predictions_are_named(whole, tmp_path, harm):
    shutil.copytree(whole / "trials" / ODD, tmp_path / "trials" / ODD)
    (tmp_path / "secret").touch()
    harm(tmp_path / "trials" / ODD / "predictions.npz")
    (outcome,) = read_folder(tmp_path)[1]
    with pytest.raises(NoPredictionsError, match=f"^the predictions of {ODD} cannot be read$"):
        outcome.answers()


def test_a_bomb_is_not_unpacked(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "MOST_BYTES", 2**20)
    monkeypatch.setattr("numpy.load", None)
    test_damaged_predictions_are_named(whole, tmp_path, holds(bomb()))


def test_damaged_predictions_cost_the_interval_for_new_images_and_no_more(folder):
    is_pipe(folder / "trials" / ODD / "predictions.npz")
    contrast = compare(folder)["gan against none"]
    assert contrast.no_new_images == f"the predictions of {ODD} cannot be read"
    assert contrast.estimate.num_pairs == 8


@pytest.mark.parametrize(
    "harm",
    [*FILES, holds(SECRET.encode()), holds(png("", (10**5, 10**5))), holds(png("", (0, 5))), holds(png("")[:20])],
)
def test_a_picture_that_is_none_is_a_line(whole, tmp_path, harm):
    shutil.copytree(whole / "trials" / ODD, tmp_path / "trials" / ODD)
    (tmp_path / "secret").write_text(SECRET)
    harm(tmp_path / "trials" / ODD / "samples.png")
    (outcome,), (line,) = read_folder(tmp_path)[1:]
    assert line.startswith(f"{tmp_path}/trials/{ODD}/samples.png ")
    assert line.endswith(": it is not shown")
    assert outcome.samples is None


def test_another_picture_of_the_generator_is_shown_in_its_place(folder):
    leads_out(folder / "trials" / "gan-seed0" / "samples.png")
    page = write_report([folder]).read_text()
    assert "gan, trial gan-seed1." in page
    assert "samples.png is a link" in page


def test_a_trial_s_folder_that_is_a_link_is_left_out(folder):
    shutil.move(folder / "trials" / ODD, folder.parent / "elsewhere")
    (folder / "trials" / ODD).symlink_to(folder.parent / "elsewhere")
    lines = collect([folder]).damaged
    assert [line.split(":")[0] for line in lines] == [f"{ODD} is left out"]


@pytest.mark.parametrize("name", ["report", "report/samples"])
def test_nothing_is_written_or_deleted_through_a_link(folder, name, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    mine = folder.parent / "mine"
    mine.mkdir()
    (mine / "photo.png").write_text("mine")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(mine)
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert f"{folder / name} is a link" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("photo.png", "mine")]
    main([str(folder), "--output", str(folder.parent / "out")])  # as the message says
    assert (folder.parent / "out" / "report.html").exists()


@pytest.mark.parametrize("named", ["../../secret.png", "/etc/hostname", "samples/../../secret.png", "samples/link.png"])
def test_an_archive_shows_no_other_pictures_of_its_reader(whole, tmp_path, named):
    path = tmp_path / "kept" / "digits.jsonl"
    (path.parent / "samples").mkdir(parents=True)
    for file in (path.parent / "samples" / "01-gan.png", tmp_path / "secret.png", tmp_path.parent / "secret.png"):
        file.write_bytes(png(""))
    (path.parent / "samples" / "link.png").symlink_to(tmp_path / "secret.png")
    samples, sheet = {ODD: path.parent / "samples" / "01-gan.png"}, path.parent / "samples" / "f.png"
    sheet.write_bytes(png(""))
    outcomes = read_folder(whole)[1]
    for one in outcomes:
        one.record["provenance"]["fingerprint"] = "f"
    write_archive([{"study": "x"}], outcomes, samples, path, [sheet])
    assert {one.sheet for one in read_archive(path)[1]} == {sheet}
    assert [one.samples for one in read_archive(path)[1] if one.trial == ODD] == [
        path.parent / "samples" / "01-gan.png"
    ]
    path.write_text(path.read_text().replace("samples/01-gan.png", named).replace("samples/f.png", named))
    _, found, lines = read_archive(path)
    assert [line.endswith(": it is not shown") for line in lines] == [True, True]
    assert not any(one.samples or one.sheet for one in found)


EVIL = "=x\x1b[31m\u202e<b>\u200b\ud800"


def test_texts_from_elsewhere_are_printed_without_what_acts(folder):
    for path in folder.glob("trials/gan-*/record.json"):
        record = json.loads(path.read_text())
        record["factors"] |= {"loss": EVIL, "data": EVIL}
        record |= {"notes": [EVIL], "warnings": [EVIL], EVIL: "y"}
        record["metrics"]["test"]["per_class"] = {EVIL: 0.5}
        path.write_text(json.dumps(record))
    study = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(study | {"study": EVIL, "command": EVIL}))
    page = write_report([folder])
    texts = [page.read_text(), (folder / "report" / "results.csv").read_text(), printed(folder, 200)]
    for text in texts:
        assert not set("\x1b\u202e\u200b\ud800") & set(text)
        assert "x[31m" in text
    assert "<b>" not in texts[0]
    header, *rows = texts[1].splitlines()
    assert "'=x[31m<b>" in header.split(",")
    assert not any(one.startswith("=") for row in [header, *rows] for one in row.split(","))


def test_the_name_of_a_folder_is_printed_without_what_acts(folder):
    odd = folder / "trials" / ODD
    odd.rename(odd.with_name("a\x1b[31m\u202eb"))
    (odd.with_name("a\x1b[31m\u202eb") / "record.json").write_text("{")
    (line,) = collect([folder]).damaged
    assert not set("\x1b\u202e") & set(line)
    assert line.startswith("a[31mb is left out: ")
