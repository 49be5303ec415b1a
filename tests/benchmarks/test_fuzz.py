import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import fuzz


def crash(arguments):
    raise KeyError("x")


def start(arguments):
    import subprocess

    subprocess.run(["true"], check=True)


def write(arguments):
    Path(arguments[0]).write_text("x")


def refuse(arguments):
    print("one line\nanother line", file=sys.stderr)
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("command", "said"),
    [(crash, "ended with 2"), (start, "subprocess.Popen"), (write, "writes "), (refuse, "refuses in 2 lines")],
)
def test_what_is_wrong_is_found(monkeypatch, tmp_path, command, said):
    monkeypatch.setitem(fuzz.KINDS, "odd", lambda folder, draw: (command, [str(tmp_path / "x")]))
    found = fuzz.run_case("odd", 0)
    assert any(line.startswith(said) for line in found)
