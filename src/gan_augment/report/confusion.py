"""Confusion matrices: which classes the classifiers of an arm take for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gan_augment.report.configuration import Configuration, pair_unit
from gan_augment.report.outcomes import NoPredictionsError
from gan_augment.report.trials import Study

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

MAX_MATRICES = 6
MAX_CLASSES = 40  # in a table


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


def confusion_rows(matrices: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """Return the rows of the table: one per arm and true class, with a column for each predicted class."""
    if any(len(matrix) > MAX_CLASSES for matrix in matrices.values()):
        return []
    return [
        {"arm": label, "class": str(true)} | {f"as {name}": f"{share:.1f}" for name, share in shares.items()}
        for label, matrix in matrices.items()
        for true, shares in matrix.iterrows()
    ]
