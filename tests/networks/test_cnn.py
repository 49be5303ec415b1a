import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.cnn import CNN


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 9), (1, 28, 28), (3, 64, 64), (1, 20, 30)])
def test_there_is_a_logit_a_class(shape):
    logits = CNN(ImageShape(*shape), num_classes=7, channels=4)(torch.randn(5, *shape))
    assert logits.shape == (5, 7)
    assert logits.std() > 0


def test_each_image_is_judged_for_itself():
    torch.manual_seed(0)
    network = CNN(ImageShape(1, 8, 8), num_classes=3, channels=4).train()
    images = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(network(images)[:2], network(images[:2]))


@pytest.mark.parametrize("shape", [ImageShape(1, 7, 7), ImageShape(1, 8, 7)])
def test_images_that_are_too_small_are_refused(shape):
    with pytest.raises(ValueError, match=f"at least 8x8 pixels, not {shape.height}x{shape.width}"):
        CNN(shape, num_classes=3)


def test_no_feature_maps_are_refused():
    with pytest.raises(ValueError, match=r"^classifier\.network\.channels=0: use a whole number of at least 1$"):
        CNN(ImageShape(1, 8, 8), num_classes=3, channels=0)
