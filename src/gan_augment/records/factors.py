"""Factors: every choice that a study can sweep, null if it has no effect on the arm."""

import shlex
from collections.abc import Mapping
from typing import Any

# Parts of the configuration that only some trials read: those with generated images, with as many real ones in their
# place, with transforms, or with a classifier.
GENERATOR_PARTS = ("architecture", "conditioning", "loss", "penalty", "discriminator_augmentation", "gan")
GAN_PARTS = (*GENERATOR_PARTS, "synthesis", "judge", "seeds.gan", "seeds.synthesis")
QUOTA_PARTS = ("synthesis.per_class", "synthesis.quotas")
TRANSFORM_PARTS = ("data.classical",)
CLASSIFIER_PARTS = ("augmentation", "classifier", "open_test", "seeds.classifier", *TRANSFORM_PARTS)
# Paths, ways of reading files and speed are no factors of a result. The report tells different images apart by their
# fingerprints.
NOT_A_FACTOR = (
    *("data.root", "data.table", "data.images", "data.labels", "data.cache"),
    *("data.skip_broken", "data.follow_links", "data.allow_synthetic"),
    *("trainer.accelerator", "trainer.num_threads", "trainer.checkpoint_every"),
)

NULL = "null"  # the value of a factor that has an effect and is set to null


def trial_factors(
    settings: Mapping[str, Any],
    needs_gan: bool,
    needs_quotas: bool,
    needs_transform: bool,
    needs_classifier: bool = True,
    needs_network: bool = True,
    needs_semi_supervised: bool = False,
    needs_pseudo_labels: bool = False,
) -> dict[str, Any]:
    """Flatten a trial's settings into factors.

    A factor that cannot change this arm's result is null, so the arm `none` is the same trial for every GAN and pairs
    with the trials of all of them.

    Args:
        settings: The plain configuration; `choices` names the chosen member of each group.
        needs_gan: Whether the trial trains on generated images, or only a generator.
        needs_quotas: Whether it trains on as many real images as would be generated.
        needs_transform: Whether its arm transforms images.
        needs_classifier: Whether it trains a classifier.
        needs_network: Whether this is the configured classifier, not the discriminator of a semi-supervised GAN.
        needs_semi_supervised: Whether it trains such a GAN, as the classifier or as a teacher.
        needs_pseudo_labels: Whether a teacher labels images of the pool.

    Returns:
        Dotted names with plain values; "null" for a setting that has an effect and is set to null.
    """
    needs = (
        (needs_gan, GAN_PARTS),
        (needs_transform, TRANSFORM_PARTS),
        (needs_classifier, CLASSIFIER_PARTS),
        (needs_network, ("classifier",)),
        (needs_semi_supervised, ("semi_supervised",)),
        (needs_pseudo_labels, ("pseudo_labels",)),
    )
    no_effect = [part for needed, parts in needs if not needed for part in parts]
    factors: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if name in NOT_A_FACTOR or name.endswith(("_target_", "_partial_")):
            return
        if isinstance(value, Mapping):
            for key, inner in value.items():
                visit(f"{name}.{key}", inner)
            return
        is_idle = any(name == part or name.startswith(f"{part}.") for part in no_effect)
        if is_idle and not (needs_quotas and name in QUOTA_PARTS):
            factors[name] = None
        elif value is None or value == []:
            factors[name] = NULL
        else:
            factors[name] = shlex.join(map(str, value)) if isinstance(value, list) else value

    for part, choice in settings["choices"].items():
        visit(part, choice)
        if isinstance(settings[part], Mapping):
            visit(part, settings[part])
    for name in (
        "labels_per_class",
        "label_fraction",
        "imbalance",
        "validation_per_class",
        "pseudo_labels",
        "open_test",
        "seeds",
    ):
        visit(name, settings[name])
    return factors
