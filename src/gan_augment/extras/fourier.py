"""The extra `fourier`: the labelled images with the low frequencies of pool images (Yang and Soatto 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from gan_augment.contracts import Extra, Plan
from gan_augment.data.batches import ShuffledIndices
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import check_number

AT_ONCE = 500  # images


@dataclass(frozen=True)
class FourierSettings:
    """Which frequencies are replaced.

    Attributes:
        beta: Highest of them along each side, in cycles per pixel: 0 replaces the mean alone, 0.5 everything.

    Raises:
        ValueError: If it is out of range.
    """

    beta: float

    def __post_init__(self) -> None:
        check_number("fourier.beta", self.beta, 0, 0.5)


@dataclass(frozen=True, eq=False)
class Fourier(Extra):
    """The labelled images, each with the low-frequency amplitudes of an image of the pool and its own phases.

    Which image that is depends on the split's seed, not on that of the training, because trials share the features of
    these images. All images of the pool are drawn equally often.
    """

    name = "fourier"
    sees = ("pool_images",)
    reads = ("fourier",)

    pool: ImageSet
    fourier: FourierSettings
    split_seed: int

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Take the pool and the settings."""
        return cls(plan.views.pool, plan.config.part("fourier", FourierSettings), plan.views.seed)

    def check(self, labelled: ImageSet, num_extra: int, batch_size: int) -> None:
        """Refuse points."""
        if labelled.shape.is_point:
            raise ValueError("augmentation.extra=fourier changes frequencies, and points have none: use another arm")

    def images(self, labelled: ImageSet, made: Mapping[str, Path], seed: int) -> ImageSet:
        """Return the labelled images with other amplitudes and their own labels."""
        drawn = ShuffledIndices(len(self.pool), self.split_seed, "fourier").between(0, len(labelled))
        pairs = zip(torch.arange(len(labelled)).split(AT_ONCE), drawn.split(AT_ONCE), strict=True)
        changed = [
            swap_amplitudes(labelled.images[some], self.pool.images[others], self.fourier.beta)
            for some, others in pairs
        ]
        return replace(labelled, images=torch.cat(changed))


def swap_amplitudes(images: Tensor, others: Tensor, beta: float) -> Tensor:
    r"""Give images the amplitudes that other images have at low frequencies; phases stay.

    Fourier domain adaptation, FDA (Yang and Soatto 2020, section 3.1):
    $x = F^{-1}([M_\beta \circ |F(x_t)| + (1 - M_\beta) \circ |F(x_s)|, \angle F(x_s)])$, where $M_\beta$ is 1 at
    frequencies of at most $\beta$ cycles per pixel along each side, and 0 elsewhere. The paper takes .01, .05 and .09.

    Args:
        images: $x_s$, uint8 `[B, C, H, W]`.
        others: $x_t$, of the same shape.
        beta: $\beta$, from 0 to .5.

    Returns:
        uint8 `[B, C, H, W]`; what falls outside the range of levels is clipped.
    """
    height, width = images.shape[-2:]
    highest = beta + 1e-6  # frequencies are rounded
    # In double precision, so that processors which round differently agree on the levels.
    of_images, of_others = (torch.fft.rfft2(some.double()) for some in (images, others))
    rows, columns = torch.fft.fftfreq(height).abs() <= highest, torch.fft.rfftfreq(width) <= highest
    amplitudes = torch.where(rows[:, None] & columns, of_others.abs(), of_images.abs())
    changed = torch.fft.irfft2(torch.polar(amplitudes, of_images.angle()), s=(height, width))
    return changed.round().clamp(0, 255).to(torch.uint8)
