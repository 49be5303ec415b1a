"""What a report says first: which generators make images that are not usable, and why."""

from __future__ import annotations

from collections.abc import Sequence

from gan_augment.records.usability import in_words, reasons
from gan_augment.report.configuration import Configuration, generators
from gan_augment.report.trials import GAN_METRICS

USABLE = f"{GAN_METRICS}usable"
REASONS = (
    *("told_apart", "told_apart_features", "told_apart_of", "agreement", "agreement_of", "majority"),
    *("variety", "sharpness"),
)


def is_not_usable(configuration: Configuration) -> bool:
    """Whether the images of most of its trials that were examined are not usable."""
    return float(configuration.trials.reindex(columns=[USABLE]).astype(float)[USABLE].mean()) < 0.5  # nan: not examined


def usability(found: Sequence[Configuration]) -> list[str]:
    """Return a sentence on each generator whose images are not usable, with the means of its bad trials."""
    examined = generators([*found], lambda one: bool(one.trials.reindex(columns=[USABLE]).notna().any(axis=None)))
    said = []
    for name, one in examined.items():
        bad = one.trials[one.trials[USABLE] == 0]
        if is_not_usable(one):
            means = bad.reindex(columns=[GAN_METRICS + reason for reason in REASONS]).astype(float).mean()
            known = {reason: None if mean != mean else mean for reason, mean in zip(REASONS, means, strict=True)}
            number = one.trials[USABLE].notna().sum()
            share = f"{len(bad)} of {number} trials: " if len(bad) < number else ""
            which = "The generator's images" if len(examined) == 1 else f"The images of {name}"
            why = reasons(known) or ["for several reasons"]
            sentence = in_words(which, [share + why[0], *why[1:]], one.has_generator)
            said.append(f"{sentence}. Verdicts on accuracy are on this generator.")
    return said
