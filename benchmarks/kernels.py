"""Kernels a step, and the share of its time in which the GPU is busy, by `torch.profiler`.

    python benchmarks/kernels.py [--accelerator cpu] [--steps 50]

Profiles steps of the tutorial, ours and the bare loop on noise of MNIST's size. Time is taken of as many steps before,
without the profiler, which slows the host down. The busy share is the time of all kernels and copies over that: the
rest is the GPU waiting for the host. On a CPU operations are counted in place of kernels, and a share means nothing. It
takes a minute.
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from racing import Contestant, Ticker, keep, machine, wait_for_device
from speed import GANS, LOOPS, classifiers, gans
from torch.profiler import ProfilerActivity, profile
from trainings import SEMI_SUPERVISED, run_semi_supervised, write_noise

from gan_augment.training.progress import titled

KERNELS, COPIES = ("kernel",), ("gpu_memcpy", "gpu_memset")  # categories in a trace


class EnoughError(Exception):
    """All steps are measured."""


class Probe(Ticker):
    """What a training calls after each step: so many steps warm up, as many are timed, as many profiled.

    Args:
        steps: How many.
        gpu: Whether to profile the GPU.
    """

    def __init__(self, steps: int, gpu: bool) -> None:
        self.data = 0.0
        self._steps, self._done = steps, 0
        self._profile = profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU], acc_events=True)
        self._kernels = KERNELS if gpu else ("cpu_op",)

    def __call__(self) -> None:
        """Count a step.

        Raises:
            EnoughError: After the last one.
        """
        self._done += 1
        if self._done % self._steps:
            return
        wait_for_device()
        if self._done == self._steps:
            self._start = time.perf_counter()
        elif self._done == 2 * self._steps:
            self._seconds = (time.perf_counter() - self._start) / self._steps
            self._profile.start()
        else:
            self._profile.stop()
            raise EnoughError

    def clock(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()

    def found(self) -> dict[str, float]:
        """Return milliseconds, kernels and copies a step, and the busy share."""
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text())["traceEvents"]

        def durations(categories: Sequence[str]) -> list[float]:
            return [event["dur"] for event in events if event.get("cat") in categories]

        kernels, copies = durations(self._kernels), durations(COPIES)
        busy = (sum(kernels) + sum(copies)) / 1e6 / self._steps
        return {
            "ms": round(1000 * self._seconds, 3),
            "kernels": round(len(kernels) / self._steps, 1),
            "copies": round(len(copies) / self._steps, 1),
            "busy": round(busy / self._seconds, 3),
        }


def trainings(root: Path, accelerator: str) -> dict[str, Contestant]:
    """Return what is profiled; ours come last, as they make PyTorch deterministic for the process."""
    races = {name: gans(kind, root, accelerator) for name, kind in GANS.items()}
    races["classifier"] = classifiers(root, accelerator)
    ours = (*SEMI_SUPERVISED, f"trainer={accelerator}")
    loops = sorted(LOOPS, key=lambda loop: loop == "ours")
    found = {f"{name}, {loop}": contestants[loop] for loop in loops for name, contestants in races.items()}
    return found | {"semi-supervised, ours": partial(run_semi_supervised, overrides=ours, root=root)}


def main() -> None:
    """Profile, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--results", type=Path, help="where to keep results; default: in the repository")
    arguments = parser.parse_args()
    machine()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, titled(None):
        write_noise(Path(folder))
        for name, training in trainings(Path(folder), arguments.accelerator).items():
            probe = Probe(arguments.steps, arguments.accelerator == "gpu")
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # a tutorial prints every step
                    training(probe)
            except EnoughError:
                found[name] = probe.found()
            except Exception as error:
                traceback.print_exc()
                found[name] = {"failed": repr(error)}
            print(f"{name}: " + ", ".join(f"{what} {value}" for what, value in found[name].items()), flush=True)
            keep("kernels", arguments.accelerator, arguments.results, trainings=found, steps=arguments.steps)
    if failed := [name for name, result in found.items() if "failed" in result]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
