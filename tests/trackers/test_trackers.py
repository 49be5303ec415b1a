"""Trackers get the trials of a study once each, from its records and curves, and offline."""

import json
import shutil
import struct

import pandas as pd
import pytest
from torch.utils.tensorboard import SummaryWriter

from conftest import TINY
from gan_augment.records.record import SCHEMA, write_json
from gan_augment.trackers import export
from gan_augment.trackers.run import Run

LOSSES = (0.5, 0.25, 0.125)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return the folder of a study with two trials, one of which has a curve and a picture."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "outputs" / "studies" / "few"
    for arm in ("none", "gan"):
        trial = folder / "trials" / f"{arm}-seed0"
        (trial / "pictures").mkdir(parents=True)
        record = {
            **{"schema": SCHEMA, "trial": trial.name, "status": "ok", "error": None},
            "factors": {"augmentation": arm, "seeds.split": 0, "seeds.classifier": 0, "loss": None},
            "metrics": {"test": {"accuracy": 0.75, "per_class": {"a (b)": None}}},
            "provenance": {"test_opened": "2026-01-01T00:00:00+00:00", "split": "abc", "commit": "def"},
        }
        write_json(record, trial / "record.json")
    (trial / "pictures" / "usable.png").write_bytes(b"picture")
    with SummaryWriter(trial / "tensorboard" / "gan") as writer:
        for number, loss in enumerate(LOSSES):
            writer.add_scalar("loss/generator", loss, 64 * number)
    (folder / "report").mkdir()
    (folder / "report" / "report.html").write_text("<html>")
    return folder


def change(study, accuracy):
    path = study / "trials" / "gan-seed0" / "record.json"
    record = json.loads(path.read_text())
    record["metrics"]["test"]["accuracy"] = accuracy
    write_json(record, path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside MLflow
def test_mlflow_has_each_trial_once_as_it_is_now(study, capsys):
    mlflow = pytest.importorskip("mlflow")
    export.export_trial(study / "trials" / "gan-seed0", "mlflow", study.parents[1])
    assert export.export_study([study], "mlflow")[:2] == (1, 1)  # what its trial has handed over stays
    added, there, place = export.export_study([study], "mlflow")
    assert (added, there) == (0, 2)
    assert place.startswith("mlflow ui --backend-store-uri sqlite:///")
    change(study, 0.875)
    assert export.export_study([study], "mlflow")[:2] == (1, 1)
    client = mlflow.MlflowClient(place.split()[-1])
    experiment = client.get_experiment_by_name("few")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert runs.keys() == {"none-seed0", "gan-seed0", "report"}
    gan = runs["gan-seed0"]
    assert gan.info.status == "FINISHED"
    assert gan.data.metrics["test.accuracy"] == 0.875
    assert gan.data.params["augmentation"] == "gan"
    curve = client.get_metric_history(gan.info.run_id, "gan/loss/generator")
    assert [(one.step, one.value) for one in curve] == [(64 * number, loss) for number, loss in enumerate(LOSSES)]
    assert [one.path for one in client.list_artifacts(gan.info.run_id, "pictures")] == ["pictures/usable.png"]
    assert [one.path for one in client.list_artifacts(runs["report"].info.run_id)] == ["report.html"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside MLflow
def test_a_run_of_mlflow_that_was_not_added_whole_is_added_again(study, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export.export_study([study], "mlflow")
    added, there, place = export.export_study([study], "mlflow")
    assert (added, there) == (2, 0)
    client = mlflow.MlflowClient(place.split()[-1])
    assert len(client.search_runs([client.get_experiment_by_name("few").experiment_id])) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside MLflow
def test_a_run_of_somebody_else_with_the_same_name_stays(study, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    other = tmp_path / "others" / "studies" / "few"
    shutil.copytree(study, other)
    change(other, 0.875)
    server = tmp_path / "server"
    server.mkdir()
    for folder in (study, other, study):
        *_, place = export.export_study([folder], "mlflow", server)
    client = mlflow.MlflowClient(place.split()[-1])
    found = client.search_runs([client.get_experiment_by_name("few").experiment_id])
    assert sorted(one.info.run_name for one in found) == ["gan-seed0", "gan-seed0", "none-seed0", "report"]


def logged(content):
    """Yield the records of a file in the log format of LevelDB, in which W&B writes, after a head of 7 bytes."""
    whole, place = b"", 7
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15  # of this block
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if left < 7 or kind == 0:
            place += left
            continue
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or the last piece
            yield whole
            whole = b""


def test_wandb_gets_folders_that_can_be_read_back(study):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    assert export.export_study([study], "wandb")[:2] == (2, 0)
    assert export.export_study([study], "wandb")[:2] == (0, 2)
    change(study, 0.875)
    assert export.export_study([study], "wandb")[:2] == (1, 1)
    folders = [*(study.parents[1] / "wandb").glob("offline-run-*")]
    assert len(folders) == 2
    found = {}
    for folder in folders:
        (file,) = folder.glob("*.wandb")
        records = [*map(Record.FromString, logged(file.read_bytes()))]
        (run,) = [one.run for one in records if one.WhichOneof("record_type") == "run"]
        found[run.display_name] = run, records
    run, records = found["gan-seed0"]
    assert (run.project, run.run_group) == ("few", "gan")
    assert {one.key: json.loads(one.value_json) for one in run.config.update}["augmentation"] == "gan"
    history = [one.history for one in records if one.WhichOneof("record_type") == "history"]
    rows = [{"/".join(item.nested_key) or item.key: item.value_json for item in one.item} for one in history]
    assert [float(row["gan/loss/generator"]) for row in rows] == [*LOSSES]
    summary = {item.key: item.value_json for one in records for item in one.summary.update}
    assert summary["test.accuracy"] == "0.875"


def test_tables_have_a_row_for_each_trial_and_each_point(study):
    assert export.export_study([study], "csv")[:2] == (2, 0)
    folder = study.parents[1] / "csv" / "few"
    trials, curves = (pd.read_csv(folder / f"{name}.csv") for name in ("trials", "curves"))
    assert [*trials["trial"]] == ["gan-seed0", "none-seed0"]
    assert [*curves["value"]] == [*LOSSES]
    assert {*curves["curve"]} == {"gan/loss/generator"}


def test_a_kept_study_has_no_curves_and_all_else(study, tmp_path, capsys):
    from gan_augment.report.page import main

    main([str(study), "--keep", str(tmp_path / "few.jsonl")])
    export.main([str(tmp_path / "few.jsonl"), "--to", "csv"])
    assert capsys.readouterr().out.endswith(f"2 trials added, 0 were there already: {tmp_path}/csv/few\n")
    assert len(pd.read_csv(tmp_path / "csv" / "few" / "trials.csv")) == 2


def test_links_are_not_followed(study, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    trial = study / "trials" / "gan-seed0"
    (trial / "link.png").symlink_to(secret)
    (trial / "tensorboard" / "linked").symlink_to(tmp_path, target_is_directory=True)
    run = Run.read(trial)
    assert [path.name for path in run.files] == ["record.json", "usable.png"]
    assert [name for name, _ in run.curves()] == ["gan/loss/generator"]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("logger=csv", "logger=csv: use one of mlflow, wandb"),
        ("logger=mlflow", "mlflow is not installed: pip install 'gan-augment[mlflow]'"),
    ],
)
def test_a_logger_that_cannot_work_is_refused_before_anything_trains(cli, tmp_path, monkeypatch, setting, line):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    ended = cli("-m", "augmentation=none", setting, *TINY, f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (1, f"gan-augment: {line}\n")


def test_trials_are_handed_over_at_their_end_and_a_failure_is_a_line(cli, tmp_path, monkeypatch):
    taken = []

    class Fake(export.Tracker):
        place = "nowhere"

        def __init__(self, folder):
            assert folder == tmp_path

        def has(self, run):
            return False

        def add(self, run):
            taken.append(run.trial)
            if len(taken) == 2:
                raise RuntimeError("the server is away")

    monkeypatch.setitem(export.TRACKERS, "mlflow", Fake)
    words = [word for word in TINY if not word.startswith("measures")] + ["measures=[]"]
    ended = cli(
        "-m", "study=s", "augmentation=none", "seed=0,1", "logger=mlflow", *words, f"paths.output_dir={tmp_path}"
    )
    assert ended.code == 0, ended.err
    assert [trial.rpartition("-")[0] for trial in taken] == ["none-seed0", "none-seed1"]
    said = f"{taken[1]} was not handed to mlflow: RuntimeError: the server is away; gan-augment-export does so later"
    assert said in ended.out + ended.err
