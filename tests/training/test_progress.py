import logging
import sys
from types import SimpleNamespace

import pytest

from gan_augment import progress
from gan_augment.progress import Meter
from gan_augment.training.progress import Progress, titled

TRAINER = SimpleNamespace(fit_loop=SimpleNamespace(batch_idx=-1))
SYSTEM = SimpleNamespace(num_steps=100, seconds=None)


@pytest.fixture
def clock(monkeypatch):
    """Time as the callback sees it, in seconds."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def test_away_from_a_terminal_there_are_lines_with_the_title(clock, caplog):
    caplog.set_level(logging.INFO)
    callback = Progress()
    with titled("trial 3/32 gan-seed0: gan"):
        callback.on_train_start(TRAINER, SYSTEM)
        for step in range(100):
            clock.seconds += 1
            callback.on_train_batch_end(TRAINER, SYSTEM, None, None, step)
        callback.on_train_end(TRAINER, None)
    assert caplog.messages == [
        "trial 3/32 gan-seed0: gan: 100 steps",
        "trial 3/32 gan-seed0: gan: 31 %, 69 s left",
        "trial 3/32 gan-seed0: gan: 62 %, 38 s left",
        "trial 3/32 gan-seed0: gan: 93 %, 7 s left",
    ]


def test_a_training_that_goes_on_is_told_and_its_earlier_steps_took_no_time_now(clock, caplog):
    caplog.set_level(logging.INFO)
    callback = Progress()
    callback.on_train_start(SimpleNamespace(fit_loop=SimpleNamespace(batch_idx=40)), SYSTEM)
    for step in range(40, 80):
        clock.seconds += 1
        callback.on_train_batch_end(TRAINER, SYSTEM, None, None, step)
    assert caplog.messages == ["training: 100 steps, resumed after 40", "training: 71 %, 29 s left"]


def test_a_title_holds_inside_its_context(caplog):
    caplog.set_level(logging.INFO)
    with titled("outer"):
        with titled("inner"):
            Progress().on_train_start(TRAINER, SYSTEM)
        Progress().on_train_start(TRAINER, SYSTEM)
    Progress().on_train_start(TRAINER, SYSTEM)
    assert caplog.messages == ["inner: 100 steps", "outer: 100 steps", "training: 100 steps"]


@pytest.mark.parametrize("end", ["on_train_end", "on_exception"])
def test_on_a_terminal_there_is_one_bar_that_goes_away(monkeypatch, caplog, end):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    callback = Progress()
    with titled("trial gan-seed0: gan"):
        callback.on_train_start(TRAINER, SYSTEM)
    callback.on_train_batch_end(TRAINER, SYSTEM, None, None, 41)
    (task,) = callback._meter._bar.tasks
    assert (task.description, task.completed, task.total) == ("trial gan-seed0: gan", 42, 100)
    assert callback._meter._bar.live.is_started
    getattr(callback, end)(*[TRAINER, None, RuntimeError()][: 3 if end == "on_exception" else 2])
    assert not callback._meter._bar.live.is_started
    assert caplog.messages == []


def test_a_meter_counts_what_it_is_told(clock, caplog):
    caplog.set_level(logging.INFO)
    with Meter("reading images", 40, "files") as meter:
        for _ in range(4):
            clock.seconds += 31
            meter.advance(10)
    assert caplog.messages == [
        "reading images: 40 files",
        "reading images: 25 %, 93 s left",
        "reading images: 50 %, 62 s left",
        "reading images: 75 %, 31 s left",
        "reading images: 100 %, 0 s left",
    ]


def test_a_meter_goes_away_when_its_work_fails(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    meter = Meter("reading images", 40, "files")
    with pytest.raises(RuntimeError, match="failed"), meter:
        raise RuntimeError("failed")
    assert not meter._bar.live.is_started


def test_a_training_with_a_budget_counts_its_seconds(clock, caplog):
    caplog.set_level(logging.INFO)
    callback, system = Progress(), SimpleNamespace(num_steps=10**9, seconds=60.0, spent=0.25)
    callback.on_train_start(TRAINER, system)
    clock.seconds, system.spent = 35, 0.75
    callback.on_train_batch_end(TRAINER, system, None, None, 0)
    assert caplog.messages == ["training: 60 seconds, resumed after 15", "training: 75 %, 18 s left"]
