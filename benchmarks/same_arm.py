"""How often does the report find a difference where there is none? Studies of one arm against itself.

    python benchmarks/same_arm.py STUDY

STUDY is the folder or file of real trainings of one arm, with several classifier seeds in each split
(`experiment=digits_aa`). Studies that compare the arm with itself are drawn from them.
"""

import sys

import numpy as np

from gan_augment.report.configuration import configurations, pair_unit
from gan_augment.report.outcomes import read_answers
from gan_augment.report.statistics import Interval, estimate, image_variance
from gan_augment.report.trials import Study, collect

REAL_STUDIES = 200


def same_against_same(study: Study, studies: int = REAL_STUDIES) -> tuple[list[Interval], list[Interval]]:
    """Make studies that compare an arm with itself, by two of its trainings in each split.

    Args:
        study: A study of one arm, with several classifier seeds in each split.
        studies: Number of studies to make; each draws two trainings anew for each split.

    Returns:
        The intervals for new images, and those on the study's test images: 95 % should contain 0.

    Raises:
        ValueError: If the study has several arms or settings, a split with a single training, or no predictions.
    """
    one, *others = configurations(study)
    if others:
        raise ValueError(f"{study.title} compares {1 + len(others)} arms or settings: use a study of a single one")
    if one.with_results.empty:
        raise ValueError(f"no trial of {study.title} has results")
    answers = read_answers(one.with_results["trial"], study.outcomes)
    splits = [rows.to_numpy() for _, rows in answers.groupby(one.with_results[pair_unit([one])[0]].astype(str))]
    if min(map(len, splits)) < 2 or len(splits) < 2:
        raise ValueError(f"{study.title} needs two splits or more, with two seeds.classifier or more in each")
    random = np.random.default_rng(0)
    drawn = (np.stack([random.choice(rows, 2, replace=False) for rows in splits], axis=1) for _ in range(studies))
    points = (100.0 * (one.astype(float) - base) for base, one in drawn)
    found = [estimate(rows.mean(axis=1), image_variance(rows)) for rows in points]
    return [one.interval() for one in found], [one.on_these_images.interval() for one in found]


def main() -> None:
    """Print how often these studies find a difference although there is none."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/same_arm.py STUDY")
    try:
        found = same_against_same(collect(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"same_arm: {error}")
    for scope, intervals in zip(("new images", "these images"), found, strict=True):
        called = sum(not low <= 0 <= high for _, low, high, _ in intervals)
        widths = np.median([high - low for _, low, high, _ in intervals])
        print(f"for {scope}: {called} of {len(intervals)} called different; median width {widths:.1f} points")


if __name__ == "__main__":
    main()
