import copy

import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.classifying import (
    ClassifyingCNN,
    ClassifyingMLP,
    GaussianNoise,
    initialise_from_data,
)

NETWORKS = [ClassifyingCNN, ClassifyingMLP]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("shape", [ImageShape(1, 8, 8), ImageShape(3, 28, 20), ImageShape(1, 65, 65)], ids=str)
def test_images_of_any_shape_give_a_logit_a_class_by_way_of_features(kind, shape):
    network, images = kind(shape, 7), torch.rand(5, shape.channels, shape.height, shape.width)
    assert network(images).shape == (5, 7)
    features = network.eval().body(images)
    assert torch.equal(network.head(features), network(images))


def test_the_mlp_is_that_of_the_paper():
    network = ClassifyingMLP(ImageShape(1, 28, 28), 10)
    sizes = [(layer.in_features, layer.out_features) for layer in network.modules() if hasattr(layer, "in_features")]
    assert sizes == [(784, 1000), (1000, 500), (500, 250), (250, 250), (250, 250), (250, 10)]
    noise = [layer.std for layer in network.modules() if isinstance(layer, GaussianNoise)]
    assert noise == [0.6, 0.5, 0.5, 0.5, 0.5, 0.5]  # 0.3 of pixels in [0, 1] is 0.6 of those in [-1, 1]


def test_noise_is_added_in_training_alone():
    noise, features = GaussianNoise(2.0), torch.zeros(1000)
    assert noise(features).std().item() == pytest.approx(2, rel=0.1)
    assert torch.equal(noise.eval()(features), features)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_layer_starts_with_mean_0_and_variance_1_over_the_data(kind):
    torch.manual_seed(0)
    network, images = kind(ImageShape(1, 28, 28), 10), 3 + 5 * torch.randn(100, 1, 28, 28)
    initialise_from_data(network, images)
    found = []

    def look(layer, inputs, output):
        axes = [0, *range(2, output.ndim)]
        found.append((output.mean(axes).abs().max().item(), output.var(axes, unbiased=False)))

    for layer in network.modules():
        if hasattr(layer, "parametrizations"):
            layer.register_forward_hook(look)
    assert network.training
    network.eval()(images)
    assert len(found) >= 4
    for mean, variance in found:
        assert mean == pytest.approx(0, abs=1e-4)
        assert torch.allclose(variance, torch.ones_like(variance), atol=1e-3)


def test_a_weight_is_a_length_times_a_direction():
    network = ClassifyingMLP(ImageShape(1, 8, 8), 3, width=8)
    layer = network.head[1]
    lengths, directions = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert torch.allclose(layer.weight, lengths * directions / directions.norm(dim=1, keepdim=True))
    with torch.no_grad():
        directions *= 7  # a length of the direction changes nothing
    assert torch.allclose(layer.weight.norm(dim=1, keepdim=True), lengths)


def test_a_copy_computes_the_same():
    network = ClassifyingCNN(ImageShape(1, 8, 8), 3, channels=4).eval()
    images = torch.rand(2, 1, 8, 8)
    initialise_from_data(network, images)
    assert torch.equal(copy.deepcopy(network)(images), network(images))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassifyingCNN(ImageShape(1, 7, 8), 3), "at least 8x8 pixels, not 7x8: use semi_supervised=mlp"),
        (lambda: ClassifyingCNN(ImageShape(1, 8, 8), 3, channels=0), "semi_supervised.network.channels=0"),
        (lambda: ClassifyingCNN(ImageShape(1, 8, 8), 3, num_features=0), "semi_supervised.network.num_features=0"),
        (lambda: ClassifyingMLP(ImageShape(1, 8, 8), 3, width=3), "semi_supervised.network.width=3"),
        (lambda: ClassifyingMLP(ImageShape(1, 8, 8), 3, noise=-1.0), "semi_supervised.network.noise=-1.0"),
        (lambda: ClassifyingMLP(ImageShape(1, 8, 8), 3, input_noise=11), "semi_supervised.network.input_noise=11"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
