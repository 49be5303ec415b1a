import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gan_augment import energy
from gan_augment.energy import EnergyMeter

LARGEST = 1000


class Processor:
    """The folder of a processor's counter, as Linux shows it."""

    def __init__(self, powercap, number, name="package-0", start=0):
        self.folder = powercap / f"intel-rapl:{number}"
        try:
            self.folder.mkdir(parents=True)
        except OSError:
            pytest.skip("no folder may have this name")
        (self.folder / "name").write_text(f"{name}\n")
        (self.folder / "max_energy_range_uj").write_text(f"{LARGEST}\n")
        self.show(start)

    def show(self, number):
        (self.folder / "new").write_text(f"{number}\n")
        (self.folder / "new").replace(self.folder / "energy_uj")  # at once, as the meter may be reading it


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    return tmp_path / "powercap"


def test_a_machine_without_counters_tells_no_energy(powercap):
    with EnergyMeter() as meter:
        pass
    assert meter.joules() == {"cpu_joules": None, "gpu_joules": None}


def test_the_energy_of_all_processors_is_added_up_and_their_parts_are_not(powercap):
    first, second = Processor(powercap, "0", start=100), Processor(powercap, "1", "package-1", start=0)
    cores, platform = Processor(powercap, "0:0", "package-0-core"), Processor(powercap, "2", "psys")
    with EnergyMeter() as meter:
        for one, number in ((first, 600), (second, 200), (cores, 900), (platform, 900)):
            one.show(number)
    assert meter.joules()["cpu_joules"] == pytest.approx(700e-6)


def test_a_counter_that_starts_again_is_followed(powercap, monkeypatch):
    monkeypatch.setattr(energy, "EVERY", 0.02)
    processor = Processor(powercap, "0", start=900)
    with EnergyMeter() as meter:
        processor.show(100)  # 200 more
        deadline = time.monotonic() + 30
        while meter.joules()["cpu_joules"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        processor.show(950)  # 850 more
    assert meter.joules()["cpu_joules"] == pytest.approx(1050e-6)


def test_a_counter_that_cannot_be_read_any_more_costs_the_number_and_nothing_else(powercap):
    processor = Processor(powercap, "0")
    with EnergyMeter() as meter:
        (processor.folder / "energy_uj").unlink()
    assert meter.joules()["cpu_joules"] is None


def test_a_processor_that_cannot_be_read_costs_the_number_of_all(powercap):
    Processor(powercap, "0")
    (Processor(powercap, "1", "package-1").folder / "energy_uj").unlink()
    with EnergyMeter() as meter:
        pass
    assert meter.joules()["cpu_joules"] is None


def test_several_processes_count_nothing(powercap, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    Processor(powercap, "0")
    with EnergyMeter() as meter:
        pass
    assert meter.joules()["cpu_joules"] is None


@pytest.mark.parametrize(("end", "joules"), [(7_500, 2.5), (100, None)])
def test_the_energy_of_the_gpu_is_that_of_this_process_and_unknown_if_its_counter_restarts(
    powercap, monkeypatch, end, joules
):
    readings = iter([5_000, end])
    nvml = ModuleType("pynvml")
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByUUID = lambda uuid: {"GPU-abc": "handle"}[uuid]
    nvml.nvmlDeviceGetTotalEnergyConsumption = lambda handle: next({"handle": readings}[handle])
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid="abc"))
    with EnergyMeter() as meter:
        pass
    assert meter.joules() == {"cpu_joules": None, "gpu_joules": joules}


def test_a_gpu_without_the_package_tells_no_energy(powercap, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with EnergyMeter() as meter:
        pass
    assert meter.joules()["gpu_joules"] is None
