"""From the command to its first step, a tiny study, and the demo: what a user waits for.

    python benchmarks/startup.py [--rounds 5] [--no-demo]

Each is the real command in a process of its own, into an empty folder. Printed are medians of the rounds; the demo,
which takes minutes, runs once, and once more with everything there. Fails if the configuration takes more than a
second, the demo more than 150 seconds, or 12 when it is given again.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from racing import keep

CONFIGURATION, DEMO, AGAIN = 1.0, 150.0, 12.0  # seconds allowed
DEMO_COMMAND = ("-m", "experiment=digits", "hydra/launcher=joblib")  # as in the Makefile
TINY = (
    *(
        "-m",
        "experiment=digits",
        "seed=0,1",
        "augmentation=none,gan",
        "generator.images_seen=640",
        "classifier.num_steps=20",
    ),
    *("measures.judge.num_steps=20", "synthesis.per_class=8"),
)
PLANNED = """
import sys, time
from hydra import compose, initialize_config_dir
from gan_augment.app import CONF
from gan_augment.job import plain
from gan_augment.plan import plan_trial
with initialize_config_dir(str(CONF)):
    def plan(seed):
        settings = compose("config", overrides=["study=x", f"seed={seed}"], return_hydra_config=True)
        plan_trial(plain(settings))
    plan(0)
    start = time.perf_counter()
    for seed in range(int(sys.argv[1])):
        plan(seed)
    print(time.perf_counter() - start)
"""


def run(*arguments: str, until: str | None = None) -> float:
    """Run the command; return the seconds until it ends, or until a line says something."""
    clock = time.perf_counter()
    command = [sys.executable, "-m", "gan_augment", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if until is not None and until in line:
            seconds = time.perf_counter() - clock
            process.kill()
            process.wait()
            return seconds
    if process.wait() or until is not None:
        raise SystemExit(f"gan-augment failed:\n{''.join(said)}")
    return time.perf_counter() - clock


def plan(number: int) -> float:
    """Return the seconds that it takes to compose and check so many trials, the imports left out."""
    done = subprocess.run([sys.executable, "-c", PLANNED, str(number)], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-demo", action="store_true")
    arguments = parser.parse_args()
    names = ("--cfg job", "first step", "tiny study", "tiny study again", "10 trials planned", "100 trials planned")
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            where = f"paths.output_dir={folder}"
            found["--cfg job"].append(run("--cfg", "job"))
            found["first step"].append(run("augmentation=none", where, until="classifier: 600 steps"))
            found["tiny study"].append(run(*TINY, where))
            found["tiny study again"].append(run(*TINY, where))
            found["10 trials planned"].append(plan(10))
            found["100 trials planned"].append(plan(100))
    seconds = {name: round(statistics.median(times), 2) for name, times in found.items()}
    if not arguments.no_demo:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("demo", "demo again"):
                seconds[name] = round(run(*DEMO_COMMAND, f"paths.output_dir={folder}"), 1)
    for name, value in seconds.items():
        print(f"{name}: {value} s")
    keep("startup", seconds=seconds, rounds=arguments.rounds)
    limits = {"--cfg job": CONFIGURATION, "demo": DEMO, "demo again": AGAIN}
    if slow := [name for name, limit in limits.items() if seconds.get(name, 0) > limit]:
        raise SystemExit(f"too slow: {', '.join(slow)}")


if __name__ == "__main__":
    main()
