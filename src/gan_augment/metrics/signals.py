"""Signals of a generator that has gone wrong: collapse, and traces of the discriminator's augmentation."""

from typing import Any

import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.diversity import MAX_IMAGES, collapse_warning, pairwise_diversity
from gan_augment.metrics.leak import leaks

FEWEST_REAL = 10  # below, the leak check gives false alarms


def generator_signals(real: ImageSet, synthetic: ImageSet, cutout: float | None) -> tuple[dict[str, Any], list[str]]:
    """Compare generated images with those that their generator learned from.

    Args:
        real: Labelled images.
        synthetic: Generated ones, with the labels that they are meant to show.
        cutout: Sides of the hole in the discriminator's augmentation, as a share of the image's; 0 for an augmentation
            without a hole, None for no augmentation.

    Returns:
        Metrics: `diversity`, the mean over the classes of the generated images' pairwise diversity over that of the
        real ones, 1 where they are as diverse; None where no class has two different real images and two generated
        ones. And warnings, a sentence each.
    """
    there, made = (_diversity(images) for images in (real, synthetic))
    ratios = (made / there)[(there > 0) & made.isfinite()]
    collapse = collapse_warning(there, made, real.class_names)
    warnings = [collapse] if collapse else []
    if cutout is not None and len(real) >= FEWEST_REAL:
        shares = synthetic.class_counts / real.class_counts.clamp_min(1)
        counts = (real.class_counts * shares[real.class_counts > 0].min()).long()  # of both the same proportions
        images = synthetic.images[_first(synthetic, counts)]
        traces = leaks(real.images[torch.arange(len(real))], images, **({"cutout": cutout} if cutout else {}))
        warnings += [f"Leak of the discriminator's augmentation: {trace}" for trace in traces]
    return {"diversity": float(ratios.mean()) if len(ratios) else None}, warnings


def _diversity(images: ImageSet) -> Tensor:
    some = _first(images, images.class_counts.clamp_max(MAX_IMAGES))
    return pairwise_diversity(images.images[some], images.labels[some], images.num_classes)


def _first(images: ImageSet, counts: Tensor) -> Tensor:
    """Return the indices of the first so many images of each class, int64 `[M]`."""
    chosen = [(images.labels == label).nonzero().squeeze(1)[:count] for label, count in enumerate(counts.tolist())]
    return torch.cat(chosen)
