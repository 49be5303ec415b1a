import dataclasses
import math

import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.conditioning import Unconditional
from gan_augment.networks.mlp import MLP
from gan_augment.networks.points import FourierFeatures, Points

PLANE = ImageShape(2, 1, 1)


def test_points_come_out_and_logits_of_points():
    generator, discriminator = (
        make(Points(), PLANE, 1) for make in (Unconditional().generator, Unconditional().discriminator)
    )
    points = generator(torch.randn(5, 2), torch.zeros(5).long())
    assert points.shape == (5, 2, 1, 1)
    assert discriminator(points, torch.zeros(5).long()).shape == (5,)


def test_the_features_are_sines_and_cosines_of_the_stated_frequencies():
    layer = FourierFeatures(2, 3, bandwidth=0.6)
    layer.frequencies = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
    (found,) = layer(torch.tensor([[0.25, 0.5]]))
    angles = [2 * math.pi * 0.25, 2 * math.pi * 1.0, 2 * math.pi * 0.375]
    expected = [0.25, 0.5, *map(math.sin, angles), *map(math.cos, angles)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_frequencies_have_the_stated_spread_and_are_kept_with_the_weights_but_not_learned():
    layer = FourierFeatures(2, 5000, bandwidth=0.6)
    assert layer.frequencies.std().item() == pytest.approx(0.6, abs=0.02)
    assert list(layer.state_dict()) == ["frequencies"]
    assert not list(layer.parameters())


def test_images_are_refused():
    with pytest.raises(ValueError, match="architecture Points makes points, not images of 8x8 pixels"):
        Points().check(ImageShape(1, 8, 8))
    Points().check(PLANE)


def test_architectures_of_images_send_points_here():
    with pytest.raises(ValueError, match="these are points: use architecture=points"):
        MLP().check(PLANE)


@pytest.mark.parametrize("setting", ["latent_dim", "width", "num_frequencies", "bandwidth"])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=rf"^architecture\.{setting}=0: use a"):
        dataclasses.replace(Points(), **{setting: 0})
