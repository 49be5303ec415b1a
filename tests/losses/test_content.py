import math

import pytest
import torch

from gan_augment.losses.content import patch_nce, style_distance


def test_patch_nce_by_hand():
    output = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    source = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])  # similarities: 1 and .6; 0 and .8
    first = -math.log(math.exp(2.0) / (math.exp(2.0) + math.exp(1.2)))
    second = -math.log(math.exp(1.6) / (math.exp(0.0) + math.exp(1.6)))
    assert patch_nce(output, source, temperature=0.5).item() == pytest.approx((first + second) / 2)


def test_patches_are_compared_within_an_image():
    random = torch.Generator().manual_seed(0)
    output, source = torch.randn(2, 3, 5, 4, generator=random)
    both = patch_nce(output, source)
    each = [patch_nce(output[[number]], source[[number]]) for number in range(3)]
    torch.testing.assert_close(both, torch.stack(each).mean())


def test_the_source_has_no_gradient():
    output, source = torch.ones(1, 2, 3, requires_grad=True), torch.ones(1, 2, 3, requires_grad=True)
    patch_nce(output, source).backward()
    assert source.grad is None
    assert output.grad is not None


def test_a_style_is_means_and_deviations_of_each_layer():
    output = [torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0]])]
    wanted = [torch.tensor([[0.0, 3.0], [2.0, 1.0]]), torch.tensor([[5.0, 5.0, 5.0, 5.0], [5.0, 7.0, 5.0, 5.0]])]
    assert style_distance(output, wanted).item() == pytest.approx((4 / 4 + 4 / 8) / 2)
    assert style_distance(output, output) == 0
