import itertools
import json
import re
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.functional import conv2d, interpolate

from gan_augment.app import CONF
from gan_augment.data.image_set import ImageShape
from gan_augment.networks.conditioning import Projection, Unconditional
from gan_augment.networks.projected import Projected, Upsampling, backbone_origin
from gan_augment.randomness import initialised

LABELS = torch.tensor([2, 0, 1, 0])
RANDOM = {"_target_": "gan_augment.networks.efficientnet_lite.EfficientNetLite0", "weights": None}


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


@pytest.fixture
def architecture(tiny_backbone):
    return Projected(latent_dim=5, channels=4, width=8, backbone=tiny_backbone)


def photographs(shape, count=16):
    return (torch.randn(count, shape.channels, shape.height, shape.width) + torch.randn(count, 1, 1, 1)).tanh()


def features_of(architecture, shape, seed=0):
    images = photographs(shape)
    return initialised(lambda: architecture.features(images), seed), images


@pytest.mark.parametrize(
    ("size", "conditioning"),
    [*itertools.product([8, 32, 64, 100, 128], [Projection(4)]), (32, Unconditional())],
    ids=lambda one: one if isinstance(one, int) else type(one).__name__,
)
def test_images_have_the_shape_of_the_data_and_each_map_its_own_logit(architecture, conditioning, size):
    for channels in (1, 3):
        shape = ImageShape(channels, size, size)
        architecture.check(shape)
        generator = conditioning.generator(architecture, shape, 3)
        discriminator = conditioning.discriminator(architecture, shape, 3)
        images = generator(torch.randn(4, 5), LABELS)
        assert images.shape == (4, channels, size, size)
        assert images.abs().max() <= 1
        maps = features_of(architecture, shape)[0](images)
        side = 64 if size <= 64 else 128  # that images are resized to
        assert [tuple(one.shape) for one in maps] == [
            *((4, 64, side // stride, side // stride) for stride in (4, 8, 16)),
            (4, channels, 16, 16),
        ]
        assert discriminator(maps, LABELS).shape == (4, 4)


def test_another_input_size_and_no_thumbnail(architecture):
    shape = ImageShape(3, 32, 32)
    for size, thumbnail in itertools.product((64, 128), (False, True)):
        one = Projected(5, 4, 8, input_size=size, thumbnail=thumbnail, backbone=architecture.backbone)
        maps = features_of(one, shape)[0](photographs(shape))
        assert [tuple(found.shape[2:]) for found in maps[:3]] == [(size // stride,) * 2 for stride in (4, 8, 16)]
        assert Projection().discriminator(one, shape, 3)(maps, torch.zeros(16).long()).shape == (16, 3 + thumbnail)


def test_every_map_has_a_standard_deviation_of_1_over_the_training_images(architecture):
    features, images = features_of(architecture, ImageShape(1, 32, 32))
    assert [one.std().item() for one in features(images)] == pytest.approx([1] * 4, rel=1e-5)


def test_frozen_features_have_no_parameters_and_no_state_and_stay_as_they_are(architecture):
    features, images = features_of(architecture, ImageShape(1, 32, 32))
    before = features(images)
    assert not list(features.parameters())
    assert not features.state_dict()
    features.train()
    for one, again in zip(before, features(images), strict=True):
        assert torch.equal(one, again)


def test_the_seed_draws_the_mixing(architecture):
    shape = ImageShape(1, 32, 32)
    images = photographs(shape)
    one, again, other = (initialised(lambda: architecture.features(images), seed)(images) for seed in (0, 0, 1))
    assert torch.equal(one[0], again[0])
    assert not torch.allclose(one[0], other[0], atol=0.1)


def test_coarse_maps_are_mixed_into_finer_ones(architecture):
    features, images = features_of(architecture, ImageShape(1, 64, 64))
    before = features(images)
    features.across_channels[2].weight.mul_(2)  # of the coarsest map
    after = features(images)
    assert torch.allclose(after[2], 2 * before[2])
    for level in (0, 1):
        assert not torch.allclose(after[level], before[level], atol=0.01)
    assert torch.equal(after[3], before[3])


def test_gradients_reach_all_weights_of_both_networks_through_the_frozen_features(architecture):
    shape = ImageShape(3, 32, 32)
    features, _ = features_of(architecture, shape)
    generator, discriminator = (
        make(architecture, shape, 3) for make in (Projection().generator, Projection().discriminator)
    )
    discriminator(features(generator(torch.randn(4, 5), LABELS)), LABELS).square().sum().backward()
    for weight in itertools.chain(generator.parameters(), discriminator.parameters()):
        assert weight.grad.isfinite().all()
        assert weight.grad.any()


def test_spectral_norm_bounds_every_layer_of_the_small_discriminators(architecture):
    shape = ImageShape(1, 32, 32)
    discriminator = Projection().discriminator(architecture, shape, 3).train()
    maps = features_of(architecture, shape)[0](photographs(shape))
    with torch.no_grad():
        for _ in range(100):
            discriminator(maps, torch.arange(16) % 3)
        layers = [one for one in discriminator.modules() if isinstance(one, nn.Linear | nn.Conv2d | nn.Embedding)]
        values = [torch.linalg.svdvals(layer.weight.flatten(1))[0].item() for layer in layers]
    # The thumbnail's and the three maps' convolutions, then the head.
    assert len(values) == (2 + 1) + (2 + 1) + (1 + 1) + (1 + 1) + 2
    assert values == pytest.approx([1] * len(values), rel=0.05)


@pytest.mark.parametrize("size", [7, 8])
def test_upsampling_repeats_pixels_and_convolves_3x3(size):
    layer = Upsampling(3, 2, size)
    maps = torch.randn(2, 3, 4, 4)
    kernel = layer.weight.flip(2, 3).transpose(0, 1) / 2  # a transposed convolution turns its kernel around
    expected = conv2d(interpolate(maps, scale_factor=2, mode="nearest"), kernel, padding=1)
    torch.testing.assert_close(layer(maps), expected[:, :, :size, :size])


def test_the_generator_s_widths():
    generator = Projected().generator(ImageShape(3, 64, 64), 132)
    layers = [one for one in generator if isinstance(one, Upsampling)]
    assert [(*one.weight.shape[:2], one.size) for one in layers] == [
        (256, 128, 8),
        (128, 64, 16),
        (64, 32, 32),
        (32, 3, 64),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": 60}, "architecture.input_size=60: use a whole number from 64 to 512"),
        ({"input_size": 100}, "architecture.input_size=100: use a multiple of 64"),
        ({"thumbnail": 1}, "architecture.thumbnail=1: use true or false"),
        ({"width": 0}, "architecture.width=0: use a whole number of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Projected(**settings)


def test_a_backbone_that_cannot_be_used_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"^architecture\.backbone: weights=cat: use one of imagenet$"):
        backbone_origin(json.dumps(RANDOM | {"weights": "cat"}))


def test_a_backbone_without_the_maps_is_refused(monkeypatch):
    built = SimpleNamespace(channels={8: 3, 32: 5}, origin=None)
    monkeypatch.setattr("gan_augment.networks.projected.build", lambda *_: built)
    with pytest.raises(
        ValueError, match=r"^architecture\.backbone: its maps have strides \[8, 32\], but \[4, 8, 16\] "
    ):
        backbone_origin('"coarse"')


def test_the_random_backbone_works_as_a_control():
    assert Projected(backbone=RANDOM).origin() is None


def test_each_option_stands_in_the_configuration_with_its_default():
    config = OmegaConf.load(CONF / "architecture" / "projected.yaml")
    config.spectral_norm = True
    node = OmegaConf.to_container(config.architecture, resolve=True)
    assert Projected(**{name: value for name, value in node.items() if name != "_target_"}) == Projected()
