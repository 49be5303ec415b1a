"""The largest memory that a stage or a trial holds."""

import contextlib
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
        `peak_memory_mib`: resident memory; the largest since the process started if it cannot be reset; None on
            Windows.
        `peak_gpu_memory_mib`: allocated memory of an NVIDIA GPU; None without one.
    """
    try:
        status = (PROCESS / "status").read_text(encoding="ascii")
        kib: int | None = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        kib = _peak_since_start()
    gpu = torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None
    return {"peak_memory_mib": kib and kib // 2**10, "peak_gpu_memory_mib": gpu}


def _peak_since_start() -> int | None:
    """Return the largest memory since the process started, in KiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 2**10 if sys.platform == "darwin" else peak
