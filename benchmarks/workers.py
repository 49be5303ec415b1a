"""Two workers against one: how long the same study takes.

    python benchmarks/workers.py [--seeds 6] [--rounds 1]

Runs five arms on digits, four of them with the images of one GAN, with one worker and with two, one thread each, in
turns. It prints the median times and their ratio. Run it on a machine with two cores or more that does nothing else; a
round takes some 6 minutes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from racing import keep

MOST = 0.55  # of one worker's time


def seconds(num_workers: int, num_seeds: int) -> float:
    """Run the study with so many workers; return what it took, start and report included."""
    with tempfile.TemporaryDirectory() as outputs:
        command = [
            *(sys.executable, "-m", "gan_augment", "-m", "experiment=digits", f"seed=range(0,{num_seeds})"),
            *("augmentation=none,gan,gan_classical,placebo,synthetic_only", "generator.images_seen=240000"),
            *("hydra/launcher=joblib", f"hydra.launcher.n_jobs={num_workers}", "trainer.num_threads=1"),
            f"paths.output_dir={outputs}",
        ]
        clock = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"gan-augment failed:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - clock


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(arguments.rounds):
        for num_workers, times in found.items():
            times.append(seconds(num_workers, arguments.seeds))
            print(f"round {number + 1}: {num_workers} workers: {times[-1]:.0f} s", flush=True)
    one, two = (statistics.median(times) for times in found.values())
    print(f"medians of {arguments.rounds}: one worker {one:.0f} s, two {two:.0f} s, ratio {two / one:.2f}")
    rounded = [round(seconds, 1) for seconds in (one, two)]
    keep("workers", seeds=arguments.seeds, rounds=arguments.rounds, seconds=rounded, ratio=round(two / one, 3))
    if two > MOST * one:
        raise SystemExit(f"two workers take more than {MOST} of one worker's time")


if __name__ == "__main__":
    main()
