"""The diversity of images within a class, and a warning if generated ones have little."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import abridged
from gan_augment.records.usability import LEAST_VARIETY

MAX_IMAGES = 500  # of a class: 125,000 pairs, whose matrix takes 2 MB
# A generator that makes m images of a class equally often has (1 - 1/m) times the diversity of real images, since two
# draws coincide with probability 1/m. Below .6 are m = 1 and m = 2; m = 3 has .67, and mere blur stays above.
COLLAPSED = LEAST_VARIETY
THUMBNAIL = 8  # pixels a side, about


def class_diversity(images: ImageSet, num_classes: int | None = None) -> Tensor:
    """Measure the mean distance between two images of a class, for all classes or for the first few.

    For n images x_i of D values in [0, 1]: the mean over all pairs i < j of sqrt(|x_i - x_j|^2 / D). Pictures are
    shrunk to about 8 pixels a side before, by the means of square blocks. At full size the distance only depends on how
    much each pixel varies by itself, so noise on one and the same picture would count as much as another picture. Only
    the first 500 images of a class are compared.

    Returns:
        Float64 `[K]` in [0, 1], 0 where all images are the same; NaN for a class with fewer than two images.

    Example:
        >>> images = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1, 1)
        >>> class_diversity(ImageSet(images, torch.zeros(3).long(), ["any"]))
        tensor([0.6667], dtype=torch.float64)
    """
    labels = range(num_classes or images.num_classes)  # class by class, so that a large file is not read whole
    return torch.stack([_mean_distance(images.images[images.members(label)[:MAX_IMAGES]]) for label in labels])


def _mean_distance(images: Tensor) -> Tensor:
    """Average the RMS distance in [0, 1] over all pairs of uint8 images `[n, C, H, W]`; NaN without a pair."""
    # Sums of blocks instead of means, which are whole numbers. A block at the border may be smaller and counts less.
    blocks = [max(1, side // THUMBNAIL) for side in images.shape[2:]]
    sums = avg_pool2d(images.double(), blocks, ceil_mode=True, divisor_override=1)
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab needs one matrix product. All are whole numbers below 2^53, so float64 is exact
    # and two equal images have distance 0.
    pixels = sums.flatten(1)
    products = pixels @ pixels.T
    norms = products.diagonal()
    distances = (norms[:, None] + norms - 2 * products).sqrt()
    pairs = len(images) * (len(images) - 1)
    return distances.sum() / pairs / (255 * blocks[0] * blocks[1] * pixels.shape[1] ** 0.5)


def collapse_warning(
    real: Tensor, synthetic: Tensor, class_names: Sequence[str], why: str = "Mode collapse"
) -> str | None:
    """Name the classes on which the generator has collapsed: less than .6 times as diverse as the real images.

    The arguments are the `class_diversity` of both, float `[K]`, and what the warning calls it. The result is one
    sentence, or None if no class has collapsed. The check skips a class with fewer than two images of either kind, or
    with equal real images.
    """
    collapsed = (synthetic < COLLAPSED * real).tolist()
    if not any(collapsed):
        return None
    named = [name for name, has in zip(class_names, collapsed, strict=True) if has]
    return (
        f"{why} in {len(named)} of {len(class_names)} classes ({abridged(named, most=10)}): their generated "
        f"images differ from each other less than {COLLAPSED} times as much as real ones"
    )
