import dataclasses

import pytest
import torch
from gan_augment.metrics.signals import generator_signals

from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.data.image_set import to_float, to_uint8
from gan_augment.data.standard_sets import digits
from gan_augment.data.toy import ring


@pytest.fixture(scope="module")
def halves():
    """Two halves of the digits."""
    images = digits(image_size=16).images
    return images.subset(torch.arange(0, 1797, 2)), images.subset(torch.arange(1, 1797, 2))


def test_real_images_beside_real_ones_are_as_diverse_and_leave_no_trace(halves):
    metrics, warnings = generator_signals(*halves, cutout=0.5)
    assert metrics["diversity"] == pytest.approx(1, abs=0.03)
    assert warnings == []


def test_a_generator_that_repeats_itself_is_warned_of(halves):
    real, other = halves
    first = torch.tensor([int((other.labels == label).nonzero()[0]) for label in range(10)])
    metrics, (warning,) = generator_signals(real, other.subset(first[other.labels]), cutout=None)
    assert metrics["diversity"] == 0
    assert warning.startswith("Mode collapse in 10 of 10 classes (0, 1, 2")


def test_diversity_is_told_class_by_class(halves):
    real, other = halves
    sevens = (other.labels == 7).nonzero().squeeze(1)
    collapsed = torch.arange(len(other))
    collapsed[sevens] = sevens[0]
    metrics, (warning,) = generator_signals(real, other.subset(collapsed), cutout=None)
    ratios = metrics["diversity_per_class"]
    assert ratios.pop("7") == 0
    assert list(ratios.values()) == pytest.approx([1] * 9, abs=0.1)
    assert metrics["diversity"] == pytest.approx(sum(ratios.values()) / 10)
    assert warning.startswith("Mode collapse in 1 of 10 classes (7)")


def test_a_class_that_cannot_be_compared_has_no_ratio(halves):
    real, other = halves
    one = torch.cat([(real.labels != 3).nonzero().squeeze(1), (real.labels == 3).nonzero()[0]])
    metrics, _ = generator_signals(real.subset(one), other, cutout=None)
    assert metrics["diversity_per_class"]["3"] is None
    assert metrics["diversity"] == pytest.approx(1, abs=0.05)


def test_a_dropped_mode_is_warned_of():
    source = ring(2500)
    assert source.modes is not None
    metrics, warnings = generator_signals(source.images, source.images, None, source.modes)
    assert metrics["modes_found"] == 8
    assert warnings == []
    right = (source.images.images[:, 0, 0, 0] > -0.1).nonzero().squeeze(1)
    metrics, warnings = generator_signals(source.images, source.images.subset(right), None, source.modes)
    assert metrics["modes_found"] == 5
    assert warnings == ["Mode collapse: 3 of 8 modes have no sample near them"]


def test_traces_of_the_augmentation_are_warned_of_where_there_is_one(halves):
    real, other = halves
    augment = DiffAugment(brightness=0, saturation=0, contrast=0, translation=0, cutout=0.5)
    pixels = to_uint8(augment(to_float(other.images), torch.Generator().manual_seed(0)))
    leaky = dataclasses.replace(other, images=pixels)
    (warning,) = generator_signals(real, leaky, cutout=0.5)[1]
    assert warning.startswith("Leak of the discriminator's augmentation: cutout:")
    assert generator_signals(real, leaky, cutout=None)[1] == []


def test_unequal_classes_are_compared_in_the_same_proportions(halves):
    """Dark and bright classes in other proportions would look like a wider spread of brightness."""
    real, other = halves
    rare = torch.cat([(real.labels < 5).nonzero().squeeze(1), (real.labels >= 5).nonzero().squeeze(1)[::10]])
    assert generator_signals(real.subset(rare), other, cutout=0.5)[1] == []


def test_images_in_a_file_give_the_same_signals(halves, mapped):
    real, other = halves
    assert generator_signals(mapped(real), other, cutout=0.5) == generator_signals(real, other, cutout=0.5)


def test_one_image_a_class_has_no_diversity(image_set):
    metrics, warnings = generator_signals(image_set(), image_set(per_class=1), cutout=None)
    assert (metrics["diversity"], set(metrics["diversity_per_class"].values()), warnings) == (None, {None}, [])
