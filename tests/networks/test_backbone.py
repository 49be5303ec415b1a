import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gan_augment.networks.backbone import freeze
from gan_augment.networks.dcgan import DCGAN


@pytest.fixture
def frozen():
    torch.manual_seed(0)
    return freeze(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()))


def test_a_frozen_module_has_no_parameters_and_no_state_but_moves(frozen):
    assert list(frozen.parameters()) == []
    assert frozen.state_dict() == {}
    assert {tensor.dtype for name, tensor in frozen.double().named_buffers() if "num_" not in name} == {torch.float64}
    frozen.load_state_dict({})


def test_it_stays_in_evaluation_mode_also_as_a_part_and_as_a_copy(frozen):
    whole = copy.deepcopy(nn.Sequential(frozen, nn.Dropout())).train()
    assert [module.training for module in whole.modules()] == [True, False, False, False, False, True]
    assert whole[0].train() is whole[0]
    images = torch.rand(2, 1, 5, 5)
    torch.testing.assert_close(whole[0](images), frozen(images))
    torch.testing.assert_close(whole[0](images), whole[0](images))


def test_gradients_flow_through_it_to_its_input(frozen):
    images = torch.rand(2, 1, 5, 5, requires_grad=True)
    frozen(images).square().sum().backward()
    assert images.grad.abs().sum() > 0


def test_spectral_norm_leaves_it_alone(frozen):
    network = DCGAN(spectral_norm=True).finish(nn.Sequential(frozen, nn.Linear(3, 2)))
    assert isinstance(network, nn.Module)
    assert not any(is_parametrized(module) for module in frozen.modules())
    assert is_parametrized(network[1])
