import pytest
import torch

from gan_augment.systems.hardware import DEFAULT_THREADS, Hardware

CPU = {"accelerator": "cpu", "precision": "32-true", "num_threads": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "tpu"}, "trainer.accelerator=tpu: use one of cpu, gpu"),
        ({"precision": "16"}, "trainer.precision=16: use one of 32-true, bf16-mixed"),
        ({"num_threads": 0}, "trainer.num_threads=0: use a whole number of at least 1"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Hardware(**CPU | change)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu$"):
        Hardware(**CPU | {"accelerator": "gpu"})


def test_results_depend_on_precision_and_device_and_not_on_threads():
    assert Hardware(**CPU).identity == {"precision": "32-true", "device": "cpu"}
    assert Hardware(**CPU | {"num_threads": 2}).identity == Hardware(**CPU).identity
    assert Hardware(**CPU | {"precision": "bf16-mixed"}).identity != Hardware(**CPU).identity


def test_threads_are_set_where_they_are_chosen():
    before = torch.get_num_threads()
    try:
        Hardware(**CPU | {"num_threads": 3}).use_threads()
        assert torch.get_num_threads() == 3
        Hardware(**CPU).use_threads()  # does not keep what the trial before it chose
        assert torch.get_num_threads() == DEFAULT_THREADS
    finally:
        torch.set_num_threads(before)
