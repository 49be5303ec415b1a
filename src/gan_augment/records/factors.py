"""Factors: every choice that a study can sweep, null if it has no effect on the arm."""

import re
import shlex
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

from gan_augment.records.record import leaves

# Settings that describe no trial: of the whole study, or defaults of other settings.
OF_THE_LAUNCH = (
    "seed",
    "spectral_norm",
    "study",
    "against",
    "search",
    "until",
    "max_splits",
    "step",
    "max_trials",
    "logger",
    "plugins",
    "paths",
    "choices",
)
# Paths, ways of reading files and speed are no factors of a result. The report tells different images apart by their
# fingerprints.
NOT_A_FACTOR = (
    *("data.root", "data.table", "data.columns", "data.group_by", "data.images", "data.labels", "data.cache"),
    *("data.patches_dir", "data.skip_broken", "data.follow_links", "data.allow_synthetic", "synthetic.cache"),
    *("trainer.accelerator", "trainer.num_threads", "trainer.checkpoint_every"),
    *("trainer.devices", "trainer.num_nodes"),
    *(f"data.{node}.classical" for node in ("from", "to", "of")),  # `data` has its own
    *(f"data.{node}.test_share" for node in ("from", "to", "of")),
)
OF_A_NODE = re.compile(r"^data\.((from|to|of)\.)+")  # a data node within another one
NULL = "null"  # the value of a factor that has an effect and is set to null
# Settings that came after records of schema 1.7, which lack them, with the values at which they are left out.
LATER: dict[str, Any] = {
    **dict.fromkeys(("folds", "data.num_images", "data.background", "data.fit", "data.layout", "synthetic.root"), NULL),
    **{"generator.start": NULL, "generator.freeze": 0, "generator.seconds": NULL, "synthesis.refuse_copies": False},
    **{"synthesis.redraw": False, "synthesis.generators": 1},
    **{"translation.teacher": "classifier", "information_maximisation.begin": 0.0},
}
OF_EVERY_TRIAL = ("data", "labels", "folds", "imbalance", "validation_per_class", "seeds.split", "trainer")  # nodes
CLASSICAL = "data.classical"  # belongs to the node `data`, but is read only where images are transformed


def trial_factors(settings: Mapping[str, Any], reads: Collection[str]) -> dict[str, Any]:
    """Flatten a trial's settings into factors.

    A factor that cannot change this arm's result is null, so the arm `none` is the same trial for every GAN and pairs
    with the trials of all of them.

    Args:
        settings: The plain configuration; `choices` names the chosen member of each group.
        reads: The configuration nodes that have an effect.

    Returns:
        Dotted names with plain values; "null" for a setting that has an effect and is set to null.
    """
    factors: dict[str, Any] = {}
    of_the_trial = {name: value for name, value in settings.items() if name not in OF_THE_LAUNCH}
    for name, value in chain(leaves(settings["choices"]), leaves(of_the_trial)):
        if is_no_factor(name) or name.endswith(("_target_", "_partial_")):
            continue
        value = NULL if value is None or value == [] else value
        if LATER.get(name) == value:
            continue
        if not has_effect(name, reads):
            factors[name] = None
        else:
            factors[name] = shlex.join(map(str, value)) if isinstance(value, list) else value
    return factors


def is_no_factor(name: str) -> bool:
    """Whether a setting, or a node around it, is no factor of a result.

    Example:
        >>> is_no_factor("data.to.root"), is_no_factor("data.to.image_size")
        (True, False)
        >>> is_no_factor("data.patches_dir"), is_no_factor("data.to.patches_dir")
        (True, True)
        >>> is_no_factor("data.of.classical.shift"), is_no_factor("data.from.of.root"), is_no_factor("data.of.fit")
        (True, True, False)
    """
    names, nodes = (f"{name}.", OF_A_NODE.sub("data.", f"{name}.")), tuple(f"{one}." for one in NOT_A_FACTOR)
    return any(one.startswith(nodes) for one in names)


def has_effect(name: str, reads: Collection[str]) -> bool:
    """Whether a setting belongs to one of the nodes that are read.

    Example:
        >>> has_effect("loss.gradient", ("loss",)), has_effect("data.classical.shift", ("data",))
        (True, False)
    """

    def lies_in(node: str) -> bool:
        return f"{name}.".startswith(f"{node}.")

    return any(map(lies_in, reads)) and (not lies_in(CLASSICAL) or CLASSICAL in reads)
