import math

import pytest
import torch
from torch.nn.functional import normalize

from gan_augment.losses.contrastive import data_to_data_cross_entropy


def unit_vectors(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def slowly(features, proxies, labels, margin, temperature):
    """The formula of the paper, image by image."""
    total = 0.0
    for i in range(len(labels)):
        attraction = math.exp(min(float(features[i] @ proxies[i]) - margin, 0) / temperature)
        repulsion = sum(
            math.exp(max(float(features[i] @ features[j]) - (1 - margin), 0) / temperature)
            for j in range(len(labels))
            if labels[j] != labels[i]
        )
        total -= math.log(attraction / (attraction + repulsion))
    return total / len(labels)


@pytest.mark.parametrize(("margin", "temperature"), [(0.98, 0.5), (0.7, 0.1), (1.0, 2.0)])
def test_it_is_the_formula_of_the_paper(margin, temperature):
    labels = torch.tensor([0, 1, 1, 2, 0, 2, 2])
    features, proxies = unit_vectors(7, 3), unit_vectors(3, 3, seed=1)[labels]
    found = data_to_data_cross_entropy(features, proxies, labels, margin, temperature)
    assert found.item() == pytest.approx(slowly(features, proxies, labels, margin, temperature))
    several, twice = unit_vectors(7, 2, 3), unit_vectors(3, 3, seed=1)[labels][:, None].expand(7, 2, 3)
    found = data_to_data_cross_entropy(several, twice, labels, margin, temperature)
    each = [slowly(several[:, judge], proxies, labels, margin, temperature) for judge in range(2)]
    assert found.item() == pytest.approx(sum(each) / 2)


def test_by_hand_at_its_limits():
    axes = torch.eye(2)
    # Each image at its proxy and square to the other one: a = 1 and b = exp(0).
    labels = torch.tensor([0, 1])
    assert data_to_data_cross_entropy(axes, axes, labels, 0.98, 0.5).item() == pytest.approx(math.log(2))
    # All images at one place, square to the proxies: a = exp(-.98 / .5), b = exp(.98 / .5).
    same, away = axes[[0, 0]], axes[[1, 1]]
    expected = math.log(1 + math.exp(2 * 0.98 / 0.5))
    assert data_to_data_cross_entropy(same, away, labels, 0.98, 0.5).item() == pytest.approx(expected)
    # Without an image of another label, there is nothing to tell apart.
    assert data_to_data_cross_entropy(axes, away, torch.tensor([0, 0]), 0.98, 0.5).item() == 0


def test_its_gradient():
    labels = torch.tensor([0, 1, 1, 2])
    features, proxies = unit_vectors(4, 2, 3).requires_grad_(), unit_vectors(4, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *two: data_to_data_cross_entropy(*two, labels, 0.9, 0.5), (features, proxies)
    )
