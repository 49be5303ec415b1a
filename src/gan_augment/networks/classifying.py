"""Discriminators that are classifiers, for semi-supervised GANs: K logits from features that a generator can match."""

from dataclasses import astuple
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import doublings, halvings
from gan_augment.settings import check_integer, check_number


class GaussianNoise(nn.Module):
    """Adds noise of standard deviation `std` to its input, in training mode only."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, features: Tensor) -> Tensor:
        """Map features to features of the same shape."""
        return features + self.std * torch.randn_like(features) if self.training and self.std else features


class ClassifyingDiscriminator(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> features `[B, F]` -> logits `[B, K]`; `noise` is added to the features."""

    def __init__(self, body: list[nn.Module], num_features: int, num_classes: int, noise: float) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(GaussianNoise(noise), normed(nn.Linear(num_features, num_classes)))

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.head(self.body(images))


class ClassifyingMLP(ClassifyingDiscriminator):
    """The fully connected discriminator of Salimans et al. 2016 for MNIST: five layers with noise before each.

    Args:
        width: Units of the first layer; the second has half as many, the last three a quarter.
        input_noise: Standard deviation of the noise on the pixels, whose range is 2.
        noise: Standard deviation before every other layer, whose inputs start with about unit variance.
    """

    def __init__(
        self, shape: ImageShape, num_classes: int, width: int = 1000, input_noise: float = 0.6, noise: float = 0.5
    ) -> None:
        check_integer("semi_supervised.network.width", width, low=4)
        _check_noise(input_noise, noise)
        widths = [prod(astuple(shape)), width, width // 2, *[width // 4] * 3]
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += [GaussianNoise(noise if number else input_noise), normed(nn.Linear(inputs, outputs)), nn.ReLU()]
        super().__init__(layers, widths[-1], num_classes, noise)


class ClassifyingCNN(ClassifyingDiscriminator):
    """One convolution for each halving of the image, down to at most 4 pixels, then one fully connected layer.

    Args:
        shape: Shape of the images, at least 8x8 pixels.
        channels: Feature maps after the first halving; each further one doubles them, up to 8 times.
        num_features: Units of the fully connected layer: the features that a generator matches.
        input_noise: Standard deviation of the noise on the pixels, whose range is 2.
        noise: Standard deviation of the noise before the fully connected layers.
    """

    def __init__(
        self,
        shape: ImageShape,
        num_classes: int,
        channels: int = 32,
        num_features: int = 256,
        input_noise: float = 0.3,
        noise: float = 0.5,
    ) -> None:
        check_integer("semi_supervised.network.channels", channels, low=1)
        check_integer("semi_supervised.network.num_features", num_features, low=1)
        _check_noise(input_noise, noise)
        if min(shape.height, shape.width) < 8:
            raise ValueError(
                f"this network needs images of at least 8x8 pixels, not {shape.height}x{shape.width}: "
                "use semi_supervised=mlp"
            )
        count = len(halvings(max(shape.height, shape.width))) - 1
        widths = [shape.channels, *doublings(channels, count)]
        layers: list[nn.Module] = [GaussianNoise(input_noise)]
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            kernel = 3 if number else 5
            convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)
            layers += [normed(convolution), nn.LeakyReLU(0.2)]
        height, width = (-(-side // 2**count) for side in (shape.height, shape.width))  # rounded up
        flat = nn.Linear(widths[-1] * height * width, num_features)
        layers += [nn.Flatten(), GaussianNoise(noise), normed(flat), nn.LeakyReLU(0.2)]
        super().__init__(layers, num_features, num_classes, noise)


def normed(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """Split a layer's weights into lengths and directions (Salimans and Kingma 2016), after initialising them."""
    nn.init.normal_(layer.weight, std=0.05)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return weight_norm(layer)


@torch.no_grad()
def initialise_from_data(network: nn.Module, images: Tensor) -> None:
    """Initialise each weight-normalised layer to outputs of mean 0 and variance 1 over some images.

    Salimans and Kingma 2016, section 3, layer by layer, without noise, with images `[B, C, H, W]` in [-1, 1].
    """

    def normalise(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        axes = [0, *range(2, output.ndim)]
        mean, variance = output.mean(axes), output.var(axes, unbiased=False)
        std = variance.where(variance > 1e-6, 1.0).sqrt()  # an output that is constant over the images keeps its scale
        lengths, each = layer.parametrizations.weight.original0, (-1, *[1] * (output.ndim - 2))
        lengths.div_(std.view(-1, *[1] * (lengths.ndim - 1)))
        layer.bias.copy_(-mean / std)
        return (output - mean.view(each)) / std.view(each)

    handles = [layer.register_forward_hook(normalise) for layer in network.modules() if is_parametrized(layer)]
    was_training = network.training
    network.eval()(images)
    network.train(was_training)
    for handle in handles:
        handle.remove()


def _check_noise(input_noise: float, noise: float) -> None:
    check_number("semi_supervised.network.input_noise", input_noise, 0, 10)
    check_number("semi_supervised.network.noise", noise, 0, 10)
