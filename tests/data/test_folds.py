from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_split import PARTS, class_sizes, counts, made_up, members, with_copies

from gan_augment.data.source import Source
from gan_augment.data.split import SplitSettings, draw_split


def splits(source, folds, seeds, labels="all", **settings):
    return [draw_split(source, SplitSettings(seed, labels, folds=folds, **settings)) for seed in seeds]


@given(class_sizes, st.integers(2, 8), st.integers(0, 3))
def test_every_image_is_tested_once_in_each_repetition(sizes, folds, repetition):
    drawn = splits(made_up(sizes), folds, range(folds * repetition, folds * (repetition + 1)))
    tested = [index for split in drawn for index in members(split.test)]
    assert sorted(tested) == list(range(sum(sizes)))
    for label, size in enumerate(sizes):
        in_folds = [counts(split.test)[label] for split in drawn]
        assert set(in_folds) <= {size // folds, -(-size // folds)}
    assert all(split.test_indices.tolist() == members(split.test) for split in drawn)


@given(class_sizes, st.integers(2, 8), st.integers(0, 40), st.sampled_from(["all", "20%", 2]))
def test_the_parts_are_disjoint_and_together_everything(sizes, folds, seed, labels):
    (split,) = splits(made_up(sizes), folds, [seed], labels)
    parts = {name: members(getattr(split, name)) for name in PARTS}
    assert sorted(index for part in parts.values() for index in part) == list(range(sum(sizes)))
    assert sorted(members(split.training)) == sorted(parts["labelled"] + parts["pool"])
    assert (len(split.pool) == 0) == (labels == "all")


def test_repetitions_divide_anew_and_a_fold_can_be_drawn_again():
    drawn = splits(made_up([30, 30]), 5, range(10))
    tests = [frozenset(members(split.test)) for split in drawn]
    assert len(set(tests)) == len({split.hash for split in drawn}) == 10
    again = splits(made_up([30, 30]), 5, range(10), labels="40%")
    assert [frozenset(members(split.test)) for split in again] == tests
    assert [members(split.validation) for split in again] == [members(split.validation) for split in drawn]


@given(class_sizes, st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=8), st.integers(0, 40))
def test_copies_stay_together(sizes, copies, seed):
    source = with_copies(sizes, copies)
    (split,) = splits(source, 2, [seed])
    parts = [set(members(getattr(split, name))) for name in PARTS]  # a copy carries the index of its original
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert sum(len(getattr(split, name)) for name in PARTS) == sum(sizes)


@pytest.mark.parametrize("labels", ["all", "40%"])
def test_the_overlap_is_the_share_of_labelled_images_that_another_repetition_labels_too(labels):
    drawn = [splits(made_up([50, 90]), 5, [seed], labels)[0] for seed in range(0, 200, 5)]
    labelled = [set(members(split.labelled)) for split in drawn]
    shared = [len(one & other) for i, one in enumerate(labelled) for other in labelled[:i]]
    assert drawn[0].overlap == pytest.approx(np.mean(shared) / len(labelled[0]), abs=0.04)


def test_images_of_the_source_for_validation_are_in_no_fold():
    source = made_up([30, 30])
    source = Source(source.images, validation=torch.tensor([1, 2, 3, 50]))
    drawn = splits(source, 5, range(5))
    assert all(members(split.validation) == [1, 2, 3, 50] for split in drawn)
    tested = [index for split in drawn for index in members(split.test)]
    assert sorted(tested) == sorted(set(range(60)) - {1, 2, 3, 50})


@pytest.mark.parametrize(
    ("own_test", "settings", "message"),
    [
        ((), {"folds": 1}, r"^folds=1: use a whole number of at least 2$"),
        ((), {"folds": 2.5}, r"^folds=2\.5: use a whole number of at least 2$"),
        ((), {"folds": 13}, r"^folds=13, but class 'class1' has 12 different images, and each fold needs one: use few"),
        ((), {"folds": 5, "test_share": 0.2}, r"^folds=5 and data\.test_share=0\.2: .*, so set data\.test_share=null"),
        ((3, 40), {"folds": 5}, r"^folds=5, but these images have a test set of their own: use folds=null$"),
    ],
)
def test_folds_that_cannot_be_are_refused(own_test, settings, message):
    with pytest.raises(ValueError, match=message):
        draw_split(made_up([40, 12], own_test), SplitSettings(0, "all", **settings))


@pytest.mark.parametrize(
    ("sizes", "own", "settings", "folds", "labels"),
    [
        ([500, 499], True, {}, 5, "all"),
        ([500, 500], True, {}, None, "all"),  # enough to hold some out
        ([30, 5], True, {}, 5, "all"),
        ([30, 4], True, {}, None, "all"),  # a fold would lack the class
        ([30, 30], True, {"test_share": 0.2}, None, "all"),
        ([30, 30], True, {"folds": None, "labels": 7}, None, 7),
        ([30, 30], True, {"folds": 3, "labels": "10%"}, 3, "10%"),
        ([30, 30], False, {}, None, 5),
        ([30, 30], False, {"folds": 3}, 3, "all"),
    ],
)
def test_all_labels_of_own_images_are_used_and_few_of_them_are_tested_in_folds(sizes, own, settings, folds, labels):
    source = replace(made_up(sizes), is_own=own)
    settled = SplitSettings(**{"seed": 0, "labels": "auto", "folds": "auto"} | settings).settled(source)
    assert (settled.folds, settled.labels) == (folds, labels)
    with_test = replace(source, test=torch.tensor([0, len(source.images) - 1]))
    if "folds" not in settings:
        assert SplitSettings(0, "auto", folds="auto").settled(with_test).folds is None


def test_folds_are_chosen_by_the_images_that_they_divide():
    source = replace(made_up([30, 6]), is_own=True)
    assert SplitSettings(0, "auto", folds="auto").settled(source).folds == 5
    with_validation = replace(source, validation=(source.images.labels == 1).nonzero()[:2, 0])
    assert SplitSettings(0, "auto", folds="auto").settled(with_validation).folds is None


def test_groups_and_copies_count_once_where_folds_are_chosen():
    images = made_up([30, 30])
    patients = [f"patient {number % 4}" for number in range(60)]
    assert SplitSettings(0, "auto", folds="auto").settled(replace(images, is_own=True)).folds == 5
    grouped = replace(images, is_own=True, groups=patients)
    assert SplitSettings(0, "auto", folds="auto").settled(grouped).folds is None
