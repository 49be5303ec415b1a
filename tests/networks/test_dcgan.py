import pytest
import torch
from torch import nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.dcgan import DCGAN

PAPER = {"spectral_norm": False, "batch_norm": True, "kernel_size": 5, "full_size": False}


def map_sizes(body, inputs):
    """Return channels and sides of the feature maps behind each convolution."""
    sizes = []
    for layer in body:
        inputs = layer(inputs)
        if isinstance(layer, nn.Unflatten | nn.Conv2d | nn.ConvTranspose2d):
            assert inputs.shape[2] == inputs.shape[3]
            sizes.append(tuple(inputs.shape[1:3]))
    return sizes


def kinds(body):
    names = {nn.Conv2d: "conv", nn.ConvTranspose2d: "conv", nn.Linear: "linear", nn.BatchNorm2d: "norm"}
    return [names[type(layer)] for layer in body if type(layer) in names]


def test_the_paper_s_networks_for_64_pixels():
    architecture, shape = DCGAN(latent_dim=100, channels=64, **PAPER), ImageShape(3, 64, 64)
    generator, discriminator = architecture.generator(shape, 100), architecture.discriminator(shape)
    maps = [(512, 4), (256, 8), (128, 16), (64, 32), (3, 64)]
    assert map_sizes(generator, torch.randn(2, 100)) == maps
    assert map_sizes(discriminator, torch.randn(2, 3, 64, 64)) == maps[-2::-1]
    assert kinds(generator) == ["linear", "norm", *["conv", "norm"] * 3, "conv"]
    assert kinds(discriminator) == ["conv", *["conv", "norm"] * 3]
    assert discriminator.num_features == 512 * 4 * 4
    for body in (generator, discriminator):
        assert {layer.kernel_size for layer in body if hasattr(layer, "kernel_size")} == {(5, 5)}


@pytest.mark.parametrize("options", [{}, PAPER], ids=["default", "paper"])
def test_100_pixels_are_halved_five_times_and_come_back_exactly(options):
    architecture, shape = DCGAN(channels=1, **options), ImageShape(1, 100, 100)
    down = [side for _, side in map_sizes(architecture.discriminator(shape), torch.randn(2, 1, 100, 100))]
    up = [side for _, side in map_sizes(architecture.generator(shape, 5), torch.randn(2, 5))]
    full = [100] if architecture.full_size else []
    assert down == [*full, 50, 25, 13, 7, 4]
    assert up == [4, 7, 13, 25, 50, 100, *full]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_convolution_has_a_bias_unless_batch_norm_follows(batch_norm):
    body = DCGAN(channels=2, spectral_norm=False, batch_norm=batch_norm).discriminator(ImageShape(1, 16, 16))
    biases = [layer.bias is not None for layer in body if isinstance(layer, nn.Conv2d)]
    assert biases == [True, not batch_norm, not batch_norm]
    assert kinds(body).count("norm") == 2 * batch_norm


@pytest.mark.parametrize("kernel_size", [3, 6])
def test_other_kernels_are_refused(kernel_size):
    with pytest.raises(ValueError, match=f"^architecture.kernel_size={kernel_size}: use a whole number from 4 to 5$"):
        DCGAN(kernel_size=kernel_size)


def test_weights_start_with_a_standard_deviation_of_002():
    torch.manual_seed(0)
    architecture, shape = DCGAN(channels=32, spectral_norm=False), ImageShape(1, 32, 32)
    discriminator = architecture.finish(architecture.discriminator(shape))
    layers = [*architecture.generator(shape, 100), *discriminator]
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(weights) == 8
    for weight in weights:
        assert weight.std().item() == pytest.approx(0.02, rel=0.15)
