import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.transfer import AT_ONCE, Transfer

RANDOM = {"_target_": "gan_augment.networks.efficientnet_lite.EfficientNetLite0", "weights": None}
GREY = ImageShape(1, 16, 16)


@pytest.fixture(scope="module")
def frozen():
    return Transfer(GREY, 3, RANDOM, frozen=True, input_size=16)


def test_only_the_linear_layer_of_a_frozen_network_is_trained_and_stored(frozen):
    assert [name for name, _ in frozen.named_parameters()] == ["head.weight", "head.bias"]
    assert set(frozen.state_dict()) == {"head.weight", "head.bias", "_extra_state"}
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(frozen(images), frozen.head(frozen.features(images)))
    assert frozen.features(images).shape == (2, 1280)


@pytest.mark.parametrize("number", [0, 1, 2 * AT_ONCE + 1])
def test_features_of_a_few_images_at_a_time_are_those_of_all(frozen, number):
    images = torch.rand(number, 1, 16, 16)
    at_once = frozen.backbone(images)
    with torch.no_grad():
        torch.testing.assert_close(frozen.features(images), at_once)


def test_all_weights_of_another_are_trained_and_stored():
    network = Transfer(GREY, 3, RANDOM, frozen=False, input_size=16)
    network(torch.rand(2, 1, 16, 16)).square().sum().backward()
    assert len(list(network.parameters())) == 100
    assert all(weights.grad is not None for weights in network.parameters())
    assert set(network.state_dict()) - {name for name, _ in network.named_parameters()} == {"_extra_state"}


def test_on_the_meta_device_a_frozen_backbone_has_its_numbers(frozen):
    with torch.device("meta"):
        network = Transfer(GREY, 3, RANDOM, frozen=True, input_size=16)
    network.load_state_dict(frozen.state_dict(), assign=True)
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(network(images), frozen(images))


def test_a_layer_that_was_trained_on_other_pretrained_weights_is_refused(monkeypatch):
    network = Transfer(GREY, 3, RANDOM, frozen=True, input_size=16)
    network.origin = "somewhere"
    state = network.state_dict()
    assert len(state["_extra_state"]) == 16
    network.load_state_dict(state)
    network.backbone.stem.bias.add_(1)
    with pytest.raises(ValueError, match="the linear layer was trained on a backbone with other weights"):
        network.load_state_dict(state)


@pytest.mark.parametrize(
    ("shape", "input_size", "size"),
    [((3, 64, 64), None, (192, 192)), ((1, 200, 300), None, (200, 300)), ((3, 20, 30), 40, (40, 60))],
)
def test_images_are_resized_by_their_shorter_side(shape, input_size, size):
    with torch.device("meta"):
        network = Transfer(ImageShape(*shape), 3, RANDOM, frozen=False, input_size=input_size)
        assert network.size == size
        assert network(torch.empty(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 32, 32)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"pretrained networks take images of 1 or 3 channels, not .*: use classifier="
    ):
        Transfer(ImageShape(*shape), 3, RANDOM, frozen=True)


def test_an_error_of_the_backbone_names_its_node():
    with pytest.raises(ValueError, match=r"^classifier\.network\.backbone: weights=other: use one of imagenet$"):
        Transfer(GREY, 3, RANDOM | {"weights": "other"}, frozen=True)
