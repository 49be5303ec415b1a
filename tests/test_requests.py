"""Several launches of one study: each keeps its own request, and the report is on all of them."""

import json
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

sys.path.append(str(Path(__file__).parent / "report"))

from test_page import record

from conftest import TINY
from gan_augment.records.request import read_requests
from gan_augment.report.comparison import warnings
from gan_augment.report.trials import collect

LAUNCH = ("-m", "study=shared", *TINY)


@pytest.fixture
def stubbed(monkeypatch):
    """Run `gan-augment` with jobs that only write records, and without a report."""

    def use():
        def job(config):
            arm, seed = HydraConfig.get().runtime.choices.augmentation, config.seed
            folder = Path(config.paths.output_dir) / "studies" / config.study
            trial = read_requests(folder)[-1]["jobs"][" ".join(HydraConfig.get().overrides.task)]
            (folder / "trials" / trial).mkdir(parents=True, exist_ok=True)
            (folder / "trials" / trial / "record.json").write_text(
                json.dumps(record(arm, seed, 0.8) | {"trial": trial})
            )

        monkeypatch.setattr("gan_augment.app.run_job", job)
        monkeypatch.setattr("gan_augment.launch.report", lambda folder: True)

    return use


def arms(study):
    return sorted({trial.split("-seed")[0] for trial in study.outcomes})


def test_the_report_is_on_all_launches_of_a_study(cli, tmp_path, stubbed):
    stubbed()
    output = f"paths.output_dir={tmp_path}"
    first = cli(*LAUNCH, "augmentation=none", "seed=0,1", output)
    second = cli(*LAUNCH, "augmentation=classical", "seed=0,1", output)
    assert (first.code, second.code) == (0, 0)
    assert "note" not in first.out
    more = "note: the report also covers 2 trials of earlier launches; study=... starts a new study\n"
    assert f"study shared: 2 trials\n{more}" in second.out
    study = collect([tmp_path / "studies" / "shared"])
    assert (arms(study), len(study.launches), study.missing, study.left_out) == (["classical", "none"], 2, [], [])
    again = cli(*LAUNCH, "augmentation=classical", "seed=0,1", output)
    assert "2 trials of earlier launches" in again.out
    assert len(collect([tmp_path / "studies" / "shared"]).launches) == 2


def test_launches_at_the_same_time_do_not_take_each_other_s_trials(cli, tmp_path, stubbed, monkeypatch):
    output, other = f"paths.output_dir={tmp_path}", tmp_path / "studies" / "shared" / "launches" / "other"

    def meanwhile(folder):  # before the report, another launch of the study has begun
        content = read_requests(folder)[-1]
        other.mkdir()
        names = {"requested": ["gan-seed0-abc"], "jobs": {"augmentation=gan seed=0": "gan-seed0-abc"}}
        (other / "request.json").write_text(json.dumps(content | names))
        return True

    stubbed()
    monkeypatch.setattr("gan_augment.launch.report", meanwhile)
    assert cli(*LAUNCH, "augmentation=none", "seed=0", output).code == 0
    study = collect([tmp_path / "studies" / "shared"])
    assert (arms(study), study.missing) == (["none"], ["gan-seed0-abc"])


def request(folder, number, jobs, **changes):
    """Write the request of a launch."""
    path = folder / "launches" / f"2026-01-0{number}" / "request.json"
    path.parent.mkdir(parents=True)
    content = {
        "schema": "1.8",
        "study": "s",
        "requested": [*jobs.values()],
        "jobs": jobs,
        "against": {},
        "command": "c",
    }
    path.write_text(json.dumps(content | changes))
    return path


def records(folder, *names):
    for name in names:
        path = folder / "trials" / name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record(name.split("-")[0], 0, 0.8) | {"trial": name}))


def test_the_same_settings_later_replace_a_trial_and_it_is_named(tmp_path):
    request(tmp_path, 1, {"a=1": "none-seed0-1", "a=2": "gan-seed0-1"})
    request(tmp_path, 2, {"a=2": "gan-seed0-2", "a=3": "none-seed0-1"})  # the images have changed, say
    records(tmp_path, "none-seed0-1", "gan-seed0-1", "gan-seed0-2", "mixup-seed0-1")
    study = collect([tmp_path])
    assert [*study.outcomes] == ["gan-seed0-2", "none-seed0-1"]
    assert study.left_out == ["gan-seed0-1", "mixup-seed0-1"]
    assert (
        "trials that are left out, because no launch of the study asks for them or a later one replaced them: "
        "2 (gan-seed0-1, mixup-seed0-1)"
    ) in warnings(study)


def test_a_study_of_an_earlier_version_counts_as_a_launch(tmp_path):
    old = {"schema": "1.8", "study": "s", "requested": ["none-seed0-1"], "against": {}, "command": "c", "looks": [6]}
    (tmp_path / "study.json").write_text(json.dumps(old))
    request(tmp_path, 1, {"a=1": "gan-seed0-1"})
    records(tmp_path, "none-seed0-1", "gan-seed0-1")
    study = collect([tmp_path])
    assert ([*study.outcomes], study.left_out, study.looks) == (["gan-seed0-1", "none-seed0-1"], [], {6})


@pytest.mark.parametrize(
    ("file", "content"), [("study.json", ""), ("request.json", ""), ("record.json", ""), ("record.json", "{}")]
)
def test_a_damaged_file_of_a_study_is_set_aside_and_made_again(cli, tmp_path, stubbed, file, content):
    stubbed()
    command = (*LAUNCH, "augmentation=none", "seed=0", f"paths.output_dir={tmp_path}")
    folder = tmp_path / "studies" / "shared"
    assert cli(*command).code == 0
    path = next(folder.rglob(file), folder / file)  # a study has no study.json before it has looks
    path.write_text(content)
    ended = cli(*command)
    assert ended.code == 0
    (line,) = [line for line in (ended.out + ended.err).splitlines() if "is damaged" in line]
    assert f"{path} is damaged (" in line
    assert line.endswith(f"set aside as {file}.damaged, and made again when needed")
    assert [*collect([folder]).outcomes] == read_requests(folder)[-1]["requested"]
    assert path.with_name(f"{file}.damaged").read_text() == content


def test_studies_without_a_name_are_told_apart_by_their_settings(cli, tmp_path, stubbed):
    stubbed()
    output = f"paths.output_dir={tmp_path}"
    launches = [
        ("augmentation=none", "seed=0"),
        ("seed=0", "augmentation=none", "hydra.launcher={}"),  # the same, elsewhere
        ("augmentation=none", "seed=0", "labels=6"),
    ]
    names = []
    for settings in launches:
        ended = cli("-m", *TINY, *settings, output)
        assert ended.code == 0, ended.err
        names.append(ended.out.split(":")[0].removeprefix("study "))
    assert names[0] == names[1] != names[2]
    assert sorted(path.name for path in (tmp_path / "studies").iterdir()) == sorted(set(names))
    assert all(name.startswith("untitled-") for name in names)


def test_a_contact_sheet_that_cannot_be_drawn_ends_no_trial(cli, tmp_path, monkeypatch):
    def broken(images):
        raise RuntimeError("no font")

    monkeypatch.setattr("gan_augment.artefacts.drawing.contact_sheet", broken)
    ended = cli("augmentation=none", "study=sheets", *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 0
    assert not list(tmp_path.glob("studies/sheets/images/*"))
    (record,) = tmp_path.glob("studies/sheets/trials/*/record.json")
    assert json.loads(record.read_text())["status"] == "ok"


def test_a_study_may_be_called_by_a_number(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.app.run_job", lambda config: 0.0)
    cli("-m", "augmentation=none", "study=2026", *TINY, f"paths.output_dir={tmp_path}")
    (request,) = read_requests(tmp_path / "studies" / "2026")
    assert request["study"] == "2026"


@pytest.mark.parametrize("swept", ["seed=range(3,0)", "labels=glob(*)"])
def test_a_sweep_without_values_is_refused(cli, tmp_path, swept):
    ended = cli("-m", swept, *TINY, f"paths.output_dir={tmp_path}")
    said = f"gan-augment: {swept} sweeps no value: name at least one, such as seed=range(0,8)\n"
    assert (ended.code, ended.err) == (1, said)
