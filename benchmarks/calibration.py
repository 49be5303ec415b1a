"""How often do the intervals of the report hold? Studies of quick learners whose true difference is known.

    python benchmarks/calibration.py [--studies 400] [--jobs 2] [--only {splits,groups,folds}]
    python benchmarks/calibration.py STUDY

The first command makes studies as the report sees them: a person has 300 images, each split labels some of them, two
scikit-learn classifiers learn from these, and both are tested on the same images. It prints the table of
docs/statistics.md: how often the interval of the verdict contains the truth that the verdict speaks for. A second table
has test images that belong together, a third one cross-validation, where a person has no images apart from those of the
folds; `--only` prints one of them. The second command draws studies that compare an arm with itself from real
trainings: STUDY is the folder or file of one arm, with several classifier seeds in each split
(`experiment=digits_aa`).
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn import config_context
from sklearn.base import ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from gan_augment.report.comparison import configurations, pair_unit
from gan_augment.report.outcomes import read_answers
from gan_augment.report.statistics import (
    MIN_GROUPS,
    Interval,
    effective_groups,
    estimate,
    fold_estimate,
    image_variance,
)
from gan_augment.report.trials import Study, collect

NUM_CLASSES, NUM_FEATURES = 4, 6
NUM_TRAINING, NUM_TEST = 20_000, 40_000  # images of the population to train on, and to test on
OWN = 300  # images that the person of a study has to train on
SHARES = (0.04, 0.08, 0.16, 0.4, 0.8, 0.96)  # of them that are labelled
SIZES = (6, 10, 20)  # splits of a study
TEST_IMAGES = (60, 360, 2000, 10_000)
PEOPLE, SPLITS = 16, 400  # persons, and splits of the images of each, from which the truth for these images is computed
REAL_STUDIES = 200
# Studies with groups of test images: sizes of the groups, each from lowest to highest, and the labelled share and the
# number of splits at which the choice of test images matters most.
GROUP_SIZES = ((1, 1), (5, 5), (30, 30), (1, 9))
GROUPED_TEST_IMAGES = (60, 360, 2000)
GROUPED_SHARE, GROUPED_SPLITS = 0.4, 10
FEW_GROUPS = (4, 6, 8, 10, 12, 15, 20, 30)
FOLDS = 5
REPETITIONS = (2, 4)
OWN_IN_FOLDS = (60, 300)  # images that the person has, all of them in folds
SHARES_IN_FOLDS = (1, 0.2)  # of the images outside the fold that are labelled


class Population(NamedTuple):
    """Features `[N, 6]` and classes `[N]` of all images."""

    features: np.ndarray
    classes: np.ndarray

    @classmethod
    def draw(cls, size: int, seed: int | np.random.Generator, groups: np.ndarray | None = None) -> "Population":
        """Draw a mixture of normal classes whose features differ in scale.

        Images of one of the groups, numbers `[N]`, are of one class, and half of the variance of their features is
        common to them. A single image has the same distribution with groups and without.
        """
        shape = np.random.default_rng(0)
        centres = 1.1 * shape.normal(size=(NUM_CLASSES, NUM_FEATURES))
        scales = np.exp(0.5 * shape.normal(size=(NUM_CLASSES, NUM_FEATURES)))
        random = np.random.default_rng(seed)
        classes, noise = random.integers(NUM_CLASSES, size=size), random.normal(size=(size, NUM_FEATURES))
        if groups is not None:
            classes = classes[groups]
            noise = (noise + random.normal(size=(size, NUM_FEATURES))[groups]) / np.sqrt(2)
        return cls(centres[classes] + scales[classes] * noise, classes)


TRAINING, TEST = Population.draw(NUM_TRAINING, 1), Population.draw(NUM_TEST, 2)
BY_CLASS = [np.flatnonzero(TRAINING.classes == label) for label in range(NUM_CLASSES)]


class Shrunk:
    """The covariance of a class, shrunk towards a sphere: as `shrinkage` of scikit-learn does, in half the time."""

    def __init__(self, shrinkage: float) -> None:
        self.shrinkage = shrinkage

    def fit(self, features: np.ndarray) -> "Shrunk":
        """Compute `covariance_` of features `[N, D]`."""
        covariance = np.cov(features.T, bias=True)
        sphere = covariance.trace() / len(covariance) * np.eye(len(covariance))
        self.covariance_ = (1 - self.shrinkage) * covariance + self.shrinkage * sphere
        return self


def with_copies(labelled: np.ndarray, random: np.random.Generator) -> LinearDiscriminantAnalysis:
    """Train on labelled images and noisy copies of them: as with synthetic images, training adds noise of its own."""
    features, classes = TRAINING.features[labelled], TRAINING.classes[labelled]
    noisy = features + random.normal(size=features.shape)
    learner = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk(0.1))
    return learner.fit(np.concatenate([features, noisy]), np.concatenate([classes, classes]))


def without(labelled: np.ndarray, random: np.random.Generator) -> LinearDiscriminantAnalysis:
    """Train on the labelled images alone, with more shrinkage."""
    learner = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk(0.9))
    return learner.fit(TRAINING.features[labelled], TRAINING.classes[labelled])


def tree(labelled: np.ndarray, random: np.random.Generator) -> DecisionTreeClassifier:
    """Train a tree, which changes much with the images and with its random choice of features."""
    learner = DecisionTreeClassifier(max_features=2, random_state=int(random.integers(2**31)))
    return learner.fit(TRAINING.features[labelled], TRAINING.classes[labelled])


Learner = Callable[[np.ndarray, np.random.Generator], ClassifierMixin]
PAIRS: dict[str, tuple[Learner, Learner]] = {"different": (with_copies, without), "same": (with_copies, with_copies)}
PAIRS_IN_FOLDS = PAIRS | {"unstable": (tree, without), "same, unstable": (tree, tree)}


def own_images(random: np.random.Generator, number: int = OWN) -> list[np.ndarray]:
    """Draw the training images of a person, class by class."""
    return [random.choice(members, number // NUM_CLASSES, replace=False) for members in BY_CLASS]


def split(own: Sequence[np.ndarray], share: float, random: np.random.Generator) -> np.ndarray:
    """Draw the labelled images of a split, as `data/split.py` does: the first of a permutation of each class."""
    return np.concatenate([random.permutation(members)[: round(share * len(members))] for members in own])


def differences(
    pair: str, labelled: np.ndarray, tested: np.ndarray, random: np.random.Generator, among: Population = TEST
) -> np.ndarray:
    """Return the points by which the first learner is right more often than the second `[tested images]`."""
    return points(pair, labelled, Population(among.features[tested], among.classes[tested]), random)


def points(pair: str, labelled: np.ndarray, tested: Population, random: np.random.Generator) -> np.ndarray:
    """Return these differences on images that need not be from the population's test images."""
    features, classes = tested
    with config_context(assume_finite=True, skip_parameter_validation=True):  # half the time
        one, base = (learner(labelled, random).predict(features) == classes for learner in PAIRS_IN_FOLDS[pair])
    return 100.0 * (one.astype(float) - base)


def truth(pair: str, share: float, random: np.random.Generator, own: Sequence[np.ndarray] | None) -> float:
    """Return the mean difference over splits of these images, or over splits of everybody's."""
    if pair == "same":
        return 0.0
    labelled = (split(own or own_images(random), share, random) for _ in range(SPLITS if own else 5 * SPLITS))
    return float(np.mean([differences(pair, one, random.choice(NUM_TEST, 5000), random).mean() for one in labelled]))


def speaks_beyond(share: float, num_splits: int) -> bool:
    """Whether the verdict of such a study speaks for other images, or only for other choices among the person's own."""
    return estimate(np.zeros(num_splits), overlap=share).beyond_these_labels


def holds(pair: str, share: float, beyond: bool, studies: int) -> dict[tuple[int, int], float]:
    """Make studies of one kind, and count the intervals that contain the truth that their verdict speaks for.

    Returns:
        Number of splits and of test images -> share of the studies whose interval holds.
    """
    sizes = [n for n in SIZES if speaks_beyond(share, n) == beyond]
    random = np.random.default_rng([list(PAIRS).index(pair), int(100 * share), beyond])
    found: dict[tuple[int, int], list[bool]] = {(n, m): [] for n in sizes for m in TEST_IMAGES}
    own, target = None, truth(pair, share, random, None) if beyond else np.nan
    for number in range(studies if sizes else 0):
        if beyond or number % (studies // PEOPLE or 1) == 0:
            own = own_images(random)
            target = target if beyond else truth(pair, share, random, own)
        assert own is not None
        tested = random.choice(NUM_TEST, TEST_IMAGES[-1], replace=False)
        labelled = [split(own, share, random) for _ in range(sizes[-1])]
        rows = np.stack([differences(pair, one, tested, random) for one in labelled])
        for n, m in found:
            x = rows[:n, :m]
            _, low, high, _ = estimate(x.mean(axis=1), image_variance(x), overlap=share).interval()
            found[n, m].append(bool(low <= target <= high))
    return {cell: float(np.mean(held)) for cell, held in found.items()}


def folds_hold(pair: str, own: int, share: float, studies: int) -> dict[int, float]:
    """Make studies of one kind by cross-validation, and count the intervals that contain the truth.

    The truth is the mean difference over other people with as many images, for learners that are trained on a share of
    all but one fold of them.

    Returns:
        Number of repetitions -> share of the studies whose interval holds.
    """
    random = np.random.default_rng([list(PAIRS_IN_FOLDS).index(pair), own, int(100 * share)])
    target, found = 0.0, {number: 0 for number in REPETITIONS}
    if not pair.startswith("same"):
        outside = share * (1 - 1 / FOLDS)
        labelled = (split(own_images(random, own), outside, random) for _ in range(5 * SPLITS))
        tested = (random.choice(NUM_TEST, 5000) for _ in range(5 * SPLITS))
        means = [differences(pair, one, other, random).mean() for one, other in zip(labelled, tested, strict=True)]
        target = float(np.mean(means))
    for _ in range(studies):
        images = np.concatenate(own_images(random, own))
        classes = TRAINING.classes[images]
        x = np.full((FOLDS * max(REPETITIONS), own), np.nan)
        for start in range(0, len(x), FOLDS):
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(random.integers(2**31)))
            for row, (train, test) in enumerate(folds.split(images, classes), start):
                by_class = [images[train[classes[train] == label]] for label in range(NUM_CLASSES)]
                x[row, test] = differences(pair, split(by_class, share, random), images[test], random, TRAINING)
        for number in found:
            rows = x[: FOLDS * number]
            _, low, high, _ = fold_estimate(np.nanmean(rows, axis=1), rows, None).interval()
            found[number] += low <= target <= high
    return {number: held / studies for number, held in found.items()}


def print_folds(studies: int, jobs: int) -> None:
    """Print how often the interval of cross-validation contains the truth."""
    start = time.perf_counter()
    kinds = [(own, share) for own in OWN_IN_FOLDS for share in SHARES_IN_FOLDS]
    tasks = (delayed(folds_hold)(pair, *kind, studies) for kind in kinds for pair in PAIRS_IN_FOLDS)
    found = list(Parallel(n_jobs=jobs)(tasks))
    _row("images", "labelled outside the fold", "repetitions", *PAIRS_IN_FOLDS)
    _row(*["---"] * (3 + len(PAIRS_IN_FOLDS)))
    for number, (own, share) in enumerate(kinds):
        some = found[number * len(PAIRS_IN_FOLDS) :][: len(PAIRS_IN_FOLDS)]
        for repetitions in REPETITIONS:
            _row(own, f"{100 * share:.0f} %", repetitions, *(f"{100 * one[repetitions]:.1f} %" for one in some))
    rates = [rate for one in found for rate in one.values()]
    print(f"\n{len(rates)} cells of {studies} studies: {100 * min(rates):.1f} to {100 * max(rates):.1f} % hold")
    print(f"{time.perf_counter() - start:.0f} seconds")


def print_table(studies: int, jobs: int) -> None:
    """Print how often the interval of the verdict contains the truth."""
    start = time.perf_counter()
    kinds = [(share, beyond) for share in SHARES for beyond in (True, False)]
    tasks = (delayed(holds)(pair, *kind, studies) for kind in kinds for pair in PAIRS)
    found = Parallel(n_jobs=jobs)(tasks)
    _row("labelled", "splits", "the verdict speaks for", *(f"{m:,} test images" for m in TEST_IMAGES))
    _row(*["---"] * (3 + len(TEST_IMAGES)))
    for (share, beyond), different, same in zip(kinds, found[::2], found[1::2], strict=True):
        for n in dict.fromkeys(n for n, _ in different):
            cells = (f"{100 * different[n, m]:.1f}, {100 * same[n, m]:.1f} %" for m in TEST_IMAGES)
            _row(f"{100 * share:.0f} %", n, "other images" if beyond else "other choices", *cells)
    rates = [rate for one in found for rate in one.values()]
    print(f"\n{len(rates)} cells of {studies} studies: {100 * min(rates):.1f} to {100 * max(rates):.1f} % hold")
    print(f"{time.perf_counter() - start:.0f} seconds")


class Grouped(NamedTuple):
    """Share of the studies whose interval holds, with and without the groups told; nan where there is no interval."""

    told: float
    untold: float


def holds_in_groups(pair: str, studies: int) -> dict[tuple[tuple[int, int], int], Grouped]:
    """Make studies whose test images are drawn in groups, and count the intervals that contain the truth.

    Returns:
        Sizes of the groups and number of test images -> shares of the studies.
    """
    random, share = np.random.default_rng([3, list(PAIRS).index(pair)]), GROUPED_SHARE
    held: dict[tuple[tuple[int, int], int], list[tuple[float, float]]] = {
        (sizes, m): [] for sizes in GROUP_SIZES for m in GROUPED_TEST_IMAGES
    }
    own, target = own_images(random), np.nan
    for number in range(studies):
        if number % (studies // PEOPLE or 1) == 0:
            own = own_images(random)
            target = truth(pair, share, random, own)
        most = max(GROUPED_TEST_IMAGES)
        groups = [np.repeat(np.arange(most), random.integers(low, high + 1, most))[:most] for low, high in GROUP_SIZES]
        drawn = [Population.draw(most, random, some) for some in groups]
        tested = Population(*(np.concatenate(parts) for parts in zip(*drawn, strict=True)))
        rows = np.stack([points(pair, split(own, share, random), tested, random) for _ in range(GROUPED_SPLITS)])
        for sizes, some, x in zip(GROUP_SIZES, groups, np.split(rows, len(groups), axis=1), strict=True):
            for m in GROUPED_TEST_IMAGES:
                variances = image_variance(x[:, :m], groups=some[:m]), image_variance(x[:, :m])
                bounds = [estimate(x[:, :m].mean(axis=1), one, share).interval()[1:3] for one in variances]
                told, untold = (float(low <= target <= high) for low, high in bounds)
                held[sizes, m].append((told if effective_groups(some[:m]) >= MIN_GROUPS else np.nan, untold))
    return {cell: Grouped(*np.mean(found, axis=0)) for cell, found in held.items()}


def holds_with_few_groups(is_rare: bool, num_groups: int, studies: int) -> float:
    """Return how often the interval holds for groups of 10 images, if there were an interval for so few groups.

    The difference is drawn directly, without learners. A group adds a normal effect of 20 points, or one group in five
    adds 50 points to all of its images; the mean over all groups is 0.
    """
    random, groups, held = np.random.default_rng([5, is_rare, num_groups]), np.arange(10 * num_groups) // 10, []
    for _ in range(studies):
        rare = 0.5 * (random.random(num_groups) < 0.2) - 0.1
        effect = (rare if is_rare else 0.2 * random.normal(size=num_groups))[groups]
        shift = effect + 0.01 * random.normal(size=(GROUPED_SPLITS, 1))
        draw = random.random((GROUPED_SPLITS, len(groups)))
        x = 100.0 * (draw < 0.1 + shift.clip(min=0)) - 100.0 * (draw > 0.9 + shift.clip(max=0))
        _, low, high, _ = estimate(x.mean(axis=1), image_variance(x, groups=groups)).interval()
        held.append(low <= 0 <= high)
    return float(np.mean(held))


def print_groups(studies: int, jobs: int) -> None:
    """Print how often the interval contains the truth if test images belong together."""
    start = time.perf_counter()
    different, same = Parallel(n_jobs=jobs)(delayed(holds_in_groups)(pair, studies) for pair in PAIRS)
    _row("images of a group", "", *(f"{m:,} test images" for m in GROUPED_TEST_IMAGES))
    _row(*["---"] * (2 + len(GROUPED_TEST_IMAGES)))
    for sizes in GROUP_SIZES:
        for name in Grouped._fields:
            pairs = [[100 * getattr(one[sizes, m], name) for one in (different, same)] for m in GROUPED_TEST_IMAGES]
            cells = ("no interval" if np.isnan(two).any() else f"{two[0]:.1f}, {two[1]:.1f} %" for two in pairs)
            _row(" to ".join(dict.fromkeys(map(str, sizes))), name, *cells)
    told = [one.told for found in (different, same) for one in found.values() if not np.isnan(one.told)]
    print(f"\nwith groups told {100 * min(told):.1f} to {100 * max(told):.1f} % hold\n")
    _row("groups", *FEW_GROUPS)
    _row(*["---"] * (1 + len(FEW_GROUPS)))
    for name, is_rare in (("normal effect", False), ("one group in five", True)):
        _row(name, *(f"{100 * holds_with_few_groups(is_rare, number, studies):.1f} %" for number in FEW_GROUPS))
    print(f"{time.perf_counter() - start:.0f} seconds")


def _row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


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


def print_real(source: str) -> None:
    """Print how often studies of real trainings find a difference although there is none."""
    for scope, intervals in zip(("new images", "these images"), same_against_same(collect([source])), strict=True):
        called = sum(not low <= 0 <= high for _, low, high, _ in intervals)
        widths = np.median([high - low for _, low, high, _ in intervals])
        print(f"for {scope}: {called} of {len(intervals)} called different; median width {widths:.1f} points")


TABLES = {"splits": print_table, "groups": print_groups, "folds": print_folds}


def main() -> None:
    """Print the tables, or the counts for a study on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?")
    parser.add_argument("--studies", type=int, default=400, help="of each cell of the table")
    parser.add_argument("--only", choices=TABLES, help="print one of the tables")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    if arguments.study is None:
        for name, table in TABLES.items():
            if arguments.only in (None, name):
                table(arguments.studies, arguments.jobs)
                print()
        return
    try:
        print_real(arguments.study)
    except (ValueError, OSError) as error:
        sys.exit(f"calibration: {error}")


if __name__ == "__main__":
    main()
