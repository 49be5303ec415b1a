"""A report on many trials: how long it takes, and whether it does without torch.

    python benchmarks/report.py [--trials 1000]

Makes up trial folders with predictions on 360 images, after the records in `results/digits.jsonl` but with other seeds,
and runs `gan-augment-report` on them. Fails if it takes more than 20 seconds, start included, or imports torch.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from racing import keep

from gan_augment.report.archive import read_archive

RESULTS = Path(__file__).parents[1] / "results" / "digits.jsonl"
NUM_IMAGES, NUM_CLASSES = 360, 10
MOST = 20.0  # seconds
REPORT = """
import sys
from gan_augment.report.page import main
main(sys.argv[1:])
if "torch" in sys.modules:
    sys.exit("the report imported torch")
"""


def make_trials(folder: Path, number: int) -> None:
    """Write trial folders of made-up trials: the arms of the records, each with splits of its own seeds."""
    records = [outcome.record for outcome in read_archive(RESULTS)[1] if "-seed0-" in outcome.trial]
    random = np.random.default_rng(0)
    labels = np.arange(NUM_IMAGES) % NUM_CLASSES
    for index in range(number):
        seed, record = index // len(records), copy.deepcopy(records[index % len(records)])
        record["factors"] |= {
            name: seed for name, value in record["factors"].items() if name.startswith("seeds.") and value is not None
        }
        record["provenance"]["split"] = f"{seed:064x}"
        trial = folder / "trials" / f"{record['factors']['augmentation']}-seed{seed}"
        trial.mkdir(parents=True)
        probabilities = random.dirichlet(np.full(NUM_CLASSES, 0.1), NUM_IMAGES)
        right = random.random(NUM_IMAGES) < 0.85
        probabilities[right] = np.eye(NUM_CLASSES)[labels[right]]
        record["metrics"]["test"]["accuracy"] = float((probabilities.argmax(axis=1) == labels).mean())
        (trial / "record.json").write_text(json.dumps({**record, "trial": trial.name}))
        np.savez_compressed(
            trial / "predictions.npz",
            ids=np.arange(NUM_IMAGES),
            labels=labels,
            probabilities=probabilities.astype(np.float16),
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_trials(Path(name), arguments.trials)
        clock = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", REPORT, name], capture_output=True, text=True)
        seconds = time.perf_counter() - clock
        if done.returncode:
            raise SystemExit(f"gan-augment-report failed:\n{done.stdout}{done.stderr}")
    print(f"report over {arguments.trials} trials: {seconds:.1f} s, without torch; at most {MOST:g} s are allowed")
    keep("report", trials=arguments.trials, seconds=round(seconds, 1))
    if seconds > MOST:
        raise SystemExit("the report takes too long")


if __name__ == "__main__":
    main()
