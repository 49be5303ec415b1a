"""The network of a judge: a small classifier whose features are few enough for statistics."""

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.cnn import CNN
from gan_augment.settings import check_integer


class Judge(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> a few features -> logits `[B, num_classes]`.

    Args:
        shape: Shape of the images, at least 8x8 pixels.
        channels: Of the `CNN`.
        num_features: Features that metrics compare. A Frechet distance needs twice as many images.
    """

    def __init__(self, shape: ImageShape, num_classes: int, channels: int = 32, num_features: int = 64) -> None:
        super().__init__()
        check_integer("measures.judge.network.num_features", num_features, low=1)
        self.num_features = num_features
        # Features of unit variance, so that distances between images of any two data sets are of one order.
        self.body = nn.Sequential(CNN(shape, num_features, channels), nn.BatchNorm1d(num_features, affine=False))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(num_features, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.head(self.body(images))
