"""Old names: records of earlier versions are read under the names that factors have now, and so pair with new ones."""

from collections.abc import Mapping
from typing import Any

# What factors were called, with all that stood below them; the first that fits counts.
FACTORS = {
    "gan.judge_every": "measures.judge.every",
    "gan.best_by": "measures.judge.best_by",
    "gan": "generator",
    "judge": "measures.judge",
    "augmentation.learner": "augmentation.method",
    "labels_per_class": "labels",
}
# Values that have other names now, by the factor's present name.
VALUES = {
    "generator": {"default": "gan"},
    "conditioning": {"pseudo_label": "none"},
    "loss": {"relativistic_points": "relativistic"},
    "penalty": {"r1_r2_points": "r1_r2"},
}
# The nodes that generated images depended on, by stage, in records that do not name them.
READS = {
    "gan": ("architecture", "conditioning", "loss", "penalty", "discriminator_augmentation", "generator", "seeds.gan"),
    "synthesis": ("synthesis", "seeds.synthesis"),
}


def renewed(factors: Mapping[str, Any]) -> dict[str, Any]:
    """Return factors under their present names and values.

    Example:
        >>> renewed({"gan": "default", "gan.decay": True, "labels_per_class": "null", "label_fraction": 0.1})
        {'generator': 'gan', 'generator.decay': True, 'labels': '10%'}
    """
    found: dict[str, Any] = {}
    for name, value in factors.items():
        if name == "judge" or (name in ("labels_per_class", "label_fraction") and value in (None, "null")):
            continue  # one choice that is a list now; one of two settings for one thing
        if name == "label_fraction":
            name, value = "labels", f"{100 * value:g}%"
        old = next((old for old in FACTORS if f"{name}.".startswith(f"{old}.")), None)
        if old is not None:
            name = FACTORS[old] + name.removeprefix(old)
        known = VALUES.get(name, {})
        found[name] = known.get(value, value) if isinstance(value, str) else value
    return found


def reads_of(record: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the configuration nodes that the stages of a record's trial depended on, by role."""
    named = record.get("provenance", {}).get("reads")
    return READS if named is None else {role: tuple(nodes) for role, nodes in named.items()}
