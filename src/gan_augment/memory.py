"""The largest memory that a stage or a trial holds."""

import contextlib
import resource
import sys
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


def reset_peak_memory() -> None:
    """Restart the measurement, which works on Linux and on NVIDIA GPUs."""
    with contextlib.suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, int | None]:
    """Return the largest memory held since the last reset, in MiB.

    Returns:
        `peak_memory_mib`: resident memory; the largest since the process started if it cannot be reset.
        `peak_gpu_memory_mib`: allocated memory of an NVIDIA GPU; None without one.
    """
    try:
        status = (PROCESS / "status").read_text(encoding="ascii")
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kib = peak // 2**10 if sys.platform == "darwin" else peak
    gpu = torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None
    return {"peak_memory_mib": kib // 2**10, "peak_gpu_memory_mib": gpu}
