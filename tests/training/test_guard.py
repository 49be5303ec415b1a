from types import SimpleNamespace

import pytest
import torch

from gan_augment.stages import DivergedError
from gan_augment.training.guard import NotFiniteGuard


def system(finite=True, weight=1.0):
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.weight, weight)
    module.register_buffer("finite", torch.tensor(finite))
    return module


def test_the_flag_is_read_every_so_many_steps():
    guard, broken = NotFiniteGuard(every_n_steps=10), system(finite=False)
    for step in range(9):
        guard.on_train_batch_end(None, broken, None, None, step)
    with pytest.raises(DivergedError, match="a loss was not finite within the first 10 steps"):
        guard.on_train_batch_end(None, broken, None, None, 9)


@pytest.mark.parametrize(("finite", "weight"), [(False, 1.0), (True, float("nan")), (True, float("inf"))])
def test_flag_and_weights_are_read_at_the_end(finite, weight):
    with pytest.raises(DivergedError, match="at the end of the training"):
        NotFiniteGuard().on_train_end(SimpleNamespace(), system(finite, weight))


def test_a_finite_training_passes():
    guard, sound = NotFiniteGuard(every_n_steps=1), system()
    assert guard.on_train_batch_end(None, sound, None, None, 0) is None
    assert guard.on_train_end(None, sound) is None
