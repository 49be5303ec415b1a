from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source
from gan_augment.data.split import SplitSettings
from gan_augment.data.split import draw_split as draw
from gan_augment.data.standard_sets import digits
from gan_augment.data.views import Views

PARTS = ("labelled", "pool", "validation", "test")


def draw_split(source, seed, labels, validation_per_class=None, **settings):
    return draw(source, SplitSettings(seed, labels, validation_per_class=validation_per_class, **settings))


class_sizes = st.lists(st.integers(12, 60), min_size=2, max_size=5)
seeds = st.integers(0, 2**31)


def made_up(sizes, own_test=()):
    """Images that carry their index in their two pixels, in mixed order."""
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    index = torch.arange(len(labels))
    pixels = torch.stack([index // 256, index % 256], dim=1).to(torch.uint8)[:, None, None]
    test = torch.tensor(own_test) if own_test else None
    return Source(ImageSet(pixels, labels, [f"class{label}" for label in range(len(sizes))]), test)


def members(part):
    """Return the indices that images carry."""
    pixels = part.images.long()
    return (256 * pixels[:, 0, 0, 0] + pixels[:, 0, 0, 1]).tolist()


def counts(part):
    return torch.bincount(part.labels, minlength=part.num_classes).tolist()


@pytest.mark.parametrize(("labels", "rare"), [(2, {}), ("40%", {}), ("all", {}), (10, {"rare_classes": ["class0"]})])
def test_the_overlap_is_the_share_of_labelled_images_that_splits_have_in_common(labels, rare):
    settings = rare | ({"rare_share": 0.2} if rare else {})
    splits = [draw_split(made_up([16, 40, 90]), seed, labels, **settings) for seed in range(40)]
    labelled = [set(members(split.labelled)) for split in splits]
    shared = [len(one & other) for i, one in enumerate(labelled) for other in labelled[:i]]
    assert len({split.overlap for split in splits}) == 1
    assert splits[0].overlap == pytest.approx(np.mean(shared) / len(labelled[0]), abs=0.02)
    assert (splits[0].overlap == 1) == (labels == "all")


@given(class_sizes, seeds, st.integers(1, 5) | st.just("all"))
def test_the_parts_are_disjoint_and_together_everything(sizes, seed, labels):
    source = made_up(sizes)
    split = draw_split(source, seed, labels)
    together = [index for name in PARTS for index in members(getattr(split, name))]
    assert sorted(together) == list(range(sum(sizes)))
    for name in PARTS:
        part = getattr(split, name)
        assert part.labels.tolist() == source.images.labels[members(part)].tolist()
    assert split.test_indices.tolist() == members(split.test)


@given(class_sizes, seeds, st.integers(1, 5), st.integers(0, 3))
def test_every_class_has_exactly_what_was_asked_for(sizes, seed, labels, validation_per_class):
    split = draw_split(made_up(sizes), seed, labels, validation_per_class)
    assert counts(split.labelled) == [labels] * len(sizes)
    assert counts(split.validation) == [validation_per_class] * len(sizes)
    assert len(split.test) == np.ceil(0.2 * sum(sizes))


@given(class_sizes, seeds)
def test_by_default_a_fifth_of_a_class_and_at_most_20_images_are_for_validation(sizes, seed):
    split = draw_split(made_up(sizes), seed, "all")
    training = [total - test for total, test in zip(sizes, counts(split.test), strict=True)]
    assert counts(split.validation) == [min(20, number // 5) for number in training]
    assert len(split.pool) == 0


@given(class_sizes, seeds, st.integers(1, 2), st.integers(3, 5))
def test_a_small_labelled_set_lies_inside_a_large_one(sizes, seed, few, more):
    source = made_up(sizes)
    small, large = (set(members(draw_split(source, seed, number).labelled)) for number in (few, more))
    assert small < large < set(members(draw_split(source, seed, "all").labelled))


@given(class_sizes, seeds, seeds, st.integers(1, 5))
def test_test_and_validation_move_neither_with_the_seed_nor_with_the_number_of_labels(sizes, one, other, number):
    source = made_up(sizes)
    first, second = draw_split(source, one, number), draw_split(source, other, "all")
    assert members(first.test) == members(second.test)
    assert members(first.validation) == members(second.validation)


@given(class_sizes, seeds)
def test_a_split_can_be_drawn_again(sizes, seed):
    one, again = (draw_split(made_up(sizes), seed, 3) for _ in range(2))
    assert one.hash == again.hash
    assert [members(getattr(one, name)) for name in PARTS] == [members(getattr(again, name)) for name in PARTS]


def draw_from_pool(pool, counts, seed):
    return Views(SimpleNamespace(pool=pool), "pool_labels", seed).labelled_pool(counts)


@given(class_sizes, seeds)
def test_a_draw_from_the_pool_has_what_was_asked_for_and_lies_inside_a_larger_one(sizes, seed):
    pool = draw_split(made_up(sizes), seed, 1).pool
    few, more = (pool.class_counts.minimum(torch.tensor(number)) for number in (2, 6))
    small, large = (draw_from_pool(pool, wanted, seed) for wanted in (few, more))
    assert (small.class_counts.tolist(), large.class_counts.tolist()) == (few.tolist(), more.tolist())
    assert set(members(small)) <= set(members(large)) <= set(members(pool))
    assert len(set(members(large))) == len(large)
    labels = dict(zip(members(pool), pool.labels.tolist(), strict=True))
    assert [labels[index] for index in members(large)] == large.labels.tolist()


def test_a_draw_from_the_pool_follows_the_seed():
    pool = draw_split(made_up([60, 60]), 0, 1).pool
    one, again, other = (draw_from_pool(pool, torch.tensor([10, 10]), seed) for seed in (0, 0, 1))
    assert members(one) == members(again) != members(other)


def test_images_without_a_label_are_not_drawn_from_the_pool():
    pool = draw_split(made_up([20, 20]), 0, 1).pool
    pool = ImageSet(pool.images, pool.labels.where(pool.labels == 1, -1), pool.class_names)
    assert counts(draw_from_pool(pool, torch.tensor([0, 3]), 0)) == [0, 3]


def test_the_hash_tells_splits_apart():
    source = made_up([40, 40])
    hashes = [draw_split(source, 0, 5).hash, draw_split(source, 1, 5).hash, draw_split(source, 0, 6).hash]
    hashes.append(draw_split(source, 0, 5, validation_per_class=3).hash)
    assert len(set(hashes)) == 4


@given(seeds)
def test_test_images_of_the_source_are_kept(seed):
    own = [3, 10, 11, 50]
    split = draw_split(made_up([30, 30], own), seed, 5, test_share=None)
    assert members(split.test) == split.test_indices.tolist() == own


def test_the_test_digits_are_those_of_scikit_learns_tutorials():
    labels = load_digits().target
    reference = train_test_split(np.arange(1797), test_size=0.2, random_state=42, stratify=labels)[1]
    split = draw_split(digits(), 0, 5)
    assert split.test_indices.tolist() == sorted(reference.tolist())
    assert len(split.test) == 360
    assert counts(split.labelled) == [5] * 10
    assert counts(split.validation) == [20] * 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"^seeds\.split=-1: use a whole number of at least 0$"),
        ({"labels": 0}, r"^labels=0: use a whole number of at least 1, "),
        ({"labels": "many"}, r"^labels=many: use a whole number of at least 1"),
        ({"labels": 14}, r"labels=14, but class 'class1' has 13 training images; use at most 13"),
        ({"validation_per_class": -1}, r"^validation_per_class=-1: use a whole number of at least 0$"),
        (
            {"validation_per_class": 16},
            r"validation_per_class=16, but class 'class1' has 16 training images; use at most 15",
        ),
        ({"test_share": 0.0}, r"^data\.test_share=0\.0: use a number above 0 and at most 0\.9$"),
        ({"test_share": 1.0}, r"^data\.test_share=1\.0: use a number above 0 and at most 0\.9$"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        draw_split(made_up([40, 20]), **{"seed": 0, "labels": 5, **changes})


def with_copies(sizes, copies, own_test=()):
    """Made-up images, some of which look like others: (index, of which index)."""
    source = made_up(sizes, own_test)
    pixels = source.images.images.clone()
    for copy, original in copies:
        pixels[copy] = pixels[original]
    return Source(ImageSet(pixels, source.images.labels, source.images.class_names), source.test)


@given(class_sizes, seeds, st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=8))
def test_identical_images_stay_in_one_part(sizes, seed, copies):
    split = draw_split(with_copies(sizes, copies), seed, 2)
    parts = [set(members(getattr(split, name))) for name in PARTS]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert sum(len(getattr(split, name)) for name in PARTS) == sum(sizes)


@given(st.lists(st.integers(2, 60), min_size=2, max_size=5), st.sampled_from([0.05, 0.2, 0.5, 0.8]))
def test_every_class_has_an_image_to_train_on_and_one_to_test_on(sizes, share):
    assume(len(sizes) <= np.ceil(share * sum(sizes)) <= sum(sizes) - len(sizes))
    split = draw_split(made_up(sizes), 0, "all", test_share=share)
    assert min(counts(split.test)) >= 1
    assert min(counts(split.labelled)) >= 1
    assert sum(len(getattr(split, name)) for name in PARTS) == sum(sizes)


def test_rare_images_that_are_left_out_do_not_come_back_as_copies():
    source = made_up([50, 50])
    pixels = source.images.images.repeat(2, 1, 1, 1)  # and each a second time, without a label
    labels = torch.cat([source.images.labels, torch.full((100,), -1)])
    twins = Source(ImageSet(pixels, labels, source.images.class_names))
    split = draw_split(twins, 0, "all", rare_classes=["class1"], rare_share=0.1)
    assert counts(split.pool) == [0, 0]
    assert len(split.pool) == 0


def test_copies_count_once():
    source = made_up([20, 20])
    pixels = source.images.images.repeat(2, 1, 1, 1)  # every image twice
    twice = Source(ImageSet(pixels, source.images.labels.repeat(2), source.images.class_names))
    split = draw_split(twice, 0, 5)
    assert counts(split.labelled) == [10, 10]
    once = draw_split(source, 0, 5)
    assert set(members(split.labelled)) == set(members(once.labelled))


def test_copies_across_parts_that_were_set_apart_stay_where_they_are():
    split = draw_split(with_copies([30, 30], [(3, 4)], own_test=[3, 10]), 0, "all")
    assert split.test_indices.tolist() == [3, 10]
    assert len(split.labelled) + len(split.validation) == 58


def test_validation_images_of_the_source_are_kept():
    source = made_up([30, 30])
    source = Source(source.images, validation=torch.tensor([1, 2, 3, 50]))
    split = draw_split(source, 0, 5)
    assert members(split.validation) == [1, 2, 3, 50]
    assert not set(members(split.test)) & {1, 2, 3, 50}
    with pytest.raises(
        ValueError, match=r"validation_per_class=5, but these images have a validation set of their own"
    ):
        draw_split(source, 0, 5, validation_per_class=5)


@given(class_sizes, seeds, st.sampled_from([0.1, 0.5, 1.0]))
def test_a_fraction_of_each_class_is_labelled(sizes, seed, fraction):
    split, everything = (draw_split(made_up(sizes), seed, f"{100 * share:g}%") for share in (fraction, 1.0))
    assert counts(split.labelled) == [max(1, round(fraction * number)) for number in counts(everything.labelled)]
    assert set(members(split.labelled)) <= set(members(everything.labelled))


def test_of_rare_classes_a_share_is_kept():
    budget = {"rare_classes": ["class1"], "rare_share": 0.1}
    full, rare = (draw_split(made_up([60, 60, 60]), 3, 20, **changes) for changes in ({}, budget))
    assert counts(full.labelled) == [20, 20, 20]
    assert counts(rare.labelled) == [20, 2, 20]
    assert counts(rare.pool) == [
        round(number * share) for number, share in zip(counts(full.pool), (1, 0.1, 1), strict=True)
    ]
    assert members(rare.test) == members(full.test)
    assert members(rare.validation) == members(full.validation)
    rarer = draw_split(made_up([60, 60, 60]), 3, 20, rare_classes=["class1"], rare_share=0.01)
    assert counts(rarer.labelled) == [20, 1, 20]
    assert set(members(rarer.labelled)) < set(members(rare.labelled)) < set(members(full.labelled))


@given(class_sizes, seeds)
def test_images_without_a_label_are_in_the_pool_and_nowhere_else(sizes, seed):
    source = made_up(sizes)
    labels = source.images.labels.clone()
    labels[::4] = -1
    assume(torch.bincount(labels[labels >= 0], minlength=len(sizes)).min() >= 5)
    split = draw_split(Source(ImageSet(source.images.images, labels, source.images.class_names)), seed, 1)
    unlabelled = set((labels < 0).nonzero().squeeze(1).tolist())
    assert unlabelled <= set(members(split.pool))
    assert sum(len(getattr(split, name)) for name in PARTS) == sum(sizes)


def test_an_image_without_a_label_that_copies_a_test_image_is_in_no_part():
    source = made_up([30, 30])
    in_test = draw_split(source, 0, "all").test_indices[0]
    pixels = torch.cat([source.images.images, source.images.images[in_test][None]])
    labels = torch.cat([source.images.labels, torch.tensor([-1])])
    split = draw_split(Source(ImageSet(pixels, labels, source.images.class_names)), 0, "all")
    assert sum(len(getattr(split, name)) for name in PARTS) == 60
    assert members(split.test).count(int(in_test)) == 1


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"labels": None}, r"labels=None: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": "150%"}, r"labels=150%: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": "0%"}, r"labels=0%: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": "some%"}, r"labels=some%: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": 0.5}, r"labels=0\.5: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": True}, r"labels=True: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        ({"labels": 5, "rare_share": 0.5}, r"imbalance\.share=0\.5, but imbalance\.classes names no class"),
        ({"labels": 5, "rare_classes": ["a"]}, r"imbalance\.share=None: use a number above 0"),
        ({"labels": 5, "rare_classes": "a", "rare_share": 0.5}, r"imbalance\.classes=a: use a list"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(budget, message):
    with pytest.raises(ValueError, match=message):
        SplitSettings(0, **budget)


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        (
            [40, 1],
            {},
            r"^class 'class1' has fewer than 2 different images: one is needed to train on and one to test on",
        ),
        ([40, 1, 1], {}, r"^2 classes \('class1', 'class2'\) have fewer than 2 different images"),
        (
            [3] * 10,
            {},
            r"test_share=0\.2 of 30 images is 6, but .* each of the 10 classes: use a share from 0\.34 to 0\.66",
        ),
        (
            [40, 40],
            {"rare_classes": ["cat"], "rare_share": 0.5},
            r"imbalance\.classes names cat: use some of class0, class1",
        ),
    ],
)
def test_too_few_images_or_unknown_classes_are_named(sizes, changes, message):
    with pytest.raises(ValueError, match=message):
        draw_split(made_up(sizes), 0, 1, **changes)


def test_a_class_with_nothing_but_test_images_is_named():
    source = made_up([20, 20])
    own = (source.images.labels == 1).nonzero().squeeze(1).tolist()
    with pytest.raises(ValueError, match=r"^class 'class1' has no training image"):
        draw_split(made_up([20, 20], own), 0, 1)


@pytest.mark.parametrize(
    ("names", "said", "expected"),
    [
        (["1_1", "1_2"], [11], "1_1"),  # as Hydra and YAML read 1_1, 1e3, no, 01, null
        (["1e3", "2e3"], [1000.0], "1e3"),
        (["no", "yes"], [False], "no"),
        (["01", "10"], [1], "01"),
        (["null", "zero"], [None], "null"),
        (["1_1", "11"], [11], "11"),
        (["Café", "Bar"], ["cafe\u0301 "], "Café"),
    ],
)
def test_a_class_may_be_named_as_hydra_reads_its_name(names, said, expected):
    labels = torch.arange(2).repeat_interleave(20)
    images = ImageSet(torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 2, 2), labels, names)
    split = draw(Source(images), SplitSettings(0, "all", rare_classes=said, rare_share=0.5))
    counts = dict(zip(names, split.labelled.class_counts.tolist(), strict=True))
    assert counts.pop(expected) < min(counts.values())


def test_a_rare_class_that_is_none_is_named():
    images = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ["True", "1_1"])
    for said in (1, [], {}):
        with pytest.raises(ValueError, match=r"imbalance\.classes names .*: use some of True, 1_1"):
            draw(Source(images), SplitSettings(0, "all", rare_classes=[said], rare_share=0.5))


def test_a_class_of_identical_images_is_said_to_have_few():
    pixels = torch.arange(40, dtype=torch.uint8)
    pixels[23:] = 99  # most images of one class came out alike
    images = ImageSet(pixels.view(-1, 1, 1, 1).repeat(1, 1, 2, 2), torch.arange(2).repeat_interleave(20), ["a", "b"])
    with pytest.raises(
        ValueError, match=r"labels=5, but class 'b' has 3 training images \(identical ones count once\); use"
    ):
        draw(Source(images), SplitSettings(0, 5))
