"""Commands that are killed again and again, or meet a full disk: the same results in the end, and few steps twice.

    python benchmarks/kills.py [--kills 40] [--seed 0] [--only study,report]

Runs each command undisturbed: a trial, a study with two workers, a study that first decodes a folder of images, the
report, and gan-augment-synthesize. Then runs each of them again, and ends it at random moments with `kill -9`, SIGTERM
and Ctrl-C in turn. The same command is started anew until it is done; if it is done before all kills have happened, it
starts again elsewhere. Last, runs each on disks that are too small for it, and again once there is space. This needs
the right to mount; where that is lacking, start all with `unshare -rm`. Fails unless

- every result is that of the undisturbed command, costs aside,
- every exit code is that of the signal, and nothing but `kill -9` leaves half-written files next to a synthetic set,
- the steps that the study with two workers took are at most those that are needed and, for each kill, those that both
  workers take between two checkpoints: each loses half of these on average,
- a full disk ends each command with 1 and no traceback.

The code must not change while this runs, nor its commit.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from racing import keep

from gan_augment.records.record import flatten

NUM_WORKERS = 2
INTERVAL = 1  # seconds between two checkpoints
NUM_PHOTOGRAPHS = 4000
TINY = (
    *("trainer.num_threads=1", f"trainer.checkpoint_every={INTERVAL}", "generator.images_seen=12800"),
    *("classifier.num_steps=200", "measures.judge.num_steps=200", "synthesis.per_class=50"),
    *("architecture.channels=16", "classifier.network.channels=8", "measures.judge.network.channels=8"),
)
PARALLEL = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={NUM_WORKERS}")
FILLED = (0.05, 0.3, 0.6, 0.9)  # what part of the files fits on a full disk
BUILT_ON = {"report": "study", "synthesize": "trial"}  # what a task needs the undisturbed results of
CODES = {
    signal.SIGKILL: {-signal.SIGKILL},
    # By the system itself while Python starts.
    signal.SIGTERM: {128 + signal.SIGTERM, -signal.SIGTERM},
    signal.SIGINT: {128 + signal.SIGINT, -signal.SIGINT},
}

# Appends a byte to a file for each training step, in whatever process: Python runs this module at its start.
COUNTER = """
import builtins, os, sys
real = builtins.__import__
def counting(*arguments, **settings):
    module = real(*arguments, **settings)
    batches = sys.modules.get("gan_augment.data.batches")
    # What is defined last is there; and of the imports that are under way, this is the first to see it.
    if hasattr(batches, "ImageBatches") and builtins.__import__ is counting:
        builtins.__import__, select = real, batches.TrainingSteps.__getitem__
        def counted(self, step):
            rehearsal = sys.modules.get("gan_augment.training.rehearsal")
            if rehearsal is None or rehearsal._workers.get() is None:
                with open(os.environ["STEPS"], "ab") as file:
                    file.write(b".")
            return select(self, step)
        batches.TrainingSteps.__getitem__ = counted
    return module
builtins.__import__ = counting
"""


@dataclass(frozen=True)
class Task:
    """A command that is killed.

    Attributes:
        module: The module to run.
        arguments: Its arguments for a folder of its own, which is made before if `prepare` does not make it.
        results: What must be the same in the end.
        prepare: Puts into a folder what the command needs.
    """

    module: str
    arguments: Callable[[Path], Sequence[str]]
    results: Callable[[Path], Any]
    prepare: Callable[[Path], object] = Path.mkdir


def tasks(root: Path) -> dict[str, Task]:
    """Return the tasks; some build on what the undisturbed ones before them leave below `root`."""

    def launch(*arguments: str) -> Callable[[Path], Sequence[str]]:
        return lambda folder: [*arguments, *TINY, "study=killed", f"paths.output_dir={folder}"]

    photographs = f"data.root={root / 'photographs'}"
    generators = root / "undisturbed-trial" / "studies" / "killed" / "trials"
    return {
        "trial": Task("gan_augment", launch("experiment=digits", "augmentation=gan"), of_records),
        "study": Task("gan_augment", launch("-m", "experiment=digits", "seed=0,1", *PARALLEL), of_records),
        "decoding": Task(
            "gan_augment",
            launch("-m", "data=image_folder", photographs, "data.image_size=16", "augmentation=none", "labels=20"),
            of_records,
        ),
        "report": Task(
            "gan_augment.report.page",
            lambda folder: [str(folder / "studies" / "killed"), "--keep", str(folder / "kept.jsonl")],
            lambda folder: of_files(folder / "studies" / "killed" / "report") | of_files(folder / "kept.jsonl"),
            lambda folder: shutil.copytree(root / "undisturbed-study", folder, ignore=shutil.ignore_patterns("report")),
        ),
        "synthesize": Task(
            "gan_augment.synthesize",
            lambda folder: [f"generator={next(generators.iterdir())}", "per_class=300", f"out={folder / 'set'}"],
            lambda folder: of_files(folder / "set", without="data_card.md"),  # it has the command
        ),
    }


def of_records(folder: Path) -> Any:
    """Return the records of a study, costs aside, and the weights of its trials."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("studies/killed/trials/*/record.json")):
        row = flatten(json.loads(path.read_text()))
        row = {name: value for name, value in row.items() if not name.startswith("costs.")}
        row |= {one.name: digest(one) for one in sorted(path.parent.glob("*.pt"))}
        found |= {f"{path.parent.name}: {name}": value for name, value in row.items()}
    return found


def of_files(folder: Path, without: str = "") -> Any:
    """Return the hashes of the files in a folder, or of a file."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    return {str(path.relative_to(folder)): digest(path) for path in paths if path.is_file() and path.name != without}


def digest(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(task: Task, folder: Path) -> subprocess.Popen[str]:
    """Start a command, with a process group of its own; its steps are counted in a file next to its folder."""
    counter = folder.parent / "counter"
    counter.mkdir(exist_ok=True)
    (counter / "sitecustomize.py").write_text(COUNTER)
    path = os.pathsep.join([str(counter), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "STEPS": str(folder.with_suffix(".steps"))}
    command = [sys.executable, "-m", task.module, *task.arguments(folder)]
    with folder.with_suffix(".log").open("w") as log:  # what an earlier start said is no concern of this one
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment, start_new_session=True)


def steps(folder: Path) -> int:
    """Return how many steps were taken in a folder."""
    path = folder.with_suffix(".steps")
    return path.stat().st_size if path.exists() else 0


def training(folder: Path) -> float:
    """Return the seconds that the stages of all trials took; at least one, for commands without any."""
    costs = [json.loads(path.read_text())["costs"]["seconds"] for path in folder.glob("studies/*/trials/*/record.json")]
    return max(1.0, sum(one["total"]["spent"] - one["measures"]["spent"] for one in costs))


def finish(process: subprocess.Popen[str], task: Task, folder: Path) -> Any:
    """Wait until a command is done; return its results."""
    if process.wait():
        raise SystemExit(f"it failed:\n{folder.with_suffix('.log').read_text()}")
    if left := [path for path in folder.rglob("*.partial") if task.module.endswith("synthesize")]:
        raise SystemExit(f"it left {left}")
    return task.results(folder)


def compare(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """End with what is different, if something is."""
    for name in found.keys() | expected.keys():
        if found.get(name) != expected.get(name):
            raise SystemExit(f"not as undisturbed: {name}: {found.get(name)}, expected {expected.get(name)}")


def end(process: subprocess.Popen[str], how: signal.Signals, folder: Path) -> bool:
    """End a command by a signal; return whether it was still running. SIGTERM is for its first process alone."""
    (os.kill if how == signal.SIGTERM else os.killpg)(process.pid, how)
    code = process.wait()
    text = folder.with_suffix(".log").read_text()
    if code not in CODES[how] | {0} or (code > 0 and "Traceback" in text):
        raise SystemExit(f"{how.name} ended it with {code}:\n{text}")
    return code != 0


def disturb(
    task: Task, folders: Sequence[Path], seconds: float, kills: int, expected: Any, moments: random.Random, signals: Any
) -> tuple[int, int]:
    """Kill a command many times; return in how many folders it was done, and the steps that it took in all."""
    waiting, done = iter(folders), 0
    while kills:
        folder = next(waiting)
        task.prepare(folder)
        process = start(task, folder)
        while kills:
            moment = moments.uniform(0, seconds)
            try:
                process.wait(moment)
                break
            except subprocess.TimeoutExpired:
                how = next(signals)
                if not end(process, how, folder):
                    break
                kills -= 1
                print(f"  {how.name} after {moment:.1f} s", flush=True)
                process = start(task, folder)
        compare(finish(process, task, folder), expected)
        done += 1
    return done, sum(map(steps, folders[:done]))


def fill(task: Task, folder: Path, whole: int, expected: Any) -> None:
    """Run a command on disks with space for a part of its `whole` bytes, then with space for all."""
    disk = folder.with_name("disk")
    disk.mkdir(exist_ok=True)
    mount, plenty = ("mount", "-t", "tmpfs", "none", str(disk), "-o"), f"size={10 * whole + 2**30}"
    for share in FILLED:
        subprocess.run([*mount, plenty], check=True)
        try:
            task.prepare(disk / "folder")
            folder.unlink(missing_ok=True)
            folder.symlink_to(disk / "folder")  # its log and its count of steps stand next to the link
            size = used(folder) + int(share * (whole - used(folder)))
            subprocess.run([*mount, f"remount,size={size}"], check=True)
            code, text = start(task, folder).wait(), folder.with_suffix(".log").read_text()
            if code != 1 or "Traceback" in text:
                raise SystemExit(f"a disk of {size} bytes ended it with {code}:\n{text}")
            print(f"  full with {share:.0%} of its files: {text.strip().splitlines()[-1]}", flush=True)
            subprocess.run([*mount, f"remount,{plenty}"], check=True)
            compare(finish(start(task, folder), task, folder), expected)
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def used(folder: Path) -> int:
    """Return the bytes that the files of a folder take on a disk, linked ones once."""
    found = [one.stat() for one in folder.rglob("*") if one.is_file()]
    return sum({one.st_ino: 512 * one.st_blocks for one in found}.values())


def photographs(folder: Path) -> None:
    """Make noise in two classes."""
    noise = np.random.default_rng(0).integers(0, 256, (NUM_PHOTOGRAPHS, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(noise):
        path = folder / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def main() -> None:
    """Run each command undisturbed, kill it, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of tasks, separated by commas")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell ignores it, also for children
    moments, signals = random.Random(arguments.seed), cycle([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photographs(root / "photographs")
        found = tasks(root)
        chosen = arguments.only.split(",") if arguments.only else [*found]
        shares = {one: len(range(number, arguments.kills, len(chosen))) for number, one in enumerate(chosen)}
        for what, task in found.items():
            if what not in chosen and what not in (BUILT_ON.get(one) for one in chosen):
                continue
            folder = root / f"undisturbed-{what}"
            task.prepare(folder)
            clock = time.perf_counter()
            expected = finish(start(task, folder), task, folder)
            seconds, needed, kills = time.perf_counter() - clock, steps(folder), shares.get(what, 0)
            print(f"{what}: {seconds:.1f} s and {needed} steps undisturbed, {kills} kills", flush=True)
            if not kills:
                continue
            folders = [root / f"{what}{number}" for number in range(10 * kills + 1)]
            done, taken = disturb(task, folders, seconds, kills, expected, moments, signals)
            extra, most = taken - done * needed, round(kills * NUM_WORKERS * INTERVAL * needed / training(folder))
            print(f"{what}: {kills} kills, {done} times the same results, {extra} steps twice", flush=True)
            if what == "study" and extra > most:
                raise SystemExit(f"{extra} steps were taken twice, at most {most} are allowed")
            fill(task, root / f"filled-{what}", used(root / f"undisturbed-{what}"), expected)
            # Last, as it changes a file of the repository, and records say whether there are such changes.
            keep(f"kills_{what}", kills=kills, done=done, steps_twice=extra, steps_allowed=most, disks=len(FILLED))


if __name__ == "__main__":
    main()
