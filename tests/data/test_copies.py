import torch

from gan_augment.data.copies import copy_notes, find_copies
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source


def source(levels, labels=None, **parts):
    pixels = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None]
    labels = torch.zeros(len(levels), dtype=torch.int64) if labels is None else torch.tensor(labels)
    indices = {name: torch.tensor(members) for name, members in parts.items()}
    names = [f"{index}.png" for index in range(len(levels))]
    return Source(ImageSet(pixels, labels, ["a", "b"]), names=names, **indices)


def notes(one):
    return copy_notes(one, find_copies(one))


def test_a_set_without_copies_says_nothing():
    assert find_copies(source([1, 2, 3])) == []
    assert notes(source([1, 2, 3])) == []


def test_copies_in_a_set_that_nobody_split():
    one = source([1, 2, 1, 3, 2, 1])
    assert find_copies(one) == [[0, 2, 5], [1, 4]]
    assert notes(one) == [
        "identical images stay in one part of every split (2 groups): 0.png = 2.png = 5.png; 1.png = 4.png"
    ]


def test_copies_across_the_parts_of_a_set_that_was_split():
    one = source([1, 2, 1, 3, 2, 4, 4], test=[2], validation=[3])
    assert find_copies(one) == [[0, 2]]  # the other two pairs are for training only
    assert notes(one) == [
        "identical images are in more than one of training, validation and test, so results may be too good "
        "(1 group): 0.png = 2.png"
    ]


def test_copies_with_different_labels():
    said = notes(source([1, 1, 2, 2, 3, 3], labels=[0, 1, 0, 0, 1, -1]))
    assert said[1] == "identical images have different labels (1 group): 0.png = 1.png"


def test_a_sentence_names_five_and_no_more():
    (said,) = notes(source([*range(9), *range(9)]))
    assert said.startswith("identical images stay in one part of every split (9 groups)")
    assert said.count("=") == 5
    assert said.endswith("; ...")
