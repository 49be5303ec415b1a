"""The energy that a stage takes, where the machine reports it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

import torch

from gan_augment.training import replicas

POWERCAP = Path("/sys/class/powercap")
EVERY = 20.0  # seconds between readings: some counters restart after 65 kJ


class EnergyMeter:
    """Counts the energy of the processors and of the GPU for as long as its context lasts.

    The counters belong to devices: they also count what other processes take on them. Those of the processors (RAPL)
    exist on Linux, as a rule root alone may read them, and they leave out the memory of servers. That of this process's
    NVIDIA GPU (NVML) needs the package `nvidia-ml-py`. If several processes share a training, nothing is counted.
    """

    def __init__(self) -> None:
        alone = replicas.environment()[1] == 1
        self._counters = {
            "cpu_joules": _found(_processors) if alone else [],
            "gpu_joules": _found(_gpu) if alone else [],
        }
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
        """Return `cpu_joules` and `gpu_joules`, each None if the machine doesn't report it."""
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
    """The growth of a counter of a device.

    Attributes:
        now: Reads the counter.
        unit: Joules per unit.
        largest: After this number the counter restarts at 0; None if it never does.
        total: By how many joules it has grown.
    """

    now: Callable[[], int]
    unit: float
    largest: int | None
    total: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._last = self.now()

    def read(self) -> None:
        """Add the growth since the last reading.

        Raises:
            ValueError: If the counter restarted, and should not.
        """
        now = self.now()
        if now < self._last and self.largest is None:
            raise ValueError(f"an energy counter fell from {self._last} to {now}")
        growth = now - self._last
        self.total += (growth if self.largest is None else growth % self.largest) * self.unit
        self._last = now


def _found(search: Callable[[], Iterator[_Counter]]) -> list[_Counter]:
    """Return all counters of a kind; none if one of them cannot be read."""
    try:
        return [*search()]
    except Exception:  # without the right to read them, without the package, or with a GPU that has no counter
        return []


def _processors() -> Iterator[_Counter]:
    """Find the counter of each processor, of AMD too; the zones below it are parts of it, or the memory."""
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):
        if zone.name.count(":") == 1 and (zone / "name").read_text(encoding="ascii").startswith("package"):
            largest = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
            yield _Counter(_reader(zone / "energy_uj"), 1e-6, largest)


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text(encoding="ascii"))


def _gpu() -> Iterator[_Counter]:
    """Find the counter of this process's GPU."""
    if not torch.cuda.is_available():
        return
    import pynvml as nvml

    nvml.nvmlInit()
    device: Any = torch.cuda.get_device_properties(torch.cuda.current_device())
    handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{device.uuid}")
    yield _Counter(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle), 1e-3, None)
