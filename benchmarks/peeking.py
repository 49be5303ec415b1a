"""How often does a study that is looked at after every split go wrong, and how soon does it reach a verdict?

    python benchmarks/peeking.py [--studies 1000] [--jobs 2]

Each study is looked at after every split from 6 to 40. It is wrong if an interval at any of these looks excludes the
truth. The first tables draw normal differences of splits; the last one makes studies as benchmarks/calibration.py does.
docs/statistics.md has these tables.
"""

import argparse
import time
from collections.abc import Iterable

import numpy as np
from joblib import Parallel, delayed
from quick_studies import (
    NUM_TEST,
    OF_A_PERSON,
    OWN,
    TEST,
    TRAINING,
    Counted,
    Rates,
    differences,
    draw_splits,
    own_images,
    print_table,
    speaks_beyond,
)
from scipy.special import stdtrit

from gan_augment.report.sequence import critical
from gan_augment.report.statistics import LEVEL, MIN_PAIRS, WANTED_POWER, estimate, image_variance, power

SEED = 0  # the settings were chosen with 100
MOST = 40  # splits
LOOKS = range(MIN_PAIRS, MOST + 1)
GAINS = (0.0, 0.5, 1.0, 2.0)  # in standard deviations of the differences
SHARED = (0.0, 0.02, 0.1, 0.5, 2.0)  # variance that all splits share, in that of the differences
SHARES = (0.027, 0.08, 0.4)  # of a person's images that are labelled
TEST_IMAGES = (60, 360)


def peeked(gain: float, fixed: float, studies: int) -> tuple[np.ndarray, np.ndarray]:
    """Look at studies of normal differences, whose standard deviation is 1, after every split.

    Args:
        gain: The true mean difference.
        fixed: Variance of a part that all splits of a study share, as they share their test images.
        studies: Their number.

    Returns:
        Whether Student's interval, and the one that holds at every look, excludes 0 `[studies, looks]`.
    """
    random, kept = np.random.default_rng([SEED, int(10 * gain), int(100 * fixed)]), slice(MIN_PAIRS - 1, None)
    values = gain + random.normal(size=(studies, MOST)) + random.normal(scale=fixed**0.5, size=(studies, 1))
    n = np.arange(1, MOST + 1)
    means = values.cumsum(axis=1) / n
    squares = (values**2).cumsum(axis=1) - n * means**2
    spread = squares[:, kept] / (n[kept] * (n[kept] - 1))
    plain, anytime = (np.array([value(look) for look in LOOKS]) ** 2 for value in (student, sequence))
    far = means[:, kept] ** 2
    return far > plain * (spread + fixed), far > anytime * spread + plain * fixed


def student(num_pairs: int) -> float:
    """Student's two-sided critical value."""
    return float(stdtrit(num_pairs - 1, 1 - LEVEL / 2))


def sequence(num_pairs: int) -> float:
    """The critical value that holds at every look."""
    return critical(num_pairs, LEVEL)


def print_normal(studies: int) -> None:
    """Print the widths, and how studies of normal differences end."""
    numbers = (6, 10, 20, 40)
    print_table(
        ("splits", *numbers),
        [("width against Student's t", *(f"{sequence(n) / student(n):.2f}" for n in numbers))],
    )
    print()
    rows = []
    for gain in GAINS:
        plain, anytime = peeked(gain, 0.0, studies)
        ended = anytime.any(axis=1)
        splits = np.where(ended, MIN_PAIRS + anytime.argmax(axis=1), MOST)
        middle = f"over {MOST}" if ended.mean() < 0.5 else f"{np.median(splits):.0f}"
        same = _planned(gain, min(ended.mean(), 0.99)) if gain else "-"
        shares = (f"{100 * found.any(axis=1).mean():.1f} %" for found in (plain, anytime))
        rows.append((f"{gain:g}", *shares, middle, f"{splits.mean():.1f}", same))
    print_table(
        (
            "true gain (sd)",
            "Student's t at every look",
            "at every look",
            "median splits",
            "mean splits",
            "planned splits",
        ),
        rows,
    )
    print()
    found = [peeked(0.0, fixed, studies) for fixed in SHARED]
    print_table(
        ("shared variance (s^2)", *SHARED),
        (
            (words, *(f"{100 * one[number].any(axis=1).mean():.1f} %" for one in found))
            for number, words in enumerate(("Student's t at every look", "at every look"))
        ),
    )
    print(f"\nA planned study with a power of {WANTED_POWER:.0%}: ", end="")
    print(", ".join(f"{gain:g} sd: {_planned(gain, WANTED_POWER)} splits" for gain in GAINS if gain))


def _planned(gain: float, wanted: float) -> int:
    """Return the fewest splits with which a study, looked at once, has a power."""
    return next(n for n in range(MIN_PAIRS, 10 * MOST) if power(gain, n, 1.0) >= wanted)


def holds(share: float, beyond: bool, studies: int) -> Rates:
    """Look at studies of one kind after every split whose verdict speaks for other images, or only for other choices.

    Returns:
        The share of the studies whose intervals contain the truth at all looks, by number of test images and by
        whether the intervals are made for that.
    """
    looks = [n for n in LOOKS if speaks_beyond(share, n) == beyond]
    random, counted = np.random.default_rng([SEED, int(1000 * share), beyond]), Counted()
    for number in range(studies if looks else 0):
        if beyond or number % OF_A_PERSON == 0:
            own = own_images(random)
        labelled = TRAINING.take(draw_splits(own, share, looks[-1], random))
        tested = TEST.take(random.integers(NUM_TEST, size=TEST_IMAGES[-1]))
        for pair, x in differences(labelled, tested, random).items():
            bounds = {(m, made): common(x[:, :m], looks, share, made) for m in TEST_IMAGES for made in (True, False)}
            counted.add(pair, 0 if beyond else number // OF_A_PERSON, x.mean(), bounds)
    return counted.rates()


def common(x: np.ndarray, looks: Iterable[int], share: float, anytime: bool) -> tuple[float, float]:
    """Return the bounds of what the intervals at all looks have in common."""
    found = (estimate(x[:n].mean(axis=1), image_variance(x[:n]), share, anytime).interval() for n in looks)
    low, high = np.array([(one.low, one.high) for one in found]).T
    return low.max(), high.min()


def print_learners(studies: int, jobs: int) -> None:
    """Print how often an interval at any look excludes the truth that it speaks for."""
    kinds = [(share, beyond) for share in SHARES for beyond in (True, False)]
    found = Parallel(n_jobs=jobs)(delayed(holds)(*kind, studies) for kind in kinds)
    rows = []
    for (share, beyond), rates in zip(kinds, found, strict=True):
        if looks := [n for n in LOOKS if speaks_beyond(share, n) == beyond]:
            wrong = {cell: [100 * (1 - one) for one in of_pair.values()] for cell, of_pair in rates.items()}
            cells = (
                f"{', '.join(f'{one:.1f}' for one in wrong[m, True])} "
                f"({', '.join(f'{one:.0f}' for one in wrong[m, False])}) %"
                for m in TEST_IMAGES
            )
            scope = "other images" if beyond else "other choices"
            rows.append((f"{100 * share:.0f} %", f"{looks[0]} to {looks[-1]}", scope, *cells))
    print_table(
        ("labelled", "looked at after", "the verdict speaks for", *(f"{m:,} test images" for m in TEST_IMAGES)), rows
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--studies", type=int, default=1000, help="of each cell; ten times as many of normal differences"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    start = time.perf_counter()
    print_normal(10 * arguments.studies)
    print()
    print_learners(arguments.studies, arguments.jobs)
    print(f"\n{time.perf_counter() - start:.0f} seconds; {OWN} images a person")


if __name__ == "__main__":
    main()
