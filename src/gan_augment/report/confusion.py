"""Confusion matrices: which classes the classifiers of an arm take for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gan_augment.report.comparison import FLOOR, agree
from gan_augment.report.configuration import Configuration, pair_unit
from gan_augment.report.outcomes import NoPredictionsError
from gan_augment.report.trials import Study

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

MAX_MATRICES = 6
MAX_CLASSES = 40  # in a table
MAX_ARMS, MAX_CHANGES, LEAST_CHANGE = 12, 3, 1.0  # in the table of changes: arms, pairs of classes of each, and points


def confusions(study: Study, found: Iterable[Configuration]) -> dict[str, pd.DataFrame]:
    """Return the matrices of the first configurations that have one, by their labels."""
    distinct = {one.label(): one for one in found}
    known = ((label, matrix) for label, one in distinct.items() if (matrix := confusion(study, one)) is not None)
    return dict(islice(known, MAX_MATRICES))


def confusion(study: Study, one: Configuration) -> pd.DataFrame | None:
    """Return the shares of the test images of each class, in rows, in which each class is seen, in per cent.

    It is the mean over the splits of each split's matrix; repeats under one split are averaged first. A class without
    test images has nan. None unless all trials with a result stored the predicted classes.
    """
    import pandas as pd

    trials = one.with_results
    shares = []
    for name in trials["trial"]:
        outcome = study.outcomes[name]
        classes = np.array([*((outcome.record["metrics"].get("test") or {}).get("per_class") or {})], dtype=object)
        try:
            answers = outcome.answers() if outcome.answers else None
            if answers is None or answers.predicted is None:
                return None
            counts = pd.crosstab(classes[answers.labels], classes[answers.predicted])
        except (NoPredictionsError, IndexError):  # or a class that the record does not name
            return None
        counts = counts.reindex(index=classes, columns=classes, fill_value=0)
        shares.append(100 * counts.div(counts.sum(axis="columns"), axis="index"))
    if not shares:
        return None
    by, _ = pair_unit([one])
    of_splits = pd.concat(shares, keys=trials[by].astype(str)).groupby(level=[0, 1], sort=False).mean()
    return of_splits.groupby(level=1, sort=False).mean()


def change_rows(study: Study, found: Iterable[Configuration]) -> list[dict[str, str]]:
    """Return which classes an arm takes for which others more or less often than the floor at its setting.

    The largest changes of each arm are returned, in points of the test images of a class.
    """
    with_results = [one for one in found if len(one.with_results)]
    floors = [(floor, confusion(study, floor)) for floor in with_results if floor.arm == FLOOR]
    rows = []
    for one in [one for one in with_results if one.arm != FLOOR][:MAX_ARMS]:
        for before in [matrix for floor, matrix in floors if matrix is not None and agree(one, floor)]:
            after = confusion(study, one)
            if after is None or not after.columns.equals(before.columns):
                continue
            change = np.nan_to_num((after - before).to_numpy(copy=True))
            np.fill_diagonal(change, 0)
            for place in np.argsort(-np.abs(change), axis=None, kind="stable")[:MAX_CHANGES]:
                true, seen = divmod(int(place), len(change))
                if abs(change[true, seen]) >= LEAST_CHANGE:
                    rows.append(
                        {
                            "arm": one.label(),
                            "class": str(after.index[true]),
                            "taken for": str(after.columns[seen]),
                            f"by {FLOOR} (%)": f"{before.to_numpy()[true, seen]:.1f}",
                            "by the arm (%)": f"{after.to_numpy()[true, seen]:.1f}",
                            "change (points)": f"{change[true, seen]:+.1f}",
                        }
                    )
    return rows


def confusion_rows(matrices: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """Return the rows of the table: one per arm and true class, with a column for each predicted class."""
    if any(len(matrix) > MAX_CLASSES for matrix in matrices.values()):
        return []
    return [
        {"arm": label, "class": str(true)} | {f"as {name}": f"{share:.1f}" for name, share in shares.items()}
        for label, matrix in matrices.items()
        for true, shares in matrix.iterrows()
    ]
