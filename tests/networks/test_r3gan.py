import math

import pytest
import torch
from torch import nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Residual
from gan_augment.networks.r3gan import R3GAN, Basis


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


def bodies(architecture, size):
    shape = ImageShape(1, size, size)
    return architecture.generator(shape, 5), architecture.discriminator(shape)


def test_parameters_counted_by_hand():
    # A block of 8 maps: 1x1 to 16 and a bias, 3x3 in one group of 16 and a bias, 1x1 back.
    block = (8 * 16 + 16) + (16 * 16 * 9 + 16) + 16 * 8
    # Of 16 maps: 32 inside, in two groups of 16.
    wide = (16 * 32 + 32) + (32 * 16 * 9 + 32) + 32 * 16
    generator = (16 * 4 * 4 + 5 * 16) + wide + 16 * 8 + block + 8
    discriminator = 8 + block + 8 * 16 + wide + 16 * 4 * 4
    found = [sum(weight.numel() for weight in body.parameters()) for body in bodies(R3GAN(channels=8), 8)]
    assert found == [generator, discriminator]


def test_there_are_no_normalisation_layers():
    known = (nn.Sequential, Residual, Basis, nn.Linear, nn.Conv2d, nn.LeakyReLU, nn.Identity, nn.Upsample)
    for body in bodies(R3GAN(channels=8), 28):
        assert all(isinstance(layer, (*known, nn.Flatten, nn.Tanh)) for layer in body.modules())
        assert not list(body.buffers())


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_each_block_begins_as_the_identity_and_can_leave_it(num_blocks):
    for body in bodies(R3GAN(channels=8, num_blocks=num_blocks), 16):
        blocks = [layer for layer in body if isinstance(layer, Residual)]
        assert len(blocks) == 3 * num_blocks
        for block in blocks:
            maps = torch.randn(2, block.residual[0].in_channels, 8, 8)
            out = block(maps)
            assert torch.equal(out, maps)
            out.square().sum().backward()
            assert block.residual[-1].weight.grad.abs().max() > 0


def test_weights_begin_smaller_the_deeper_the_network():
    def scales(num_blocks):
        body = R3GAN(channels=64, num_blocks=num_blocks).discriminator(ImageShape(1, 8, 8))
        block = next(layer for layer in body if isinstance(layer, Residual)).residual
        return [block[index].weight.std().item() for index in (0, 2)]

    # Leaky ReLU halves the variance, but for its slope of .2; L blocks divide the scale by the fourth root of L.
    for num_blocks, depth in ((1, 2), (8, 16)):
        gain = math.sqrt(2 / (1 + 0.2**2)) / depth**0.25
        assert scales(num_blocks) == pytest.approx([gain / 64**0.5, gain / (16 * 9) ** 0.5], rel=0.05)


def test_features_keep_their_scale_through_an_untrained_network():
    generator, discriminator = bodies(R3GAN(channels=32), 32)
    with torch.no_grad():
        assert discriminator(torch.randn(64, 1, 32, 32)).std() > 0.05
        assert 0.1 < generator(torch.randn(64, 5)).std() < 0.9


def test_the_basis_by_hand():
    basis = Basis(num_inputs=1, channels=2, size=1)
    with torch.no_grad():
        basis.maps.copy_(torch.tensor([[[2.0]], [[3.0]]]))
        basis.linear.weight.copy_(torch.tensor([[1.0], [10.0]]))
    assert basis(torch.tensor([[1.0], [2.0]])).flatten(1).tolist() == [[2.0, 30.0], [4.0, 60.0]]


def test_channels_that_make_no_whole_groups_are_refused():
    with pytest.raises(ValueError, match=r"^architecture.channels=12: use a multiple of 8$"):
        R3GAN(channels=12)
