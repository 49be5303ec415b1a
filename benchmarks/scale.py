"""How long do a launch and a report of very many trials take, and how much memory?

    python benchmarks/scale.py [--trials 2000 10000]

For each number of trials, the recipe digits_budgets is swept over more seeds. Planning is what a launch does before the
first trial starts; the report reads a study of as many trials, whose records and predictions are copies of those in
results/digits_budgets.jsonl with other seeds. Each runs in a process of its own. Fails above 60 seconds and 1 GiB for
2,000 trials planned, or 2 minutes and 2 GiB for a report on 10,000.
"""

import argparse
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from racing import machine

from gan_augment.records.record import write_json
from gan_augment.report.trials import collect

KEPT = Path(__file__).parents[1] / "results" / "digits_budgets.jsonl"
NUM_CLASSES = 10
MOST = {("planning", 2_000): (60, 1024), ("report", 10_000): (120, 2048)}  # seconds, MiB
PLANNING = """
from gan_augment.launch import Launch
planned = Launch.on_multirun_start
def stop(self, *arguments, **keywords):
    planned(self, *arguments, **keywords)
    raise SystemExit
Launch.on_multirun_start = stop
from gan_augment.app import main
"""
REPORT = "from gan_augment.report.page import main"
MEASURED = """
import resource, sys, time
start = time.perf_counter()
{code}
try:
    main()
except SystemExit as end:
    if end.code:
        raise
finally:
    print("measured", time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(code: str, *arguments: str) -> tuple[float, float]:
    """Run a command in a process of its own; return its seconds, and its largest memory in MiB."""
    command = [sys.executable, "-c", MEASURED.format(code=code), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("measured ")]
    if ended.returncode or not lines:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{ended.stderr}")
    seconds, memory = map(float, lines[-1].split()[1:])
    return seconds, memory


def plan(trials: int, folder: Path) -> tuple[float, float]:
    """Plan a study of as many trials, 24 for each seed."""
    return run(
        PLANNING,
        "-m",
        "experiment=digits_budgets",
        f"seed=range(0,{-(-trials // 24)})",
        f"max_trials={trials + 24}",
        f"paths.output_dir={folder}",
    )


def write_study(trials: int, folder: Path) -> None:
    """Write the folder of a study of as many trials."""
    random, names = np.random.default_rng(0), []
    kept = list(collect([KEPT]).outcomes.values())
    for number in range(trials):
        outcome = kept[number % len(kept)]
        record: dict[str, Any] = deepcopy(outcome.record)
        seed = record["factors"]["seeds.split"] + 10 * (number // len(kept))
        record["factors"] |= {name: seed for name in record["factors"] if name.startswith("seeds.")}
        record["trial"] = f"{record['factors']['augmentation']}-seed{seed}-{number:08x}"
        record["provenance"]["split"] = f"split{record['factors']['labels']}-{seed}"
        names.append(record["trial"])
        assert outcome.answers is not None
        answers = outcome.answers()
        wrong = ~answers.right ^ (random.random(len(answers.right)) < 0.01)
        record["metrics"]["test"]["accuracy"] = float(1 - wrong.mean())
        trial = folder / "trials" / record["trial"]
        trial.mkdir(parents=True)
        write_json(record, trial / "record.json")
        probabilities = random.random((len(wrong), NUM_CLASSES)).astype(np.float16)
        np.savez_compressed(
            trial / "predictions.npz",
            ids=answers.ids,
            labels=answers.labels,
            predicted=(answers.labels + wrong) % NUM_CLASSES,
            probabilities=probabilities,
        )
    request = {"schema": record["schema"], "study": folder.name, "requested": names, "against": {}, "command": "-"}
    launch = folder / "launches" / "one"
    launch.mkdir(parents=True)
    write_json(request, launch / "request.json")


def main() -> None:
    """Measure, print, and fail where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[2_000, 10_000])
    arguments = parser.parse_args()
    machine()
    failures = []
    for trials in arguments.trials:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            measured = {"planning": plan(trials, folder / "planned")}
            write_study(trials, folder / "many")
            measured["report"] = run(REPORT, str(folder / "many"))
        for what, (seconds, memory) in measured.items():
            print(f"{what} of {trials:,} trials: {seconds:.0f} s, {memory:.0f} MiB", flush=True)
            longest, most = MOST.get((what, trials), (float("inf"), float("inf")))
            if seconds > longest or memory > most:
                failures.append(f"{what} of {trials:,} trials takes more than {longest} s or {most} MiB")
    sys.exit("; ".join(failures) or None)


if __name__ == "__main__":
    main()
