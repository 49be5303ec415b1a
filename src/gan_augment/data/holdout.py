"""Which images are held out for the test: a share that is the same for every seed, or one of several folds."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split
from torch import Tensor

from gan_augment.data.groups import draw_groups
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import abridged
from gan_augment.randomness import Stream

# Makes the held-out images the same in every trial; the seed of scikit-learn's tutorials.
HOLDOUT_SEED = 42


def hold_out(members: Tensor, images: ImageSet, group: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
    """Divide images by class into those to train on and a share for the test, in whole groups if there are some.

    Args:
        members: Indices of the images to divide, int64 `[N]`.
        images: The set that has them.
        group: The group of each image of the set; None without groups.
        share: The share for the test.

    Returns:
        Indices of the images to train on, and of those for the test.

    Raises:
        ValueError: If a class has too few images or groups for both sides.
    """
    return _share(members, images, share) if group is None else _share_of_groups(members, images, share, group)


def hold_out_fold(
    members: Tensor, images: ImageSet, group: Tensor | None, folds: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Divide images into those to train on and the fold that a seed tests, as `hold_out` does."""
    labels, together = images.labels[members], members if group is None else group[members]
    few, least = min((number, name) for name, number in count_units(members, images, group).items())
    if folds > few:
        unit = ("different image" if group is None else "group") + "s" * (few != 1)
        raise ValueError(
            f"folds={folds}, but class {least!r} has {few} {unit}, and each fold needs one: use fewer folds, at least "
            "2, add images, or leave the class out"
        )
    order = torch.randperm(len(members), generator=Stream(HOLDOUT_SEED, "folds").at(seed // folds))
    if group is None:
        divided = StratifiedKFold(folds).split(order, labels[order])
    else:
        by_group = StratifiedGroupKFold(folds, shuffle=True, random_state=seed // folds)
        divided = by_group.split(order, labels[order], together[order])
    _, test = next(islice(divided, seed % folds, None))
    is_test = torch.zeros(len(members), dtype=torch.bool).index_fill_(0, order[torch.from_numpy(test)], True)
    return members[~is_test], members[is_test]


def count_units(members: Tensor, images: ImageSet, group: Tensor | None) -> dict[str, int]:
    """Return how many images of each class are different or, with groups, how many groups have images of it.

    Classes without images are left out.
    """
    labels, together = images.labels[members], (images.first_copy if group is None else group)[members]
    counts = {name: len(together[labels == label].unique()) for label, name in enumerate(images.class_names)}
    return {name: number for name, number in counts.items() if number}


def check_drawn(setting: str, images: ImageSet, drawn: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[int]) -> None:
    """Raise unless every class has the wanted images in its groups and more to train on."""
    for name, (some, rest), number in zip(images.class_names, drawn, wanted, strict=True):
        if len(some) + len(rest) and (len(some) < number or not len(rest)):
            raise ValueError(
                f"{setting}, but class {name!r} has too few groups of images: whole groups are drawn, and one must be "
                "left to train on; use less, add groups, or set these images apart yourself"
            )


def _share_of_groups(members: Tensor, images: ImageSet, share: float, group: Tensor) -> tuple[Tensor, Tensor]:
    by_class = [members[images.labels[members] == label] for label in range(images.num_classes)]
    wanted = [int(np.ceil(share * len(some))) for some in by_class]
    drawn = draw_groups(by_class, wanted, group, Stream(HOLDOUT_SEED, "test").at(0), spare_one=True)
    check_drawn(f"data.test_share={share}", images, drawn, [1] * len(drawn))
    test, train = (torch.cat([one[side] for one in drawn]).sort().values for side in (0, 1))
    return train, test


def _share(members: Tensor, images: ImageSet, share: float) -> tuple[Tensor, Tensor]:
    labels = images.labels[members]
    counts = torch.bincount(labels, minlength=images.num_classes)
    if few := [name for name, count in zip(images.class_names, counts.tolist(), strict=True) if count == 1]:
        named = abridged([repr(name) for name in few])
        classes = f"class {named} has" if len(few) == 1 else f"{len(few)} classes ({named}) have"
        raise ValueError(
            f"{classes} fewer than 2 different images: one is needed to train on and one to test on; "
            "add images, leave the class out, or set test images apart yourself"
        )
    num_test, num_classes = int(np.ceil(share * len(members))), int((counts > 0).sum())
    if not num_classes <= num_test <= len(members) - num_classes:
        low = np.ceil(100 * num_classes / len(members)) / 100
        raise ValueError(
            f"data.test_share={share} of {len(members)} images is {num_test}, but test and training need at least one "
            f"of each of the {num_classes} classes: use a share from {low:g} to {1 - low:g}"
        )
    _, test = train_test_split(members.numpy(), test_size=share, random_state=HOLDOUT_SEED, stratify=labels.numpy())
    is_test = torch.zeros(len(images), dtype=torch.bool).index_fill_(0, torch.from_numpy(test), True)
    order = Stream(HOLDOUT_SEED, "test")
    for label in counts.nonzero()[:, 0].tolist():  # stratification rounds: a small class may be entirely on one side
        own = members[labels == label]
        if len(is_test[own].unique()) == 1:
            is_test[own[torch.randperm(len(own), generator=order.at(label))[0]]] ^= True
    return members[~is_test[members]], members[is_test[members]]
