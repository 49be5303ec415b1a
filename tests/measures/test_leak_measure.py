import dataclasses
from types import SimpleNamespace

import pytest
import torch

from conftest import GAN_NODES, gan_stage
from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.data.image_set import from_float, to_float
from gan_augment.data.standard_sets import digits
from gan_augment.measures.leak import FEWEST_REAL, AugmentationLeak
from gan_augment.records.findings import Findings


@pytest.fixture(scope="module")
def halves():
    """Two halves of the digits."""
    images = digits(image_size=16).images
    return images.subset(torch.arange(0, 1797, 2)), images.subset(torch.arange(1, 1797, 2))


def with_holes(images):
    """Return images with the holes of a leaking augmentation."""
    augment = DiffAugment(brightness=0, saturation=0, contrast=0, translation=0, cutout=0.5)
    pixels = from_float(augment(to_float(images.images), torch.Generator().manual_seed(0)))
    return dataclasses.replace(images, images=pixels)


def leak_warnings(real, synthetic, cutout):
    nodes = GAN_NODES | {
        "discriminator_augmentation": GAN_NODES["discriminator_augmentation"] | {"cutout": cutout},
    }
    stages = {"gan": gan_stage(real, nodes)}
    return AugmentationLeak().find(SimpleNamespace(real=real, synthetic=synthetic, stages=stages))


def test_real_images_beside_real_ones_leave_no_trace(halves):
    assert leak_warnings(*halves, cutout=0.5) == Findings()


def test_traces_of_the_augmentation_are_warned_of_where_there_is_one(halves):
    real, other = halves
    (warning,) = leak_warnings(real, with_holes(other), cutout=0.5).warnings
    assert warning.startswith("Leak of the discriminator's augmentation: cutout:")
    assert leak_warnings(real, with_holes(other), cutout=0) == Findings()


def test_unequal_classes_are_compared_in_the_same_proportions(halves):
    """Dark and bright classes in other proportions would look like a wider spread of brightness."""
    real, other = halves
    rare = torch.cat([(real.labels < 5).nonzero().squeeze(1), (real.labels >= 5).nonzero().squeeze(1)[::10]])
    assert leak_warnings(real.subset(rare), other, cutout=0.5) == Findings()


def test_images_in_a_file_leave_the_same_traces(halves, mapped):
    real, other = halves
    leaky = with_holes(other)
    found = leak_warnings(mapped(real), leaky, cutout=0.5)
    assert found == leak_warnings(real, leaky, cutout=0.5)
    assert found.warnings


def test_too_few_real_images_tell_nothing(halves):
    real, other = halves
    zeros = (real.labels == 0).nonzero().squeeze(1)
    assert leak_warnings(real.subset(zeros[: FEWEST_REAL - 1]), with_holes(other), cutout=0.5) == Findings()
