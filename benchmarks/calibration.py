"""How often do the intervals of the report hold? Studies of quick learners whose true difference is known.

    python benchmarks/calibration.py [--studies 2000] [--jobs 2] [--only {splits,repeats,groups,folds,gaps}]

This makes studies as the report sees them (quick_studies.py), and prints the tables of docs/statistics.md: how often
the interval of the verdict contains the truth that the verdict speaks for. The first table has a person's splits, the
second one two trainings in each split, the third one test images that belong together, the fourth one cross-validation,
where a person has no images apart from those of the folds, and the last one the share of the gap between a floor and a
ceiling that an arm closes.
"""

import argparse
import time

import numpy as np
from joblib import Parallel, delayed
from quick_studies import (
    NUM_CLASSES,
    NUM_TEST,
    OF_A_PERSON,
    PAIRS,
    PAIRS_IN_FOLDS,
    TEST,
    TRAINING,
    Counted,
    Images,
    Rates,
    differences,
    draw_splits,
    own_images,
    percents,
    print_table,
    speaks_beyond,
    with_copies,
    without,
)
from sklearn.model_selection import StratifiedKFold

from gan_augment.report.statistics import (
    MIN_GROUPS,
    Estimate,
    effective_groups,
    estimate,
    fold_estimate,
    image_variance,
    noise_share,
    share_interval,
)

SHARES = (0.04, 0.08, 0.16, 0.4, 0.8, 0.96)  # of a person's images that are labelled
SIZES = (6, 10, 20)  # splits of a study
TEST_IMAGES = (60, 360, 2000, 10_000)
SHARES_WITH_REPEATS, REPEATS = (0.04, 0.08, 0.12, 0.18), 2  # labelled shares, and trainings in each split
# Studies with groups of test images: sizes of the groups, each from lowest to highest, and the labelled share and the
# number of splits at which the choice of test images matters most.
GROUP_SIZES = ((1, 1), (5, 5), (30, 30), (1, 9))
GROUPED_TEST_IMAGES = (60, 360, 2000)
GROUPED_SHARE, GROUPED_SPLITS = 0.4, 10
FEW_GROUPS = (4, 6, 8, 10, 12, 15, 20, 30)
FOLDS = 5
REPETITIONS = (2, 4)
OWN_IN_FOLDS = ((60, 1), (300, 1), (100, 5), (300, 5))  # images that the person has, all in folds, and of a group
SHARES_IN_FOLDS = (1, 0.2)  # of the images or groups outside the fold that are labelled
# Studies with a floor, of these labelled shares, and a ceiling, which has twice as many labels.
SHARES_OF_FLOORS, SIZES_WITH_CEILING = (0.04, 0.08, 0.16, 0.4), (5, 6, 10, 20)
TEST_IMAGES_WITH_CEILING = (60, 360, 2000)


def holds(share: float, beyond: bool, studies: int) -> Rates:
    """Make studies of splits, and count the intervals that contain the truth that their verdict speaks for.

    Args:
        share: Of a person's images that a split labels.
        beyond: Whether to make the studies that speak for other images, or those for other choices among a person's.
        studies: Their number.

    Returns:
        The rates by number of splits and of test images.
    """
    sizes = [n for n in SIZES if speaks_beyond(share, n) == beyond]
    random, counted = np.random.default_rng([int(100 * share), beyond]), Counted()
    for number in range(studies if sizes else 0):
        if beyond or number % OF_A_PERSON == 0:
            own = own_images(random)
        labelled = TRAINING.take(draw_splits(own, share, sizes[-1], random))
        tested = TEST.take(random.integers(NUM_TEST, size=TEST_IMAGES[-1]))
        for pair, x in differences(labelled, tested, random).items():
            cells = {(n, m): x[:n, :m] for n in sizes for m in TEST_IMAGES}
            bounds = {
                cell: estimate(rows.mean(axis=1), image_variance(rows), share).interval()[1:3]
                for cell, rows in cells.items()
            }
            counted.add(pair, 0 if beyond else number // OF_A_PERSON, x.mean(), bounds)
    return counted.rates()


def print_splits(studies: int, jobs: int) -> list[Rates]:
    """Print how often the interval of the verdict contains the truth."""
    kinds = [(share, beyond) for share in SHARES for beyond in (True, False)]
    found = list(Parallel(n_jobs=jobs)(delayed(holds)(*kind, studies) for kind in kinds))
    print_table(
        ("labelled", "splits", "the verdict speaks for", *(f"{m:,} test images" for m in TEST_IMAGES)),
        (
            [f"{100 * share:.0f} %", n, "other images" if beyond else "other choices"]
            + [percents(rates[n, m]) for m in TEST_IMAGES]
            for (share, beyond), rates in zip(kinds, found, strict=True)
            for n in dict.fromkeys(n for n, _ in rates)
        ),
    )
    return found


def holds_with_repeats(share: float, studies: int) -> Rates:
    """Make studies with several trainings in each split, whose verdict speaks for other images.

    Returns:
        The rates by number of splits and of test images.
    """
    sizes = [n for n in SIZES if speaks_beyond(share, n, noise=0.0)]
    random, counted = np.random.default_rng([int(100 * share), REPEATS]), Counted()
    for _ in range(studies):
        labelled = TRAINING.take(draw_splits(own_images(random), share, sizes[-1], random))
        tested = TEST.take(random.integers(NUM_TEST, size=TEST_IMAGES[-1]))
        repeats = [differences(labelled, tested, random) for _ in range(REPEATS)]
        for pair in PAIRS:
            x = np.stack([one[pair] for one in repeats], axis=1)  # splits, repeats, images
            bounds = {}
            for n in sizes:
                for m in TEST_IMAGES:
                    rows, noise = x[:n, :, :m].mean(axis=1), noise_share(x[:n, :, :m].mean(axis=2))
                    found = estimate(rows.mean(axis=1), image_variance(rows), share, noise=noise)
                    bounds[n, m] = found.interval()[1:3]
            counted.add(pair, 0, x.mean(), bounds)
    return counted.rates()


def print_repeats(studies: int, jobs: int) -> list[Rates]:
    """Print how often the interval contains the truth if repeats tell training noise."""
    found = list(Parallel(n_jobs=jobs)(delayed(holds_with_repeats)(share, studies) for share in SHARES_WITH_REPEATS))
    print_table(
        ("labelled", "splits", *(f"{m:,} test images" for m in TEST_IMAGES)),
        (
            [f"{100 * share:.0f} %", n] + [percents(rates[n, m]) for m in TEST_IMAGES]
            for share, rates in zip(SHARES_WITH_REPEATS, found, strict=True)
            for n in dict.fromkeys(n for n, _ in rates)
        ),
    )
    return found


def holds_in_groups(studies: int) -> Rates:
    """Make studies whose test images are drawn in groups, and count the intervals that contain the truth.

    Returns:
        The rates by sizes of the groups, number of test images, and "told" or "untold".
    """
    random, counted = np.random.default_rng(3), Counted()
    for number in range(studies):
        if number % OF_A_PERSON == 0:
            own = own_images(random)
        most = max(GROUPED_TEST_IMAGES)
        groups = [np.repeat(np.arange(most), random.integers(low, high + 1, most))[:most] for low, high in GROUP_SIZES]
        drawn = [Images.draw(random.integers(NUM_CLASSES, size=most)[some], random, some) for some in groups]
        tested = Images(*(np.concatenate(parts) for parts in zip(*drawn, strict=True)))
        labelled = TRAINING.take(draw_splits(own, GROUPED_SHARE, GROUPED_SPLITS, random))
        for pair, x in differences(labelled, tested, random).items():
            bounds = {}
            for sizes, some, rows in zip(GROUP_SIZES, groups, np.split(x, len(groups), axis=1), strict=True):
                for m in GROUPED_TEST_IMAGES:
                    told, untold = (_bounds(rows[:, :m], known) for known in (some[:m], None))
                    bounds |= {(sizes, m, "told"): told, (sizes, m, "untold"): untold}
            counted.add(pair, number // OF_A_PERSON, x.mean(), bounds)
    return counted.rates()


def _bounds(x: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    if groups is not None and effective_groups(groups) < MIN_GROUPS:
        return np.nan, np.nan
    return estimate(x.mean(axis=1), image_variance(x, groups=groups), GROUPED_SHARE).interval()[1:3]


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


def print_groups(studies: int, jobs: int) -> list[Rates]:
    """Print how often the interval contains the truth if test images belong together."""
    parts = [delayed(holds_in_groups)(studies)]
    parts += [delayed(holds_with_few_groups)(is_rare, n, studies) for is_rare in (False, True) for n in FEW_GROUPS]
    rates, *few = Parallel(n_jobs=jobs)(parts)
    print_table(
        ("images of a group", "", *(f"{m:,} test images" for m in GROUPED_TEST_IMAGES)),
        (
            [" to ".join(dict.fromkeys(map(str, sizes))), told]
            + [percents(rates[sizes, m, told]) for m in GROUPED_TEST_IMAGES]
            for sizes in GROUP_SIZES
            for told in ("told", "untold")
        ),
    )
    print()
    rows = zip(("normal effect", "one group in five"), np.split(np.array(few), 2), strict=True)
    print_table(("groups", *FEW_GROUPS), ((name, *(f"{100 * one:.1f} %" for one in row)) for name, row in rows))
    return [{cell: of_pair for cell, of_pair in rates.items() if cell[-1] == "told"}]


def folds_hold(num_images: int, group_size: int, studies: int) -> Rates:
    """Make studies of cross-validation, and count the intervals that contain the truth.

    The truth is the mean difference over other people with as many images, for learners that are trained on a share of
    all but one fold of them.

    Returns:
        The rates by share and number of repetitions.
    """
    random = np.random.default_rng([num_images, group_size])
    counted = {share: Counted() for share in SHARES_IN_FOLDS}
    groups = np.arange(num_images) // group_size
    of_group = np.arange(groups[-1] + 1) % NUM_CLASSES
    for _ in range(studies):
        images = Images.draw(of_group[groups], random, groups)
        divided = [
            parts
            for seed in random.integers(2**31, size=max(REPETITIONS))
            for parts in StratifiedKFold(FOLDS, shuffle=True, random_state=int(seed)).split(of_group, of_group)
        ]
        tested = np.stack([np.flatnonzero(np.isin(groups, inside)) for _, inside in divided])
        for share, rates in counted.items():
            labelled = [_share(outside, of_group, share, random) for outside, _ in divided]
            learned = np.stack([np.flatnonzero(np.isin(groups, some)) for some in labelled])
            for pair, found in differences(images.take(learned), images.take(tested), random, in_folds=True).items():
                x = np.full((len(divided), num_images), np.nan)
                np.put_along_axis(x, tested, found, axis=1)
                told = None if group_size == 1 else groups
                cells = {(share, repetitions): x[: FOLDS * repetitions] for repetitions in REPETITIONS}
                bounds = {
                    cell: fold_estimate(np.nanmean(rows, axis=1), rows, groups=told).interval()[1:3]
                    for cell, rows in cells.items()
                }
                rates.add(pair, 0, found.mean(), bounds)
    return {cell: of_pair for one in counted.values() for cell, of_pair in one.rates().items()}


def _share(groups: np.ndarray, of_group: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Draw a share of the groups of each class, at least one."""
    members = (random.permutation(groups[of_group[groups] == label]) for label in range(NUM_CLASSES))
    return np.concatenate([some[: max(1, round(share * len(some)))] for some in members])


def print_folds(studies: int, jobs: int) -> list[Rates]:
    """Print how often the interval of cross-validation contains the truth."""
    found = list(Parallel(n_jobs=jobs)(delayed(folds_hold)(*kind, studies) for kind in OWN_IN_FOLDS))
    print_table(
        ("images", "of a group", "labelled outside the fold", "repetitions", *PAIRS_IN_FOLDS),
        (
            (*kind, f"{100 * share:.0f} %", repetitions, *(f"{100 * one:.1f} %" for one in of_pair.values()))
            for kind, rates in zip(OWN_IN_FOLDS, found, strict=True)
            for (share, repetitions), of_pair in rates.items()
        ),
    )
    return found


def gaps_hold(share: float, studies: int) -> tuple[Rates, dict[tuple, float]]:
    """Make studies with a floor and a ceiling, and count the intervals of the share of their gap that an arm closes.

    The ceiling has twice as many labels as the floor, one arm has half of the others, and one trains on noisy copies.
    The truth is the share of the mean gap of all other studies of the same person that the mean gain is.

    Returns:
        The rates among the studies whose gap is told from 0, by number of splits and of test images, and the share of
        these studies.
    """
    random, persons = np.random.default_rng([int(100 * share), 7]), np.arange(studies) // OF_A_PERSON
    sizes, most = SIZES_WITH_CEILING, TEST_IMAGES_WITH_CEILING[-1]
    bounds: dict[tuple, list[tuple[float, float]]] = {}
    means: dict[str, list[float]] = {}
    for number in range(studies):
        if number % OF_A_PERSON == 0:
            own = own_images(random)
        drawn = draw_splits(own, 2 * share, sizes[-1], random).reshape(sizes[-1], NUM_CLASSES, -1)
        num_floor, num_ceiling = round(share * own.shape[1]), drawn.shape[2]
        tested = TEST.take(random.integers(NUM_TEST, size=most))

        def right(num_labelled, learner, drawn=drawn, tested=tested):
            labelled = TRAINING.take(drawn[:, :, :num_labelled].reshape(len(drawn), -1))
            return 100.0 * learner(labelled, tested, random)

        floor = right(num_floor, without)
        gap = right(num_ceiling, without) - floor
        means.setdefault("gap", []).append(gap.mean())
        arms = {"half": right((num_floor + num_ceiling) // 2, without), "copies": right(num_floor, with_copies)}
        for arm, answers in arms.items():
            gain = answers - floor
            means.setdefault(arm, []).append(gain.mean())
            for n in sizes:
                for m in TEST_IMAGES_WITH_CEILING:
                    found = _closed(gain[:n, :m], gap[:n, :m])
                    bounds.setdefault((n, m, arm), []).append(found)
    rates: Rates = {}
    given: dict[tuple, float] = {}
    of_others = {name: _of_others(np.array(of_study), persons) for name, of_study in means.items()}
    for (n, m, arm), found in bounds.items():
        (low, high), truth = np.array(found).T, of_others[arm] / of_others["gap"]
        is_given = ~np.isnan(low)
        given[n, m] = float(is_given.mean())
        holds = (low <= truth) & (truth <= high)
        rates.setdefault((n, m), {})[arm] = float(holds[is_given].mean()) if is_given.any() else np.nan
    return rates, given


def _of_others(values: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """Return for each study the sum of the values of all other studies of the same person, or of its own alone."""
    others = np.bincount(persons, values)[persons] - values
    return np.where(np.bincount(persons)[persons] > 1, others, values)


def _closed(gain: np.ndarray, gap: np.ndarray) -> tuple[float, float]:
    """Return the bounds of the share of a gap that a gain is, `[splits, images]` each; nan if there are none."""

    def rest(of_gain: float, of_gap: float) -> Estimate:
        x = of_gain * gain + of_gap * gap
        return estimate(x.mean(axis=1), image_variance(x), overlap=1.0)

    found = share_interval(rest(0, 1), lambda share: rest(1, -share))
    return (np.nan, np.nan) if found is None else found[1:3]


def print_gaps(studies: int, jobs: int) -> list[Rates]:
    """Print how often the interval contains the share of the gap between floor and ceiling that an arm closes."""
    found = list(Parallel(n_jobs=jobs)(delayed(gaps_hold)(share, studies) for share in SHARES_OF_FLOORS))
    print_table(
        ("labelled", "splits", *(f"{m:,} test images" for m in TEST_IMAGES_WITH_CEILING)),
        (
            [f"{100 * share:.0f} %", n]
            + [f"{percents(rates[n, m])} of {100 * given[n, m]:.0f} %" for m in TEST_IMAGES_WITH_CEILING]
            for share, (rates, given) in zip(SHARES_OF_FLOORS, found, strict=True)
            for n in SIZES_WITH_CEILING
        ),
    )
    return [rates for rates, _ in found]


TABLES = {
    "splits": print_splits,
    "repeats": print_repeats,
    "groups": print_groups,
    "folds": print_folds,
    "gaps": print_gaps,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each cell of the tables")
    parser.add_argument("--only", choices=TABLES, help="print one of the tables")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    for name, table in TABLES.items():
        if arguments.only in (None, name):
            start = time.perf_counter()
            found = table(arguments.studies, arguments.jobs)
            rates = [rate for cells in found for of_pair in cells.values() for rate in of_pair.values()]
            rates = [rate for rate in rates if not np.isnan(rate)]
            cells = f"{len(rates)} cells of {arguments.studies:,} studies"
            print(f"\n{cells}: {100 * min(rates):.1f} to {100 * max(rates):.1f} % hold")
            print(f"{time.perf_counter() - start:.0f} seconds\n")


if __name__ == "__main__":
    main()
