"""A search for settings: which candidate comes next, on how many splits it is tried, and which one is the best.

The next candidate is a function of the search's seed and of those tried before. So a killed search that starts again
tries the same candidates as an uninterrupted one, and needs no storage but the list of what was tried.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import TrialState

from gan_augment.randomness import stream_seed
from gan_augment.report.searches import Candidate, best_of
from gan_augment.settings import check_number

KEEPS = 1 / 3  # share of the candidates that go on from a rung to the next one
WORST = -1.0  # gain of a candidate that diverged, as long as there is no other
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Rung(NamedTuple):
    """A stage of a candidate's trial: it goes on to the next one only if it is among the best of those that got here.

    Attributes:
        splits: The first so many of the search's splits.
        images: Share of the images that the generator would see.
    """

    splits: int
    images: float = 1.0


@dataclass
class Search:
    """A search over a space of settings.

    Attributes:
        space: What each setting may be.
        rungs: Through which a candidate goes.
        seed: That of the draws.
        about: What else it is about, as plain values: a search goes on only if this is the same.
        tried: The candidates so far.
    """

    space: Mapping[str, BaseDistribution]
    rungs: Sequence[Rung]
    seed: int
    about: Mapping[str, Any] = field(default_factory=dict)
    tried: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        splits = [one.splits for one in self.rungs]
        if not splits or splits != sorted(splits) or splits[0] < 1:
            raise ValueError(f"hydra.sweeper.splits={splits}: use numbers of at least 1 that do not fall")
        for one in self.rungs:
            check_number("hydra.sweeper.images", one.images, 0, 1, open_low=True)
        if self.rungs[-1].images != 1:
            raise ValueError(f"hydra.sweeper.images end with {self.rungs[-1].images}: the last must be 1")
        if not self.space:
            raise ValueError("hydra/sweeper=search searches the swept settings, and there are none: sweep at least one")

    @classmethod
    def read(cls, file: Path, **settings: Any) -> Self:
        """Return a search with these settings, which goes on with what a file says was tried, if there is one.

        Raises:
            ValueError: If the file is of another search.
        """
        search = cls(**settings)
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            tried = [Candidate(**one) for one in known["tried"]]
            if known["about"] == search._about:
                search.tried = tried
            elif any(one.gains for one in tried):
                raise ValueError(f"{file} is of a search over other settings: use another study=...")
        return search

    def next(self) -> dict[str, Any]:
        """Return the settings to try next, by a tree-structured Parzen estimator (Bergstra et al. 2011).

        The first ten are drawn at random.
        """
        sampler = optuna.samplers.TPESampler(seed=stream_seed(self.seed, "search", len(self.tried)) % 2**32)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([self._told(one) for one in self.tried])
        return {name: self._short(name, value) for name, value in study.ask(dict(self.space)).params.items()}

    def goes_on(self, gains: Sequence[Sequence[float]]) -> bool:
        """Whether a candidate with these gains, one list for each rung so far, goes on to the next one.

        Successive halving without waiting for others (Li et al. 2020): it must be among the best third of those that
        were tried on the same rung before it, and of itself.
        """
        reached = len(gains)
        if reached == len(self.rungs):
            return False
        mine = np.mean(gains[-1])
        others = [np.mean(one.gains[reached - 1]) for one in self.tried if len(one.gains) >= reached]
        return bool(sum(other > mine for other in others) < math.ceil(KEEPS * (len(others) + 1)))

    @property
    def best(self) -> Candidate | None:
        """The candidate with the largest mean gain of those that were tried on all splits."""
        return best_of(self.tried)

    @property
    def told(self) -> dict[str, Any]:
        """The search as plain values, for its file and its report: what it is about, and what was tried."""
        return {"about": self._about, "tried": [asdict(one) for one in self.tried]}

    @property
    def _about(self) -> dict[str, Any]:
        space = {name: distribution_to_json(one) for name, one in self.space.items()}
        return {**self.about, "space": space, "rungs": [[*one] for one in self.rungs], "seed": self.seed}

    def _short(self, name: str, value: Any) -> Any:
        """Round a number to three digits, within its bounds."""
        one = self.space[name]
        return min(max(float(f"{value:.3g}"), one.low), one.high) if isinstance(one, FloatDistribution) else value

    def _told(self, one: Candidate) -> optuna.trial.FrozenTrial:
        """Return a candidate as Optuna's trial; one that diverged has the smallest gain so far."""
        if one.state == "failed":
            return optuna.trial.create_trial(
                state=TrialState.FAIL, params=dict(one.settings), distributions=dict(self.space)
            )
        gain = one.gain
        if one.state == "diverged":
            gain = min((other.gain for other in self.tried if other.gains), default=WORST)
        return optuna.trial.create_trial(value=gain, params=dict(one.settings), distributions=dict(self.space))


def distribution(override: Override) -> BaseDistribution:
    """Return what a swept setting may be: one of several values, a whole number of a range, or a number of an interval.

    Raises:
        ValueError: If the sweep is of another kind, such as a glob.

    Example:
        >>> from hydra.core.override_parser.overrides_parser import OverridesParser
        >>> parse = OverridesParser.create().parse_override
        >>> distribution(parse("classifier.learning_rate=tag(log,interval(1e-4,1e-2))"))
        FloatDistribution(high=0.01, log=True, low=0.0001, step=None)
        >>> distribution(parse("loss=hinge,relativistic"))
        CategoricalDistribution(choices=('hinge', 'relativistic'))
    """
    value = override.value()
    if isinstance(value, ChoiceSweep) and not value.tags and not value.shuffle:
        return CategoricalDistribution([*override.sweep_string_iterator()])
    if isinstance(value, RangeSweep) and isinstance(values := value.range(), range) and values:
        return IntDistribution(values[0], values[-1], step=values.step)
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        try:
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            if low is not None and high is not None:
                return FloatDistribution(low, high, log=log)
        except ValueError as error:
            raise ValueError(f"{override.input_line}: {error}") from error
    raise ValueError(
        f"{override.input_line}: a search takes a,b,c, range(0,8,2), interval(0.1,0.2), int(interval(1,9)) or "
        "tag(log,interval(1e-4,1e-2))"
    )
