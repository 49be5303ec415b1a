"""The stage store: each step of a trial is computed once, and found again by what went into it."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Union

import torch
from filelock import FileLock

from gan_augment.memory import peak_memory, reset_peak_memory
from gan_augment.records.provenance import code_provenance, source_hash
from gan_augment.records.record import write_json

CHECKPOINTS = "checkpoints"  # in the folder of a stage that is being made: where its training stands
BEGUN = "begun.json"  # among them: what must be the same to go on, and after how many seconds it goes on


class DivergedError(Exception):
    """Training met a number that is not finite. An outcome of the experiment, not a fault of the program."""


@dataclass(frozen=True)
class Stage:
    """A step of a trial whose output is worth keeping.

    Attributes:
        name: What it makes: `gan`, `synthesis`, `classifier`.
        version: Raised by hand when the stage's mathematics changes.
        settings: Every setting that the output depends on: plain values, never a path or a logger.
        inputs: What it is made from: earlier stages, and fingerprints of image sets.
        seed: The seed of its streams.
        compute: Writes the output into `folder`, given the folders of the earlier stages by their names.
    """

    name: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, Union["Stage", str]]
    seed: int
    compute: Callable[..., None] = field(repr=False, compare=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that the output is a function of."""
        inputs = {name: one.key if isinstance(one, Stage) else one for name, one in self.inputs.items()}
        return {
            "stage": self.name,
            "version": self.version,
            "settings": dict(self.settings),
            "inputs": inputs,
            "seed": self.seed,
        }

    @cached_property
    def key(self) -> str:
        """The hash of the identity."""
        return digest(self.identity)


@dataclass(frozen=True)
class Output:
    """A stage's output.

    Attributes:
        folder: Where it lies.
        seconds: What it took to make.
        memory: The largest memory that it took, as `peak_memory` tells it; after an interruption that of the last part.
        reused: Whether it was there already.
        made: The code that made it: commit and whether its tree was clean.
        diverged: Why its training was ended, if it was not finite; then the folder holds no output.
    """

    folder: Path
    seconds: float
    memory: dict[str, int | None]
    reused: bool
    made: dict[str, Any]
    diverged: str | None


class StageStore:
    """Stage outputs under `<root>/<stage>/<key>/`, each made once, whoever asks first.

    An output is written to `<key>.partial` under a lock and then renamed, so a folder without that ending is whole.
    What a killed process left there is cleared, unless it holds checkpoints that a training can go on from.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: Stage) -> Path:
        """Return where a stage's output lies, or will lie."""
        return self.root / stage.name / stage.key

    def fetch(self, stage: Stage, events: Path | None = None) -> Output:
        """Return a stage's output; make it first if it is not there.

        Args:
            stage: What to fetch; its inputs are fetched too.
            events: Where to link the stage's TensorBoard events, from the moment they are being written.

        Raises:
            DivergedError: If an input of the stage diverged.
        """
        folder = self.folder(stage)
        partial = folder.with_suffix(".partial")
        reused = True
        if not folder.exists():
            inputs = {name: self._input(one) for name, one in stage.inputs.items() if isinstance(one, Stage)}
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not folder.exists():  # another process may have made it while this one waited
                    if events is not None:
                        put_link(events, partial / "tensorboard")
                    self._make(stage, partial, inputs)
                    partial.rename(folder)
                    reused = False
        if events is not None:
            put_link(events, folder / "tensorboard")
        made = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        return Output(folder, made["seconds"], made.get("memory", {}), reused, made["made"], made["diverged"])

    def _input(self, stage: Stage) -> Path:
        output = self.fetch(stage)
        if output.diverged is not None:
            raise DivergedError(output.diverged)
        return output.folder

    def _make(self, stage: Stage, partial: Path, inputs: dict[str, Path]) -> None:
        code = {name: code_provenance()[name] for name in ("commit", "clean", "versions")}
        same = {**code, "sources": source_hash(), "threads": torch.get_num_threads()}
        before = seconds_before(partial / CHECKPOINTS, same)
        if before is None:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "tensorboard").mkdir(parents=True)
            (partial / CHECKPOINTS).mkdir()
        write_json({"same": same, "seconds": before or 0.0}, partial / CHECKPOINTS / BEGUN)
        reset_peak_memory()
        start, diverged = time.perf_counter(), None
        try:
            stage.compute(folder=partial, **inputs)
        except DivergedError as outcome:
            diverged = str(outcome)
        seconds = (before or 0.0) + time.perf_counter() - start
        shutil.rmtree(partial / CHECKPOINTS)
        made = {"seconds": seconds, "memory": peak_memory(), "diverged": diverged, "made": code}
        write_json(stage.identity | made, partial / "stage.json")


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints `<step>.ckpt` in a folder, the newest first."""
    return sorted(folder.glob("*.ckpt"), key=lambda path: -int(path.stem))


def seconds_before(folder: Path, same: Mapping[str, Any]) -> float | None:
    """Return what it took to come as far as the newest checkpoint; None if there is none, or it was begun otherwise."""
    try:
        begun = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
        newest = checkpoints(folder)[0].stat().st_mtime
        since = newest - (folder / BEGUN).stat().st_mtime
    except (OSError, ValueError, IndexError):
        return None
    return begun["seconds"] + max(0.0, since) if begun.get("same") == same else None


def digest(content: Any) -> str:
    """Hash plain nested values; the order of names does not count."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def put_link(link: Path, target: Path) -> None:
    """Make a relative link to a file or folder, in place of any earlier one."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # of a killed process with the same number
    fresh.symlink_to(os.path.relpath(target, link.parent), target_is_directory=target.is_dir())
    fresh.replace(link)
