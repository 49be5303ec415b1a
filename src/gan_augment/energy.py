"""The energy that a stage takes, where the machine tells it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
EVERY = 20.0  # seconds between readings: some counters start again after 65 kJ


class EnergyMeter:
    """Counts the energy of the processors and of the GPU for as long as its context lasts.

    The counters belong to devices: they also count what other processes take on them. Those of the processors (RAPL)
    exist on Linux, and as a rule root alone may read them. That of this process's NVIDIA GPU (NVML) needs the package
    `nvidia-ml-py`.
    """

    def __init__(self) -> None:
        self._counters = {"cpu_joules": [*_processors()], "gpu_joules": [*_gpu()]}
        self._ended = Event()

    def __enter__(self) -> "EnergyMeter":
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._read()

    def joules(self) -> dict[str, float | None]:
        """Return `cpu_joules` and `gpu_joules`, each None where the machine doesn't tell it."""
        return {name: sum(one.total for one in some) if some else None for name, some in self._counters.items()}

    def _follow(self) -> None:
        while any(self._counters.values()) and not self._ended.wait(EVERY):
            self._read()

    def _read(self) -> None:
        for some in self._counters.values():
            try:
                for counter in some:
                    counter.read()
            except Exception:  # of the file system or of NVML: better no number than a wrong one, or a lost training
                some.clear()


@dataclass
class _Counter:
    """The growth of a number of a device.

    Attributes:
        now: Reads the number.
        unit: Joules that 1 stands for.
        largest: After this number it starts again at 0.
        total: By how many joules it has grown.
    """

    now: Callable[[], int]
    unit: float
    largest: int
    total: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._last = self.now()

    def read(self) -> None:
        """Add what came since the last reading."""
        now = self.now()
        self.total += (now - self._last) % self.largest * self.unit
        self._last = now


def _processors() -> Iterator[_Counter]:
    """Find the counter of each processor; those below it, such as of its cores, are parts of it."""
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):  # AMD's too
        with contextlib.suppress(OSError, ValueError):
            if zone.name.count(":") == 1 and (zone / "name").read_text(encoding="ascii").startswith("package"):
                largest = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
                yield _Counter(_reads(zone / "energy_uj"), 1e-6, largest)


def _reads(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text(encoding="ascii"))


def _gpu() -> Iterator[_Counter]:
    """Find the counter of this process's GPU."""
    if not torch.cuda.is_available():
        return
    with contextlib.suppress(Exception):  # without the package, or a GPU that has no counter
        import pynvml as nvml

        nvml.nvmlInit()
        device: Any = torch.cuda.get_device_properties(torch.cuda.current_device())
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{device.uuid}")
        yield _Counter(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle), 1e-3, 2**64)
