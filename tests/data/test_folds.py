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
