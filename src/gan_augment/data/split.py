"""Splits: disjoint parts of a source, drawn from a seed.

The test images are drawn first, then the validation images; both are the same for every seed. Then each class gets one
seeded permutation: its first images are labelled, the rest is the pool. Of classes that are made rare, a share of both
is kept, and the other images are in no part. So the labelled set with 5 images per class lies inside the one with 10,
and test and validation do not change with it.

With folds the test images change with the seed: each seed tests one fold, and k seeds in a row test every image once.

Images that are identical, pixel for pixel, are drawn as one and stay together: numbers of images count them once.
Parts that the source sets apart are used as they are, and copies across them are noted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import Tensor

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source, abridged
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer, check_number

# Makes the held-out images the same in every trial; the seed of scikit-learn's tutorials.
HOLDOUT_SEED = 42
DEFAULT_TEST_SHARE = 0.2
PARTS = ("labelled", "pool", "validation", "test")
LEFT_OUT = len(PARTS)  # stands for no part: training images left out to make their class rare


@dataclass(frozen=True)
class SplitSettings:
    """How images are divided.

    Attributes:
        seed: Decides which images are labelled, and with folds which are the test; at least 0.
        labels: Labelled images per class; a percentage of each class's training images, such as "10%"; or "all".
        rare_classes: Classes that keep only few training images, both labelled and in the pool.
        rare_share: The share of them that is kept, in (0, 1]; None without rare classes.
        validation_per_class: Validation images per class; None takes the source's own, or else the smaller of 20 and a
            fifth of the class's images.
        test_share: Stratified share held out as test; None takes the source's own images, or else a fifth.
        folds: Number k of parts, one of which is the test: fold `seed % k` of repetition `seed // k`. None for test
            images that are the same for every seed.
    """

    seed: int
    labels: int | str
    rare_classes: Sequence[str] = ()
    rare_share: float | None = None
    validation_per_class: int | None = None
    test_share: float | None = None
    folds: int | None = None

    def __post_init__(self) -> None:
        check_integer("seeds.split", self.seed, low=0)
        if self.validation_per_class is not None:
            check_integer("validation_per_class", self.validation_per_class, low=0)
        if self.test_share is not None:
            check_number("data.test_share", self.test_share, 0, 0.9, open_low=True)
        if self.folds is not None:
            check_integer("folds", self.folds, low=2)
            if self.test_share is not None:
                raise ValueError(
                    f"folds={self.folds} and data.test_share={self.test_share}: each fold is the test in turn, so set "
                    "data.test_share=null, or folds=null"
                )
        is_number = isinstance(self.labels, int) and not isinstance(self.labels, bool) and self.labels >= 1
        if not is_number and self.labels != "all" and self.share is None:
            raise ValueError(f"labels={self.labels}: use a whole number of at least 1, a percentage up to 100%, or all")
        if not isinstance(self.rare_classes, list | tuple):
            raise ValueError(f"imbalance.classes={self.rare_classes}: use a list of class names")
        if self.rare_classes:
            check_number("imbalance.share", self.rare_share, 0, 1, open_low=True)
        elif self.rare_share is not None:
            raise ValueError(f"imbalance.share={self.rare_share}, but imbalance.classes names no class")

    @property
    def share(self) -> float | None:
        """The share of each class's training images that is labelled; None if `labels` is no percentage.

        Example:
            >>> SplitSettings(0, "10%").share, SplitSettings(0, 5).share
            (0.1, None)
        """
        if not (isinstance(self.labels, str) and self.labels.endswith("%")):
            return None
        try:
            share = float(self.labels.removesuffix("%")) / 100
        except ValueError:
            return None
        return share if 0 < share <= 1 else None

    def divide(self, name: str, members: Tensor) -> tuple[Tensor, Tensor]:
        """Divide the permuted training images of a class, int64 `[N]`, into labelled ones and the pool.

        Raises:
            ValueError: If there are fewer images than the budget needs.
        """
        if self.share is not None:
            number = max(1, round(self.share * len(members)))
        else:
            number = len(members) if self.labels == "all" else int(self.labels)
        if number > len(members):
            have = f"class {name!r} has {len(members)} training images; use at most {len(members)}, or all"
            raise ValueError(f"labels={number}, but {have}")
        labelled, pool = members[:number], members[number:]
        if name not in map(str, self.rare_classes):
            return labelled, pool
        assert self.rare_share is not None
        return labelled[: max(1, round(self.rare_share * number))], pool[: round(self.rare_share * len(pool))]


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a source. Code that gets one part can see nothing of the others.

    Attributes:
        labelled: Training images with their labels.
        pool: Training images whose labels only an arm that declares it may see.
        validation: Images for reporting and for hyperparameter search.
        test: Images that a trial uses once, at its end.
        training: All images with a label outside validation and test, at any budget: a judge learns from them.
        test_indices: Indices of the test images in the source, int64 `[N]`.
        hash: Identifies the four index sets.
        overlap: Expected share of the labelled images that a split with another seed labels too, in (0, 1].
    """

    labelled: ImageSet
    pool: ImageSet
    validation: ImageSet
    test: ImageSet
    training: ImageSet
    test_indices: Tensor
    hash: str
    overlap: float


def draw_split(source: Source, settings: SplitSettings) -> Split:
    """Draw a split; the source's own validation and test images, if any, keep their role.

    Raises:
        ValueError: If the settings do not fit the source, or a class has too few images for them.
    """
    images, labels, first = source.images, source.images.labels, source.images.first_copy
    if unknown := [str(name) for name in settings.rare_classes if str(name) not in images.class_names]:
        raise ValueError(f"imbalance.classes names {', '.join(unknown)}: use some of {', '.join(images.class_names)}")
    validation_per_class, test_share = settings.validation_per_class, settings.test_share
    if settings.folds and source.test is not None:
        raise ValueError(f"folds={settings.folds}, but these images have a test set of their own: use folds=null")
    given, free = {}, torch.ones(len(images), dtype=torch.bool)  # parts that the source sets apart; all else
    for part, setting, value, own in (
        ("test", "data.test_share", test_share, source.test),
        ("validation", "validation_per_class", validation_per_class, source.validation),
    ):
        if own is not None:
            if value is not None:
                raise ValueError(f"{setting}={value}, but these images have a {part} set of their own: leave it null")
            given[part], free[own] = own, False
    has_label = labels >= 0
    # The part of an image and all its copies, at the index of the first of them.
    part_of = torch.full((len(images),), -1)

    def assign(part: str, members: Tensor) -> None:
        part_of[first[members]] = PARTS.index(part)

    train = (free & has_label).nonzero()[:, 0]
    _, positions = np.unique(first[train].numpy(), return_index=True)
    train = train[torch.from_numpy(np.sort(positions))]  # one of each group of copies
    in_class = torch.bincount(labels[train], minlength=images.num_classes).tolist()
    if source.test is None:
        if settings.folds:
            train, test = _fold(train, images, settings.folds, settings.seed)
        else:
            train, test = _hold_out_test(train, images, DEFAULT_TEST_SHARE if test_share is None else test_share)
        assign("test", test)
    fixed, seeded = Stream(HOLDOUT_SEED, "validation"), Stream(settings.seed, "split")
    num_labelled, num_shared = 0, 0.0
    for label, name in enumerate(images.class_names):
        members = train[labels[train] == label]
        if not len(members):
            raise ValueError(f"class {name!r} has no training image: add some, or leave the class out")
        if source.validation is None:
            members = members[torch.randperm(len(members), generator=fixed.at(label))]
            num_validation = min(20, len(members) // 5) if validation_per_class is None else validation_per_class
            if num_validation >= len(members):
                have = f"class {name!r} has {len(members)} training images; use at most {len(members) - 1}"
                raise ValueError(f"validation_per_class={num_validation}, but {have}")
            assign("validation", members[:num_validation])
            members = members[num_validation:].sort().values
        part_of[first[members]] = LEFT_OUT
        labelled, pool = settings.divide(name, members[torch.randperm(len(members), generator=seeded.at(label))])
        assign("labelled", labelled)
        assign("pool", pool)
        num_labelled += len(labelled)
        # Another seed labels each of them with the same probability; one that has other folds, among all of the class.
        num_shared += len(labelled) ** 2 / (in_class[label] if settings.folds else len(members))
    without_label = (free & ~has_label).nonzero()[:, 0]
    assign("pool", without_label[part_of[first[without_label]] < 0])

    found = {part: free & (part_of[first] == number) for number, part in enumerate(PARTS)}
    training = free & has_label & ~found["validation"] & ~found["test"]
    # A copy without a label can only be in the pool: the other parts need labels.
    fitting = {part: members if part == "pool" else members & has_label for part, members in found.items()}
    parts = {part: members.nonzero()[:, 0] for part, members in fitting.items()} | given
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(parts):
        digest.update(part.encode() + parts[part].numpy().tobytes())
    return Split(
        **{part: images.subset(indices) for part, indices in parts.items()},
        training=images.subset(training.nonzero()[:, 0]),
        test_indices=parts["test"],
        hash=digest.hexdigest(),
        overlap=num_shared / num_labelled,
    )


def _fold(members: Tensor, images: ImageSet, folds: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the other images, and those of the fold that a seed tests."""
    labels = images.labels[members]
    few, least = min(
        zip(torch.bincount(labels, minlength=images.num_classes).tolist(), images.class_names, strict=True)
    )
    if folds > few:
        raise ValueError(
            f"folds={folds}, but class {least!r} has {few} different image{'s' * (few != 1)}, and each fold needs one: "
            "use fewer folds, at least 2, add images, or leave the class out"
        )
    order = torch.randperm(len(members), generator=Stream(HOLDOUT_SEED, "folds").at(seed // folds))
    divided = StratifiedKFold(folds).split(order, labels[order])
    _, test = next(islice(divided, seed % folds, None))
    is_test = torch.zeros(len(members), dtype=torch.bool).index_fill_(0, order[torch.from_numpy(test)], True)
    return members[~is_test], members[is_test]


def _hold_out_test(members: Tensor, images: ImageSet, share: float) -> tuple[Tensor, Tensor]:
    labels = images.labels[members]
    counts = torch.bincount(labels, minlength=images.num_classes)
    if few := [name for name, count in zip(images.class_names, counts.tolist(), strict=True) if count < 2]:
        named = abridged([repr(name) for name in few])
        classes = f"class {named} has" if len(few) == 1 else f"{len(few)} classes ({named}) have"
        raise ValueError(
            f"{classes} fewer than 2 different images: one is needed to train on and one to test on; "
            "add images, leave the class out, or set test images apart yourself"
        )
    num_test, num_classes = int(np.ceil(share * len(members))), images.num_classes
    if not num_classes <= num_test <= len(members) - num_classes:
        low = np.ceil(100 * num_classes / len(members)) / 100
        raise ValueError(
            f"data.test_share={share} of {len(members)} images is {num_test}, but test and training need at least one "
            f"of each of the {num_classes} classes: use a share from {low:g} to {1 - low:g}"
        )
    _, test = train_test_split(members.numpy(), test_size=share, random_state=HOLDOUT_SEED, stratify=labels.numpy())
    is_test = torch.zeros(len(images), dtype=torch.bool).index_fill_(0, torch.from_numpy(test), True)
    order = Stream(HOLDOUT_SEED, "test")
    for label in range(num_classes):  # stratification rounds: a small class may be entirely on one side
        own = members[labels == label]
        if len(is_test[own].unique()) == 1:
            is_test[own[torch.randperm(len(own), generator=order.at(label))[0]]] ^= True
    return members[~is_test[members]], members[is_test[members]]
