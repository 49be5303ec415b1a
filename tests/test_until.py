"""`until=decided`: a study that adds splits until every verdict is reached."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig

sys.path.append(str(Path(__file__).parent / "report"))

from test_page import record, table

from conftest import TINY
from gan_augment.records.request import read_requests

STUDY = ("-m", "study=looks", "augmentation=none,classical", "seed=range(0,6)", "until=decided", *TINY)


def stub_job(gain, ran, fails_at=None):
    """Return a job that only writes a record: a gain in accuracy with a spread of a point."""

    def job(config):
        folder = Path(config.paths.output_dir) / "studies" / config.study
        names = read_requests(folder)[-1]["jobs"]
        arm, seed = HydraConfig.get().runtime.choices.augmentation, config.seed
        if seed == fails_at:
            raise RuntimeError("the disk caught fire")
        ran.append((arm, seed))
        noise = np.random.default_rng(seed).normal(0, 1)
        points = 80 + (gain + noise if arm == "classical" else 0)
        trial = names[" ".join(HydraConfig.get().overrides.task)]
        made = record(arm, seed, points / 100) | {"trial": trial}
        (folder / "trials" / trial).mkdir(parents=True, exist_ok=True)
        (folder / "trials" / trial / "record.json").write_text(json.dumps(made))

    return job


@pytest.fixture
def stubbed(monkeypatch):
    """Run `gan-augment` with jobs that only write records; return what they ran."""

    def use(gain, fails_at=None):
        ran = []
        monkeypatch.setattr("gan_augment.app.run_job", stub_job(gain, ran, fails_at))
        return ran

    return use


def request(output):
    return read_requests(output / "studies" / "looks")[-1]


def both(seeds):
    return {(arm, seed) for arm in ("none", "classical") for seed in seeds}


def test_splits_are_added_until_the_verdict_is_reached(cli, tmp_path, stubbed):
    ran = stubbed(gain=1.5)
    ended = cli(*STUDY, "max_splits=9", f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    assert set(ran) == both(range(8))
    assert set(ran[:12]) == both(range(6))
    assert "study looks: 12 trials, and up to 6 more until every verdict is reached" in ended.out
    assert "6 splits: 0 of 1 verdicts reached, 4 more trials; report so far: " in ended.out
    assert "classical against none: better by" in ended.out
    written = request(tmp_path)
    assert len(written["requested"]) == 16
    assert written["looks"] == [6, 8, 9]
    assert [len(names) for names in written["further"]] == [2]
    page = (tmp_path / "studies" / "looks" / "report" / "report.html").read_text()
    assert "95 %, at every look" in table(page, "Differences in test accuracy, paired")[0]
    assert "requested trials without a record" not in page


def test_a_study_without_an_effect_goes_on_after_a_failure_and_to_its_most_splits(cli, tmp_path, stubbed):
    command = (*STUDY, f"paths.output_dir={tmp_path}")
    stubbed(gain=0, fails_at=6)
    ended = cli(*command, "max_splits=7")
    assert ended.code == 1
    assert "report: " in ended.out
    ran = stubbed(gain=0)
    ended = cli(*command, "max_splits=7")
    assert ended.code == 0
    assert ran == [("none", 6), ("classical", 6)]
    assert "no detectable effect on these test images, however often you look" in " ".join(ended.out.split())
    assert request(tmp_path)["further"] == []

    fewer = cli(*command, "max_splits=6")
    assert fewer.code == 1
    assert "max_splits=6, but the study already has 7: use at least these" in fewer.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["seed=0"], "until=decided goes on with a study: add -m"),
        (
            ["-m"],
            "until=decided, but seed is not swept: start with a range of at least 6 seeds, such as seed=range(0,6)",
        ),
        (["-m", "seed=0,1,2,3,4,5"], "until=decided, but seed=0,1,2,3,4,5: start with a range"),
        (["-m", "seed=range(0,5)"], "until=decided, but seed=range(0,5): start with a range of at least 6 seeds"),
        (["-m", "seed=range(0,6,0.5)"], "start with a range of at least 6 seeds"),
        (["-m", "seed=range(0,8)", "max_splits=7"], "max_splits=7: use a whole number of at least 8"),
        (["-m", "seed=range(0,8)", "step=0"], "step=0: use a whole number of at least 1"),
        (["-m", "seed=range(0,8)", "step=1,2"], "step cannot be swept"),
        (["-m", "seed=range(0,8)", "until=better"], "until=better: use decided, or null"),
        (["-m", "seed=range(0,8)", "hydra/sweeper=basic"], "but hydra/sweeper=basic chooses the trials: leave it out"),
    ],
)
def test_what_cannot_go_on_is_refused_before_anything_runs(cli, tmp_path, stubbed, settings, said):
    ran = stubbed(gain=1)
    ended = cli("augmentation=none", "until=decided", *settings, *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert said in ended.err
    assert ran == []
    assert not list(tmp_path.glob("studies/*/launches/*/request.json"))
