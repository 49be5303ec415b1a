import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gan_augment.data.image_set import ImageSet
from gan_augment.data.sources import Source, digits
from gan_augment.data.split import draw_split

PARTS = ("labelled", "pool", "validation", "test")

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


@given(class_sizes, seeds, st.integers(1, 5) | st.just("all"))
def test_the_parts_are_disjoint_and_together_everything(sizes, seed, labels_per_class):
    source = made_up(sizes)
    split = draw_split(source, seed, labels_per_class)
    together = [index for name in PARTS for index in members(getattr(split, name))]
    assert sorted(together) == list(range(sum(sizes)))
    for name in PARTS:
        part = getattr(split, name)
        assert part.labels.tolist() == source.images.labels[members(part)].tolist()
    assert split.test_indices.tolist() == members(split.test)


@given(class_sizes, seeds, st.integers(1, 5), st.integers(0, 3))
def test_every_class_has_exactly_what_was_asked_for(sizes, seed, labels_per_class, validation_per_class):
    split = draw_split(made_up(sizes), seed, labels_per_class, validation_per_class)
    assert counts(split.labelled) == [labels_per_class] * len(sizes)
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
        ({"labels_per_class": 0}, r"^labels_per_class=0: use a whole number of at least 1$"),
        ({"labels_per_class": "many"}, r"^labels_per_class=many: use a whole number of at least 1"),
        ({"labels_per_class": 14}, r"labels_per_class=14, but class 'class1' has 13 training images; use at most 13"),
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
        draw_split(made_up([40, 20]), **{"seed": 0, "labels_per_class": 5, **changes})
