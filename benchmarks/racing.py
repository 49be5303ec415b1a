"""Side by side: contestants take turns, a block of steps each, so that a busy machine slows all of them alike."""

import atexit
import json
import multiprocessing
import os
import platform
import pty
import re
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("results.json")
LIBRARIES = ("torch", "torchvision", "lightning", "hydra-core", "numpy")


class Lap(NamedTuple):
    """One block of a contestant.

    Attributes:
        seconds: What a step took, on average over the block.
        data: The part of it that went into getting the batch; 0 where a contestant does not say.
    """

    seconds: float
    data: float


class Ticker:
    """What a contestant calls after each of its steps; between two blocks it does not return.

    Args:
        pipe: To whoever holds the race.
        block: Steps in a block.
    """

    def __init__(self, pipe: Connection, block: int) -> None:
        self._pipe, self._block = pipe, block
        self._left = 1  # the first step is the warm-up of everything that is made when it is first used
        self.data = 0.0  # seconds spent on data, for a contestant that measures them
        self._waited = 0.0

    def __call__(self) -> None:
        """Count a step."""
        self._left -= 1
        if self._left:
            return
        _wait_for_device()
        if hasattr(self, "_start"):
            self._pipe.send(Lap((time.perf_counter() - self._start) / self._block, self.data / self._block))
        else:
            self._pipe.send("ready")
        waits_since = time.perf_counter()
        if self._pipe.recv() == "end":
            from gan_augment.memory import peak_memory

            self._pipe.send(peak_memory()["peak_memory_mib"])
            os._exit(0)  # in the midst of a training
        self._left, self.data, self._start = self._block, 0.0, time.perf_counter()
        self._waited += self._start - waits_since

    def clock(self) -> float:
        """Return seconds that stand still while others have their turn."""
        return time.perf_counter() - self._waited


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


Contestant = Callable[[Ticker], None]


def _run(contestant: Contestant, pipe: Connection, block: int) -> None:
    _give_a_terminal()
    try:
        contestant(Ticker(pipe, block))
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


def race(contestants: Mapping[str, Contestant], block: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Let contestants take turns; the first round is left out as the warm-up.

    Args:
        contestants: By name; each, in a process of its own, calls its ticker after every step and goes on for ever.
        block: Steps a turn.
        rounds: Turns of each that count.

    Returns:
        By name: `ms`, the median over the turns of what a step took, in milliseconds; `data`, the median share of it
        that went into data; `peak_mib`, the largest memory of the process; `laps`, all turns in milliseconds a step.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, {}
    atexit.register(lambda: [process.kill() for process in processes.values()])  # those of a race that broke off
    for name, contestant in contestants.items():
        pipes[name], theirs = context.Pipe()
        processes[name] = context.Process(target=_run, args=(contestant, theirs, block))
        processes[name].start()
        theirs.close()
        assert _answer(name, pipes[name]) == "ready"  # one start after the other
    laps: dict[str, list[Lap]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            lap = _answer(name, pipe)
            if number:
                laps[name].append(lap)
    found = {}
    for name, pipe in pipes.items():
        pipe.send("end")
        found[name] = {
            "ms": round(1000 * statistics.median(lap.seconds for lap in laps[name]), 3),
            "data": round(statistics.median(lap.data / lap.seconds for lap in laps[name]), 4),
            "peak_mib": _answer(name, pipe),
            "laps": [round(1000 * lap.seconds, 3) for lap in laps[name]],
        }
        processes[name].join()
    return found


def _answer(name: str, pipe: Connection) -> Any:
    try:
        answer = pipe.recv()
    except EOFError:
        raise SystemExit(f"{name} ended in the midst of the race") from None
    if isinstance(answer, str) and answer != "ready":
        raise SystemExit(f"{name} failed:\n{answer}")
    return answer


def ratio(found: Mapping[str, Mapping[str, Any]], slow: str, fast: str) -> float:
    """Return how many times as long one contestant takes for a step as another: the median over the rounds."""
    pairs = zip(found[slow]["laps"], found[fast]["laps"], strict=True)
    return round(statistics.median(one / other for one, other in pairs), 3)


def machine() -> dict[str, Any]:
    """Say where a benchmark ran: processor, threads, versions."""
    import torch

    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        kinds = [
            kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if kind in fields.get("flags", "").split()
        ]
        cpu = f"{fields.get('model name', cpu)} ({', '.join(kinds)})"
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


def keep(name: str, **found: Any) -> None:
    """Put the results of a benchmark into `results.json`, in place of its earlier ones, and print the machine."""
    from gan_augment.study.provenance import code_provenance, source_hash

    code = code_provenance()
    where = machine()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = {**found, "commit": code["commit"], "sources": source_hash(), "machine": where}
    text = json.dumps(dict(sorted(results.items())), indent=1)
    RESULTS.write_text(re.sub(r"\[[^\[\]{}]*\]", lambda laps: " ".join(laps[0].split()), text) + "\n")  # a list a line
    print(f"{where['cpu']}, {where['threads']} threads; " + ", ".join(f"{k} {v}" for k, v in where["versions"].items()))
