"""What a search for settings tried, and how much of its best gain may be luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gan_augment.report.trials import Study


@dataclass(frozen=True)
class Candidate:
    """A candidate that was tried.

    Attributes:
        settings: Its values of the settings searched over.
        gains: For each rung that it reached, its gains over the reference arm, one for each split.
        state: `complete`; `dropped`, at its last rung; `diverged`, or `failed`.
    """

    settings: Mapping[str, Any]
    gains: Sequence[Sequence[float]]
    state: str

    @property
    def gain(self) -> float:
        """Mean gain at its last rung; nan without one."""
        return float(np.mean(self.gains[-1])) if self.gains else math.nan

    def __str__(self) -> str:
        settings = " ".join(f"{name}={value}" for name, value in self.settings.items())
        if not self.gains:
            return f"{settings}: {self.state}"
        splits = len(self.gains[-1])
        said = "" if self.state == "complete" else f"{self.state}, "
        return f"{settings}: {said}{100 * self.gain:+.1f} points on {splits} split{'s' * (splits > 1)}"


def best_of(tried: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate with the largest mean gain of those that were tried on all splits; None without one."""
    return max((one for one in tried if one.state == "complete"), key=lambda one: one.gain, default=None)


def by_luck(tried: Sequence[Candidate]) -> float:
    """Return the gain over their mean that the best of so many equal candidates would show by luck, on average.

    What is left of the gains without the means of candidates and of splits, which all candidates share, is noise. The
    best of N means of S splits lies above their mean by its standard deviation over the root of S, times the mean
    maximum of N standard normal numbers. Nan unless two candidates were tried on the same two splits or more.
    """
    from scipy.integrate import quad
    from scipy.stats import norm

    gains = np.array([one.gains[-1] for one in tried if one.state == "complete"])
    if gains.ndim < 2 or min(gains.shape) < 2:
        return math.nan
    rest = gains - gains.mean(axis=0) - gains.mean(axis=1, keepdims=True) + gains.mean()
    deviation = math.sqrt((rest**2).sum() / np.prod(np.subtract(gains.shape, 1)) / gains.shape[1])
    number = len(tried)
    largest = quad(lambda x: x * number * norm.pdf(x) * norm.cdf(x) ** (number - 1), -10, 10)[0]
    return float(deviation * largest)


def outcome_in_words(tried: Sequence[Candidate]) -> str:
    """Say what came out of a search."""
    best = best_of(tried)
    if best is None:
        return f"None of {len(tried)} candidates was tried on all splits with a result"
    said = f"Best of {len(tried)} candidates, chosen on validation images and not confirmed: {best}"
    if math.isnan(luck := 100 * by_luck(tried)):
        return said
    return f"{said}; of as many equal candidates, the best would lie {luck:.1f} points above their mean by chance"


def searched(study: Study) -> list[Candidate]:
    """Return what a search has tried, in its order: its launch with the most candidates. Nothing for other studies."""
    found = [launch["search"]["tried"] for launch in study.launches if "search" in launch]
    return [Candidate(one["settings"], one["gains"], one["state"]) for one in max(found, key=len, default=[])]


def candidate_rows(tried: Sequence[Candidate]) -> list[dict[str, str]]:
    """Return a row for each candidate, the best first."""

    def order(one: Candidate) -> tuple[bool, float]:
        return one.state != "complete", -one.gain if one.gains else math.inf

    numbered = sorted(enumerate(tried, start=1), key=lambda pair: order(pair[1]))
    return [
        {
            "candidate": str(number),
            **{name: str(value) for name, value in one.settings.items()},
            "gain": f"{100 * one.gain:+.1f}" if one.gains else "",
            "on each split": ", ".join(f"{100 * gain:+.1f}" for gain in one.gains[-1]) if one.gains else "",
            "state": one.state,
        }
        for number, one in numbered
    ]
