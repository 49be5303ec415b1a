"""A small convolutional classifier."""

from itertools import pairwise

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import doublings, halvings
from gan_augment.settings import check_boolean, check_integer


class CNN(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> logits `[B, num_classes]`.

    One convolution at full size and one after each halving, down to at most 7 pixels, then one linear layer. By default
    there is no batch norm: synthetic images in a batch would change the statistics that normalise the real ones.

    Args:
        shape: Shape of the images, at least 8x8 pixels.
        channels: Feature maps at full size; each halving doubles them, up to 8 times.
        batch_norm: Whether batch norm follows every convolution.
    """

    def __init__(self, shape: ImageShape, num_classes: int, channels: int = 32, batch_norm: bool = False) -> None:
        super().__init__()
        check_integer("classifier.network.channels", channels, low=1)
        check_boolean("classifier.network.batch_norm", batch_norm)
        if min(shape.height, shape.width) < 8:
            raise ValueError(f"a CNN needs images of at least 8x8 pixels, not {shape.height}x{shape.width}")
        sizes = halvings(max(shape.height, shape.width), smallest=7)
        widths = doublings(channels, len(sizes))
        layers = _convolution(shape.channels, channels, batch_norm)
        for width, next_width in pairwise(widths):
            layers += [nn.MaxPool2d(2, ceil_mode=True), *_convolution(width, next_width, batch_norm)]
        height, width = (-(-side // 2 ** (len(sizes) - 1)) for side in (shape.height, shape.width))  # rounded up
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.layers(images)


def _convolution(inputs: int, outputs: int, batch_norm: bool) -> list[nn.Module]:
    if not batch_norm:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
