"""Provenance: the code, libraries and command behind a result."""

import hashlib
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("gan-augment", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn")


@cache
def code_provenance() -> dict[str, Any]:
    """Return the versions of the libraries, the commit of the code, whether its tree was clean, and the command.

    `commit` and `clean` are None if the package is not in its own git checkout.
    """
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    status = _git("status", "--porcelain")
    return {
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "clean": None if status is None else status == "",
        "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "gan-augment"), *sys.argv[1:]]),
    }


@cache
def source_hash() -> str:
    """Return a hash of the package's code, 16 hexadecimal digits."""
    package = Path(__file__).resolve().parents[1]
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(package.rglob("*.py")):
        found.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _git(*arguments: str) -> str | None:
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
