import pytest
import torch

from gan_augment.training.base import without_gradients


def test_weights_are_constants_in_the_context_and_no_longer():
    weights, inputs = [torch.ones(2, requires_grad=True)], torch.ones(2, requires_grad=True)
    with without_gradients(weights):
        output = (weights[0] * inputs).sum()
    output.backward()
    assert weights[0].grad is None
    assert inputs.grad.tolist() == [1, 1]
    assert weights[0].requires_grad
    with pytest.raises(RuntimeError), without_gradients(weights):
        raise RuntimeError
    assert weights[0].requires_grad
