"""The networks of generators without an adversary: flow matching and the variational autoencoder."""

import pytest
import torch

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.flow import FlowNetwork
from gan_augment.networks.vae import VAENetwork

SHAPES = [ImageShape(1, 8, 8), ImageShape(3, 28, 28), ImageShape(4, 31, 47), ImageShape(1, 96, 96)]
KINDS = [FlowNetwork, VAENetwork]


def build(kind, shape=SHAPES[0], **settings):
    torch.manual_seed(0)
    return kind(shape, 3, channels=4, **settings).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.words)
def test_latents_and_labels_become_images_of_any_size(kind, shape):
    settings = {"steps": 2} if kind is FlowNetwork else {}
    network = build(kind, shape, **settings)
    images = network(torch.randn(2, network.latent_dim), torch.tensor([0, 2]))
    assert images.shape == (2, shape.channels, shape.height, shape.width)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_makes_no_pictures_is_refused(kind):
    with pytest.raises(ValueError, match="is for pictures, and these are points: use generator=gan"):
        build(kind, ImageShape(2, 1, 1))
    with pytest.raises(ValueError, match="needs images of at least 8x8 pixels, not 8x7"):
        build(kind, ImageShape(1, 8, 7))


class Straight(FlowNetwork):
    """Goes to a mean, which the label tells, as the velocity of a normal distribution around it with deviation 0.1."""

    def velocity(self, images, times, labels, changes=None):
        mean, time = (labels.float() / 4)[:, None, None, None], times[:, None, None, None]
        spread = ((1 - time) ** 2 + (0.1 * time) ** 2) ** 0.5
        slope = (0.01 * time - (1 - time)) / spread
        return mean + slope / spread * (images - time * mean)


@pytest.mark.parametrize(("solver", "worst"), [("euler", 0.02), ("heun", 0.002)])
def test_a_solver_goes_from_noise_to_the_images_of_a_label(solver, worst):
    network = build(Straight, solver=solver, steps=50)
    latents, labels = torch.randn(500, network.latent_dim), torch.full((500,), 2)
    images = network(latents, labels).flatten(1)
    assert abs(images.mean() - 0.5) < 0.01
    wanted = (0.5 + 0.1 * latents).clamp(-1, 1)  # the exact end of the way
    assert (images - wanted).abs().mean() < worst


def test_guidance_goes_beyond_the_label():
    plain, guided = (build(Straight, steps=20, guidance=weight) for weight in (1.0, 2.0))
    latents, labels = torch.randn(50, plain.latent_dim), torch.full((50,), 2)
    # Without a label the mean is 3/4 of 1, the label that stands for none: guidance goes away from it.
    assert guided(latents, labels).mean() < plain(latents, labels).mean() - 0.1


def test_numbers_that_tell_of_a_transform_change_the_velocity_and_none_is_no_change():
    network = build(FlowNetwork, num_changes=5).requires_grad_(False)
    for weight in (network.end[-1].weight, *(block.second.weight for block in network.up)):
        torch.nn.init.normal_(weight)  # these are 0 at the start
    images, times, labels = torch.randn(2, 1, 8, 8), torch.tensor([0.2, 0.9]), torch.tensor([0, 1])
    without = network.velocity(images, times, labels)
    assert network.velocity(images, times, labels, torch.zeros(2, 5)).equal(without)
    assert not network.velocity(images, times, labels, torch.ones(2, 5)).equal(without)


def test_a_network_for_mnist_costs_at_most_80_million_multiplications():
    from torch.utils.flop_counter import FlopCounterMode

    network = FlowNetwork(ImageShape(1, 28, 28), 10)
    with FlopCounterMode(display=False) as counter:
        network.velocity(torch.zeros(1, 1, 28, 28), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert counter.get_total_flops() / 2 < 80e6


def test_the_latent_vector_of_an_autoencoder_holds_the_noise_of_its_pixels():
    network = build(VAENetwork, codes=3)
    network.deviation.fill_(0.1)
    codes, labels = torch.randn(400, 3), torch.zeros(400, dtype=torch.int64)
    noise = torch.randn(400, 64)
    clean = network.decode(codes, labels).flatten(1)
    noisy = network(torch.cat([codes, noise], dim=1), labels).flatten(1)
    torch.testing.assert_close(noisy, (clean + 0.1 * noise).clamp(-1, 1))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.words)
def test_codes_tell_images_of_a_class_apart_before_training(shape):
    # If the noise of codes is larger at first than what they tell, the decoder learns to ignore them, and generates the
    # same image for a class each time.
    network = build(VAENetwork, shape)
    images = 2 * torch.rand(50, shape.channels, 1, 1) * torch.rand(50, 1, shape.height, shape.width) - 1
    means, log_variances = network.encode(images, torch.zeros(50, dtype=torch.int64))
    assert (means.var(dim=0) / log_variances.exp().mean(dim=0)).mean() > 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_network_are_compiled_because_trainings_call_them(kind):
    network = build(kind)
    network.compile()
    called = network.up if kind is FlowNetwork else [network.encoder, network.widen, *network.grow]
    assert all(part._compiled_call_impl is not None for part in called)
