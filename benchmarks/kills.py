"""A study that is killed again and again: the same results in the end, and few steps twice.

    python benchmarks/kills.py [--kills 20] [--seed 0]

Runs a small study with two workers undisturbed, and then again: launch and workers are killed (`kill -9`) at random
moments, and the same command is started anew until the study is complete; one that is completed before all kills have
happened is followed by another. Fails unless every results.csv is that of the undisturbed study, costs aside, and the
steps that were taken are at most those that are needed and, for each kill, those that both workers take between two
checkpoints: each loses half of these on average. A study's code must not change while this runs, nor its commit.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from racing import keep

NUM_WORKERS = 2
INTERVAL = 1  # seconds between two checkpoints
STUDY = (
    *("-m", "experiment=digits", "seed=0,1", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={NUM_WORKERS}"),
    *("trainer.num_threads=1", f"trainer.checkpoint_every={INTERVAL}", "generator.images_seen=12800"),
    *("classifier.num_steps=200", "measures.judge.num_steps=200", "synthesis.per_class=50"),
    *("architecture.channels=16", "classifier.network.channels=8", "measures.judge.network.channels=8"),
)

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
            with open(os.environ["STEPS"], "ab") as file:
                file.write(b".")
            return select(self, step)
        batches.TrainingSteps.__getitem__ = counted
    return module
builtins.__import__ = counting
"""


def launch(outputs: Path) -> subprocess.Popen[str]:
    """Start the study, with a process group of its own; its steps are counted in a file beside its outputs."""
    counter = outputs.parent / "counter"
    counter.mkdir(exist_ok=True)
    (counter / "sitecustomize.py").write_text(COUNTER)
    path = os.pathsep.join([str(counter), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "STEPS": str(outputs.with_suffix(".steps"))}
    command = [sys.executable, "-m", "gan_augment", *STUDY, f"paths.output_dir={outputs}"]
    with outputs.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment, start_new_session=True)


def steps(outputs: Path) -> int:
    """Return how many steps were taken for a study."""
    path = outputs.with_suffix(".steps")
    return path.stat().st_size if path.exists() else 0


def finish(process: subprocess.Popen[str], outputs: Path) -> tuple[list[dict[str, str]], float]:
    """Wait until a study is complete; return its results, costs aside, and the seconds that its stages took."""
    if process.wait():
        raise SystemExit(f"gan-augment failed:\n{outputs.with_suffix('.log').read_text()}")
    with (outputs / "studies" / "digits" / "report" / "results.csv").open() as file:
        rows = [*csv.DictReader(file)]
    results = [{name: value for name, value in row.items() if not name.startswith("costs.")} for row in rows]
    total, measures = (sum(float(row[f"costs.seconds.{name}.spent"]) for row in rows) for name in ("total", "measures"))
    return results, total - measures


def main() -> None:
    """Run the study undisturbed, kill it, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments, kills, studies, taken = random.Random(arguments.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        outputs = Path(name) / "undisturbed"
        clock = time.perf_counter()
        (expected, training), needed = finish(launch(outputs), outputs), steps(outputs)
        seconds = time.perf_counter() - clock
        between = round(NUM_WORKERS * INTERVAL * needed / training)  # steps of all workers between two checkpoints
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} trials, {needed} steps", flush=True)
        while kills < arguments.kills:
            outputs, studies = Path(name) / f"killed{studies}", studies + 1
            process = launch(outputs)
            while kills < arguments.kills:
                moment = moments.uniform(0, seconds)
                try:
                    process.wait(moment)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    kills += 1
                    print(f"kill {kills} after {moment:.0f} s: {steps(outputs)} steps so far", flush=True)
                    process = launch(outputs)
            if finish(process, outputs)[0] != expected:
                raise SystemExit(f"study {studies} has other results than the undisturbed one")
            taken += steps(outputs)
    extra, most = taken - studies * needed, kills * between
    print(f"{kills} kills, {studies} studies with the same results, {extra} steps twice; at most {most} are allowed")
    keep("kills", kills=kills, studies=studies, steps_twice=extra, steps_allowed=most)
    if extra > most:
        raise SystemExit("too many steps were taken twice")


if __name__ == "__main__":
    main()
