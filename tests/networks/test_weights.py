import pickle
from pathlib import Path

import pytest
import torch

from gan_augment.networks.weights import FILE, load_weights, save_weights


def test_weights_come_back_by_name(tmp_path):
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    save_weights(tmp_path, one=one, other=other)
    loaded = load_weights(tmp_path, "other", torch.nn.Linear(3, 2))
    assert torch.equal(loaded.weight, other.weight)
    assert torch.equal(loaded.bias, other.bias)


def test_buffers_come_back_too(tmp_path):
    norm = torch.nn.BatchNorm1d(3)
    norm(torch.randn(50, 3) + 5)
    save_weights(tmp_path, norm=norm)
    assert torch.equal(load_weights(tmp_path, "norm", torch.nn.BatchNorm1d(3)).running_mean, norm.running_mean)


def test_loaded_networks_are_frozen_and_in_evaluation_mode(tmp_path):
    save_weights(tmp_path, one=torch.nn.Linear(3, 2))
    loaded = load_weights(tmp_path, "one", torch.nn.Linear(3, 2))
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_weights(tmp_path, one=torch.nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_weights(tmp_path, "one", torch.nn.Linear(4, 2))


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_runs_no_code_from_the_file(tmp_path):
    torch.save({"one": Trap(tmp_path / "sprung")}, tmp_path / FILE)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_weights(tmp_path, "one", torch.nn.Linear(3, 2))
    assert not (tmp_path / "sprung").exists()
