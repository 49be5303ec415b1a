import pytest
import torch
from torch import nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Residual
from gan_augment.networks.resnet import ResNet, SumOverPixels


def test_parameters_counted_by_hand():
    architecture, shape = ResNet(latent_dim=5, channels=2), ImageShape(1, 8, 8)
    # From 5 inputs to 4 maps of 4x4, with biases; a block from 4 maps to 2: batch norm and 3x3 convolution, twice, and
    # a 1x1 convolution around them; a batch norm; a convolution to 1 channel.
    generator = 6 * 64 + (8 + (4 * 9 + 1) * 2 + 4 + (2 * 9 + 1) * 2 + (4 + 1) * 2) + 4 + (2 * 9 + 1)
    # The first block from 1 channel to 2 maps, and a block of two convolutions from 2 to 2.
    discriminator = ((9 + 1) * 2 + (2 * 9 + 1) * 2 + (1 + 1) * 2) + 2 * (2 * 9 + 1) * 2
    bodies = architecture.generator(shape, 5), architecture.discriminator(shape)
    assert [sum(weight.numel() for weight in body.parameters()) for body in bodies] == [generator, discriminator]
    assert bodies[1].num_features == 2


@pytest.mark.parametrize(("size", "sides"), [(32, [16, 8, 4, 4]), (28, [14, 7, 4, 4]), (100, [50, 25, 13, 7, 4, 4])])
def test_blocks_halve_down_to_four_pixels_and_one_more_looks_at_them(size, sides):
    maps, found = torch.randn(1, 3, size, size), []
    for layer in ResNet(channels=2).discriminator(ImageShape(3, size, size)):
        maps = layer(maps)
        if isinstance(layer, Residual):
            found.append(maps.shape[-1])
    assert found == sides


def test_batch_norm_is_the_generator_s_alone():
    architecture, shape = ResNet(channels=2), ImageShape(1, 16, 16)
    norms = [
        sum(isinstance(layer, nn.BatchNorm2d) for layer in body.modules())
        for body in (architecture.generator(shape, 5), architecture.discriminator(shape))
    ]
    assert norms == [2 * 2 + 1, 0]


def test_features_are_sums_over_the_pixels():
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    assert SumOverPixels()(maps).tolist() == [[0 + 1 + 2 + 3, 4 + 5 + 6 + 7]]


def test_a_gray_image_stays_gray_around_the_blocks():
    # Rounding up, the last pixels of an odd size are averaged over those there are, not over zeros beside them.
    first = ResNet(channels=2).discriminator(ImageShape(1, 9, 9))[0]
    around = first.shortcut(torch.full((1, 1, 9, 9), 0.5))
    torch.testing.assert_close(around, around[:, :, :1, :1].expand_as(around))
    assert around.shape == (1, 2, 5, 5)
