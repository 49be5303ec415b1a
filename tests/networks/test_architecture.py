"""What holds for every architecture under every conditioning."""

import dataclasses
import itertools

import pytest
import torch
from omegaconf import OmegaConf

from gan_augment.app import CONF
from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, BatchStd, doublings, halvings
from gan_augment.networks.conditioning import Concat, PerClass, Projection, Unconditional
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP
from gan_augment.networks.r3gan import R3GAN
from gan_augment.networks.resnet import ResNet
from gan_augment.settings import build

ARCHITECTURES = {
    "mlp": MLP(latent_dim=5, width=8),
    "dcgan": DCGAN(latent_dim=5, channels=4),
    "dcgan_paper": DCGAN(5, 4, spectral_norm=False, batch_norm=True, kernel_size=5, full_size=False),
    "resnet": ResNet(latent_dim=5, channels=2),
    "r3gan": R3GAN(latent_dim=5, channels=8),
}
CONDITIONINGS = {
    "projection": Projection(embedding_dim=4),
    "concat": Concat(embedding_dim=4),
    "none": Unconditional(),
    "per_class": PerClass(),
}
SIZES = [8, 9, 16, 28, 32, 64, 100, 128]
SMALL = ImageShape(1, 16, 16)
LABELS = torch.tensor([2, 0, 1, 0])

architectures = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
conditionings = pytest.mark.parametrize("conditioning", CONDITIONINGS.values(), ids=CONDITIONINGS)


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


def without_spectral_norm(architecture):
    return dataclasses.replace(architecture, spectral_norm=False) if architecture.spectral_norm else architecture


def pair(architecture, conditioning=CONDITIONINGS["projection"], shape=SMALL):
    return conditioning.generator(architecture, shape, 3), conditioning.discriminator(architecture, shape, 3)


@conditionings
@architectures
@pytest.mark.parametrize("size", SIZES)
def test_images_have_the_shape_and_range_of_the_data(architecture, conditioning, size):
    for channels in (1, 3):
        shape = ImageShape(channels, size, size)
        architecture.check(shape)
        generator, discriminator = pair(without_spectral_norm(architecture), conditioning, shape)
        images = generator(torch.randn(4, 5), LABELS)
        assert images.shape == (4, channels, size, size)
        assert images.abs().max() <= 1
        assert images.std() > 0
        assert discriminator(images, LABELS).shape == (4,)


def check_what_decides(network, one, other, conditioning):
    """Check that the output follows the input, and the label where the conditioning uses it.

    Rows of one batch may differ in their last bits, so what should be equal is compared with a tolerance.
    """
    twice = torch.cat([one, one])
    same, other_label = network(twice, torch.tensor([1, 1])), network(twice, torch.tensor([1, 2]))
    other_input = network(torch.cat([one, other]), torch.tensor([1, 1]))
    torch.testing.assert_close(same[0], same[1])
    assert not torch.allclose(other_input[0], other_input[1], atol=1e-5)
    label_matters = not isinstance(conditioning, Unconditional)
    assert torch.allclose(other_label[0], other_label[1], atol=1e-5) is not label_matters


@conditionings
@architectures
def test_the_latent_decides_the_image_and_the_label_where_it_is_looked_at(architecture, conditioning):
    generator = pair(architecture, conditioning)[0].eval()
    check_what_decides(generator, torch.randn(1, 5), torch.randn(1, 5), conditioning)


@conditionings
@architectures
def test_the_image_decides_the_logit_and_the_label_where_it_is_looked_at(architecture, conditioning):
    discriminator = pair(architecture, conditioning)[1].eval()
    check_what_decides(discriminator, torch.randn(1, 1, 16, 16), torch.randn(1, 1, 16, 16), conditioning)


@conditionings
@architectures
@pytest.mark.parametrize("batch_std", [False, True], ids=["alone", "batch_std"])
def test_the_discriminator_judges_each_image_for_itself_unless_it_says_otherwise(architecture, conditioning, batch_std):
    # Spectral norm refines its estimate at every call in training; batch norm would show in training alone.
    architecture = dataclasses.replace(without_spectral_norm(architecture), batch_std=batch_std)
    discriminator = pair(architecture, conditioning)[1].train()
    images = torch.randn(8, 1, 16, 16)
    labels = torch.tensor([0, 0, 1, 2, 0, 1, 2, 0])
    together, apart = discriminator(images, labels)[:2], discriminator(images[:2], labels[:2])
    assert torch.allclose(together, apart, atol=1e-6) is not architecture.couples_images
    assert architecture.couples_images is (batch_std or architecture.batch_norm)


@conditionings
@architectures
def test_every_weight_gets_a_gradient_and_the_discriminator_a_gradient_penalty(architecture, conditioning):
    generator, discriminator = pair(architecture, conditioning)
    images = generator(torch.randn(4, 5), LABELS)
    (slope,) = torch.autograd.grad(discriminator(images, LABELS).sum(), images, create_graph=True)
    assert (slope.flatten(1).norm(dim=1) > 0).all()
    (discriminator(images, LABELS).square() + slope.square().sum(dim=(1, 2, 3))).sum().backward()
    for weight in itertools.chain(generator.parameters(), discriminator.parameters()):
        assert weight.grad.isfinite().all()


@architectures
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (ImageShape(1, 7, 7), "makes images of 8 to 128 pixels a side, not 7: set data.image_size"),
        (ImageShape(1, 129, 129), "makes images of 8 to 128 pixels a side, not 129: set data.image_size"),
        (ImageShape(1, 8, 9), "only square images"),
        (ImageShape(2, 8, 8), "makes images of 1 or 3 channels, not 2"),
        (ImageShape(4, 8, 8), "makes images of 1 or 3 channels, not 4"),
    ],
)
def test_images_that_the_family_cannot_make_are_refused(architecture, shape, message):
    with pytest.raises(ValueError, match=message):
        architecture.check(shape)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *itertools.product((DCGAN, ResNet, R3GAN), ("latent_dim", "channels")),
        *itertools.product((MLP,), ("latent_dim", "width")),
        (R3GAN, "num_blocks"),
    ],
)
def test_sizes_below_one_are_refused(family, name):
    with pytest.raises(ValueError, match=f"^architecture.{name}=0: use a whole number of at least 1$"):
        family(**{name: 0})


@pytest.mark.parametrize(("name", "family"), [("mlp", MLP), ("dcgan", DCGAN), ("resnet", ResNet), ("r3gan", R3GAN)])
def test_each_option_stands_in_the_configuration_with_its_default(name, family):
    config = OmegaConf.create({"architecture": OmegaConf.load(CONF / "architecture" / f"{name}.yaml")})
    config.spectral_norm = OmegaConf.load(CONF / "config.yaml").spectral_norm
    node = OmegaConf.to_container(config.architecture, resolve=True)
    assert build(node, "architecture", Architecture) == family()
    assert set(node) == {"_target_", *(field.name for field in dataclasses.fields(family))}


@pytest.mark.parametrize("size", range(8, 129))
@pytest.mark.parametrize("smallest", [4, 7])
def test_every_size_is_reached_from_a_small_seed(size, smallest):
    sizes = halvings(size, smallest)
    assert smallest / 2 < sizes[0] <= smallest
    assert sizes[-1] == size
    assert all(large in (2 * small - 1, 2 * small) for small, large in itertools.pairwise(sizes))


def test_feature_maps_double_up_to_eight_times():
    assert doublings(4, 1) == [4]
    assert doublings(4, 6) == [4, 8, 16, 32, 32, 32]


KINDS = torch.nn.Linear | torch.nn.Conv2d | torch.nn.Embedding


@conditionings
@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet"])
@torch.no_grad()
def test_spectral_norm_bounds_every_weight_of_the_discriminator(name, conditioning):
    architecture = ARCHITECTURES[name]
    for bounded in (True, False):
        architecture = dataclasses.replace(architecture, spectral_norm=bounded)
        discriminator = pair(architecture, conditioning)[1].train()
        for _ in range(100):  # often enough for the estimate to settle
            discriminator(torch.randn(4, 1, 16, 16), LABELS)
        # The label's plane is an input: it has no slope to bound.
        planes = [discriminator.embedding.of_class] if isinstance(conditioning, Concat) else []
        layers = [layer for layer in discriminator.modules() if isinstance(layer, KINDS) and layer not in planes]
        values = [torch.linalg.svdvals(layer.weight.flatten(1))[0].item() for layer in layers]
        assert (values == pytest.approx([1] * len(layers), rel=0.05)) is bounded
        for plane in planes:
            assert torch.linalg.svdvals(plane.weight)[0] > 2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_standard_deviation_of_the_batch_stands_behind_the_features(name):
    body = dataclasses.replace(ARCHITECTURES[name], batch_std=True).discriminator(SMALL).eval()
    images = torch.randn(4, 1, 16, 16)
    features = body(images)
    assert features.shape == (4, body.num_features)
    expected = features[:, :-1].std(dim=0, unbiased=False).mean().expand(4)
    torch.testing.assert_close(features[:, -1], expected, atol=1e-4, rtol=1e-3)
    assert body(images[:1].expand(4, -1, -1, -1))[:, -1].max() < 1e-3


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(3, 2, requires_grad=True)
    BatchStd()(features).sum().backward()
    assert features.grad.tolist() == [[1.0, 1.0]] * 3


# Standard deviation of the images, and logits, after three steps of the networks as they were when the architecture
# knew of labels itself (commit e04076c).
BEFORE = {
    ("mlp", True): [0.123404, -0.020292, -0.0412028, 0.0896778],
    ("dcgan", True): [0.174783, 0.0264606, 0.00473524, 0.0331186],
    ("mlp", False): [0.135871, 0.04398, -0.0284185, -0.0190784],
    ("dcgan", False): [0.120797, 0.00330018, 0.00458478, -0.00672505],
}


@pytest.mark.parametrize(("name", "spectral_norm"), BEFORE)
def test_projection_makes_the_networks_that_it_made_before_it_was_split_off(name, spectral_norm):
    architecture = dataclasses.replace(ARCHITECTURES[name], spectral_norm=spectral_norm)
    torch.manual_seed(0)
    generator, discriminator = pair(architecture, Projection(), ImageShape(3, 9, 9))
    optimizer = torch.optim.SGD([*generator.parameters(), *discriminator.parameters()], lr=0.1)
    labels = torch.tensor([0, 1, 2])
    for _ in range(3):
        latents = torch.randn(3, 5)
        optimizer.zero_grad()
        discriminator(generator(latents, labels), labels).square().sum().backward()
        optimizer.step()
    images = generator(latents, labels)
    found = [images.std().item(), *discriminator(images, labels).tolist()]
    assert found == pytest.approx(BEFORE[name, spectral_norm], rel=1e-3)
