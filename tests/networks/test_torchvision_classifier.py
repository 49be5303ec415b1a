import re
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torchvision import models

from gan_augment.app import CONF
from gan_augment.data.image_set import ImageShape
from gan_augment.methods.supervised import ClassifierSettings
from gan_augment.networks.torchvision_classifier import TorchvisionClassifier
from gan_augment.settings import build

GRAY, COLOUR = ImageShape(1, 32, 32), ImageShape(3, 32, 32)
PRETRAINED = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Start with no pretrained weights, and without a network to download them from."""

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def stored(checkpoints):
    """Make up pretrained weights."""
    state = models.mobilenet_v3_small(num_classes=1000).state_dict()
    torch.save(state, checkpoints / Path(PRETRAINED.url).name)
    return state


@pytest.mark.parametrize(
    ("shape", "name", "input_size"),
    [
        (GRAY, "resnet18", None),
        (ImageShape(3, 20, 30), "mobilenet_v3_small", None),
        (ImageShape(3, 20, 30), "squeezenet1_1", 64),
        (GRAY, "vit_b_32", 224),
    ],
)
def test_there_is_a_logit_a_class(shape, name, input_size):
    network = TorchvisionClassifier(shape, num_classes=7, name=name, input_size=input_size)
    assert network(torch.rand(2, shape.channels, shape.height, shape.width)).shape == (2, 7)
    assert network.origin is None


@pytest.mark.parametrize(("name", "input_size"), [("resnet18", None), ("googlenet", None), ("inception_v3", 75)])
def test_training_reaches_every_weight(name, input_size):
    network = TorchvisionClassifier(COLOUR, num_classes=7, name=name, input_size=input_size)
    assert all(module.training for module in network.modules())
    network(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_weights_are_those_that_torchvision_draws():
    torch.manual_seed(0)
    network = TorchvisionClassifier(COLOUR, num_classes=7, name="resnet18")
    after = torch.get_rng_state()
    torch.manual_seed(0)
    expected = models.resnet18(num_classes=7).state_dict()
    torch.testing.assert_close(dict(network.network.state_dict()), dict(expected), rtol=0, atol=0)
    torch.testing.assert_close(after, torch.get_rng_state())


def test_pixels_are_normalised_as_imagenet_was():
    network = TorchvisionClassifier(GRAY, num_classes=7, name="mobilenet_v3_small")
    network.network = nn.Identity()
    black, white = network(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)).squeeze()
    torch.testing.assert_close(black, -torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]))
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_no_pixel_is_lost_when_images_are_shrunk():
    network = TorchvisionClassifier(GRAY, num_classes=7, name="mobilenet_v3_small", input_size=8)
    network.network = nn.Identity()
    images = torch.rand(1, 1, 32, 32, requires_grad=True)
    shrunk = network(images)
    assert shrunk.shape == (1, 3, 8, 8)
    shrunk.sum().backward()
    assert (images.grad > 0).all()


def test_its_weights_can_be_read_back():
    network = TorchvisionClassifier(GRAY, num_classes=7, name="mobilenet_v3_small").eval()
    again = TorchvisionClassifier(GRAY, num_classes=7, name="mobilenet_v3_small").eval()
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(again(images), network(images))


@pytest.mark.parametrize("num_classes", [7, 1000])
def test_pretrained_weights_are_taken_up_to_the_last_layer(stored, num_classes):
    network = TorchvisionClassifier(COLOUR, num_classes, name="mobilenet_v3_small", weights=PRETRAINED.name)
    state = network.network.state_dict()
    last = {key for key in state if key.startswith("classifier.3.")}
    torch.testing.assert_close(
        {key: state[key] for key in state.keys() - last}, {key: stored[key] for key in stored.keys() - last}
    )
    assert state["classifier.3.weight"].shape == (num_classes, 1024)
    assert not torch.equal(state["classifier.3.weight"][:7], stored["classifier.3.weight"][:7])
    assert "torchvision's MobileNet_V3_Small_Weights.IMAGENET1K_V1, learned" in network.origin
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, num_classes)


def test_pixels_are_normalised_as_the_pretrained_weights_expect(stored, monkeypatch):
    monkeypatch.setattr(PRETRAINED.value, "transforms", lambda: SimpleNamespace(mean=[0.5] * 3, std=[0.25] * 3))
    network = TorchvisionClassifier(GRAY, num_classes=7, name="mobilenet_v3_small", weights=PRETRAINED.name)
    network.network = nn.Identity()
    torch.testing.assert_close(network(torch.ones(1, 1, 1, 1)), torch.full((1, 3, 1, 1), 2.0))


def test_pretrained_weights_without_a_network_to_fetch_them_are_refused(checkpoints):
    with pytest.raises(
        ValueError, match=r"^classifier\.network\.weights=IMAGENET1K_V1: could not load https:"
    ) as error:
        TorchvisionClassifier(COLOUR, num_classes=7, name="mobilenet_v3_small", weights=PRETRAINED.name)
    assert "no network" in str(error.value)
    assert str(checkpoints / "mobilenet_v3_small-047dcff4.pth") in str(error.value)
    assert "weights=null" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a file of tensors"),
        (b"no weights", "not a file of tensors"),
        ({"code": Path}, "not a file of tensors"),
        ({"other": torch.ones(1)}, "Error(s) in loading state_dict for MobileNetV3"),
    ],
)
def test_a_file_of_something_else_is_refused(checkpoints, content, reason):
    file = checkpoints / Path(PRETRAINED.url).name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(
        ValueError, match=rf"could not load {re.escape(f'{PRETRAINED.url} ({reason})')}: put that file at"
    ):
        TorchvisionClassifier(COLOUR, num_classes=7, name="mobilenet_v3_small", weights=PRETRAINED.name)


@pytest.mark.parametrize("weights", ["DEFAULT", "imagenet", True])
def test_unknown_weights_are_refused(weights):
    with pytest.raises(ValueError, match=rf"^classifier\.network\.weights={weights}: use one of IMAGENET1K_V1$"):
        TorchvisionClassifier(COLOUR, num_classes=7, name="mobilenet_v3_small", weights=weights)


def test_weights_of_the_features_alone_are_refused(monkeypatch):
    monkeypatch.setattr(PRETRAINED.value, "meta", {"categories": None})
    with pytest.raises(ValueError, match=r"^classifier\.network\.weights=IMAGENET1K_V1: "):
        TorchvisionClassifier(COLOUR, num_classes=7, name="mobilenet_v3_small", weights=PRETRAINED.name)


@pytest.mark.parametrize(("name", "like"), [("resnet81", "resnet18"), ("fasterrcnn", "resnet18"), (18, "resnet18")])
def test_an_unknown_name_is_refused(name, like):
    with pytest.raises(ValueError, match=rf"^classifier\.network\.name={name}: use one of .*{like}.*, \.\.\. \(all:"):
        TorchvisionClassifier(COLOUR, num_classes=7, name=name)


@pytest.mark.parametrize(
    ("name", "input_size", "message"),
    [
        ("inception_v3", None, "input_size=null: inception_v3 cannot take images of 32x32 pixels"),
        ("vit_b_16", 64, "input_size=64: vit_b_16 cannot take images of 64 pixels"),
        ("resnet18", 0, "input_size=0: use a whole number from 1 to 4096"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(name, input_size, message):
    with pytest.raises(ValueError, match=rf"^classifier\.network\.{message}"):
        TorchvisionClassifier(GRAY, num_classes=7, name=name, input_size=input_size)


def test_images_of_two_channels_are_refused():
    with pytest.raises(ValueError, match="resnet18 takes images of 1 or 3 channels, not 2"):
        TorchvisionClassifier(ImageShape(2, 32, 32), num_classes=7, name="resnet18")


def test_its_configuration_builds_a_resnet():
    node = OmegaConf.to_container(OmegaConf.load(CONF / "classifier" / "resnet18.yaml"))
    network = build(node, "classifier", ClassifierSettings).build(GRAY, 7)
    assert isinstance(network.network, models.ResNet)
