import math

import pytest
import torch
from scipy.spatial.distance import pdist

from gan_augment.data.image_set import ImageSet
from gan_augment.metrics.diversity import MAX_IMAGES, class_diversity, collapse_warning


def diversity(images, labels, num_classes):
    return class_diversity(ImageSet(images, labels, range(num_classes)))


def noise(count, seed=0, shape=(3, 9, 9)):
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 9)], ids=str)
def test_scipy_agrees(shape):
    images, labels = noise(60, shape=shape), torch.arange(60) % 3
    reference = [
        pdist(images[labels == label].flatten(1).double().numpy() / 255).mean() / math.prod(shape) ** 0.5
        for label in range(3)
    ]
    assert diversity(images, labels, 3).tolist() == pytest.approx(reference, rel=1e-12)


def test_black_and_white_are_at_distance_one_and_copies_at_none():
    images = torch.cat([torch.zeros(2, 1, 8, 8), torch.full((1, 1, 8, 8), 255)]).to(torch.uint8)
    assert diversity(images, torch.tensor([0, 0, 0]), 1).item() == pytest.approx(2 / 3)
    assert diversity(noise(1).repeat(20, 1, 1, 1), torch.zeros(20).long(), 1).item() == 0


def test_a_class_without_a_pair_has_no_diversity():
    found = diversity(noise(3), torch.tensor([0, 2, 2]), 3)
    assert found.isnan().tolist() == [True, True, False]


def test_the_first_images_of_a_large_class_are_compared():
    images = torch.cat([noise(MAX_IMAGES), noise(1).repeat(100, 1, 1, 1)])
    assert torch.equal(
        diversity(images, torch.zeros(len(images)).long(), 1),
        diversity(images[:MAX_IMAGES], torch.zeros(MAX_IMAGES).long(), 1),
    )


@pytest.mark.parametrize(("prototypes", "collapsed"), [(1, True), (2, True), (3, False), (20, False)])
def test_a_generator_of_m_images_has_one_mth_less_diversity_and_up_to_two_are_a_collapse(prototypes, collapsed):
    labels = torch.zeros(240).long()
    real = diversity(noise(240, shape=(1, 16, 16)), labels, 1)
    few = diversity(noise(prototypes, 1, (1, 16, 16)).repeat(240 // prototypes, 1, 1, 1), labels, 1)
    assert (few / real).item() == pytest.approx(1 - 1 / prototypes, abs=0.02)
    assert (collapse_warning(real, few, ["a"]) is not None) == collapsed


def test_the_warning_names_the_classes():
    real, made = torch.tensor([0.3, 0.3, 0.2, 0.4]), torch.tensor([0.29, 0.1, 0.2, 0.2])
    assert collapse_warning(real, made, ["cat", "dog", "emu", "fox"]) == (
        "Mode collapse in 2 of 4 classes (dog, fox): their generated images differ from each other less than 0.6 times "
        "as much as real ones"
    )


def test_the_warning_names_ten_classes_and_no_more():
    said = collapse_warning(torch.ones(12), torch.zeros(12), [str(label) for label in range(12)])
    assert "12 of 12 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)" in said


@pytest.mark.parametrize(("real", "made"), [(0.3, 0.3), (0.3, 0.5), (math.nan, 0.0), (0.3, math.nan), (0.0, 0.0)])
def test_no_warning_without_collapse_or_without_a_pair_to_judge_by(real, made):
    assert collapse_warning(torch.tensor([real]), torch.tensor([made]), ["a"]) is None


def test_the_real_digits_do_not_look_collapsed_beside_themselves():
    from gan_augment.data.standard_sets import digits

    images = digits().images
    whole = diversity(images.images, images.labels, 10)
    random, alarms = torch.Generator().manual_seed(0), 0
    for _ in range(100):  # ten images a class, drawn anew
        some = torch.cat(
            [
                rows[torch.randperm(len(rows), generator=random)[:10]]
                for rows in ((images.labels == label).nonzero()[:, 0] for label in range(10))
            ]
        )
        alarms += (
            collapse_warning(whole, diversity(images.images[some], images.labels[some], 10), range(10)) is not None
        )
    assert alarms <= 5
