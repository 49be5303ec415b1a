import math

import numpy as np
import pytest
import torch

from gan_augment.metrics.validators import (
    cluster_agreement,
    embedded_risk,
    information,
    negative_entropy,
    neighbourhood_density,
    nuclear_norm,
    reduced,
)


def predictions(sharpness, labels, num_classes=3):
    """Return probabilities for these classes, the sharper the surer."""
    return (sharpness * torch.eye(num_classes)[labels]).softmax(dim=1)


@pytest.mark.parametrize("score", [negative_entropy, information, nuclear_norm])
def test_certain_predictions_of_all_classes_score_higher(score):
    labels = torch.arange(30) % 3
    assert score(predictions(8.0, labels)) > score(predictions(1.0, labels))


@pytest.mark.parametrize("score", [information, nuclear_norm])
def test_predictions_of_a_single_class_score_low(score):
    assert score(predictions(8.0, torch.zeros(30).long())) < score(predictions(8.0, torch.arange(30) % 3))


def test_the_information_of_perfect_predictions_is_the_logarithm_of_the_classes():
    assert information(torch.eye(4)) == pytest.approx(math.log(4))
    assert information(torch.full((5, 4), 0.25)) == pytest.approx(0.0, abs=1e-6)


def test_neighbourhoods_of_three_clusters_are_dense():
    labels = torch.arange(30) % 3
    assert neighbourhood_density(predictions(8.0, labels)) == pytest.approx(math.log(9), abs=0.01)


def test_the_embedded_risk_of_one_domain_is_about_the_mean_loss():
    random = torch.Generator().manual_seed(0)
    training, validation, target = (torch.randn(300, 4, generator=random) for _ in range(3))
    losses = torch.rand(300, generator=random)
    assert embedded_risk(training, validation, target, losses) == pytest.approx(-float(losses.mean()), abs=0.03)


def test_the_embedded_risk_counts_images_like_those_of_the_target():
    training = torch.tensor([[-1.0], [-0.9], [-1.1], [1.0]] * 50)
    target = torch.tensor([[1.0], [0.9], [1.1], [-1.0]] * 50)
    validation = torch.tensor([[-1.0], [1.0]] * 50)
    wrong_there, wrong_here = torch.tensor([0.0, 1.0] * 50), torch.tensor([1.0, 0.0] * 50)
    assert embedded_risk(training, validation, target, wrong_there) < embedded_risk(
        training, validation, target, wrong_here
    )


def test_clusters_agree_with_the_classes_that_made_them_and_not_with_chance():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = 10 * torch.eye(3)[labels] + 0.1 * torch.randn(90, 3, generator=random)
    assert cluster_agreement(features, labels, 3) == pytest.approx(1.0)
    shuffled = labels[torch.randperm(90, generator=random)]
    assert abs(cluster_agreement(features, shuffled, 3)) < 0.1


def test_few_dimensions_keep_the_distances_of_features_that_lie_in_them():
    random = torch.Generator().manual_seed(0)
    flat = torch.randn(50, 5, generator=random) @ torch.randn(5, 400, generator=random)
    state = torch.random.get_rng_state()
    one, other = reduced(flat[:20], flat[20:])
    assert torch.random.get_rng_state().equal(state)
    assert [len(one), len(other)] == [20, 30]
    before, after = torch.pdist(flat), torch.pdist(torch.cat([one, other]))
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert torch.cat([one, other]).square().mean() == pytest.approx(1.0, abs=1e-4)
