"""What Windows does not have: nothing needs it without asking first."""

import ast
import sys
from pathlib import Path

import gan_augment
from conftest import TINY
from gan_augment import memory

POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
FUNCTIONS = {"chown", "fork", "forkpty", "getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "setsid", "sync"}
FILES = [*Path(gan_augment.__file__).parents[1].rglob("*.py")]


def asked_first(tree):
    """Return the nodes inside `try`, which may fail."""
    return {inner for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}


def needed(path):
    """Return what a file takes from POSIX."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in {*ast.walk(tree)} - asked_first(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & POSIX
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} & POSIX
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            found |= {node.attr} & FUNCTIONS
    return found


def test_no_module_needs_a_module_or_function_of_posix(tmp_path):
    assert len(FILES) > 100
    assert {path.name: found for path in FILES if (found := needed(path))} == {}
    (tmp_path / "bad.py").write_text("import fcntl\nfrom resource import getrusage\nos.fork()")
    assert needed(tmp_path / "bad.py") == {"fcntl", "resource", "fork"}


def test_a_trial_runs_without_them_and_without_links(cli, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError("A required privilege is not held by the client")

    for name in POSIX:
        monkeypatch.setitem(sys.modules, name, None)  # to import it is an ImportError
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "no such folder")
    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("os.symlink", refuse)
    ended = cli("-m", "augmentation=none", "seed=0", "study=s", *TINY, f"paths.output_dir={tmp_path}")
    assert (ended.code, ended.err) == (0, "")
    (trial,) = (tmp_path / "studies" / "s" / "trials").iterdir()
    assert (trial / "classifier.pt").read_bytes() == next(tmp_path.glob("store/classifier/*/weights.pt")).read_bytes()
    assert [*(trial / "tensorboard" / "classifier").glob("events.out.tfevents.*")]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert memory.peak_memory()["peak_memory_mib"] is None
