import dataclasses
import itertools

import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import LabelledLatent, ProjectionHead, halvings
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP

ARCHITECTURES = [MLP(latent_dim=5, width=8), DCGAN(latent_dim=5, channels=4)]
SIZES = [8, 9, 16, 28, 50, 64]


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


architectures = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: type(one).__name__)


@architectures
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_images_have_the_shape_and_range_of_the_data(architecture, size, channels):
    shape = ImageShape(channels, size, size)
    architecture.check(shape)
    generator, discriminator = architecture.generator(shape, 3), architecture.discriminator(shape, 3)
    images = generator(torch.randn(4, 5), torch.tensor([0, 1, 2, 0]))
    assert images.shape == (4, channels, size, size)
    assert images.abs().max() <= 1
    assert images.std() > 0
    assert discriminator(images, torch.tensor([0, 1, 2, 0])).shape == (4,)


@architectures
def test_latent_and_label_decide_the_image(architecture):
    generator = architecture.generator(ImageShape(1, 8, 8), 3).eval()
    latents = torch.randn(1, 5).expand(2, 5)
    same, other_label = generator(latents, torch.tensor([1, 1])), generator(latents, torch.tensor([1, 2]))
    other_latent = generator(torch.randn(2, 5), torch.tensor([1, 1]))
    torch.testing.assert_close(same[0], same[1])
    assert not torch.allclose(other_label[0], other_label[1])
    assert not torch.allclose(other_latent[0], other_latent[1])


@architectures
def test_image_and_label_decide_the_logit(architecture):
    discriminator = architecture.discriminator(ImageShape(1, 8, 8), 3)
    images = torch.randn(1, 1, 8, 8).expand(2, 1, 8, 8)
    same, other_label = discriminator(images, torch.tensor([1, 1])), discriminator(images, torch.tensor([1, 2]))
    other_image = discriminator(torch.randn(2, 1, 8, 8), torch.tensor([1, 1]))
    torch.testing.assert_close(same[0], same[1])
    assert not torch.allclose(other_label[0], other_label[1])
    assert not torch.allclose(other_image[0], other_image[1])


@architectures
def test_the_discriminator_judges_each_image_for_itself(architecture):
    # Spectral norm refines its estimate at every call in training; batch norm would show in training alone.
    plain = dataclasses.replace(architecture, spectral_norm=False)
    discriminator = plain.discriminator(ImageShape(1, 8, 8), 3).train()
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(discriminator(images, labels)[:2], discriminator(images[:2], labels[:2]))


@architectures
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (ImageShape(1, 7, 7), "makes images of 8 to 64 pixels a side, not 7: set data.image_size"),
        (ImageShape(1, 65, 65), "makes images of 8 to 64 pixels a side, not 65: set data.image_size"),
        (ImageShape(1, 8, 9), "only square images"),
        (ImageShape(2, 8, 8), "makes images of 1 or 3 channels, not 2"),
        (ImageShape(4, 8, 8), "makes images of 1 or 3 channels, not 4"),
    ],
)
def test_images_that_the_family_cannot_make_are_refused(architecture, shape, message):
    with pytest.raises(ValueError, match=message):
        architecture.check(shape)


@pytest.mark.parametrize(
    ("family", "name"), [(MLP, "latent_dim"), (MLP, "width"), (DCGAN, "latent_dim"), (DCGAN, "channels")]
)
def test_sizes_below_one_are_refused(family, name):
    with pytest.raises(ValueError, match=f"^architecture.{name}=0: use a whole number of at least 1$"):
        family(**{name: 0})


@pytest.mark.parametrize("size", range(8, 65))
@pytest.mark.parametrize("smallest", [4, 7])
def test_every_size_is_reached_from_a_small_seed(size, smallest):
    sizes = halvings(size, smallest)
    assert smallest / 2 < sizes[0] <= smallest
    assert sizes[-1] == size
    assert all(large in (2 * small - 1, 2 * small) for small, large in itertools.pairwise(sizes))


def test_dcgan_doubles_its_feature_maps_up_to_eight_times():
    discriminator = DCGAN(channels=4).discriminator(ImageShape(1, 64, 64), 3)
    assert [layer.out_channels for layer in discriminator.layers if hasattr(layer, "out_channels")] == [
        4,
        8,
        16,
        32,
        32,
    ]


@torch.no_grad()
def largest_singular_values(architecture):
    """Train nothing, but call the discriminator often enough for spectral norm to settle."""
    discriminator = architecture.discriminator(ImageShape(1, 8, 8), 3).train()
    for _ in range(100):
        discriminator(torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))
    kinds = torch.nn.Linear | torch.nn.Conv2d | torch.nn.Embedding
    layers = [layer for layer in discriminator.modules() if isinstance(layer, kinds)]
    assert len(layers) == 4
    return [torch.linalg.svdvals(layer.weight.flatten(1))[0].item() for layer in layers]


@architectures
def test_spectral_norm_bounds_every_weight_of_the_discriminator(architecture):
    assert largest_singular_values(architecture) == pytest.approx([1] * 4, rel=0.05)
    plain = dataclasses.replace(architecture, spectral_norm=False)
    assert largest_singular_values(plain) != pytest.approx([1] * 4, rel=0.05)


def test_dcgan_starts_with_weights_of_standard_deviation_002():
    generator = DCGAN(channels=32).generator(ImageShape(1, 32, 32), 3)
    weights = [layer.weight for layer in generator.layers if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert len(weights) == 3
    for weight in weights:
        assert weight.std().item() == pytest.approx(0.02, rel=0.15)


def test_the_label_stands_behind_the_latent():
    latent = LabelledLatent(latent_dim=2, num_classes=3, embedding_dim=2)
    with torch.no_grad():
        latent.embedding.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    features = latent(torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([2, 0]))
    torch.testing.assert_close(features, torch.tensor([[0.1, 0.2, 5.0, 6.0], [0.3, 0.4, 1.0, 2.0]]))
    assert latent.num_features == 4


def test_the_projection_head_by_hand():
    head = ProjectionHead(num_features=2, num_classes=2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, -1.0]]))
        head.linear.bias.fill_(0.5)
        head.embedding.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    logits = head(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 1]))
    # w . h + e_y . h + b: (1 - 2) + 2 * 1 + .5, and (1 - 2) + 3 * 2 + .5
    assert logits.tolist() == [1.5, 5.5]
