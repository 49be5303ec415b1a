"""Augmentation of all images that the discriminator sees, real and generated, so that few real images suffice."""

from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from gan_augment.data.image_set import ImageShape
from gan_augment.settings import check_boolean, check_integer, check_number
from gan_augment.training import replicas

HIGHEST = {"brightness": 1, "saturation": 1, "contrast": 1, "translation": 0.5, "cutout": 0.9}  # strengths
FILL = 0.0  # mid grey: fills holes and the edges that a shift uncovers


@dataclass(frozen=True)
class DiffAugment:
    """Differentiable augmentation (Zhao et al. 2020, section 3.2) with independent draws for each image.

    The discriminator sees T(x) and T(G(z)), never an original image, and the generator learns through T, so it gains
    nothing from drawing T's traces itself. The steps, in this order, with u uniform in [-1, 1] and drawn anew for each:

    - `brightness`: x + brightness * u;
    - `saturation`: m + (1 + saturation * u)(x - m), m the pixel's mean over the channels; no effect on one channel;
    - `contrast`: m + (1 + contrast * u)(x - m), m the image's mean;
    - `translation`: down and right by whole pixels, up to this share of the side, filled with grey;
    - `cutout`: a grey rectangle, its sides this share of the image's, its centre anywhere in the image.

    As in the paper, values may leave [-1, 1]. A strength of 0 turns its step off; if all are 0, images are returned
    unchanged. The smallest move and the smallest hole are one pixel.

    Attributes:
        group: Neighbours in the batch that share their draws.
        repeats_edges: Whether the pixels at the edge fill what a shift uncovers, not grey.

    Raises:
        ValueError: If a strength is out of range.
    """

    group = 1  # these two are settings of those that declare them
    repeats_edges = False

    brightness: float
    saturation: float
    contrast: float
    translation: float
    cutout: float

    def __post_init__(self) -> None:
        for name, highest in HIGHEST.items():
            check_number(f"discriminator_augmentation.{name}", getattr(self, name), 0, highest)

    @property
    def is_on(self) -> bool:
        """Whether any step has a strength above 0."""
        return any(getattr(self, name) for name in HIGHEST)

    def rounds_up(self, shape: ImageShape) -> bool:
        """Return whether a step turns an even number of pixels and a half into the next one, unlike `round`."""
        return any(share * side % 2 == 0.5 for share in (self.translation, self.cutout) for side in astuple(shape)[1:])

    def adapt(self, probability: Tensor, on_real: Tensor) -> None:
        """Move the probability of each step, a scalar, in place, after the discriminator's logits on real images."""

    def __call__(self, images: Tensor, generator: torch.Generator, probability: Tensor | None = None) -> Tensor:
        """Augment images, float `[B, C, H, W]` in [-1, 1], differentiably; the draws are made on their device.

        Each step happens to an image with a probability, a scalar, which is 1 except for `Adaptive`.
        """
        # All seven are always drawn, so that one strength does not change the draws of the other steps.
        draws = self._draws(7, images, generator, probability)
        signed = 2 * draws - 1
        if self.brightness:
            images = images + self.brightness * signed[0]
        if self.saturation:
            images = _scaled(images, 1 + self.saturation * signed[1], dims=(1,))
        if self.contrast:
            images = _scaled(images, 1 + self.contrast * signed[2], dims=(1, 2, 3))
        if self.translation:
            images = _moved(images, self.translation, draws[3], draws[4], self.repeats_edges)
        if self.cutout:
            images = _cut(images, self.cutout, draws[5], draws[6])
        return images

    def _draws(self, count: int, images: Tensor, generator: torch.Generator, probability: Tensor | None) -> Tensor:
        """Return draws `[count, B, 1, 1, 1]` in [0, 1), the same ones for the images of a group."""
        groups = -(-len(images) // self.group)
        draws = torch.rand(count, groups, 1, 1, 1, generator=generator, device=images.device)
        return draws.repeat_interleave(self.group, dim=1)[:, : len(images)]


@dataclass(frozen=True)
class Grouped(DiffAugment):
    """DiffAugment for `penalty=diversity`: groups of neighbours in the batch share their draws, and edges are repeated.

    So the images of a group differ among themselves as they did before, and no grey bars leak into what is generated.

    Attributes:
        flip: Whether groups are mirrored, with a probability of one half.
        group: Neighbours in the batch that share their draws.

    Raises:
        ValueError: If a setting is out of range.
    """

    flip: bool
    group: int = 8
    repeats_edges = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("discriminator_augmentation.group", self.group, low=1)
        check_boolean("discriminator_augmentation.flip", self.flip)

    @property
    def is_on(self) -> bool:
        """Whether any step has a strength above 0, or images are mirrored."""
        return super().is_on or self.flip

    def __call__(self, images: Tensor, generator: torch.Generator, probability: Tensor | None = None) -> Tensor:
        """Augment images as `DiffAugment` does, then mirror them."""
        images = super().__call__(images, generator, probability)
        if not self.flip:
            return images
        return images.flip(3).where(self._draws(1, images, generator, probability)[0] < 0.5, images)


@dataclass(frozen=True)
class Adaptive(Grouped):
    """Adaptive discriminator augmentation, ADA (Karras et al. 2020): as much augmentation as the discriminator needs.

    Each step of `Grouped`, and each direction of its shift, happens to a group of images with a probability p. That
    starts at 0, and rises while the discriminator is surer of real images than a target, r = E[sign(D(x))] (their
    section 3.1), or falls. The steps are fewer than the paper's; p moves in every training step, not in every fourth.

    Attributes:
        target: The target of r.
        images: Real images in which p can rise from 0 to 1.

    Raises:
        ValueError: If a setting is out of range, or `cutout`, which no draw undoes, is on.
    """

    target: float = 0.6
    images: int = 50_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("discriminator_augmentation.target", self.target, 0, 1)
        check_integer("discriminator_augmentation.images", self.images, low=1)
        if self.cutout:
            raise ValueError(
                f"discriminator_augmentation.cutout={self.cutout}: adaptive augmentation has none: use 0.0"
            )

    @torch.no_grad()
    def adapt(self, probability: Tensor, on_real: Tensor) -> None:
        """Move p, a scalar, in place, by the share of real images that the discriminator takes for real."""
        surer = (replicas.mean(on_real.sign().mean()) - self.target).sign()
        probability.add_(surer * replicas.number() * len(on_real) / self.images).clamp_(0, 1)

    def _draws(self, count: int, images: Tensor, generator: torch.Generator, probability: Tensor | None) -> Tensor:
        draws, chances = (super(Adaptive, self)._draws(count, images, generator, None) for _ in range(2))
        assert probability is not None
        return draws.where(chances < probability, 0.5)  # which changes nothing


def _scaled(images: Tensor, factors: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Scale the deviations from the mean over some dimensions by factors `[B, 1, 1, 1]`."""
    mean = images.mean(dim=dims, keepdim=True)
    return mean + factors * (images - mean)


def _moved(images: Tensor, share: float, down: Tensor, right: Tensor, repeats_edges: bool) -> Tensor:
    """Move images by up to a share of their sides, by draws `[B, 1, 1, 1]` in [0, 1)."""
    _, channels, height, width = images.shape
    row, column = _axes(images)
    row, column = row - _shift(down, share, height), column - _shift(right, share, width)  # each pixel's source
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    source = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    moved = images.flatten(2).gather(2, source.flatten(2).expand(-1, channels, -1)).view_as(images)
    return moved if repeats_edges else moved.where(inside, FILL)


def _cut(images: Tensor, share: float, down: Tensor, right: Tensor) -> Tensor:
    """Cut a hole whose sides are a share of the images', at draws `[B, 1, 1, 1]` in [0, 1)."""
    row, column = _axes(images)
    hole = _crossed(row, down, share, images.shape[2]) & _crossed(column, right, share, images.shape[3])
    return images.where(~hole, FILL)


def _axes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the rows, `[1, 1, H, 1]`, and of the columns, `[1, 1, 1, W]`."""
    height, width = (torch.arange(side, device=images.device) for side in images.shape[2:])
    return height.view(1, 1, -1, 1), width.view(1, 1, 1, -1)


def _shift(draws: Tensor, share: float, side: int) -> Tensor:
    """Turn draws in [0, 1) into shifts in {-m, ..., m} pixels, m a share of the side."""
    largest = _pixels(share, side)
    return (draws * (2 * largest + 1)).long() - largest


def _crossed(position: Tensor, draws: Tensor, share: float, side: int) -> Tensor:
    """Return which positions along a side lie in a hole whose centre is given by draws in [0, 1)."""
    length = _pixels(share, side)
    # The centre of an even length lies between two pixels: one more position treats both ends of the side alike.
    start = (draws * (side + 1 - length % 2)).long() - length // 2
    return (position >= start) & (position < start + length)


def _pixels(share: float, side: int) -> int:
    """Turn a share of a side into whole pixels, at least one; half a pixel counts as one, as in the authors' code."""
    return max(1, int(share * side + 0.5))
