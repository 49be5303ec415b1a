import dataclasses

import pytest
import torch

from conftest import ACCELERATORS, GAN_NODES
from gan_augment.artefacts.generator import BLOCK, Generator, Latents, latent_seed
from gan_augment.artefacts.weights import save_weights
from gan_augment.networks.conditioning import PerClass, Projection
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP

CPU = torch.device("cpu")
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


class ShowLabel(torch.nn.Module):
    """Shows the label in the first pixel and the first number of the latent vector in the second."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, labels):
        pixels = torch.stack([labels / 127.5 - 1, latents[:, 0].tanh()], dim=1)
        return self.scale * pixels[:, None, None]


@pytest.fixture
def generator(image_set):
    """Make a generator of three classes around a network."""

    def make(network, latent_dim=5, dtype=torch.uint8, clusters=1, counts=None):
        shape, names = image_set().shape, ["a", "b", "c"]
        return Generator(network.eval(), latent_dim, shape, dtype, names, True, clusters, counts, {}, "0" * 16)

    return make


@pytest.fixture
def networks(image_set):
    """Untrained generators of every kind that treats a batch as a whole somewhere."""
    shape = image_set().shape
    return {
        "mlp": Projection().generator(MLP(5, 8), shape, 3),
        "dcgan": Projection().generator(DCGAN(5, 4), shape, 3),
        "per_class": PerClass().generator(DCGAN(5, 4), shape, 3),
    }


def test_images_are_made_for_their_label(generator):
    images = generator(ShowLabel()).images(2, torch.arange(100), seed=0)
    assert images.shape == (100, 1, 1, 2)
    assert images.dtype == torch.uint8
    assert set(images[:, 0, 0, 0].tolist()) == {2}


def test_an_image_is_that_of_its_latent(generator):
    shown = generator(ShowLabel(), dtype=torch.float32)
    points = shown.images(0, torch.tensor([3, 70]), seed=7)
    expected = [shown.draw(0, number, 7)[0][0].tanh().item() for number in (3, 70)]
    assert points[:, 0, 0, 1].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("kind", ["mlp", "dcgan", "per_class"])
def test_an_image_has_the_same_bits_alone_as_among_others(generator, networks, kind, accelerator):
    made = generator(networks[kind].to(DEVICES[accelerator]), dtype=torch.float32)
    together = made.images(1, torch.arange(3 * BLOCK), seed=7)
    for number in (0, 1, BLOCK - 1, BLOCK, 3 * BLOCK - 1):
        assert torch.equal(made.images(1, torch.tensor([number]), seed=7)[0], together[number])
    mixed = torch.tensor([150, 3, 64])
    assert torch.equal(made.images(1, mixed, seed=7), together[mixed])


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["mlp", "dcgan", "per_class"])
def test_a_gpu_makes_the_images_of_a_cpu_but_for_rounding(generator, networks, kind):
    made = generator(networks[kind], dtype=torch.float32).images(1, torch.arange(BLOCK), seed=7)
    on_gpu = generator(networks[kind].to(DEVICES["gpu"]), dtype=torch.float32).images(1, torch.arange(BLOCK), seed=7)
    torch.testing.assert_close(on_gpu, made, rtol=0, atol=0.01)  # of [-1, 1]: convolutions round to 10 bits (TF32)


def test_latents_are_standard_normal_and_follow_seed_label_and_number(generator):
    made = generator(ShowLabel(), latent_dim=50)
    drawn = torch.stack([made.draw(0, number, 0)[0] for number in range(400)])
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)
    others = [made.draw(0, 0, 1)[0], made.draw(1, 0, 0)[0]]
    assert len({tuple(row.tolist()) for row in [*drawn, *others]}) == 402


def test_the_latent_seed_alone_gives_the_latent(generator):
    random = torch.Generator().manual_seed(latent_seed(4, 1, 9))
    assert torch.equal(torch.randn(5, generator=random), generator(ShowLabel()).draw(1, 9, 4)[0])


def test_truncation_bounds_the_latents_and_keeps_their_shape(generator):
    made = generator(ShowLabel(), latent_dim=50)
    drawn = torch.stack([made.draw(0, number, 0, Latents(truncation=1.0))[0] for number in range(400)])
    assert drawn.abs().max() <= 1
    # The variance of a standard normal number between -1 and 1: 1 - 2 phi(1) / (Phi(1) - Phi(-1)).
    assert drawn.var().item() == pytest.approx(0.2911, abs=0.01)


def test_the_scale_stretches_the_latents_and_leaves_the_draws_alone(generator):
    made = generator(ShowLabel())
    once, twice = (made.draw(0, 7, 0, Latents(scale))[0] for scale in (1.0, 2.0))
    assert torch.equal(twice, 2 * once)
    bounded = torch.stack([made.draw(0, number, 0, Latents(3.0, 1.0))[0] for number in range(400)])
    assert bounded.abs().max() <= 1
    assert bounded.var().item() == pytest.approx(1 / 3, abs=0.03)  # all but uniform


def test_clusters_come_as_often_as_among_the_labelled_images(generator):
    made = generator(ShowLabel(), clusters=2, counts=torch.tensor([3, 1, 0, 4, 5, 5]))
    shown = made.images(0, torch.arange(400), seed=0)[:, 0, 0, 0]
    assert set(shown.tolist()) == {0, 1}
    assert (shown == 0).double().mean().item() == pytest.approx(0.75, abs=0.06)
    assert set(made.images(1, torch.arange(100), seed=0)[:, 0, 0, 0].tolist()) == {3}
    one = made.images(0, torch.tensor([77]), seed=0)
    assert torch.equal(one[0], made.images(0, torch.arange(400), seed=0)[77])
    assert torch.equal(made.draw(0, 7, 0)[0], generator(ShowLabel()).draw(0, 7, 0)[0])  # the same latent as without


def about(images, **changes):
    design = GAN_NODES | {"architecture": {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 5, "width": 8}}
    return {
        "kind": "gan",
        "design": design,
        "shape": list(dataclasses.astuple(images.shape)),
        "class_names": list(images.class_names),
        "class_counts": images.class_counts.tolist(),
        "label_counts": images.class_counts.tolist(),
        "trained_on": "0" * 32,
        "images_seen": 640,
    } | changes


def test_a_generator_comes_back_from_its_checkpoint(image_set, networks, tmp_path):
    images, path = image_set(), tmp_path / "gan.pt"
    save_weights(path, about(images), ema=networks["mlp"], generator=Projection().generator(MLP(5, 8), images.shape, 3))
    loaded = Generator.load(path, CPU)
    latents, labels = torch.randn(6, 5), torch.tensor([0, 1, 2] * 2)
    assert torch.equal(loaded.network(latents, labels), networks["mlp"].eval()(latents, labels))
    assert loaded.latent_dim == 5
    assert loaded.shape == images.shape
    assert loaded.class_names == ["class0", "class1", "class2"]
    assert loaded.knows_classes
    assert len(loaded.hash) == 16


def test_the_hash_names_the_checkpoint(image_set, networks, tmp_path):
    for name in ("one", "same", "other"):
        network = networks["mlp"] if name != "other" else Projection().generator(MLP(5, 8), image_set().shape, 3)
        save_weights(tmp_path / "weights.pt", about(image_set()), ema=network)
        (tmp_path / "weights.pt").rename(tmp_path / name)
    one, same, other = (Generator.load(tmp_path / name, CPU).hash for name in ("one", "same", "other"))
    assert one == same != other


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "gan_augment.data.standard_sets.digits"},
        {"_target_": "gan_augment.artefacts.weights.save_weights", "path": "{tmp}/overwritten", "about": "x"},
        {
            "_target_": "gan_augment.networks.mlp.MLP",
            "latent_dim": {"_target_": "pathlib.Path.touch", "self": "{tmp}/x"},
        },
        {"_target_": "gan_augment.networks.conditioning.Projection"},
        {"_target_": "os.system"},
        {"latent_dim": 5},
        "gan_augment.networks.mlp.MLP",
        None,
    ],
    ids=str,
)
def test_loading_builds_networks_and_nothing_else(image_set, networks, tmp_path, node):
    """A checkpoint from elsewhere must not make this program write or read files, or run other code of it."""
    if isinstance(node, dict):
        node = {key: value.format(tmp=tmp_path) if isinstance(value, str) else value for key, value in node.items()}
    design = about(image_set())["design"] | {"architecture": node}
    save_weights(tmp_path / "gan.pt", about(image_set(), design=design), ema=networks["mlp"])
    with pytest.raises(ValueError, match=r"gan\.pt does not describe a generator: "):
        Generator.load(tmp_path / "gan.pt", CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["gan.pt"]


@pytest.mark.parametrize(
    "change",
    [{"shape": [1, 8]}, {"shape": "x"}, {"label_counts": [1, 2]}, {"design": {}}, {"class_names": 3}],
    ids=str,
)
def test_a_checkpoint_that_says_nonsense_is_refused(image_set, networks, tmp_path, change):
    save_weights(tmp_path / "gan.pt", about(image_set(), **change), ema=networks["mlp"])
    with pytest.raises(ValueError, match=r"gan\.pt does not describe a generator: "):
        Generator.load(tmp_path / "gan.pt", CPU)


def test_a_checkpoint_that_leaves_something_out_says_so(image_set, networks, tmp_path):
    said = about(image_set())
    del said["class_names"]
    save_weights(tmp_path / "gan.pt", said, ema=networks["mlp"])
    with pytest.raises(ValueError, match=r"gan\.pt lacks class_names"):
        Generator.load(tmp_path / "gan.pt", CPU)
