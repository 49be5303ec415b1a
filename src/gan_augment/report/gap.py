"""Floor and ceiling: what share of the gap between them the other arms close."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gan_augment.report.comparison import CEILINGS, FLOOR, agree
from gan_augment.report.configuration import Configuration, named, pair_unit
from gan_augment.report.contrasts import Contrast, estimate_of, image_differences, why_not_on_new_images
from gan_augment.report.outcomes import NoPredictionsError
from gan_augment.report.statistics import Estimate, Interval, paired_interval, share_interval
from gan_augment.report.trials import ACCURACY, BALANCED, Study

METRICS = (ACCURACY, BALANCED)


@dataclass(frozen=True)
class Gap:
    """A floor, a ceiling, and the arms between them, all with the same settings.

    Attributes:
        title: The settings of the floor and the ceiling, in words.
        sizes: Metric -> the contrast of the ceiling with the floor. Accuracy comes first.
        accuracies: Floor, arms and ceiling, in this order -> mean accuracy in points with Student's t interval; folds
            have no bounds.
        shares: Arm -> metric -> the share of the gap that it closes, in per cent; None if the gap is not told from 0.
        unit: The unit of a pair.
    """

    title: str
    sizes: Mapping[str, Contrast]
    accuracies: Mapping[str, Interval]
    shares: Mapping[str, Mapping[str, Interval | None]]
    unit: str


def gaps(study: Study, found: Iterable[Configuration], compared: Iterable[Contrast]) -> list[Gap]:
    """Return the gap between each floor and its ceiling, where there are arms between them.

    A ceiling belongs to the floor with which it is compared, and an arm lies between them if it agrees with both in all
    settings that they have in common.
    """
    found = [c for c in found if len(c.with_results)]
    top = next((arm for arm in CEILINGS if any(c.arm == arm for c in found)), None)
    pairs: dict[tuple[Configuration, Configuration], dict[str, Contrast]] = {}
    for c in compared:
        if (c.base.arm, c.one.arm) == (FLOOR, top) and c.metric in METRICS and len(c.differences):
            pairs.setdefault((c.base, c.one), {})[c.metric] = c
    others = [c for c in found if c.arm not in (FLOOR, top)]
    made = []
    for (floor, ceiling), sizes in pairs.items():
        if arms := [one for one in others if agree(one, floor) and agree(one, ceiling)]:
            by, unit = pair_unit([floor, *arms, ceiling])
            known = floor.setting | ceiling.setting
            accuracies = {one.label(known): _mean(one, by, unit) for one in (floor, *arms, ceiling)}
            shares = {one.label(): _shares(study, one, floor, ceiling, [*sizes], by, unit) for one in arms}
            made.append(Gap(named("", known), sizes, accuracies, shares, unit))
    return made


def _mean(one: Configuration, by: str, unit: str) -> Interval:
    found = paired_interval(one.points([ACCURACY], by)[ACCURACY].to_numpy())
    return found._replace(low=math.nan, high=math.nan) if unit == "fold" else found


def _shares(
    study: Study,
    one: Configuration,
    floor: Configuration,
    ceiling: Configuration,
    metrics: Sequence[str],
    by: str,
    unit: str,
) -> dict[str, Interval | None]:
    """Return the shares of the gap that an arm closes, from the pairs that floor, arm and ceiling have in common."""
    base = floor.points(metrics, by)
    gains, sizes = one.points(metrics, by) - base, ceiling.points(metrics, by) - base
    overlap = max(one.overlap, floor.overlap, ceiling.overlap) if unit == "split" else 0.0
    images = None
    with suppress(NoPredictionsError):
        first, second = (image_differences(study, side, floor, by, unit)[0] for side in (one, ceiling))
        images = first.align(second, join="inner")

    def share(metric: str) -> Interval | None:
        common = gains[metric].dropna().index.intersection(sizes[metric].dropna().index)
        gain, size = gains[metric][common], sizes[metric][common]
        by_image = None
        if images is not None and not why_not_on_new_images(metric, len(common), images[0]):
            by_image = [side.loc[common].dropna(axis="columns", how="all") for side in images]

        def estimate(of_gain: float, of_gap: float) -> Estimate:
            rows = None if by_image is None else of_gain * by_image[0] + of_gap * by_image[1]
            values = of_gain * gain + of_gap * size
            return estimate_of(metric, values, rows, overlap, unit, bool(study.other_looks), math.nan)

        found = share_interval(estimate(0, 1), lambda part: estimate(1, -part))
        if found is None:
            return None
        mean, low, high, num_pairs = found
        return Interval(100 * mean, 100 * low, 100 * high, num_pairs)

    return {metric: share(metric) for metric in metrics}
