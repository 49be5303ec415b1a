"""A checkpoint may come from anybody: it cannot run code, fill the memory, hang its reader or start a download."""

import os
import zipfile
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from conftest import GAN_NODES
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import Generator
from gan_augment.artefacts.weights import load_weights, read_about, save_weights
from gan_augment.data.image_set import ImageShape
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.mlp import MLP
from gan_augment.networks.torchvision_classifier import TorchvisionClassifier

CPU, SHAPE, NAMES = torch.device("cpu"), ImageShape(1, 8, 8), ["a", "b", "c"]
MLP_NODE = {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 5, "width": 8}
GAN_ABOUT = {
    "kind": "gan",
    "design": GAN_NODES | {"architecture": MLP_NODE},
    "shape": [1, 8, 8],
    "class_names": NAMES,
    "class_counts": [2, 2, 2],
    "label_counts": [2, 2, 2],
    "trained_on": "0" * 32,
    "images_seen": 640,
}
CNN_NODE = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
CLASSIFIER_ABOUT = {
    "kind": "classifier",
    "shape": [1, 8, 8],
    "class_names": NAMES,
    "class_counts": [2, 2, 2],
    "classifier": {"network": CNN_NODE, "batch_size": 64},
}


pytestmark = pytest.mark.usefixtures("nothing_hangs")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gan.pt"


def generator():
    return Projection().generator(MLP(5, 8), SHAPE, 3)


@pytest.mark.parametrize("kind", ["folder", "pipe", "zero", "legacy", "code", "script", "zip"])
def test_what_is_no_checkpoint_is_refused_in_a_line_without_torch_s_advice(path, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind in ("script", "zip"):
        with zipfile.ZipFile(path, "w") as parts:
            parts.writestr("archive/data.pkl", b"")
            parts.writestr("archive/constants.pkl" if kind == "script" else "archive/version", b"3")
    else:
        content = {"schema": 1, "about": {}, "networks": {"ema": Path} if kind == "code" else {}}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "code")
    with pytest.raises(
        ValueError, match=r"gan\.pt cannot be read as a checkpoint .*pickled code is never run"
    ) as error:
        read_about(path, "gan")
    for advice in ("weights_only", "safe_globals", "torch.load", "trust", "\n"):
        assert advice not in str(error.value)


def test_a_file_that_unpacks_to_more_than_its_size_is_not_unpacked(path, monkeypatch):
    save_weights(path, GAN_ABOUT, ema=torch.nn.Linear(1000, 1000, bias=False).requires_grad_(False).apply(zeros))
    with zipfile.ZipFile(path) as parts, zipfile.ZipFile(path.with_name("bomb"), "w", zipfile.ZIP_DEFLATED) as packed:
        for part in parts.infolist():
            packed.writestr(part.filename, parts.read(part))
    path.with_name("bomb").rename(path)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("torch.load", None)
    with pytest.raises(ValueError, match=r"it unpacks to 4,0\d\d,\d\d\d bytes, more than"):
        read_about(path, "gan")


def zeros(layer):
    torch.nn.init.zeros_(layer.weight)


def test_a_tensor_that_repeats_its_numbers_fills_no_memory(path):
    content = {"weight": torch.zeros(1, 1).expand(2**20, 2**20)}
    torch.save({"schema": 1, "about": GAN_ABOUT, "networks": {"ema": content}}, path)
    with torch.device("meta"):
        network = torch.nn.Linear(2**20, 2**20, bias=False)
    with pytest.raises(ValueError, match="they are larger than the file"):
        load_weights(path, "ema", network)


@pytest.mark.parametrize(
    "weights",
    [
        3,
        {},
        {"weight": "x"},
        {"weight": torch.zeros(2, 2)},
        {"weight": torch.zeros(2, 3, dtype=torch.complex64)},
        {"weight": torch.eye(3)[:2].to_sparse()},
        {"weight": torch.zeros(2, 3), "more": torch.zeros(1)},
        {1: torch.zeros(2, 3)},
    ],
    ids=str,
)
def test_what_is_no_weights_does_not_fit(path, weights):
    torch.save({"schema": 1, "about": {}, "networks": {"ema": weights}}, path)
    with pytest.raises(ValueError, match=r"gan\.pt: the weights of 'ema' do not fit the network it describes: \S"):
        load_weights(path, "ema", torch.nn.Linear(3, 2, bias=False))


def tree(levels):
    """Lists that hold another one twice: few in a file, and 2^levels to one who visits each."""
    return [tree(levels - 1)] * 2 if levels else []


HUGE = MLP_NODE | {"width": 10**6, "latent_dim": 10**6}
R3GAN = "gan_augment.networks.r3gan.R3GAN"
CHANGES = [
    {"design": GAN_ABOUT["design"] | {"architecture": HUGE}},
    {"design": GAN_ABOUT["design"] | {"architecture": MLP_NODE | {"width": 2**62}}},
    {"design": GAN_ABOUT["design"] | {"architecture": MLP_NODE | {"width": "x"}}},
    {"design": GAN_ABOUT["design"] | {"architecture": {"_target_": R3GAN, "num_blocks": 10**9}}},
    {"design": GAN_ABOUT["design"] | {"loss": "x"}},
    {"design": 3},
    {"shape": [1, 10**9, 10**9]},
    {"shape": [0, 8, 8]},
    {"shape": [-1, 8, 8]},
    {"class_names": []},
    {"class_names": [1, 2, 3]},
    {"class_names": "abc"},
    {"class_counts": ["x", "y", "z"]},
    {"class_counts": [0, 0, 0]},
    {"class_counts": [1]},
    {"label_counts": [10**30, 1, 1]},
    {"label_counts": [-1, 1, 1]},
    {"images_seen": "many"},
    {"trained_on": [1]},
    {"pool_images": "x"},
    {"chosen_by": 3},
    {"more": torch.zeros(3)},
    {"more": {"a", "b"}},
    {"more": tree(40)},
    {"more": tree(30)},
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_a_generator_that_says_nonsense_is_refused_in_a_line(path, change):
    save_weights(path, GAN_ABOUT | change, ema=generator())
    with pytest.raises(ValueError, match=r"gan\.pt.* (network|generator)") as error:
        Generator.load(path, CPU)
    assert "\n" not in str(error.value)


NETWORK = CLASSIFIER_ABOUT["classifier"]


@pytest.mark.parametrize(
    "change",
    [
        {"classifier": 3},
        {"classifier": {}},
        {"classifier": NETWORK | {"batch_size": 0}},
        {"classifier": NETWORK | {"batch_size": "x"}},
        {"classifier": NETWORK | {"network": None}},
        {"classifier": NETWORK | {"network": CNN_NODE | {"channels": 10**9}}},
        {"classifier": NETWORK | {"network": CNN_NODE | {"channels": 0.5}}},
        {"class_counts": [1]},
        {"class_names": 7},
        {"shape": [1]},
        {"shape": [1, 0, 0]},
    ],
    ids=str,
)
def test_a_classifier_that_says_nonsense_is_refused_in_a_line(path, change):
    from gan_augment.networks.cnn import CNN

    save_weights(path, CLASSIFIER_ABOUT | change, classifier=CNN(SHAPE, 3, 4))
    with pytest.raises(ValueError, match=r"gan\.pt.* (network|classifier)") as error:
        TrainedClassifier.load(path, CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "googlenet", "regnet_x_400mf"])
def test_a_classifier_that_started_from_pretrained_weights_is_read_without_them(path, monkeypatch, name):
    """Its checkpoint has all of its own weights."""
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", None)
    shape = ImageShape(3, 64, 64)
    trained = TorchvisionClassifier(shape, 3, name).eval()
    trained.network.transform_input = name == "googlenet"  # torchvision's pretrained GoogLeNet takes other colours
    target = "gan_augment.networks.torchvision_classifier.TorchvisionClassifier"
    node = {"_target_": target, "_partial_": True, "name": name, "weights": "IMAGENET1K_V1", "input_size": None}
    about = CLASSIFIER_ABOUT | {"shape": [*astuple(shape)], "classifier": {"network": node, "batch_size": 2}}
    save_weights(path, about, classifier=trained)
    loaded = TrainedClassifier.load(path, CPU).network
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), trained(images))


def test_names_in_a_checkpoint_are_printable(path):
    save_weights(path, GAN_ABOUT | {"class_names": ["a\x1b[31m", "\u202eb", "c\n"]}, ema=generator())
    assert Generator.load(path, CPU).class_names == ["a[31m", "b", "c "]
