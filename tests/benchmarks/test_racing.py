import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import racing
from racing import Lap, LeftOutError, Runner, Ticker, check_failures, finishers, race, ratio


class Pipe:
    """Stands in for the process that holds a race."""

    def __init__(self, *turns):
        self.turns, self.laps = [*turns], []

    def send(self, lap):
        self.laps.append(lap)

    def recv(self):
        return self.turns.pop(0)


@pytest.fixture
def clock(monkeypatch):
    """Let time stand still but for what a test adds."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_turn_is_measured_in_seconds_and_ends_with_a_step(clock):
    pipe = Pipe(1.0, 1.0, 1.0)
    tick = Ticker(pipe)
    tick()  # the first step is a turn of its own
    assert len(pipe.laps) == 1
    for _ in range(4):
        clock[0] += 0.25
        tick.data += 0.125
        tick()
    assert pipe.laps[1:] == [Lap(0.25, 0.125)]
    clock[0] += 7  # one step that is longer than a turn
    tick()
    assert pipe.laps[2:] == [Lap(7, 0)]


def test_the_clock_of_a_contestant_stands_still_between_its_turns(clock):
    class Waiting(Pipe):
        def recv(self):
            clock[0] += 50
            return super().recv()

    tick = Ticker(Waiting(1.0, 1.0))
    tick()
    clock[0] += 2
    tick()
    assert tick.clock() == 2


def stuck(tick):
    time.sleep(3600)


def stuck_in_its_turn(tick):
    tick()
    time.sleep(3600)


def broken(tick):
    raise ValueError("no such network")


def test_a_contestant_that_cannot_keep_up_is_left_out(monkeypatch):
    with pytest.raises(LeftOutError, match=r"^cannot keep up: no answer within 0\.1 s$"):
        Runner(stuck, 0.1)
    runner = Runner(stuck_in_its_turn, racing.START)
    monkeypatch.setattr(racing, "PATIENCE", 2)
    with pytest.raises(LeftOutError, match=r"^cannot keep up: no answer within 0\.2 s$"):
        runner.turn(0.1)


def test_a_failure_is_told_when_the_race_is_over(capsys):
    found = race({"one": broken}, 1.0, 1)
    assert found == {"one": {"left_out": "ValueError: no such network"}}
    assert "ValueError: no such network" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^failed: one: ValueError: no such network$"):
        check_failures(found)


def test_who_is_left_out_is_compared_with_nothing():
    found = {"slow": {"laps": [4.0, 9.0]}, "out": {"left_out": racing.TOO_SLOW}, "fast": {"laps": [2.0, 3.0]}}
    check_failures(found)
    assert [*finishers(found)] == ["slow", "fast"]
    assert ratio(found, "slow", "fast") == 2.5  # round by round
