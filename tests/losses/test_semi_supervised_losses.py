import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from gan_augment.losses.semi_supervised import (
    conditional_entropy,
    fake_loss,
    feature_matching,
    pull_away,
    real_loss,
    virtual_adversarial,
)

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0], [-4.0, -5.0, -6.0]], dtype=torch.float64)


def with_fake_logit(logits, value=0.0):
    return torch.cat([logits, torch.full((len(logits), 1), value, dtype=logits.dtype)], dim=1)


def test_k_logits_are_k_plus_1_of_which_the_last_is_zero_by_hand():
    logits = torch.tensor([[math.log(2), math.log(5)]])  # Z = 7: real with probability 7/8, generated with 1/8
    assert real_loss(logits).item() == pytest.approx(-math.log(7 / 8))
    assert fake_loss(logits).item() == pytest.approx(-math.log(1 / 8))
    probabilities = with_fake_logit(logits).softmax(dim=1)
    assert probabilities.tolist()[0] == pytest.approx([2 / 8, 5 / 8, 1 / 8])


def test_k_logits_are_k_plus_1_for_any_logits():
    probabilities = with_fake_logit(LOGITS).softmax(dim=1)
    assert real_loss(LOGITS).item() == pytest.approx(-(1 - probabilities[:, -1]).log().mean().item())
    assert fake_loss(LOGITS).item() == pytest.approx(-probabilities[:, -1].log().mean().item())


def test_k_plus_1_logits_with_any_last_one_are_these_k_less_it():
    shifted = with_fake_logit(LOGITS + 2.5, value=2.5)
    expected = cross_entropy(shifted, torch.full((3,), 3))
    assert fake_loss(LOGITS).item() == pytest.approx(expected.item())


def test_the_class_given_that_an_image_is_real_is_the_softmax_of_the_k_logits():
    probabilities = with_fake_logit(LOGITS).softmax(dim=1)
    given_real = probabilities[:, :3] / (1 - probabilities[:, 3:])
    assert torch.allclose(given_real, LOGITS.softmax(dim=1))


def test_real_and_fake_losses_do_not_overflow():
    large = torch.tensor([[1e4, 0.0], [-1e4, -1e4]])
    assert fake_loss(large).item() == pytest.approx(5e3)
    assert real_loss(large).item() == pytest.approx(5e3, rel=1e-3)


@pytest.mark.parametrize("loss", [real_loss, fake_loss, conditional_entropy, pull_away])
def test_gradients_are_those_of_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, LOGITS.clone().requires_grad_())


def test_feature_matching_by_hand_and_its_gradient_in_the_generated_features_alone():
    real = torch.tensor([[1.0, 4.0], [3.0, 0.0]], requires_grad=True)  # means 2, 2
    fake = torch.tensor([[0.0, 1.0], [2.0, 1.0]], requires_grad=True)  # means 1, 1
    loss = feature_matching(real, fake)
    assert loss.item() == 1.0
    loss.backward()
    assert real.grad is None
    assert fake.grad.tolist() == [[-0.5, -0.5], [-0.5, -0.5]]


def test_the_entropy_is_largest_where_all_classes_are_as_likely_and_none_where_one_is_certain():
    assert conditional_entropy(torch.zeros(2, 4)).item() == pytest.approx(math.log(4))
    assert conditional_entropy(torch.tensor([[100.0, 0.0]])).item() == pytest.approx(0)


def test_pull_away_is_the_mean_squared_cosine_between_different_images():
    features = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])  # squared cosines 0, 1/2, 1/2, each twice
    assert pull_away(features).item() == pytest.approx(1 / 3)


def linear(weight):
    return lambda images: images.flatten(1) @ weight


def test_the_worst_direction_is_where_a_linear_classifier_changes_most():
    # p depends on the first pixel alone: the step goes there, and its length is the radius times the root of 4 pixels.
    weight = torch.zeros(4, 2)
    weight[0] = torch.tensor([1.0, -1.0])
    images = torch.tensor([[[[0.3, 0.1], [-0.2, 0.5]]]])
    found = virtual_adversarial(
        linear(weight), images, linear(weight)(images), 0.25, torch.Generator().manual_seed(0)
    ).item()

    def divergence(first):
        p, q = (torch.tensor([x, -x]).softmax(dim=0) for x in (0.3, first))
        return (p * (p / q).log()).sum().item()

    assert found == pytest.approx(max(divergence(0.3 - 0.5), divergence(0.3 + 0.5)), rel=1e-4) or found == (
        pytest.approx(min(divergence(0.3 - 0.5), divergence(0.3 + 0.5)), rel=1e-4)
    )


def test_predictions_that_do_not_change_cost_nothing():
    images = torch.randn(3, 1, 2, 2)
    assert virtual_adversarial(linear(torch.zeros(4, 2)), images, torch.zeros(3, 2), 1.0, torch.Generator()) == 0


def test_no_gradient_flows_through_the_target_and_one_does_through_the_moved_images():
    weight = torch.randn(4, 2, requires_grad=True)
    logits = torch.randn(3, 2, requires_grad=True)
    virtual_adversarial(linear(weight), torch.randn(3, 1, 2, 2), logits, 0.5, torch.Generator()).backward()
    assert logits.grad is None
    assert weight.grad.abs().sum() > 0


def test_the_worst_direction_costs_more_than_a_random_one():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    images = torch.randn(50, 1, 8, 8)
    logits = network(images)
    worst = virtual_adversarial(network, images, logits, 0.1, torch.Generator().manual_seed(1)).item()
    steps = torch.randn(images.shape)
    steps *= 0.1 / steps.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    moved = network(images + steps).log_softmax(dim=1)
    random = torch.nn.functional.kl_div(moved, logits.log_softmax(dim=1), log_target=True, reduction="batchmean")
    assert worst > 3 * random.item()


def test_the_same_draws_give_the_same_loss():
    images, network = torch.randn(4, 1, 2, 2), linear(torch.randn(4, 3))
    one, same = (
        virtual_adversarial(network, images, network(images), 0.3, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert one == same
