"""Side by side: contestants take turns of some seconds each, so that a busy machine slows all of them alike."""

import atexit
import json
import multiprocessing
import os
import platform
import pty
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = {  # by accelerator
    "cpu": Path(__file__).with_name("results.json"),
    "gpu": Path(__file__).with_name("results-gpu.json"),
}
LIBRARIES = ("torch", "torchvision", "lightning", "hydra-core", "numpy")

START = 180.0  # seconds that a contestant has for its start and first step; compiling takes a minute
PATIENCE = 10  # a turn may take this many times its length
FEWEST = 3  # rounds, even when the time is up
TOO_SLOW = "cannot keep up"


class Lap(NamedTuple):
    """One turn of a contestant.

    Attributes:
        seconds: Average duration of a step in this turn.
        data: The part of it spent on getting the batch; 0 for a contestant that does not measure it.
    """

    seconds: float
    data: float


class Ticker:
    """What a contestant calls after each of its steps; between two turns it does not return.

    A turn ends with the first step that finishes after the turn's time. On a GPU a step is finished for the host before
    it is for the device, so the turn also waits for the device, once, at its end. The first step creates what all later
    ones use and is a turn of its own.

    Args:
        pipe: To the process that holds the race.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._steps = 0
        self._start = self._end = time.perf_counter()
        self.data = 0.0  # seconds spent on data, for a contestant that measures them
        self._waited = 0.0

    def __call__(self) -> None:
        """Count a step."""
        self._steps += 1
        if time.perf_counter() < self._end:
            return
        wait_for_device()
        now = time.perf_counter()
        self._pipe.send(Lap((now - self._start) / self._steps, self.data / self._steps))
        seconds = self._pipe.recv()
        if seconds is None:
            from gan_augment.memory import peak_memory

            self._pipe.send(peak_memory())
            os._exit(0)  # in the midst of a training
        self._steps, self.data, self._start = 0, 0.0, time.perf_counter()
        self._end = self._start + seconds
        self._waited += self._start - now

    def clock(self) -> float:
        """Return seconds that stand still while others have their turn."""
        return time.perf_counter() - self._waited


def wait_for_device() -> None:
    """Wait until a GPU has done all that it was asked to do."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


Contestant = Callable[[Ticker], None]


def _run(contestant: Contestant, pipe: Connection) -> None:
    _give_a_terminal()
    try:
        contestant(Ticker(pipe))
    except BaseException:
        pipe.send(traceback.format_exc())
        raise


def _give_a_terminal() -> None:
    """Let output go to a terminal that nobody looks at: a progress bar draws itself as it would for a user."""
    ours, theirs = pty.openpty()
    for stream in (1, 2):
        os.dup2(theirs, stream)

    def drain() -> None:
        while os.read(ours, 65536):
            pass

    threading.Thread(target=drain, daemon=True).start()


class LeftOutError(Exception):
    """A contestant cannot keep up, or has failed."""


class Runner:
    """A contestant in a process of its own that has taken its first step.

    Args:
        contestant: What runs in the process.
        within: Seconds for its start and first step.

    Raises:
        LeftOutError: If it takes longer, or fails.
    """

    def __init__(self, contestant: Contestant, within: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(contestant, theirs))
        self._process.start()
        atexit.register(self._process.kill)  # in case the race breaks off
        theirs.close()
        self._answer(within)

    def turn(self, seconds: float) -> Lap:
        """Let it run for some seconds, and for at least one step.

        Raises:
            LeftOutError: If it takes far longer, or fails.
        """
        self._send(seconds)
        return self._answer(PATIENCE * seconds)

    def end(self) -> dict[str, int | None]:
        """End it; return its largest memory.

        Raises:
            LeftOutError: If it fails.
        """
        self._send(None)
        peak = self._answer(START)
        self._process.join()
        return peak

    def _send(self, seconds: float | None) -> None:
        with suppress(OSError):  # its process has ended: the answer will say so
            self._pipe.send(seconds)

    def _answer(self, within: float) -> Any:
        if not self._pipe.poll(within):
            self._process.kill()
            raise LeftOutError(f"{TOO_SLOW}: no answer within {within:g} s")
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise LeftOutError("its process ended") from None
        if isinstance(answer, str):
            raise LeftOutError(answer)
        return answer


def race(
    contestants: Mapping[str, Contestant], seconds: float, rounds: int, most: float | None = None
) -> dict[str, dict[str, Any]]:
    """Let contestants take turns, and print the medians after each round; the first round is a warm-up.

    Args:
        contestants: By name; each, in a process of its own, calls its ticker after every step and goes on for ever.
        seconds: Length of a turn.
        rounds: Turns of each that count.
        most: Seconds, from the start, after which no new round begins, except for the first three; None for no limit.

    Returns:
        By name: `ms`, the median over the turns of what a step took, in milliseconds; `data`, the median share of it
        spent on data; `peak_mib`, and on a GPU `peak_gpu_mib`, the largest memory of the process; `laps`, all turns in
        milliseconds a step. A contestant that fails or cannot keep up has `left_out` instead, the reason.
    """
    begin = time.monotonic()
    found: dict[str, dict[str, Any]] = {name: {} for name in contestants}
    runners: dict[str, Runner] = {}
    laps: dict[str, list[Lap]] = {name: [] for name in contestants}

    def leave_out(name: str, reason: LeftOutError) -> None:
        runners.pop(name, None)
        found[name] = {"left_out": str(reason).strip().splitlines()[-1]}
        print(f"{name} is left out: {reason}", flush=True)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        starts = {name: pool.submit(Runner, one, most or START) for name, one in contestants.items()}
        for name, start in starts.items():
            try:
                runners[name] = start.result()
            except LeftOutError as reason:
                leave_out(name, reason)
    print(f"started within {time.monotonic() - begin:.0f} s: {'; '.join(runners)}", flush=True)
    for number in range(rounds + 1):
        if not runners:
            break
        if most is not None and number > FEWEST and time.monotonic() - begin > most:
            print(f"{most:g} s are over: {number - 1} rounds instead of {rounds}", flush=True)
            break
        for name, runner in [*runners.items()]:
            try:
                laps[name].append(runner.turn(seconds))
            except LeftOutError as reason:
                leave_out(name, reason)
        if number:
            medians = (f"{name}: {_median(laps[name][1:]):.4g}" for name in runners)
            print(f"round {number}, ms a step so far: {'; '.join(medians)}", flush=True)
    for name, runner in [*runners.items()]:
        try:
            peak = runner.end()
        except LeftOutError as reason:
            leave_out(name, reason)
            continue
        counted = laps[name][1:]
        found[name] = {
            "ms": round(_median(counted), 3),
            "data": round(statistics.median(lap.data / lap.seconds for lap in counted), 4),
            "peak_mib": peak["peak_memory_mib"],
            **({} if peak["peak_gpu_memory_mib"] is None else {"peak_gpu_mib": peak["peak_gpu_memory_mib"]}),
            "laps": [round(1000 * lap.seconds, 3) for lap in counted],
        }
    return found


def _median(laps: list[Lap]) -> float:
    """Return the median of what a step took, in milliseconds."""
    return 1000 * statistics.median(lap.seconds for lap in laps)


def finishers(found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the results of those that were not left out."""
    return {name: result for name, result in found.items() if "left_out" not in result}


def check_failures(found: Mapping[str, Mapping[str, Any]]) -> None:
    """End the program if a contestant failed; one that cannot keep up has not.

    Raises:
        SystemExit: If one did.
    """
    reasons = {name: result["left_out"] for name, result in found.items() if "left_out" in result}
    if failed := [f"{name}: {reason}" for name, reason in reasons.items() if not reason.startswith(TOO_SLOW)]:
        raise SystemExit("failed: " + "; ".join(failed))


def ratio(found: Mapping[str, Mapping[str, Any]], slow: str, fast: str) -> float:
    """Return how many times as long one contestant takes for a step as another: the median over the rounds."""
    pairs = zip(found[slow]["laps"], found[fast]["laps"], strict=True)
    return round(statistics.median(one / other for one, other in pairs), 3)


@cache
def machine() -> dict[str, Any]:
    """Say where a benchmark runs: processor, threads, GPU, versions; print it too."""
    import torch

    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        kinds = [
            kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if kind in fields.get("flags", "").split()
        ]
        cpu = f"{fields.get('model name', cpu)} ({', '.join(kinds)})"
    where: dict[str, Any] = {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": None,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }
    if torch.cuda.is_available():
        where["gpu"] = torch.cuda.get_device_name()
        where["versions"]["cuda"] = torch.version.cuda
        if shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            where["versions"]["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.split()[0]
    print(
        f"{where['gpu'] or where['cpu']}, {where['threads']} threads; "
        + ", ".join(f"{library} {number}" for library, number in where["versions"].items()),
        flush=True,
    )
    return where


def keep(name: str, accelerator: str = "cpu", file: Path | None = None, **found: Any) -> None:
    """Put the results of a benchmark into a file, in place of its earlier ones on the same kind of processor.

    Args:
        name: The benchmark.
        accelerator: `cpu` or `gpu`: whose results these are.
        file: Where to keep them; None for `results.json`, or `results-gpu.json`.
        **found: The results.
    """
    from gan_augment.records.provenance import code_provenance, source_hash

    where, file = machine(), file or RESULTS[accelerator]
    results = json.loads(file.read_text()) if file.exists() else {}
    commit = code_provenance()["commit"] or os.environ.get("COMMIT")  # of a copy of the code without its repository
    kept = {**found, "commit": commit, "sources": source_hash(), "machine": where}
    results.setdefault(name, {})[where[accelerator]] = kept
    text = json.dumps(dict(sorted(results.items())), indent=1)
    file.write_text(re.sub(r"\[[^\[\]{}]*\]", lambda laps: " ".join(laps[0].split()), text) + "\n")  # a list a line
