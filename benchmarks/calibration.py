"""Check the intervals on studies whose true gain is known.

`python benchmarks/calibration.py` simulates studies and prints the tables of docs/statistics.md.
`python benchmarks/calibration.py STUDY` makes studies from real trainings that compare an arm with itself:
STUDY is the folder or file of one arm, with several classifier seeds in each split (`experiment=digits_aa`).
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gan_augment.report.comparison import configurations, pair_unit
from gan_augment.report.outcomes import read_answers
from gan_augment.report.statistics import Estimate, Interval, bootstrap_interval, estimate, image_variance, power
from gan_augment.report.trials import Study, collect

SIZES = (6, 10, 20)  # splits per study
SHAPES = ("normal", "rounded to 1/360", "skewed")
GAINS = (0.0, 1.0, 2.0)  # true, in points
STUDIES = 1000
REAL_STUDIES = 200
NUM_IMAGES = 360
BASE_ACCURACY = 0.8

# A classifier is right if a latent normal variable of variance 1 lies below a threshold. These are the variances of its
# parts, named by what shares them; the noise has the rest. They resemble the digits: paired differences with a standard
# deviation of 2 points between splits, and test images that add 1 point of standard error.
IMAGE, IMAGE_OF_ARM, SPLIT, SPLIT_OF_ARM, IMAGE_IN_SPLIT = 0.45, 0.15, 0.01, 0.0005, 0.3
NOISE = 1 - IMAGE - IMAGE_OF_ARM - SPLIT - SPLIT_OF_ARM - IMAGE_IN_SPLIT


class Rates(NamedTuple):
    """Fractions of simulated studies.

    Attributes:
        covered: Those whose interval for new images contains the true gain.
        covered_by_splits_alone: Those whose interval on these test images contains it.
        better: Those with the verdict *better*.
        worse: Those with the verdict *worse*.
    """

    covered: float
    covered_by_splits_alone: float
    better: float
    worse: float


def coverage(shape: str, num_pairs: int, bootstrap: bool = False, studies: int = STUDIES) -> float:
    """Simulate studies on one set of test images, and count the intervals that contain the true gain.

    Args:
        shape: Distribution of the paired differences, one of `SHAPES`, with a standard deviation of 1 point. The
            skewed one is exponential (skewness 2).
        num_pairs: Splits per study.
        bootstrap: Whether to count bootstrap intervals instead of Student's.
        studies: Number of studies.

    Returns:
        A fraction; the nominal coverage is 0.95.
    """
    random = np.random.default_rng([SHAPES.index(shape), num_pairs])
    size, truth = (studies, num_pairs), 1.0
    noise = random.exponential(size=size) - 1 if shape == "skewed" else random.standard_normal(size)
    differences = truth + noise
    if shape == "rounded to 1/360":
        differences = np.round(differences * 3.6) / 3.6
    intervals = [bootstrap_interval(row) if bootstrap else estimate(row).interval() for row in differences]
    return float(np.mean([low <= truth <= high for _, low, high, _ in intervals]))


def simulated_answers(gain: float, num_pairs: int, studies: int = STUDIES) -> Iterator[np.ndarray]:
    """Simulate studies of two arms in which both test images and splits vary.

    Args:
        gain: The true gain of the second arm in points, over the whole population of images.
        num_pairs: Splits per study.
        studies: Number of studies.

    Yields:
        Whether the classifiers of a study are right on each test image `[2, num_pairs, NUM_IMAGES]`.
    """
    random = np.random.default_rng([int(100 * gain), num_pairs])
    thresholds = _thresholds(gain).reshape(2, 1, 1)
    # Each part has the shape of what it varies with: [arms, splits, images].
    n, m = num_pairs, NUM_IMAGES
    parts = {(1, 1, m): IMAGE, (2, 1, m): IMAGE_OF_ARM, (1, n, 1): SPLIT, (2, n, 1): SPLIT_OF_ARM}
    parts |= {(1, n, m): IMAGE_IN_SPLIT, (2, n, m): NOISE}
    for _ in range(studies):
        latent = sum(np.sqrt(share) * random.standard_normal(shape) for shape, share in parts.items())
        yield latent < thresholds


def estimate_gain(answers: np.ndarray) -> Estimate:
    """Estimate the gain of the second of two arms for new images, as the report does.

    Args:
        answers: Whether the classifiers are right on each test image `[2, n, m]`.

    Returns:
        The estimate.
    """
    base, one = answers.astype(float)
    differences = 100 * (one - base)
    return estimate(differences.mean(axis=1), image_variance(differences))


def rates(gain: float, num_pairs: int, studies: int = STUDIES) -> Rates:
    """Count verdicts and coverage in simulated studies in which both test images and splits vary."""
    found = [estimate_gain(answers) for answers in simulated_answers(gain, num_pairs, studies)]
    new, these = ([one.interval() for one in some] for some in (found, [one.on_these_images for one in found]))
    covered, by_splits = (np.mean([low <= gain <= high for _, low, high, _ in some]) for some in (new, these))
    better, worse = np.mean([one.low > 0 for one in new]), np.mean([one.high < 0 for one in new])
    return Rates(float(covered), float(by_splits), float(better), float(worse))


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
    found = [estimate_gain(pair) for pair in drawn]
    return [one.interval() for one in found], [one.on_these_images.interval() for one in found]


def components(gain: float) -> tuple[float, float]:
    """Compute the variation of simulated studies: standard deviation of a split's difference, and variance from images.

    Two latent variables that share parts are bivariate normal, so the covariance of right answers is a bivariate normal
    probability minus the product of the accuracies.

    Args:
        gain: The true gain in points.

    Returns:
        The standard deviation in points, and the variance in points squared, as arguments for `power`.
    """
    from scipy.stats import multivariate_normal, norm

    thresholds = _thresholds(gain)

    def covariance(shared: float, shared_by_arm: float) -> float:
        total = 0.0
        for one in range(2):
            for other in range(2):
                rho = min(shared + shared_by_arm * (one == other), 1.0)
                pair = thresholds[[one, other]]
                both = (
                    norm.cdf(pair[0])
                    if rho > 1 - 1e-9
                    else multivariate_normal.cdf(pair, cov=np.array([[1, rho], [rho, 1]]))
                )
                total += (1 if one == other else -1) * (both - np.prod(norm.cdf(pair)))
        return 100**2 * float(total)

    of_split, of_image = covariance(SPLIT, SPLIT_OF_ARM), covariance(IMAGE, IMAGE_OF_ARM)
    shared, shared_by_arm = IMAGE + SPLIT + IMAGE_IN_SPLIT, IMAGE_OF_ARM + SPLIT_OF_ARM + NOISE
    of_both = covariance(shared, shared_by_arm) - of_split - of_image
    return float(np.sqrt(of_split + of_both / NUM_IMAGES)), of_image / NUM_IMAGES


def _thresholds(gain: float) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri([BASE_ACCURACY, BASE_ACCURACY + gain / 100]))


def _row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


def print_simulated() -> None:
    """Print how often the intervals of simulated studies contain the truth, and how frequent the verdicts are."""
    heads = [f"n = {n}" for n in SIZES]
    _row("paired differences", "interval", *heads)
    _row(*["---"] * (2 + len(SIZES)))
    for shape in SHAPES:
        for bootstrap, name in ((False, "Student's t"), (True, "BCa bootstrap")):
            _row(shape, name, *(f"{100 * coverage(shape, n, bootstrap):.1f} %" for n in SIZES))
    sd, images = components(0.0)
    print(f"\nstandard deviation of a split's difference {sd:.2f}, standard error from the images {images**0.5:.2f}\n")
    _row("true gain", "splits", "covered", "covered by splits alone", "better", "computed", "worse")
    _row(*["---"] * 7)
    for gain in GAINS:
        sd, images = components(gain)
        for n in SIZES:
            found, computed = rates(gain, n), power(gain, n, sd, images) if gain else 0.025
            cells = found.covered, found.covered_by_splits_alone, found.better, computed, found.worse
            _row(f"{gain:g}", n, *(f"{100 * cell:.1f} %" for cell in cells))


def print_real(source: str) -> None:
    """Print how often studies of real trainings find a difference although there is none."""
    for scope, intervals in zip(("new images", "these images"), same_against_same(collect([source])), strict=True):
        called = sum(not low <= 0 <= high for _, low, high, _ in intervals)
        widths = np.median([high - low for _, low, high, _ in intervals])
        print(f"for {scope}: {called} of {len(intervals)} called different; median width {widths:.1f} points")


def main() -> None:
    """Print the tables for simulated studies, or the counts for a study on the command line."""
    if not sys.argv[1:]:
        print_simulated()
        return
    try:
        print_real(sys.argv[1])
    except (ValueError, OSError) as error:
        sys.exit(f"calibration: {error}")


if __name__ == "__main__":
    main()
