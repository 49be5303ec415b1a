import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock
from test_page import compare, in_one_line, planted, printed, study, table

from gan_augment.report import looks
from gan_augment.report.contrasts import contrasts
from gan_augment.report.page import main, write_report
from gan_augment.report.statistics import estimate, holm, paired_interval
from gan_augment.report.trials import collect

GAINS = {"none": 0, "gan": 2}


def noted(folder):
    return json.loads((folder / "study.json").read_text()).get("looks")


def with_more_seeds(folder, seeds, gains=GAINS):
    """Add the trials of further seeds to a study; what its looks are stays."""
    launch = (folder / "study.json").read_text()
    study(folder, planted(gains, seeds=seeds))
    (folder / "study.json").write_text(launch)
    return folder


@pytest.fixture(autouse=True)
def _enough_seeds(monkeypatch):
    monkeypatch.setattr("test_page.BASE", dict.fromkeys(range(30), 0.85))


def test_a_report_to_which_seeds_are_added_has_verdicts_that_hold_at_every_look(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(7)))
    page = write_report([folder]).read_text()
    assert noted(folder) == [7]
    assert write_report([folder]).read_text() == page  # the same seeds are the same look
    assert "however often you look" not in page

    page = in_one_line(write_report([with_more_seeds(folder, range(7, 10))]).read_text())
    contrast = compare(folder)["gan against none"]
    assert noted(folder) == [7, 10]
    assert contrast.estimate == estimate(contrast.differences, overlap=0.0, anytime=True)
    assert contrast.interval == paired_interval(contrast.differences)
    assert contrast.at_every_look.high - contrast.at_every_look.low == pytest.approx(
        1.71 * (contrast.interval.high - contrast.interval.low), rel=0.01
    )
    assert "points on these test images, however often you look, 95 % interval" in page
    assert "written with several numbers of seeds (7 besides the present 10)" in page
    assert "several numbers of seeds" in in_one_line(printed(folder))
    heading, (row,) = table(page, "Differences in test accuracy, paired")[0], table(page, "Differences in test")[1:]
    cells = dict(zip(heading, row, strict=True))
    assert cells["95 %, at every look"] in cells["verdict"]
    assert cells["95 %, these test images"] not in cells["verdict"]


def test_fewer_seeds_than_a_report_had_are_another_look(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(10)))
    write_report([folder])
    for trial in (folder / "trials").glob("*-seed9"):
        shutil.rmtree(trial)
    assert compare(folder)["gan against none"].estimate.anytime


def test_a_report_without_a_verdict_is_no_look(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(5)))
    write_report([folder])
    assert noted(folder) is None
    write_report([with_more_seeds(folder, range(5, 8))])
    assert noted(folder) == [8]
    assert not compare(folder)["gan against none"].estimate.anytime


def test_another_arm_with_the_same_seeds_is_no_other_look(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(8)))
    write_report([folder])
    with_more_seeds(folder, range(8), {"classical": 1})
    assert not any(contrast.estimate.anytime for contrast in contrasts(collect([folder])))


def test_the_correction_is_of_the_values_that_hold_at_every_look(tmp_path):
    gains = {"none": 0, "classical": 0.6, "gan": 2}
    folder = study(tmp_path / "digits", planted(gains, seeds=range(7)))
    write_report([folder])
    made = contrasts(collect([with_more_seeds(folder, range(7, 12), gains)]))
    p_values = [estimate(contrast.differences, anytime=True).p_value for contrast in made]
    assert [contrast.adjusted_p for contrast in made] == pytest.approx(holm(p_values))


def test_a_report_by_hand_is_a_look_and_a_kept_file_remembers_it(tmp_path, capsys):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(6)))
    path, output = tmp_path / "digits.jsonl", tmp_path / "out"
    main([str(folder), "--output", str(output), "--keep", str(path)])
    assert noted(folder) == [6]
    assert collect([path]).looks == {6}
    later = study(tmp_path / "later", planted(GAINS, seeds=range(6, 9)))
    main([str(path), str(later), "--output", str(output), "--keep", str(path)])
    assert noted(later) is None  # a merged report leaves its sources as they are
    assert collect([path]).looks == {6, 9}
    assert "several numbers of seeds (6 besides the present 9)" in in_one_line(capsys.readouterr().out)


def test_trials_without_a_launch_remember_their_looks_too(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(6)))
    (folder / "study.json").unlink()
    page = write_report([folder]).read_text()
    assert noted(folder) == [6]
    assert write_report([folder]).read_text() == page


def test_reports_at_the_same_moment_keep_both_looks(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(6)))
    before = collect([folder])
    after = collect([with_more_seeds(folder, range(6, 8))])  # neither knows of the other's look
    for one in (before, after):
        entry = looks.note_look(one, [folder], contrasts(one))
    assert noted(folder) == [6, 8]
    assert entry == {"looks": [6, 8]}  # also what a kept file remembers


def test_a_look_waits_for_that_of_another_launch(tmp_path):
    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(6)))
    found = collect([folder])
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / ".lock"):
            look = pool.submit(looks.note_look, found, [folder], contrasts(found))
            with pytest.raises(TimeoutError):
                look.result(timeout=0.2)
            assert noted(folder) is None
        assert look.result() == {"looks": [6]}
    assert noted(folder) == [6]


def test_a_study_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    folder = study(tmp_path / "digits", planted(GAINS, seeds=range(6)))
    monkeypatch.setattr(looks, "write_json", refuse)
    assert write_report([folder], tmp_path / "out").exists()
    assert noted(folder) is None
