"""Factors: every choice that a study can sweep, null where it has no effect on the arm."""

from collections.abc import Mapping
from typing import Any

# Parts of the configuration that only an arm with generated images reads.
GAN_PARTS = ("architecture", "loss", "gan", "synthesis")
# Where things lie, and how fast they are computed, is no factor of a result.
NOT_A_FACTOR = ("data.source", "trainer.accelerator", "trainer.num_threads")


def trial_factors(settings: Mapping[str, Any], needs_gan: bool, needs_transform: bool) -> dict[str, Any]:
    """Flatten a trial's settings into factors.

    A factor that cannot change this arm's result is null, so the arm `none` is one trial whatever the GAN is, and
    pairs with the trials of every GAN.

    Args:
        settings: The plain configuration; `choices` names the chosen member of each group.
        needs_gan: Whether the arm trains on generated images.
        needs_transform: Whether the arm transforms its images.

    Returns:
        Dotted names with plain values.
    """
    factors: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if name.startswith(NOT_A_FACTOR) or name.endswith(("_target_", "_partial_")):
            return
        if isinstance(value, Mapping):
            for key, inner in value.items():
                visit(f"{name}.{key}", inner)
            return
        no_effect = (
            (not needs_gan and name.split(".")[0] in GAN_PARTS)
            or (not needs_gan and name in ("seeds.gan", "seeds.synthesis"))
            or (not needs_transform and name.startswith("data.classical"))
        )
        factors[name] = None if no_effect else " ".join(map(str, value)) if isinstance(value, list) else value

    for part, choice in settings["choices"].items():
        visit(part, choice)
        if isinstance(settings[part], Mapping):
            visit(part, settings[part])
    for name in ("labels_per_class", "validation_per_class", "seeds"):
        visit(name, settings[name])
    return factors
