"""The extra `random_convolution`: the labelled images through random filters (RandConv, Xu et al. 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet, from_float, to_float
from gan_augment.extras.class_mates import repeated
from gan_augment.randomness import Stream

SIZES = (1, 3, 5, 7)  # sides of the filters
AT_ONCE = 500  # images


@dataclass(frozen=True, eq=False)
class RandomConvolution(Extra):
    """The labelled images, each through several random filters, with their own labels: other textures, same shapes.

    The filters depend on the split's seed, not on that of the training, because trials share the features of these
    images.
    """

    name = "random_convolution"
    sees = ("labelled", "pool_images")

    split_seed: int

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Take the seed."""
        return cls(plan.views.seed)

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse points."""
        if labelled.shape.is_point:
            raise ValueError("augmentation.extra=random_convolution filters images, not points: use another arm")

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return filtered images."""
        originals, stream = repeated(labelled), Stream(self.split_seed, self.name)
        pieces = enumerate(torch.arange(len(originals)).split(AT_ONCE))
        changed = [filtered(originals.images[some], stream.at(number)) for number, some in pieces]
        return replace(originals, images=torch.cat(changed))


def filtered(images: Tensor, generator: torch.Generator) -> Tensor:
    r"""Mix each image with its convolution by a random filter of its own.

    RandConv (Xu et al. 2021, section 3.2): $\alpha x + (1 - \alpha) \, (x * w)$, with weights from a normal
    distribution of variance $1 / (C k^2)$, $\alpha$ uniform between 0 and 1, and a side $k$ of 1, 3, 5 or 7 pixels. The
    filter mixes all channels, so colours and contrasts change, and some images become negatives.

    Args:
        images: $x$, uint8 `[B, C, H, W]`.
        generator: Where the numbers are drawn.

    Returns:
        uint8 `[B, C, H, W]`. Pixels at the edge are repeated; what falls outside the range of levels is clipped.
    """
    channels, found = images.shape[1], to_float(images).double()
    sizes = torch.tensor(SIZES)[torch.randint(len(SIZES), (len(images),), generator=generator)]
    alpha = torch.rand(len(images), 1, 1, 1, generator=generator, dtype=torch.double)
    for size in sizes.unique().tolist():
        some = (sizes == size).nonzero()[:, 0]
        shape = (len(some), channels, channels, size, size)
        weights = torch.randn(shape, generator=generator, dtype=torch.double) / (channels * size**2) ** 0.5
        wide = pad(found[some], [size // 2] * 4, mode="replicate")
        convolved = conv2d(wide.flatten(0, 1)[None], weights.flatten(0, 1), groups=len(some))  # a group for each image
        found[some] = alpha[some] * found[some] + (1 - alpha[some]) * convolved.view(len(some), *images.shape[1:])
    return from_float(found)
