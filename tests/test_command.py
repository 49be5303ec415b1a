"""How commands end: signals, outputs that cannot be written, and the exit code of each."""

import errno
import os
import signal
import sys
import time

import pytest

from conftest import TINY
from gan_augment import command
from gan_augment.report.page import main as report

STUDY = ("-m", "augmentation=none", "seed=0", *TINY)
INTERRUPTED = "interrupted; run the same command again to go on\n"
TERMINATED = "terminated; run the same command again to go on\n"
SIGNALS = [(signal.SIGINT, 130, INTERRUPTED), (signal.SIGTERM, 143, TERMINATED)]

# Where a signal arrives: before the first trial is planned, before its first record, in a training, in the report.
MOMENTS = {
    "planning": "gan_augment.plan.plan_trial",
    "trial": "gan_augment.trial.run_trial",
    "training": "gan_augment.training.guard.NotFiniteGuard.on_train_batch_end",
    "report": "gan_augment.report.page.write_report",
}


@pytest.mark.parametrize(
    ("moment", "number", "code", "said"),
    [*((moment, *SIGNALS[0]) for moment in MOMENTS.values()), (MOMENTS["training"], *SIGNALS[1])],
    ids=[*MOMENTS, "training, SIGTERM"],
)
def test_a_signal_ends_a_study_with_its_code_and_one_line(cli, tmp_path, monkeypatch, moment, number, code, said):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        if moment == MOMENTS["report"]:
            patch.setattr("gan_augment.app.run_job", lambda config: 0.0)
        patch.setattr(moment, lambda *arguments, **settings: signal.raise_signal(number))
        ended = cli(*STUDY, f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (code, f"gan-augment: {said}")
    assert "report: " not in ended.out
    assert signal.getsignal(number) == before
    if moment == MOMENTS["training"] and number == signal.SIGINT:  # as the line says
        again = cli(*STUDY, f"paths.output_dir={tmp_path}")
        assert (again.code, again.err) == (0, "")
        assert "report: " in again.out


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS, ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_that_is_caught_or_given_twice_ends_the_process_all_the_same(monkeypatch, capsys, number, code, said):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(command, "GRACE", 0.01)
    with command.command("program"):
        with pytest.raises(SystemExit):
            signal.raise_signal(number)
        while not codes:
            time.sleep(0.01)
        assert (codes, capsys.readouterr().err) == ([code], f"program: {said}")
        signal.raise_signal(number)
        assert codes == [code, code]


def test_a_signal_that_is_ignored_stays_ignored(capsys):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under `nohup`, or in the background of a script
    try:
        with command.command("program"):
            signal.raise_signal(signal.SIGINT)
            print("done")
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().out == "done\n"


def closed_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


def full_disk():
    return open("/dev/full", "w")


OUTPUTS = {"| true": (closed_pipe, errno.EPIPE), "full disk": (full_disk, errno.ENOSPC)}
outputs = pytest.mark.parametrize(("unwritable", "number"), OUTPUTS.values(), ids=OUTPUTS)


@outputs
def test_a_study_whose_first_line_cannot_be_printed_is_refused(cli, tmp_path, monkeypatch, unwritable, number):
    with unwritable() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        ended = cli(*STUDY, f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert f"gan-augment: standard output cannot be written: {os.strerror(number)}\n" in ended.err
    assert not list(tmp_path.glob("store/*"))


def test_a_study_whose_later_lines_cannot_be_printed_has_its_report_but_fails(cli, tmp_path, monkeypatch):
    from gan_augment import trial

    run_trial = trial.run_trial

    def run(*arguments):
        monkeypatch.setattr(sys, "stdout", stream)  # as with `| head -1`
        return run_trial(*arguments)

    monkeypatch.setattr(trial, "run_trial", run)
    with closed_pipe() as stream:
        ended = cli(*STUDY, "study=s", f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (1, "gan-augment: standard output cannot be written: Broken pipe\n")
    assert (tmp_path / "studies" / "s" / "report" / "report.html").exists()


@outputs
def test_a_report_that_cannot_be_printed_is_a_failure(cli, shared_outputs, monkeypatch, capsys, unwritable, number):
    cli(*STUDY, "study=printed", f"paths.output_dir={shared_outputs}")
    with unwritable() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            report([str(shared_outputs / "studies" / "printed")])
    assert end.value.code == 1
    said = f"gan-augment-report: standard output cannot be written: {os.strerror(number)}\n"
    assert capsys.readouterr().err == said


def test_help_that_cannot_be_printed_is_a_failure(cli, monkeypatch):
    with full_disk() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        ended = cli("--help")
    assert (ended.code, ended.err) == (
        1,
        "gan-augment: [Errno 28] No space left on device: make room, then run the same command again\n",
    )


def test_standard_output_that_is_closed_is_not_missed(cli, tmp_path, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli(*STUDY, "study=s", f"paths.output_dir={tmp_path}").code == 0
    for stream in (sys.stdout, sys.stderr):
        stream.close()
    assert (tmp_path / "studies" / "s" / "report" / "report.html").exists()


def test_a_terminal_of_ascii_shows_escapes(cli, tmp_path, monkeypatch):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        ended = cli(*STUDY, 'study="größe"', f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (0, "")
    said = (tmp_path / "out").read_text()
    assert "study gr\\xf6\\xdfe: 1 trials" in said
    assert "report: " in said


@pytest.mark.parametrize("hook", ["on_multirun_start", "on_multirun_end"])
@pytest.mark.parametrize(
    "error", [RuntimeError("the printer is out of paper"), UnicodeEncodeError("a", "b", 0, 1, "c")]
)
def test_whatever_fails_around_the_trials_is_a_failure(cli, tmp_path, monkeypatch, hook, error):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(f"gan_augment.launch.{'write_request' if hook.endswith('start') else 'report'}", fail)
    monkeypatch.setattr("gan_augment.app.run_job", lambda config: 0.0)
    ended = cli(*STUDY, f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert str(error) in ended.err
    assert "Callback" not in ended.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_that_says_how_to_go_on(capsys, monkeypatch, number):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match="1"), command.command("program"):
        raise OSError(number, os.strerror(number), "weights.pt")
    said = f"[Errno {number}] {os.strerror(number)}: 'weights.pt'"
    assert capsys.readouterr().err == f"program: {said}: make room, then run the same command again\n"
