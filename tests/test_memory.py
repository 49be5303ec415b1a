import os
import subprocess
import sys
from mmap import mmap
from pathlib import Path

import pytest
import torch

from gan_augment.memory import peak_memory, reset_peak_memory

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_the_peak_is_that_of_the_trial_and_not_of_the_one_before_it():
    reset_peak_memory()
    # Straight from the system and back to it: a tensor may lie where an earlier test left free memory.
    with mmap(-1, 400 * 2**20) as large:
        large[:] = bytes(1) * len(large)
        with_it = peak_memory()["peak_memory_mib"]
    reset_peak_memory()
    assert peak_memory()["peak_memory_mib"] < with_it - 300


def test_there_is_no_gpu_memory_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert peak_memory()["peak_gpu_memory_mib"] is None


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(), reason="this system has no huge pages to take"
)
@pytest.mark.parametrize(("chosen", "is_taken"), [(None, True), ("0", False)])
def test_large_tensors_take_huge_pages_unless_the_user_says_otherwise(chosen, is_taken):
    count = "resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
    script = f"import gan_augment, resource, torch; old = {count}; torch.ones(2**25); print({count} - old)"
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment |= {} if chosen is None else {"THP_MEM_ALLOC_ENABLE": chosen}
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    if is_taken or "[always]" not in HUGE_PAGES.read_text():
        assert (int(output) < 2**14) == is_taken  # 128 MiB are 32,768 small pages
