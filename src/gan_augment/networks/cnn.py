"""A small convolutional classifier."""

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.settings import check_integer


class CNN(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> logits `[B, num_classes]`.

    Two blocks of convolution and pooling, and one hidden layer. There is no batch norm: an arm that mixes
    synthetic images into a batch would change the statistics by which the real ones are normalised.

    Args:
        shape: Shape of the images, at least 4x4 pixels.
        num_classes: Number of classes.
        channels: Feature maps of the first block; the second has twice as many.
    """

    def __init__(self, shape: ImageShape, num_classes: int, channels: int = 32) -> None:
        super().__init__()
        check_integer("classifier.network.channels", channels, low=1)
        side = min(7, shape.height // 4), min(7, shape.width // 4)
        if 0 in side:
            raise ValueError(f"classifier cnn needs images of at least 4x4 pixels, not {shape.height}x{shape.width}")
        self.layers = nn.Sequential(
            nn.Conv2d(shape.channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(side),
            nn.Flatten(),
            nn.Linear(2 * channels * side[0] * side[1], 4 * channels),
            nn.ReLU(),
            nn.Linear(4 * channels, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit a class."""
        return self.layers(images)
