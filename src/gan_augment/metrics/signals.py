"""Signs of a generator that has gone wrong: collapse, and traces of an augmentation."""

from typing import Any

import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet, in_proportion
from gan_augment.data.source import Modes
from gan_augment.metrics.diversity import MAX_IMAGES, collapse_warning, pairwise_diversity
from gan_augment.metrics.leak import leaks
from gan_augment.metrics.modes import mode_metrics

FEWEST_REAL = 10  # below, the leak check gives false alarms


def generator_signals(
    real: ImageSet, synthetic: ImageSet, cutout: float | None, modes: Modes | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Compare generated images with those from which their generator learned.

    Args:
        real: Labelled images.
        synthetic: Generated images, with the labels that they are meant to show.
        cutout: Sides of the hole in the discriminator's augmentation, as a share of the image's; 0 for an augmentation
            without a hole, None for no augmentation.
        modes: The density that the real images were drawn from, if it is known: then they are points.

    Returns:
        Metrics: for points those of `mode_metrics`; for images `diversity` and, by name, `diversity_per_class`, the
        generated images' pairwise diversity over that of the real ones, 1 if they are as diverse. `diversity` is the
        mean over the classes. A class needs two different real images and two generated ones; otherwise its value is
        None, and so is the mean if no class has a value. And warnings, one sentence each.
    """
    if modes is not None:
        points = synthetic.images[torch.arange(len(synthetic))].flatten(1)
        metrics: dict[str, Any] = mode_metrics(points, modes)
        dropped = len(modes.centres) - metrics["modes_found"]
        collapse = f"Mode collapse: {dropped} of {len(modes.centres)} modes have no sample near them"
        return metrics, [collapse] if dropped else []
    there, made = (class_diversity(images) for images in (real, synthetic))
    ratios = (made / there).where(there > 0, torch.nan).tolist()
    known = [ratio for ratio in ratios if ratio == ratio]
    metrics = {
        "diversity": sum(known) / len(known) if known else None,
        "diversity_per_class": {
            name: ratio if ratio == ratio else None for name, ratio in zip(real.class_names, ratios, strict=True)
        },
    }
    collapsed = collapse_warning(there, made, real.class_names)
    warnings = [collapsed] if collapsed else []
    alike = in_proportion(synthetic, real.class_counts)
    if cutout is not None and min(len(real), len(alike)) >= FEWEST_REAL:
        there, made = (images.images[torch.arange(len(images))] for images in (real, alike))
        traces = leaks(there, made, **({"cutout": cutout} if cutout else {}))
        warnings += [f"Leak of the discriminator's augmentation: {trace}" for trace in traces]
    return metrics, warnings


def class_diversity(images: ImageSet, num_classes: int | None = None) -> Tensor:
    """Measure the pairwise diversity of each class from its first images, float64 `[K]`; `num_classes` limits K.

    It is NaN for a class with fewer than two images.
    """
    found = []
    for label in range(num_classes or images.num_classes):  # one at a time: the images may be many, in a file
        members = images.images[(images.labels == label).nonzero().squeeze(1)[:MAX_IMAGES]]
        found.append(pairwise_diversity(members, torch.zeros(len(members)), 1))
    return torch.cat(found)
