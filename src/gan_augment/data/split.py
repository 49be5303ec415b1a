"""Splits: disjoint parts of a source, drawn from a seed.

The test images are drawn first, then the validation images; both are the same for every seed. Then each class gets one
seeded permutation: its first images are labelled, the rest is the pool. Of classes that are made rare, a share of both
is kept, and the other images are in no part. So the labelled set with 5 images per class lies inside the one with 10,
and test and validation do not change with it.

With folds the test images change with the seed: each seed tests one fold, and k seeds in a row test every image once.

Images that are identical, pixel for pixel, are drawn as one and stay together: numbers of images count them once.
Parts that the source sets apart are used as they are, and copies across them are noted.

If the source has groups, test, validation and labelled images are drawn in whole groups, in one order of all groups:
each class takes the first groups that have images of it, until it has as many images as it needs. So it may get more,
but fewer labels still lie within more. Images without a label join the pool, unless their group is held out.

A source may have a pool of its own, such as the images of another domain. Test images that it has not set apart are
drawn from there, labelled and validation images from the others, without copies of test images and without images of
their groups. Other images than these are in no part. If images of the two show the same, in pairs, a translator learns
from the pairs of the pool, without those of labelled and validation images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gan_augment.data.groups import draw_groups
from gan_augment.data.holdout import HOLDOUT_SEED, check_drawn, count_units, hold_out, hold_out_fold
from gan_augment.data.image_set import ImageSet, absent_classes
from gan_augment.data.names import find_class
from gan_augment.data.source import Source, abridged
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer, check_number

DEFAULT_TEST_SHARE = 0.2
DEFAULT_LABELS = 5
AUTO = "auto"
FEW_IMAGES, DEFAULT_FOLDS = 1000, 5  # of the user's own, without a test set
PARTS = ("labelled", "pool", "validation", "test")
REPEATS = 50  # draws of groups by which the overlap of two splits is estimated
LEFT_OUT = len(PARTS)  # stands for no part: training images left out to make their class rare


@dataclass(frozen=True)
class SplitSettings:
    """How images are divided.

    Attributes:
        seed: Decides which images are labelled, and with folds which are the test; at least 0.
        labels: Labelled images per class; a percentage of each class's training images, such as "10%"; "all"; or
            "auto", as `settled` says.
        rare_classes: Classes that keep only few training images, both labelled and in the pool.
        rare_share: The share of them that is kept, in (0, 1]; None without rare classes.
        validation_per_class: Validation images per class; None takes the source's own, or else the smaller of 20 and a
            fifth of the class's images.
        test_share: Stratified share held out as test; None takes the source's own images, or else a fifth.
        folds: Number k of parts, one of which is the test: fold `seed % k` of repetition `seed // k`. None for test
            images that are the same for every seed; "auto" as `settled` says.
    """

    seed: int
    labels: int | str
    rare_classes: Sequence[str] = ()
    rare_share: float | None = None
    validation_per_class: int | None = None
    test_share: float | None = None
    folds: int | str | None = None

    def __post_init__(self) -> None:
        check_integer("seeds.split", self.seed, low=0)
        if self.validation_per_class is not None:
            check_integer("validation_per_class", self.validation_per_class, low=0)
        if self.test_share is not None:
            check_number("data.test_share", self.test_share, 0, 0.9, open_low=True)
        if self.folds not in (None, AUTO):
            check_integer("folds", self.folds, low=2)
            if self.test_share is not None:
                raise ValueError(
                    f"folds={self.folds} and data.test_share={self.test_share}: each fold is the test in turn, so set "
                    "data.test_share=null, or folds=null"
                )
        is_number = isinstance(self.labels, int) and not isinstance(self.labels, bool) and self.labels >= 1
        if not is_number and self.labels not in ("all", AUTO) and self.share is None:
            raise ValueError(
                f"labels={self.labels}: use a whole number of at least 1, a percentage up to 100%, all, or auto"
            )
        if not isinstance(self.rare_classes, list | tuple):
            raise ValueError(f"imbalance.classes={self.rare_classes}: use a list of class names")
        if self.rare_classes:
            check_number("imbalance.share", self.rare_share, 0, 1, open_low=True)
        elif self.rare_share is not None:
            raise ValueError(f"imbalance.share={self.rare_share}, but imbalance.classes names no class")

    def settled(self, source: Source) -> "SplitSettings":
        """Return the settings with values for these images in place of `auto`.

        All labels of the user's own images are used, except those of pairs, from which a translator learns without
        labels. If the images are few and have no test set, each is tested once.
        """
        folds, labels = self.folds, self.labels
        if folds == AUTO:
            is_few = source.is_own and len(source.images) < FEW_IMAGES
            is_free = source.test is None and self.test_share is None
            to_divide = source.images.labels >= 0
            if source.validation is not None:
                to_divide[source.validation] = False
            if source.pool is not None:
                to_divide &= source.given_part == 3
            units = count_units(to_divide.nonzero()[:, 0], source.images, source.together)
            is_enough = min(units.values(), default=0) >= DEFAULT_FOLDS
            folds = DEFAULT_FOLDS if is_few and is_free and is_enough else None
        if labels == AUTO:
            takes_all = folds is not None or source.is_own or source.pool is not None
            labels = "all" if takes_all and source.partner is None else DEFAULT_LABELS
        return replace(self, folds=folds, labels=labels)

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

    def num_labelled(self, name: str, num_images: int, remark: str = "") -> int:
        """Return how many of the training images of a class are labelled, before it is made rare.

        An error adds the remark to the number of images.

        Raises:
            ValueError: If there are fewer images than the budget needs.
        """
        if self.share is not None:
            return max(1, round(self.share * num_images))
        number = num_images if self.labels == "all" else int(self.labels)
        if number > num_images:
            have = f"class {name!r} has {num_images} training images{remark}; use at most {num_images}, or all"
            raise ValueError(f"labels={number}, but {have}")
        return number

    def num_validation(self, name: str, num_images: int, remark: str = "") -> int:
        """Return how many of the images of a class are for validation.

        An error adds the remark to the number of images.

        Raises:
            ValueError: If they would leave none to train on.
        """
        number = min(20, num_images // 5) if self.validation_per_class is None else self.validation_per_class
        if number >= num_images:
            have = f"class {name!r} has {num_images} training images{remark}; use at most {num_images - 1}"
            raise ValueError(f"validation_per_class={number}, but {have}")
        return number

    def kept(self, name: str, labelled: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first of the labelled images and of the pool if the class is made rare, otherwise all."""
        if name not in self.rare_classes:
            return labelled, pool
        assert self.rare_share is not None
        number = max(1, round(self.rare_share * len(labelled)))
        return labelled[:number], pool[: round(self.rare_share * len(pool))]


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
        test_groups: The number in the source of each test image's group, int64 `[N]`; None without groups.
        hash: Identifies the four index sets, and the groups of the test images.
        overlap: Expected share of the labelled images that a split with another seed labels too, in (0, 1].
        domains: The names of the domains of labelled and validation images, and of pool and test; None for one domain.
        pairs: Images of the first domain, and those of the pool that show the same things, in one order and without
            labels; None if the domains have no pairs. No image of the other parts is in a pair.
        pool_overlap: Expected share of the pool that is also in that of a split with another seed: 1 unless each draws
            some of a larger one.
    """

    labelled: ImageSet
    pool: ImageSet
    validation: ImageSet
    test: ImageSet
    training: ImageSet
    test_indices: Tensor
    test_groups: Tensor | None
    hash: str
    overlap: float
    domains: tuple[str, str] | None = None
    pairs: tuple[ImageSet, ImageSet] | None = None
    pool_overlap: float = 1.0

    @property
    def notes(self) -> list[str]:
        """Sentences about the classes that validation or test lacks, for the reader of a result."""
        parts = {"validation": self.validation, "test": self.test}
        absent = {part: absent_classes(images) for part, images in parts.items() if len(images)}
        return [
            f"no {part} image shows {abridged([repr(name) for name in names])}: {len(names)} of "
            f"{self.test.num_classes} classes do not count in the {part} results"
            for part, names in absent.items()
            if names
        ]


def check_validation(setting: str, validation: ImageSet) -> None:
    """Raise a ValueError if a class has no validation image; the setting, with its value, says why it needs them."""
    if absent := absent_classes(validation):
        of_what = f" of {abridged([repr(name) for name in absent])}" if len(validation) else ""
        raise ValueError(
            f"{setting}, but there are no validation images{of_what}: set validation_per_class to 1 or more, or add "
            "some to those that you set apart"
        )


def draw_split(source: Source, settings: SplitSettings) -> Split:
    """Draw a split; the source's own validation and test images, if any, keep their role.

    Raises:
        ValueError: If the settings do not fit the source, or a class has too few images for them.
    """
    images, labels, first, group = source.images, source.images.labels, source.images.first_copy, source.together
    rare = [(find_class(said, images.class_names), str(said)) for said in settings.rare_classes]
    if unknown := [said for name, said in rare if name is None]:
        raise ValueError(f"imbalance.classes names {', '.join(unknown)}: use some of {', '.join(images.class_names)}")
    if rare and source.pool is not None:
        raise ValueError(
            f"imbalance.classes={[said for _, said in rare]}, but a class can be rare in either of two domains: leave "
            "the list empty, and take images out of one of them yourself"
        )
    settings = replace(settings, rare_classes=[name for name, _ in rare if name is not None])
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
    if source.pool is not None:
        free[source.pool] = False
    # The part of an image and all its copies, at the index of the first of them.
    part_of = torch.full((len(images),), -1)

    def assign(part: str, members: Tensor) -> None:
        part_of[first[members]] = PARTS.index(part)

    def one_of_each(members: Tensor) -> Tensor:
        _, positions = np.unique(first[members].numpy(), return_index=True)
        return members[torch.from_numpy(np.sort(positions))]

    if source.pool is not None:
        given["pool"] = source.pool
        if source.test is None:
            _, test = _held_out(one_of_each(source.pool[has_label[source.pool]]), images, group, settings)
            related = _related(test, source)
            is_copy = torch.isin(first[source.pool], first[test]) & has_label[source.pool]
            given["test"], given["pool"] = source.pool[is_copy], source.pool[~related[source.pool]]
        related = _related(given["test"], source)
        free &= ~related
        if source.validation is not None:
            given["validation"] = source.validation[~related[source.validation]]
    with_copies = (free & has_label).nonzero()[:, 0]
    train = one_of_each(with_copies)
    remark = " (identical ones count once)" if len(train) < len(with_copies) else ""
    in_class = torch.bincount(labels[train], minlength=images.num_classes).tolist()
    if source.test is None and source.pool is None:
        train, test = _held_out(train, images, group, settings)
        assign("test", test)
    pool_overlap = 1.0
    if "pool" in given and "pool" in source.sizes:
        whole = given["pool"]
        given["pool"] = _some(whole, source, Stream(settings.seed, "pool/images"))
        pool_overlap = len(given["pool"]) / len(whole)
    by_class = [train[labels[train] == label] for label in range(images.num_classes)]
    for name, members in zip(images.class_names, by_class, strict=True):
        if not len(members):
            raise ValueError(f"class {name!r} has no training image{remark}: add some, or leave the class out")
    if source.validation is None:
        wanted = [settings.num_validation(*one, remark) for one in _sizes(images, by_class)]
        drawn = _draw(by_class, wanted, group, Stream(HOLDOUT_SEED, "validation"), spare_one=True)
        if validation_per_class is not None:
            check_drawn(f"validation_per_class={validation_per_class}", images, drawn, wanted)
        assign("validation", torch.cat([some for some, _ in drawn]))
        by_class = [rest.sort().values for _, rest in drawn]
    wanted = [settings.num_labelled(*one, remark) for one in _sizes(images, by_class)]
    if "labelled" in source.sizes:
        wanted = _in_proportion(wanted, source)

    def divide(stream: Stream) -> list[tuple[Tensor, Tensor]]:
        drawn = _draw(by_class, wanted, group, stream)
        return [settings.kept(name, *one) for name, one in zip(images.class_names, drawn, strict=True)]

    part_of[first[torch.cat(by_class)]] = LEFT_OUT
    divided = divide(Stream(settings.seed, "split"))
    for labelled, pool in divided:
        assign("labelled", labelled)
        if source.pool is None:
            assign("pool", pool)
    if group is None:
        # Another seed labels each labelled image with the same probability; one that has other folds, among all images.
        among = in_class if settings.folds and source.pool is None else [len(members) for members in by_class]
        pairs = [(len(labelled), of) for (labelled, _), of in zip(divided, among, strict=True)]
        overlap = sum(number**2 / of for number, of in pairs) / sum(number for number, _ in pairs)
    else:
        again = [[labelled for labelled, _ in divide(Stream(seed, "overlap"))] for seed in range(REPEATS)]
        overlap = _overlap([torch.cat(some) for some in again], len(images))
    without_label = (free & ~has_label).nonzero()[:, 0]
    without_label = without_label[part_of[first[without_label]] < 0]
    if group is not None:
        held_out = ~free | torch.isin(part_of, torch.tensor([PARTS.index(part) for part in ("validation", "test")]))
        without_label = without_label[~torch.isin(group[without_label], group[held_out])]
    if source.pool is None:
        assign("pool", without_label)

    found = {part: free & (part_of[first] == number) for number, part in enumerate(PARTS)}
    # A copy without a label can only be in the pool: the other parts need labels.
    fitting = {part: members if part == "pool" else members & has_label for part, members in found.items()}
    parts = {part: members.nonzero()[:, 0] for part, members in fitting.items()} | given
    if source.pool is None:
        training = (free & has_label & ~found["validation"] & ~found["test"]).nonzero()[:, 0]
    else:
        training = torch.cat([parts["labelled"], parts["pool"][has_label[parts["pool"]]]])
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(parts):
        digest.update(part.encode() + parts[part].numpy().tobytes())
    test_groups = None if group is None else group[parts["test"]]
    if test_groups is not None:
        digest.update(b"groups" + test_groups.numpy().tobytes())
    return Split(
        **{part: images.subset(indices) for part, indices in parts.items()},
        training=images.subset(training),
        test_indices=parts["test"],
        test_groups=test_groups,
        hash=digest.hexdigest(),
        overlap=overlap,
        domains=source.domains,
        pairs=_pairs(parts, source),
        pool_overlap=pool_overlap,
    )


def _held_out(
    members: Tensor, images: ImageSet, group: Tensor | None, settings: SplitSettings
) -> tuple[Tensor, Tensor]:
    """Return images to train on and those of the test: a fold, or the same share for every seed."""
    if settings.folds is not None:
        assert isinstance(settings.folds, int), "settled"
        return hold_out_fold(members, images, group, settings.folds, settings.seed)
    share = DEFAULT_TEST_SHARE if settings.test_share is None else settings.test_share
    return hold_out(members, images, group, share)


def _related(some: Tensor, source: Source) -> Tensor:
    """Return which images are identical to one of some, make a pair or are of one group with it, bool `[N]`."""
    first, group = source.images.first_copy, source.together
    if source.partner is not None:
        some = torch.cat([some, source.partner[some]])
        some = some[some >= 0]
    is_related = torch.isin(first, first[some])
    return is_related if group is None else is_related | torch.isin(group, group[some])


def _pairs(parts: Mapping[str, Tensor], source: Source) -> tuple[ImageSet, ImageSet] | None:
    """Return the pairs of the pool, without those of labelled and validation images."""
    if source.partner is None:
        return None
    images, pool = source.images, parts["pool"]
    inputs = source.partner[pool]
    is_taken = _related(torch.cat([parts["labelled"], parts["validation"]]), source)
    is_free = (inputs >= 0) & ~is_taken[inputs]
    return images.subset(inputs[is_free]).without_labels(), images.subset(pool[is_free]).without_labels()


def _some(pool: Tensor, source: Source, stream: Stream) -> Tensor:
    """Return as many images of a pool as its source says, drawn at random."""
    number = source.sizes["pool"]
    if number > len(pool):
        raise ValueError(f"data.to_images={number}, but the pool has {len(pool)} images: use at most so many")
    return pool[torch.randperm(len(pool), generator=stream.at(0))[:number]].sort().values


def _in_proportion(wanted: Sequence[int], source: Source) -> list[int]:
    """Return how many images of each class are labelled if all together are as many as the source says."""
    number, total = source.sizes["labelled"], sum(wanted)
    if not len(wanted) <= number <= total:
        raise ValueError(
            f"data.from_images={number}, but there are {len(wanted)} classes, and {total} images may be labelled: use "
            "a number between these"
        )
    ends = np.rint(np.cumsum(wanted) * number / total)  # so that they add up
    found = [int(one) for one in np.diff(ends, prepend=0)]
    while 0 in found:  # a rare class takes one from the largest
        found[found.index(0)], found[found.index(max(found))] = 1, max(found) - 1
    return found


def _sizes(images: ImageSet, by_class: Sequence[Tensor]) -> list[tuple[str, int]]:
    return [(name, len(members)) for name, members in zip(images.class_names, by_class, strict=True)]


def _draw(
    by_class: Sequence[Tensor], wanted: Sequence[int], group: Tensor | None, stream: Stream, spare_one: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Return the images drawn from each class and the rest, both in their random order."""
    if group is not None:
        return draw_groups(by_class, wanted, group, stream.at(0), spare_one)
    orders = (torch.randperm(len(members), generator=stream.at(label)) for label, members in enumerate(by_class))
    permuted = [members[order] for members, order in zip(by_class, orders, strict=True)]
    return [(members[:number], members[number:]) for members, number in zip(permuted, wanted, strict=True)]


def _overlap(draws: Sequence[Tensor], num_images: int) -> float:
    """Return the share of their images that two of several draws have in common, on average."""
    times = torch.bincount(torch.cat([*draws]), minlength=num_images).double()
    return float((times * (times - 1)).sum() / times.sum() / (len(draws) - 1))
