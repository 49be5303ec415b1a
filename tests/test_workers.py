"""Workers of a machine with several GPUs, which this one need not have."""

import multiprocessing
import os
import tempfile
from collections import Counter

import pytest
import torch

from gan_augment.workers import use_own_gpu


def claim(folder, gpus, visible, barrier, found):
    """Take a GPU in a process of its own, and keep it until all have one."""
    tempfile.tempdir = str(folder)
    torch.cuda.device_count = lambda: gpus
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    use_own_gpu()
    found.put(os.environ.get("CUDA_VISIBLE_DEVICES"))
    barrier.wait(60)


def claimed(folder, processes, gpus, visible=None):
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(processes), context.Queue()
    started = [context.Process(target=claim, args=(folder, gpus, visible, barrier, found)) for _ in range(processes)]
    for one in started:
        one.start()
    names = [found.get(timeout=60) for _ in started]
    for one in started:
        one.join(60)
    return Counter(names)


@pytest.mark.parametrize(
    ("processes", "gpus", "visible", "wanted"),
    [
        (3, 2, None, [1, 2]),
        (2, 2, "3,GPU-5a", [1, 1]),
        (3, 2, "0,1,-1", [1, 2]),  # PyTorch stops at -1
    ],
)
def test_workers_share_the_gpus_evenly(tmp_path, processes, gpus, visible, wanted):
    found = claimed(tmp_path, processes, gpus, visible)
    assert sorted(found.values()) == wanted
    assert set(found) == set((visible or "0,1").split(",")[:gpus])
    assert claimed(tmp_path, 1, gpus, visible).total() == 1  # the places of ended processes are free again


def test_a_single_gpu_needs_no_choice(tmp_path):
    assert claimed(tmp_path, 1, 1) == {None: 1}


def test_a_process_that_is_no_worker_keeps_all(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    use_own_gpu.__wrapped__()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
