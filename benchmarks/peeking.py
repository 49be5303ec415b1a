"""How often does a study that is looked at after every split go wrong, and how soon does it reach a verdict?

    python benchmarks/peeking.py [--studies 1000] [--jobs 2]

Each study is looked at after every split from 6 to 40. It is wrong if an interval at any of these looks excludes the
truth. The first tables draw normal differences of splits; the last one makes studies as benchmarks/calibration.py does,
with quicker learners. It prints the tables of docs/statistics.md.
"""

import argparse
import time

import numpy as np
from calibration import NUM_TEST, OWN, TEST, TRAINING, own_images, speaks_beyond, split
from joblib import Parallel, delayed
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
PEOPLE, SPLITS = 50, 400  # persons, and splits of the images of each, from which the truth for these images is computed


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
    _row("splits", *numbers)
    _row("---", *["---"] * len(numbers))
    _row("width against Student's t", *(f"{sequence(n) / student(n):.2f}" for n in numbers))
    print()
    _row(
        "true gain (sd)", "Student's t at every look", "at every look", "median splits", "mean splits", "planned splits"
    )
    _row(*["---"] * 6)
    for gain in GAINS:
        plain, anytime = peeked(gain, 0.0, studies)
        ended = anytime.any(axis=1)
        splits = np.where(ended, MIN_PAIRS + anytime.argmax(axis=1), MOST)
        middle = f"over {MOST}" if ended.mean() < 0.5 else f"{np.median(splits):.0f}"
        same = _planned(gain, min(ended.mean(), 0.99)) if gain else "-"
        shares = (f"{100 * found.any(axis=1).mean():.1f} %" for found in (plain, anytime))
        _row(f"{gain:g}", *shares, middle, f"{splits.mean():.1f}", same)
    print()
    _row("shared variance (s^2)", *SHARED)
    _row("---", *["---"] * len(SHARED))
    found = [peeked(0.0, fixed, studies) for fixed in SHARED]
    for words, number in (("Student's t at every look", 0), ("at every look", 1)):
        _row(words, *(f"{100 * one[number].any(axis=1).mean():.1f} %" for one in found))
    print(f"\nA planned study with a power of {WANTED_POWER:.0%}: ", end="")
    print(", ".join(f"{gain:g} sd: {_planned(gain, WANTED_POWER)} splits" for gain in GAINS if gain))


def _planned(gain: float, wanted: float) -> int:
    """Return the fewest splits with which a study, looked at once, has a power."""
    return next(n for n in range(MIN_PAIRS, 10 * MOST) if power(gain, n, 1.0) >= wanted)


def answers(labelled: np.ndarray, tested: np.ndarray, random: np.random.Generator, scaled: bool) -> np.ndarray:
    """Train on the images of several splits `[splits, images]`, and answer the test images.

    A classifier takes the nearest class mean, with noise, as if synthetic images were added. `scaled` first divides the
    features by their standard deviation within a class.

    Returns:
        1 where a split's classifier is right, else 0 `[splits, tested images]`.
    """
    per_class = TRAINING.features[labelled].reshape(len(labelled), 4, -1, TRAINING.features.shape[1])
    means = per_class.mean(axis=2)
    means += random.normal(scale=0.5 / np.sqrt(per_class.shape[2]), size=means.shape)
    scales = per_class.std(axis=2).mean(axis=1)[:, None] ** 2 + 0.3 if scaled else 1.0
    weights = means / scales
    scores = np.einsum("mf,scf->scm", TEST.features[tested], weights, optimize=True)
    scores -= (means * weights).sum(axis=2)[:, :, None] / 2
    return (scores.argmax(axis=1) == TEST.classes[tested]).astype(np.float32)


def differences(pair: str, labelled: np.ndarray, tested: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the points by which one classifier is right more often than another `[splits, tested images]`."""
    one = answers(labelled, tested, random, scaled=pair == "different")
    return 100 * (one - answers(labelled, tested, random, scaled=False))


def truth(share: float, random: np.random.Generator, own: list[np.ndarray] | None) -> float:
    """Return the mean difference of different classifiers over splits of these images, or over everybody's."""
    number = SPLITS if own else 20 * SPLITS
    labelled = np.stack([split(own or own_images(random), share, random) for _ in range(number)])
    parts = np.array_split(labelled, number // 10)
    return float(
        np.mean([differences("different", one, random.choice(NUM_TEST, 2000), random).mean() for one in parts])
    )


def misses(pair: str, share: float, beyond: bool, studies: int) -> dict[int, tuple[float, float]]:
    """Look at studies of one kind after every split whose verdict speaks for other images, or only for other choices.

    Returns:
        Number of test images -> share of the studies in which Student's interval, and the one that holds at every look,
        ever excludes the truth.
    """
    looks = [n for n in LOOKS if speaks_beyond(share, n) == beyond]
    random = np.random.default_rng([SEED, pair == "same", int(1000 * share), beyond])
    found: dict[int, list[tuple[bool, bool]]] = {m: [] for m in TEST_IMAGES}
    target = truth(share, random, None) if beyond and pair == "different" else 0.0
    for number in range(studies if looks else 0):
        if beyond or number % (studies // PEOPLE or 1) == 0:
            own = own_images(random)
            target = truth(share, random, own) if not beyond and pair == "different" else target
        tested = random.choice(NUM_TEST, TEST_IMAGES[-1], replace=False)
        labelled = np.stack([split(own, share, random) for _ in range(looks[-1])])
        rows = differences(pair, labelled, tested, random)
        for m in TEST_IMAGES:
            wrong = [_wrong(rows[:n, :m], share, target) for n in looks]
            found[m].append((any(one for one, _ in wrong), any(one for _, one in wrong)))
    return {m: tuple(np.mean(some, axis=0)) for m, some in found.items() if some}


def _wrong(rows: np.ndarray, share: float, target: float) -> tuple[bool, bool]:
    points, images = rows.mean(axis=1, dtype=float), image_variance(rows)
    intervals = (estimate(points, images, share, anytime).interval() for anytime in (False, True))
    plain, at_every_look = (not low <= target <= high for _, low, high, _ in intervals)
    return plain, at_every_look


def print_learners(studies: int, jobs: int) -> None:
    """Print how often an interval at any look excludes the truth that it speaks for."""
    kinds = [(share, beyond) for share in SHARES for beyond in (True, False)]
    tasks = (delayed(misses)(pair, *kind, studies) for kind in kinds for pair in ("different", "same"))
    found = Parallel(n_jobs=jobs)(tasks)
    _row("labelled", "looked at after", "the verdict speaks for", *(f"{m:,} test images" for m in TEST_IMAGES))
    _row(*["---"] * (3 + len(TEST_IMAGES)))
    for (share, beyond), different, same in zip(kinds, found[::2], found[1::2], strict=True):
        looks = [n for n in LOOKS if speaks_beyond(share, n) == beyond]
        if looks:
            cells = (
                f"{100 * different[m][1]:.1f}, {100 * same[m][1]:.1f} "
                f"({100 * different[m][0]:.0f}, {100 * same[m][0]:.0f}) %"
                for m in TEST_IMAGES
            )
            _row(
                f"{100 * share:.0f} %",
                f"{looks[0]} to {looks[-1]}",
                "other images" if beyond else "other choices",
                *cells,
            )


def _row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


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
