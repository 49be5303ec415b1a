"""Provenance: the code, libraries and command behind a result."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = ("gan-augment", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn")
CODE = ("src", "conf", "pyproject.toml")  # what results depend on; other files of a checkout may change
PLUGINS = "GAN_AUGMENT_PLUGINS"  # the environment variable


def plugins() -> tuple[str, ...]:
    """Return the names of the packages of the user's own code, which the configuration may name as targets."""
    return tuple(os.environ.get(PLUGINS, "").replace(",", " ").split())


@cache
def code_provenance() -> dict[str, Any]:
    """Return the versions of the libraries, the commit of the code, whether its tree was clean, and the command.

    `commit` and `clean` are None if the package is not in its own git checkout.
    """
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    status = _git("status", "--porcelain", "--", *CODE)
    return {
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "clean": None if status is None else status == "",
        "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "gan-augment"), *sys.argv[1:]]),
    }


@cache
def source_hash(package: str = "gan_augment") -> str:
    """Return a hash of a package's code, 16 hexadecimal digits."""
    spec = find_spec(package)
    assert spec is not None
    found = hashlib.blake2b(digest_size=8)
    for folder in map(Path, spec.submodule_search_locations or [str(spec.origin)]):
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
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
