"""Stages: each step of a trial is a class, computed once, and found again in the store by what went into it."""

import json
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock

from gan_augment.data.image_set import ImageSet
from gan_augment.energy import EnergyMeter
from gan_augment.memory import peak_memory, reset_peak_memory
from gan_augment.parts import adopt, mine, own_part, publish
from gan_augment.records.findings import Findings
from gan_augment.records.manifest import MANIFEST, damage, seal, set_aside
from gan_augment.records.provenance import code_provenance, plugins, source_hash
from gan_augment.records.record import digest, write_json
from gan_augment.targets import is_own, targets_in
from gan_augment.training import replicas

CHECKPOINTS = "checkpoints"  # in the folder of a stage that is being made: where its training stands
BEGUN = "begun.json"  # among them: what must be the same to go on, and after how many seconds it goes on


class DivergedError(Exception):
    """Training met a number that is not finite. An outcome of the experiment, not a fault of the program."""


def merged() -> Any:
    """Declare a field whose settings stand among the stage's own, without a name of their own."""
    return field(metadata={"merged": True})


def made_from() -> Any:
    """Declare an input that may be absent: an image set, an earlier stage or a bundle; None is no part of the key."""
    return field(default=None, metadata={"made_from": True})


def later() -> Any:
    """Declare a setting that earlier outputs do not have: None is no part of the key."""
    return field(default=None, metadata={"later": True})


def implied(**default: Any) -> Any:
    """Declare a field that follows from the others: it is no part of the key."""
    return field(metadata={"implied": True}, **default)


@dataclass(frozen=True, eq=False)
class Bundle:
    """Some fields of a stage that come and go together: a dataclass whose fields count as the stage's own.

    Attributes:
        reads: The configuration nodes that decide its fields.
    """

    reads: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(ABC):
    """A step of a trial whose output is worth keeping. Its fields are everything that the output depends on.

    The key follows from the fields: an image set counts by its fingerprint, an earlier stage by its key, anything else
    by its settings: plain values, never a path or a logger.

    Attributes:
        name: What it makes: `gan`, `synthesis`, `classifier`.
        version: Raised by hand when the stage's mathematics changes; if only for some fields, see `is_revised`.
        reads: The configuration nodes that decide its fields. Where its output has an effect, so have these.
        together: Whether several processes can share its training, if it has one.
        seed: The seed of its streams.
        hardware: Where it is computed; the key holds what the output depends on.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[tuple[str, ...]] = ()
    together: ClassVar[bool] = True

    seed: int
    hardware: Any = merged()

    def check(self) -> None:  # noqa: B027  # many have nothing to check
        """Raise a ValueError if it cannot be made, before anything trains."""

    @abstractmethod
    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Write the output; `made` has the folders of the inputs, by the names of the fields that hold them.

        Raises:
            DivergedError: If a training stops being finite.
        """

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Read the output."""

    def alone(self) -> "Stage | None":
        """Return a stage that costs about the same and needs no inputs, to estimate the time; None if there is none."""
        return None if self.inputs else self

    def checkpoint(self, folder: Path) -> Path | None:
        """Return the file of its weights, if it leaves some: the trial's folder has it too."""
        return None

    @property
    def chosen_by(self) -> str | None:
        """The metric by which validation images chose its output; None where they did not."""
        return None

    def findings(self, folder: Path) -> Findings:
        """Return what its output tells by itself, such as where the curves of a training ended."""
        return Findings()

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What is known of files that it starts from, by the setting that names each: `hash`, of its content, ..."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results must know, a sentence each."""
        return ()

    @property
    def origin(self) -> str | None:
        """One sentence on the source of pretrained weights that its training starts from or uses; None without any."""
        return None

    @property
    def is_revised(self) -> bool:
        """Whether its mathematics has changed since its version for these fields, but not for others."""
        return False

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that the output depends on, as plain values."""
        settings: dict[str, Any] = {}
        inputs: dict[str, str] = {}
        for one, value in self._fields():
            if "implied" in one.metadata or one.name == "seed":
                continue
            if isinstance(value, Stage):
                inputs[one.name] = value.key
            elif isinstance(value, ImageSet):
                inputs[one.name] = value.fingerprint
            elif "merged" in one.metadata:
                settings |= plain(value)
            elif "later" in one.metadata and value is None:
                continue
            elif "made_from" in one.metadata:
                assert value is None, f"{one.name} is an input: an image set, a stage or a bundle"
            else:
                settings[one.name] = plain(value)
        named = {"stage": self.name, "version": self.version} | ({"revised": True} if self.is_revised else {})
        targets = [target for _, target in targets_in(settings)]
        if own := [package for package in plugins() if any(is_own(target, [package]) for target in targets)]:
            named["plugins"] = {package: source_hash(package) for package in own}
        return {**named, "settings": settings, "inputs": inputs, "seed": self.seed}

    @cached_property
    def key(self) -> str:
        """The hash of the identity."""
        return digest(self.identity)

    @property
    def inputs(self) -> dict[str, "Stage"]:
        """The earlier stages that it is made from, by the names of its fields."""
        return {one.name: value for one, value in self._fields() if isinstance(value, Stage)}

    @property
    def image_sets(self) -> dict[str, ImageSet]:
        """The image sets that it is made from, by the names of its fields."""
        return {one.name: value for one, value in self._fields() if isinstance(value, ImageSet)}

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields and those of its bundles."""
        parts = (value for one in fields(self) if isinstance(value := getattr(self, one.name), Bundle))
        return (*self.reads, *(name for part in parts for name in part.reads))

    def _fields(self) -> Iterator[tuple[Field[Any], Any]]:
        """Yield its fields with their values, those of a bundle in its place."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Bundle):
                yield from ((inner, getattr(value, inner.name)) for inner in fields(value))
            else:
                yield one, value


def plain(value: Any) -> Any:
    """Return a setting as plain values: the `identity` of an object that has one, the fields of a dataclass."""
    if hasattr(value, "identity"):
        return value.identity
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def in_order(**lasts: Stage) -> dict[str, Stage]:
    """Return stages, and all that they are made from, once each and after their inputs, by their roles in a trial.

    The role of an earlier stage is the name of the field that holds it, or if that is taken, both roles together.
    """
    found: dict[str, Stage] = {}
    keys: dict[str, str] = {}  # of the stages that are found or being visited

    def visit(role: str, stage: Stage) -> None:
        if role in keys:
            assert keys[role] == stage.key, f"a trial has one {role}"
            return
        keys[role] = stage.key
        for name, one in stage.inputs.items():
            taken = keys.get(name, one.key) != one.key  # a probe and its teacher each have features
            visit(f"{role}_{name}" if taken else name, one)
        found[role] = stage

    for role, stage in lasts.items():
        visit(role, stage)
    return found


@dataclass(frozen=True)
class Output:
    """A stage's output.

    Attributes:
        folder: Where it lies.
        seconds: What it took to make.
        memory: The largest memory that it took, as `peak_memory` tells it; after an interruption that of the last part.
        energy: The joules that it took, as `EnergyMeter` counts them; None where unknown, also after an interruption.
        reused: Whether it was there already.
        made: The code that made it, commit and whether its tree was clean, and the number of threads.
        diverged: Why its training was ended, if it was not finite; then the folder holds no output.
    """

    folder: Path
    seconds: float
    memory: dict[str, int | None]
    energy: dict[str, float | None]
    reused: bool
    made: dict[str, Any]
    diverged: str | None


@dataclass(frozen=True)
class StageStore:
    """Stage outputs under `<root>/<stage>/<key>/`, each made once and shared by all trials.

    An output is written to a folder of this process, `<key>.<host>-<pid>.partial`, and then renamed: a folder without
    that ending is whole. A lock lets processes wait for each other. Where it does nothing, both make the output, and
    the first one counts. What a killed process left is cleared, unless it holds checkpoints that a training can go on
    from. An output that was damaged since, as its manifest reveals, is set aside and made again.
    """

    root: Path

    def folder(self, stage: Stage) -> Path:
        """Return where a stage's output lies, or will lie."""
        return self.root / stage.name / stage.key

    def lacks(self, stages: Iterable[Stage]) -> list[str]:
        """Return the keys of the stages whose output is not there."""
        return [stage.key for stage in stages if not self.folder(stage).exists()]

    def fetch(self, stage: Stage, events: Path | None = None) -> Output:
        """Return a stage's output; make it, and its inputs, first if it is not there.

        `events` shows its TensorBoard events from the moment they are being written.

        Raises:
            DivergedError: If an input of the stage diverged.
        """
        folder, reused = self.folder(stage), True
        if self._damage(stage, folder) is not None:
            inputs = {name: self._input(one) for name, one in stage.inputs.items()}
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")), own_part(folder) as part:
                # Another process may have made it while this one waited.
                if (reason := self._damage(stage, folder)) is not None:
                    if folder.exists():
                        set_aside(folder, reason)
                    adopt(folder, part, progress)
                    if events is not None:
                        _show(part / "tensorboard", events)
                    if not (part / MANIFEST).exists() or self._damage(stage, part) is not None:
                        self._make(stage, part, inputs)
                    shutil.rmtree(part / CHECKPOINTS, ignore_errors=True)
                    publish(part, folder)
                    reused = False
        if events is not None:
            share(folder / "tensorboard", events)
        made = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        costs = (made["seconds"], made.get("memory", {}), made.get("energy", {}))
        return Output(folder, *costs, reused, made["made"], made["diverged"])

    def _damage(self, stage: Stage, folder: Path) -> str | None:
        """Return what is wrong with an output of a stage; None if it is whole."""

        def read() -> None:
            if json.loads((folder / "stage.json").read_text(encoding="utf-8"))["diverged"] is None:
                stage.load(folder)

        return damage(folder, read)

    def _input(self, stage: Stage) -> Path:
        output = self.fetch(stage)
        if output.diverged is not None:
            raise DivergedError(output.diverged)
        return output.folder

    def _make(self, stage: Stage, partial: Path, inputs: dict[str, Path]) -> None:
        made_by = {name: code_provenance()[name] for name in ("commit", "clean", "versions")}
        made_by["threads"] = torch.get_num_threads()
        same = {**made_by, "sources": source_hash()}
        before = seconds_before(partial / CHECKPOINTS, same)
        if before is None:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "tensorboard").mkdir(parents=True)
            (partial / CHECKPOINTS).mkdir()
        write_json({"same": same, "seconds": before or 0.0}, partial / CHECKPOINTS / BEGUN)
        reset_peak_memory()
        start, diverged = time.perf_counter(), None
        try:
            with EnergyMeter() as meter, replicas.sharing(stage, inputs):
                stage.run(partial, inputs)
        except DivergedError as outcome:
            diverged = str(outcome)
        seconds = (before or 0.0) + time.perf_counter() - start
        energy = {name: value if before is None else None for name, value in meter.joules().items()}
        costs = {"seconds": seconds, "memory": peak_memory(), "energy": energy}
        made = {**costs, "diverged": diverged, "made": made_by}
        write_json(stage.identity | made, partial / "stage.json")
        seal(partial, without=CHECKPOINTS)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints `<step>.ckpt` in a folder, the newest first."""
    return sorted(folder.glob("*.ckpt"), key=lambda path: -int(path.stem))


def progress(part: Path) -> float:
    """Return how far an unfinished output has come: the step of its newest checkpoint, 0 without one."""
    if (part / MANIFEST).exists():
        return math.inf
    return max((int(path.stem) for path in checkpoints(part / CHECKPOINTS)), default=0)


def seconds_before(folder: Path, same: Mapping[str, Any]) -> float | None:
    """Return what it took to come as far as the newest checkpoint; None if there is none, or it was begun otherwise."""
    try:
        begun = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
        since = checkpoints(folder)[0].stat().st_mtime - (folder / BEGUN).stat().st_mtime
    except (OSError, ValueError, IndexError):
        return None
    return begun["seconds"] + max(0.0, since) if begun.get("same") == same else None


def share(source: Path, place: Path) -> None:
    """Make a file or folder appear at another place too, instead of what is there: as hard links, or else as copies.

    So a trial's folder can be copied alone. Only some file systems have links, and none across two of them.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = mine(place)
    _remove(fresh)  # of a killed process with the same number
    if source.is_dir():
        shutil.copytree(source, fresh, copy_function=_link)
    else:
        _link(source, fresh)
    while fresh.exists():
        _remove(place)
        try:
            fresh.rename(place)
        except OSError:
            if not place.exists():
                raise
            # Another process has put it there meanwhile.


def _link(source: Path | str, place: Path | str) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def _show(folder: Path, place: Path) -> None:
    """Let a link at `place` show a folder that is still being written; do nothing if links are not allowed."""
    _remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        place.symlink_to(os.path.relpath(folder, place.parent), target_is_directory=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # another process removes it too
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
