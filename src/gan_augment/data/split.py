"""Splits: disjoint parts of a source, drawn from a seed.

The test images come first, then the validation images; both are the same for every seed. Then one seeded
permutation a class: its first `labels_per_class` images are labelled, the rest is the pool. So the labelled set
at 5 a class lies inside the one at 10, and neither test nor validation moves with it.
"""

import hashlib
from dataclasses import dataclass

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from gan_augment.data.image_set import ImageSet
from gan_augment.data.sources import Source
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer, check_number

# Makes the held-out images the same in every trial; the number that scikit-learn's tutorials use.
HOLDOUT_SEED = 42


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a source. Whoever holds one part can see nothing of the others.

    Attributes:
        labelled: What training may see, with its labels.
        pool: Training images whose labels nobody may see, unless an arm says so.
        validation: For reporting and for hyperparameter search.
        test: Opened once, at the end of a trial.
        test_indices: Where the test images stand in the source, int64 `[N]`.
        hash: Names the four index sets.
    """

    labelled: ImageSet
    pool: ImageSet
    validation: ImageSet
    test: ImageSet
    test_indices: Tensor
    hash: str


def draw_split(
    source: Source,
    seed: int,
    labels_per_class: int | str,
    validation_per_class: int | None = None,
    test_share: float | None = 0.2,
) -> Split:
    """Draw a split.

    Args:
        source: Where the images come from. Its own test images are kept as test, if it has any.
        seed: Decides which images are labelled; at least 0.
        labels_per_class: Labelled images a class, or "all".
        validation_per_class: Validation images a class; None takes the smaller of 20 and a fifth of what is there.
        test_share: Stratified share that is held out as test when the source has no test images of its own;
            else None.

    Raises:
        ValueError: If a class has too few images for what is asked.
    """
    check_integer("seeds.split", seed, low=0)
    if labels_per_class != "all":
        check_integer("labels_per_class", labels_per_class, low=1)
    if validation_per_class is not None:
        check_integer("validation_per_class", validation_per_class, low=0)

    images = source.images
    train, test = _hold_out_test(source, test_share)
    fixed, seeded = Stream(HOLDOUT_SEED, "validation"), Stream(seed, "split")
    parts: dict[str, list[Tensor]] = {"labelled": [], "pool": [], "validation": []}
    for label, name in enumerate(images.class_names):
        members = train[images.labels[train] == label]
        members = members[torch.randperm(len(members), generator=fixed.at(label))]
        num_validation = min(20, len(members) // 5) if validation_per_class is None else validation_per_class
        if num_validation >= len(members):
            raise ValueError(
                f"validation_per_class={num_validation}, but class {name!r} has {len(members)} training images; "
                f"use at most {len(members) - 1}"
            )
        validation, rest = members[:num_validation], members[num_validation:].sort().values
        rest = rest[torch.randperm(len(rest), generator=seeded.at(label))]
        num_labelled = len(rest) if labels_per_class == "all" else int(labels_per_class)
        if num_labelled > len(rest):
            raise ValueError(
                f"labels_per_class={num_labelled}, but class {name!r} has {len(rest)} training images; "
                f"use at most {len(rest)}, or all"
            )
        parts["validation"].append(validation)
        parts["labelled"].append(rest[:num_labelled])
        parts["pool"].append(rest[num_labelled:])

    indices = {name: torch.cat(members).sort().values for name, members in parts.items()} | {"test": test}
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(indices):
        digest.update(name.encode() + indices[name].numpy().tobytes())
    return Split(
        **{name: images.subset(index) for name, index in indices.items()},
        test_indices=test,
        hash=digest.hexdigest(),
    )


def _hold_out_test(source: Source, share: float | None) -> tuple[Tensor, Tensor]:
    everything = torch.arange(len(source.images))
    if source.test is not None:
        if share is not None:
            raise ValueError(f"data.test_share={share}, but these images have a test set of their own: leave it null")
        is_test = torch.zeros(len(everything), dtype=torch.bool).index_fill_(0, source.test, True)
        return everything[~is_test], everything[is_test]
    check_number("data.test_share", share, 0, 0.9, open_low=True)
    labels = source.images.labels.numpy()
    try:
        train, test = train_test_split(everything.numpy(), test_size=share, random_state=HOLDOUT_SEED, stratify=labels)
    except ValueError as error:
        raise ValueError(f"data.test_share={share} of {len(everything)} images: {error}") from error
    return torch.from_numpy(train).sort().values, torch.from_numpy(test).sort().values
