"""What does a search for settings find, if seeds differ much more than settings do?

    python benchmarks/searches.py [--searches 200]

A setting between 0 and 1 brings a gain, at most `effect` and at least its negative. A trial measures it with noise
whose standard deviation is 1. Each way takes about 44 trials. *One split* draws candidates at random, tries each on one
split, and believes what the best one showed; *best of 14* does so on 3 splits. *Random* confirms its best of 12 on 8
further splits, and so does *search*, which is `hydra/sweeper=search`. docs/studies.md has the table.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from optuna.distributions import FloatDistribution

from gan_augment.report.searches import Candidate
from gan_augment.report.statistics import paired_interval
from gan_augment.search import Rung, Search

EFFECTS = (0.0, 0.1, 1.0, 3.0)  # largest gain, in standard deviations of the noise
CANDIDATES, SPLITS, CONFIRMED = 20, 3, 8  # CANDIDATES: of the search


class Found(NamedTuple):
    """What one search comes to.

    Attributes:
        truth: The true gain of the chosen setting.
        said: The gain that is reported.
        claims: Whether it is said to be better.
        trials: How many were run.
    """

    truth: float
    said: float
    claims: bool
    trials: int


def gain(setting: float, effect: float) -> float:
    """Return the true gain of a setting: largest at .7, and on average 0."""
    return effect * float(np.cos(2 * np.pi * (setting - 0.7)))


def believed(number: int, splits: int, effect: float, random: np.random.Generator) -> tuple[float, float]:
    """Try candidates, drawn at random, on so many splits each; return the best one and the gain that it showed."""
    settings = random.uniform(size=number)
    shown = [float(np.mean(gain(one, effect) + random.normal(size=splits))) for one in settings]
    best = int(np.argmax(shown))
    return float(settings[best]), shown[best]


def one_split(effect: float, random: np.random.Generator) -> Found:
    """Try each candidate on one split, and believe the best."""
    setting, shown = believed(44, 1, effect, random)
    return Found(gain(setting, effect), shown, shown > 0, 44)


def best_of_many(effect: float, random: np.random.Generator) -> Found:
    """Try each candidate on several splits, and believe the best."""
    setting, shown = believed(14, SPLITS, effect, random)
    return Found(gain(setting, effect), shown, shown > 0, 14 * SPLITS)


def at_random(effect: float, random: np.random.Generator) -> Found:
    """Try each candidate on several splits, and confirm the best."""
    setting, _ = believed(12, SPLITS, effect, random)
    return confirmed(setting, effect, random, 12 * SPLITS)


def searched(effect: float, random: np.random.Generator) -> Found:
    """Search as the sweeper does, and confirm the best."""
    search = Search({"x": FloatDistribution(0, 1)}, [Rung(1), Rung(SPLITS)], int(random.integers(2**31)))
    trials = 0
    while len(search.tried) < CANDIDATES:
        settings = search.next()
        truth = gain(settings["x"], effect)
        gains = [[truth + float(random.normal())]]
        while search.goes_on(gains):
            gains.append([*gains[-1], *(truth + random.normal(size=SPLITS - 1))])
        trials += len(gains[-1])
        state = "complete" if len(gains) == len(search.rungs) else "dropped"
        search.tried.append(Candidate(settings, gains, state))
    assert search.best is not None  # the first candidate always is
    return confirmed(search.best.settings["x"], effect, random, trials)


def confirmed(setting: float, effect: float, random: np.random.Generator, trials: int) -> Found:
    """Compare a setting with the reference on further splits."""
    truth = gain(setting, effect)
    shown = truth + random.normal(size=CONFIRMED)
    return Found(truth, float(shown.mean()), paired_interval(shown).low > 0, trials + CONFIRMED)


WAYS: dict[str, Callable[[float, np.random.Generator], Found]] = {
    "one split": one_split,
    "best of 14": best_of_many,
    "random": at_random,
    "search": searched,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=200)
    arguments = parser.parse_args()
    print("| largest gain | way | trials | said | true | claims a gain | claims one that is none |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for effect in EFFECTS:
        for name, way in WAYS.items():
            found = [way(effect, np.random.default_rng([seed, 0])) for seed in range(arguments.searches)]
            truth, said, claims, trials = (np.array(column) for column in zip(*found, strict=True))
            wrong = claims & (truth <= 0)
            print(
                f"| {effect:.1f} | {name} | {trials.mean():.0f} | {said.mean():+.2f} | {truth.mean():+.2f} | "
                f"{100 * claims.mean():.0f} % | {100 * wrong.mean():.0f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
