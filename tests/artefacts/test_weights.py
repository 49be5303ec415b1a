from pathlib import Path

import pytest
import torch

from gan_augment.artefacts.weights import load_weights, read_about, save_weights


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


def test_weights_come_back_by_name(path):
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    save_weights(path, {"kind": "two"}, one=one, other=other)
    loaded = load_weights(path, "other", torch.nn.Linear(3, 2))
    assert torch.equal(loaded.weight, other.weight)
    assert torch.equal(loaded.bias, other.bias)


def test_buffers_come_back_too(path):
    norm = torch.nn.BatchNorm1d(3)
    norm(torch.randn(50, 3) + 5)
    save_weights(path, {}, norm=norm)
    assert torch.equal(load_weights(path, "norm", torch.nn.BatchNorm1d(3)).running_mean, norm.running_mean)


def test_loaded_networks_are_frozen_and_in_evaluation_mode(path):
    save_weights(path, {}, one=torch.nn.Linear(3, 2))
    loaded = load_weights(path, "one", torch.nn.Linear(3, 2))
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_a_checkpoint_says_what_its_networks_are(path):
    about = {"kind": "gan", "shape": [1, 8, 8], "design": {"gan": {"betas": [0.5, 0.9], "best_by": None}}}
    save_weights(path, about, one=torch.nn.Linear(3, 2))
    assert read_about(path, "gan") == about
    with pytest.raises(
        ValueError, match=r"weights\.pt is a checkpoint of kind 'gan': one of kind 'classifier' is needed"
    ):
        read_about(path, "classifier")


def test_weights_that_do_not_fit_are_refused(path):
    save_weights(path, {}, one=torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"the weights of 'one' do not fit .*: size mismatch for weight"):
        load_weights(path, "one", torch.nn.Linear(4, 2))


def test_a_network_that_is_not_there_is_named(path):
    save_weights(path, {}, discriminator=torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"weights.pt has no network 'ema': it has discriminator$"):
        load_weights(path, "ema", torch.nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": 99, "about": {}, "networks": {}}, "has schema 99, this version reads schema 1"),
        ({"ema": {"weight": torch.zeros(3)}}, "has no schema, this version reads schema 1"),
        ([1, 2], "has no schema"),
        ({"schema": 1, "about": {}}, "lacks its part networks"),
        ({"schema": 1}, "lacks its part about and networks"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_schema_or_with_missing_parts_says_so(path, content, message):
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_weights(path, "ema", torch.nn.Linear(3, 2))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b"no checkpoint", lambda whole: b""])
def test_a_damaged_file_is_told_from_a_checkpoint(path, damage):
    save_weights(path, {}, one=torch.nn.Linear(3, 2))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"weights\.pt cannot be read as a checkpoint"):
        load_weights(path, "one", torch.nn.Linear(3, 2))


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(ValueError, match=r"weights\.pt: not found: name a checkpoint"):
        read_about(path, "gan")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_runs_no_code_from_the_file(path, tmp_path):
    torch.save({"schema": 1, "about": {}, "networks": {"one": Trap(tmp_path / "sprung")}}, path)
    with pytest.raises(ValueError, match="pickled code is never run"):
        load_weights(path, "one", torch.nn.Linear(3, 2))
    assert not (tmp_path / "sprung").exists()
