import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.translator import (
    STYLES,
    PatchDiscriminator,
    PatchHeads,
    Translator,
    statistics,
    with_statistics,
)

SHAPES = [(1, 8, 8), (3, 28, 28), (4, 31, 47), (1, 96, 96)]


def translator(shape, **settings):
    """Return a translator that changes images: a new one does not."""
    network = Translator(ImageShape(*shape), channels=4, **settings)
    torch.nn.init.normal_(network.end[-1].weight)
    return network


def drawn(shape, number=3, seed=0):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [{}, {"blocks": 1, "residual": False}, {"halvings": 0, "blocks": 3}])
def test_translations_have_the_shape_of_their_originals(shape, settings):
    network, images = translator(shape, **settings), drawn(shape)
    made = network(images)
    assert made.shape == images.shape
    assert made.abs().max() <= 1
    maps = network.maps(images)
    assert [one.shape[1] for one in maps] == network.widths
    assert network.finish(maps, images).equal(made)


def test_a_new_translator_leaves_images_as_they_are():
    images = drawn((3, 12, 12))
    torch.testing.assert_close(Translator(ImageShape(3, 12, 12))(images), 0.99 * images)


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_computes_what_training_computes_bit_for_bit(shape):
    network, images = translator(shape), drawn(shape)
    assert network.train()(images).equal(network.eval()(images))


def test_latent_numbers_change_the_image():
    network, images = translator((1, 12, 12), latents=32), drawn((1, 12, 12))
    plain = network(images)
    assert network(images, torch.zeros(3, 32)).equal(plain)  # without numbers, they are 0
    random = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert not network(images, random).allclose(plain)
    assert [one.shape[1] for one in network.maps(images)] == network.widths


def test_maps_get_the_statistics_of_others_by_hand():
    maps = torch.tensor([[[[0.0, 2.0]], [[3.0, 7.0]]]])
    torch.testing.assert_close(statistics(maps), torch.tensor([[1.0, 5.0, 1.0, 2.0]]), atol=1e-5, rtol=0)
    changed = with_statistics(maps, torch.tensor([[10.0, 20.0, 3.0, 0.0]]))
    torch.testing.assert_close(changed, torch.tensor([[[[7.0, 13.0]], [[20.0, 20.0]]]]), atol=1e-4, rtol=0)
    flat = torch.ones(1, 1, 2, 2, requires_grad=True)
    with_statistics(flat, torch.tensor([[0.0, 1.0]])).sum().backward()
    assert flat.grad.isfinite().all()  # a map without any variance


@pytest.mark.parametrize("shape", SHAPES)
def test_a_style_changes_the_image_and_evaluation_computes_the_same(shape):
    network, images, others = translator(shape, styled=True), drawn(shape), drawn(shape, seed=1) / 4
    made = network(images, network.style(others))
    assert made.shape == images.shape
    assert not made.allclose(network(images))
    assert network(images).equal(network(images, network.style(images)))  # without a style it keeps its own
    assert network.eval()(images, network.style(others)).equal(made)
    maps = network.maps(images, network.style(others))
    assert network.finish(maps, images, network.style(others)).equal(made)


def test_styles_are_drawn_from_those_that_it_holds():
    network, random = translator((1, 12, 12), styled=True), torch.Generator().manual_seed(0)
    network.styles.copy_(torch.arange(float(STYLES))[:, None].expand(-1, 8))
    styles = network.draw(5000, random)
    assert styles.shape == (5000, 8)
    assert len(styles[:, 0].unique()) > 900
    assert translator((1, 12, 12), latents=16).draw(7, random).shape == (7, 16)


def test_an_image_is_translated_by_itself():
    network, images = translator((1, 12, 12)), drawn((1, 12, 12))
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


@pytest.mark.parametrize(
    ("shape", "layers", "patches"), [((1, 28, 28), 2, 49), ((3, 31, 47), 2, 77), ((1, 8, 8), 1, 16)]
)
def test_the_discriminator_judges_patches(shape, layers, patches):
    assert PatchDiscriminator(ImageShape(*shape), 4, layers)(drawn(shape)).shape == (3, patches)


@pytest.mark.parametrize(("layers", "width"), [(1, 12), (2, 26), (3, 54)])
def test_a_patch_is_as_wide_as_documented(layers, width):
    network = PatchDiscriminator(ImageShape(1, 96, 96), 2, layers)
    image = drawn((1, 96, 96), 1).requires_grad_()
    logits = network.layers[:-1](image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    touched = image.grad[0, 0].abs().sum(dim=0).nonzero()[:, 0]
    assert int(touched.max() - touched.min()) + 1 == width


def test_heads_return_unit_vectors_at_the_given_places():
    maps = [drawn((2, 4, 4)), drawn((3, 2, 2))]
    places = [torch.tensor([5, 0]), torch.tensor([3])]
    heads = PatchHeads([2, 3], dimensions=6)
    vectors = heads(maps, places)
    assert [one.shape for one in vectors] == [(3, 2, 6), (3, 1, 6)]
    torch.testing.assert_close(vectors[0].norm(dim=-1), torch.ones(3, 2))
    by_hand = heads.heads[0](maps[0][1, :, 1, 1])  # place 5 of 4x4
    torch.testing.assert_close(vectors[0][1, 0], by_hand / by_hand.norm())


@pytest.mark.parametrize(
    ("network", "shape", "settings", "message"),
    [
        (Translator, (1, 7, 9), {}, "translation needs images of at least 8x8 pixels, not 7x9"),
        (Translator, (2, 1, 1), {}, "translation is for pictures, and these are points"),
        (Translator, (1, 8, 8), {"halvings": 2}, "halvings=2 leaves fewer than 4 pixels a side of 8x8"),
        (Translator, (1, 8, 8), {"halvings": 4}, "translation.translator.halvings=4: use a whole number"),
        (Translator, (1, 8, 8), {"blocks": 0}, "translation.translator.blocks=0: use a whole number"),
        (Translator, (1, 8, 8), {"latents": 8}, "translation.translator.latents=8: use a multiple of 16, or 0"),
        (Translator, (1, 8, 8), {"residual": 1}, "translation.translator.residual=1: use true or false"),
        (Translator, (1, 8, 8), {"channels": 0}, "translation.translator.channels=0: use a whole number"),
        (PatchDiscriminator, (1, 8, 8), {"layers": 3}, "layers=3 leaves fewer than 2 pixels a side of 8x8"),
        (PatchDiscriminator, (1, 8, 8), {"layers": 0}, "translation.discriminator.layers=0: use a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(network, shape, settings, message):
    with pytest.raises(ValueError, match=message):
        network(ImageShape(*shape), **settings)


def test_a_discriminator_shows_its_feature_maps():
    network, images = PatchDiscriminator(ImageShape(3, 28, 28), channels=4), drawn((3, 28, 28))
    maps = network.eval().maps(images)
    assert [tuple(one.shape[1:]) for one in maps] == [(4, 14, 14), (8, 7, 7), (16, 7, 7)]
    assert network.layers[-1](network.layers[-2](maps[-1])).equal(network(images))
