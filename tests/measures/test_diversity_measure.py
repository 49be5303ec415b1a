from types import SimpleNamespace

import pytest
import torch

from gan_augment.data.standard_sets import digits
from gan_augment.data.toy import ring
from gan_augment.measures.diversity import Diversity
from gan_augment.records.findings import Findings


@pytest.fixture(scope="module")
def halves():
    """Two halves of the digits."""
    images = digits(image_size=16).images
    return images.subset(torch.arange(0, 1797, 2)), images.subset(torch.arange(1, 1797, 2))


def diversity_metrics(real, synthetic):
    return Diversity().find(SimpleNamespace(real=real, synthetic=synthetic, why_alike="Mode collapse"))


def measured(real, synthetic):
    """Return the metrics and the warnings."""
    found = diversity_metrics(real, synthetic)
    assert [*found.metrics] == ["gan"]
    return found.metrics["gan"], found.warnings


def test_real_images_beside_real_ones_are_as_diverse(halves):
    metrics, warnings = measured(*halves)
    assert metrics["diversity"] == pytest.approx(1, abs=0.03)
    assert warnings == ()


def test_a_generator_that_repeats_itself_is_warned_of(halves):
    real, other = halves
    first = torch.tensor([int((other.labels == label).nonzero()[0]) for label in range(10)])
    metrics, (warning,) = measured(real, other.subset(first[other.labels]))
    assert metrics["diversity"] == 0
    assert warning.startswith("Mode collapse in 10 of 10 classes (0, 1, 2")


def test_diversity_is_told_class_by_class(halves):
    real, other = halves
    sevens = (other.labels == 7).nonzero().squeeze(1)
    collapsed = torch.arange(len(other))
    collapsed[sevens] = sevens[0]
    metrics, (warning,) = measured(real, other.subset(collapsed))
    ratios = metrics["diversity_per_class"]
    assert ratios.pop("7") == 0
    assert list(ratios.values()) == pytest.approx([1] * 9, abs=0.1)
    assert metrics["diversity"] == pytest.approx(sum(ratios.values()) / 10)
    assert warning.startswith("Mode collapse in 1 of 10 classes (7)")


def test_a_class_that_cannot_be_compared_has_no_ratio(halves):
    real, other = halves
    one = torch.cat([(real.labels != 3).nonzero().squeeze(1), (real.labels == 3).nonzero()[0]])
    metrics, _ = measured(real.subset(one), other)
    assert metrics["diversity_per_class"]["3"] is None
    assert metrics["diversity"] == pytest.approx(1, abs=0.05)


def test_images_in_a_file_are_as_diverse(halves, mapped):
    real, other = halves
    assert diversity_metrics(mapped(real), other) == diversity_metrics(real, other)


def test_one_image_a_class_has_no_diversity(image_set):
    metrics, warnings = measured(image_set(), image_set(per_class=1))
    assert (metrics["diversity"], set(metrics["diversity_per_class"].values()), warnings) == (None, {None}, ())


def test_pictures_are_measured_and_points_are_not(halves):
    assert set(diversity_metrics(*halves).metrics) == {"gan"}
    points = ring(100).images
    assert diversity_metrics(points, points) == Findings()
