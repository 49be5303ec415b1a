import sys
from mmap import mmap

import pytest
import torch

from gan_augment.memory import peak_memory, reset_peak_memory


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
