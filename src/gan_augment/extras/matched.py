"""The extra `matched`: the labelled images with the grey levels of the pool."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageSet

AT_ONCE = 1000  # images


@dataclass(frozen=True, eq=False)
class Matched(Extra):
    """The labelled images, with grey levels changed so that all together have the histogram of the pool.

    So they also have its mean and its standard deviation, nearly: the pixels of one level, such as a black background,
    stay together. Each channel has one table of levels for all images. Tables for single images would give a thin digit
    as many white pixels as a bold one has, and so remove differences that tell classes apart.
    """

    name = "matched"
    sees = ("pool_images",)

    pool: ImageSet

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Take the pool."""
        return cls(plan.views.pool)

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse points."""
        if labelled.shape.is_point:
            raise ValueError("augmentation.extra=matched changes grey levels, and points have none: use another arm")

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the labelled images with other grey levels and their own labels."""
        table = matching_levels(level_counts(labelled), level_counts(self.pool))
        channels = torch.arange(len(table))[:, None, None]
        changed = [table[channels, labelled.images[some].int()] for some in torch.arange(len(labelled)).split(AT_ONCE)]
        return replace(labelled, images=torch.cat(changed))


def level_counts(images: ImageSet) -> Tensor:
    """Count the pixels of each grey level in each channel, int64 `[C, 256]`."""
    counts = torch.zeros(images.shape.channels, 256, dtype=torch.int64)
    for some in torch.arange(len(images)).split(AT_ONCE):
        pixels = images.images[some].transpose(0, 1).flatten(1).int()
        counts += torch.stack([torch.bincount(channel, minlength=256) for channel in pixels])
    return counts


def matching_levels(counts: Tensor, wanted: Tensor) -> Tensor:
    r"""Return the level that replaces each level, so that pixels with these counts get a wanted histogram.

    Level $v$ becomes the smallest level $w$ with $G(w) \ge F(v) - p(v) / 2$. $F$ and $G$ are the cumulative shares of
    the pixels as they are and as wanted, and $p(v)$ is the share of level $v$. Its middle counts, because one level,
    such as a black background, may have most of the pixels: the end of its range, which `match_histograms` of
    scikit-image takes, turned the black of MNIST into grey where USPS has a little less black.

    Args:
        counts: Pixels of each level in each channel, int64 `[C, 256]`.
        wanted: Those of the other images, whose total may differ.

    Returns:
        uint8 `[C, 256]`, increasing along the levels.

    Example:
        >>> counts, wanted = torch.zeros(2, 1, 256, dtype=torch.int64)
        >>> counts[0, [0, 9]], wanted[0, [0, 100, 200]] = torch.tensor([2, 2]), torch.tensor([2, 1, 1])
        >>> matching_levels(counts, wanted)[0, [0, 9]].tolist()
        [0, 100]
    """
    middles = (counts.cumsum(dim=1) - counts / 2).double() / counts.sum(dim=1, keepdim=True)
    reached = wanted.cumsum(dim=1).double() / wanted.sum(dim=1, keepdim=True)
    return torch.searchsorted(reached, middles).to(torch.uint8)
