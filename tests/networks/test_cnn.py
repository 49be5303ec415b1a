import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.cnn import CNN


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 9), (1, 28, 28), (3, 64, 64), (1, 20, 30)])
def test_there_is_a_logit_a_class(shape, batch_norm):
    logits = CNN(ImageShape(*shape), num_classes=7, channels=4, batch_norm=batch_norm)(torch.randn(5, *shape))
    assert logits.shape == (5, 7)
    assert logits.std() > 0


def test_each_image_is_judged_for_itself():
    torch.manual_seed(0)
    network = CNN(ImageShape(1, 8, 8), num_classes=3, channels=4).train()
    images = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(network(images)[:2], network(images[:2]))


def test_batch_norm_follows_every_convolution_in_place_of_its_bias():
    torch.manual_seed(0)
    network = CNN(ImageShape(1, 28, 28), num_classes=3, channels=4, batch_norm=True)
    kinds = [type(layer).__name__ for layer in network.layers]
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [*block, "MaxPool2d", *block, "MaxPool2d", *block, "Flatten", "Linear"]
    assert [name for name, _ in network.named_parameters() if name.startswith("layers.0.")] == ["layers.0.weight"]
    normal = network.layers[:2](5 * torch.randn(50, 1, 28, 28) + 3)
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in CNN(ImageShape(1, 8, 8), 3).modules())


def test_batch_norm_is_on_or_off():
    with pytest.raises(ValueError, match=r"^classifier\.network\.batch_norm=1: use true or false$"):
        CNN(ImageShape(1, 8, 8), num_classes=3, batch_norm=1)


@pytest.mark.parametrize("shape", [ImageShape(1, 7, 7), ImageShape(1, 8, 7)])
def test_images_that_are_too_small_are_refused(shape):
    with pytest.raises(ValueError, match=f"at least 8x8 pixels, not {shape.height}x{shape.width}"):
        CNN(shape, num_classes=3)


def test_no_feature_maps_are_refused():
    with pytest.raises(ValueError, match=r"^classifier\.network\.channels=0: use a whole number of at least 1$"):
        CNN(ImageShape(1, 8, 8), num_classes=3, channels=0)
