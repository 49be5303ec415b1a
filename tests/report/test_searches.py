"""The report of a search for settings: what was tried, and no verdict on what was chosen for its gain."""

import json
import math

import numpy as np
import pytest
from test_page import planted, printed, study, table

from gan_augment.report.page import main, write_report
from gan_augment.report.searches import Candidate, best_of, by_luck, outcome_in_words

TRIED = [
    {"settings": {"rate": 0.001, "loss": "hinge"}, "gains": [[0.01]], "state": "dropped"},
    {"settings": {"rate": 0.004, "loss": "hinge"}, "gains": [[0.03], [0.03, 0.02, 0.01]], "state": "complete"},
    {"settings": {"rate": 0.002, "loss": "minimax"}, "gains": [[0.02], [0.02, 0.00, 0.01]], "state": "complete"},
    {"settings": {"rate": 0.01, "loss": "hinge"}, "gains": [], "state": "failed"},
]
# Without the means of candidates and splits, 0, .5 and -.5 points are left, twice over: a variance of .5, so a standard
# deviation of .41 of a mean of 3 splits. The largest of four standard normal numbers is 1.03 on average.
OUTCOME = (
    "Best of 4 candidates, chosen on validation images and not confirmed: rate=0.004 loss=hinge: +2.0 points on 3 "
    "splits; of as many equal candidates, the best would lie 0.4 points above their mean by chance."
)


@pytest.fixture
def folder(tmp_path):
    """A study of a search: its trials look as if one arm were clearly better."""
    found = study(tmp_path / "search", planted({"none": 0, "gan": 3}))
    launch = json.loads((found / "study.json").read_text())
    (found / "study.json").write_text(json.dumps(launch | {"search": {"about": {}, "tried": TRIED}}))
    return found


def test_a_page_shows_the_candidates_and_judges_none(folder):
    page = write_report([folder]).read_text()
    assert OUTCOME in page
    assert "gan against none" not in page
    assert "better:" not in page
    heading, *rows = table(page, "Candidates, the best first: gain over the reference (points)")
    assert heading == ["candidate", "rate", "loss", "gain", "on each split", "state"]
    assert rows == [
        ["2", "0.004", "hinge", "+2.0", "+3.0, +2.0, +1.0", "complete"],
        ["3", "0.002", "minimax", "+1.0", "+2.0, +0.0, +1.0", "complete"],
        ["1", "0.001", "hinge", "+1.0", "+1.0", "dropped"],
        ["4", "0.01", "hinge", "", "", "failed"],
    ]
    assert (folder / "report" / "search.png").stat().st_size > 10_000
    assert not (folder / "report" / "arms.png").exists()


def test_the_terminal_says_the_same(folder):
    assert OUTCOME in " ".join(printed(folder, width=200).split())


def test_a_kept_search_has_the_same_page(folder, commanded, tmp_path):
    code, _ = commanded(main, folder, "--keep", tmp_path / "kept.jsonl")
    assert code == 0
    page, again = (write_report([source]).read_text() for source in (folder, tmp_path / "kept.jsonl"))
    assert table(page, "Candidates") == table(again, "Candidates")
    assert OUTCOME in again


def test_a_study_that_searches_nothing_has_no_such_section(tmp_path):
    page = write_report([study(tmp_path, planted({"none": 0, "gan": 3}))]).read_text()
    assert "Candidates" not in page
    assert "gan against none" in page


def complete(gain):
    return Candidate({}, [[gain], [gain, gain, gain]], "complete")


def test_the_best_was_tried_on_all_splits():
    tried = [Candidate({}, [[0.9]], "dropped"), complete(0.1), complete(0.2), Candidate({}, [[0.8]], "diverged")]
    assert best_of(tried) is tried[2]
    assert best_of(tried[:1]) is None
    assert outcome_in_words(tried[:1]) == "None of 1 candidates was tried on all splits with a result"


def test_luck_is_the_mean_maximum_of_the_noise():
    random = np.random.default_rng(0)
    found, leads = [], []
    for _ in range(400):
        gains = random.normal(0.1, 0.02, (8, 3)) + random.normal(0, 0.2, 3)  # splits differ much more than candidates
        found.append(by_luck([Candidate({}, [one.tolist()], "complete") for one in gains]))
        leads.append(gains.mean(axis=1).max() - gains.mean())
    assert np.mean(found) == pytest.approx(np.mean(leads), rel=0.05)


def test_luck_needs_two_candidates_on_two_splits():
    assert math.isnan(by_luck([complete(0.1), Candidate({}, [[0.2]], "dropped")]))
    assert math.isnan(by_luck([Candidate({}, [[0.1]], "complete"), Candidate({}, [[0.2]], "complete")]))


@pytest.mark.parametrize(
    "damaged",
    [{"settings": {}, "gains": [["a"]], "state": "complete"}, {"settings": {}, "gains": [[]], "state": ""}, 3],
)
def test_a_search_that_was_damaged_is_no_part_of_the_report(folder, damaged):
    launch = json.loads((folder / "study.json").read_text())
    launch["search"]["tried"].append(damaged)
    (folder / "study.json").write_text(json.dumps(launch))
    assert "Candidates" not in write_report([folder]).read_text()
