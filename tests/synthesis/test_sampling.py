import numpy as np
import pytest
import torch

from conftest import GAN_NODES
from gan_augment.data.image_set import ImageSet
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP
from gan_augment.networks.weights import save_weights
from gan_augment.stages import Stage, StageStore
from gan_augment.synthesis.sampling import Teacher, generate, latents, read_synthetic, synthesis_stage

DESIGN = GAN_NODES | {"architecture": {"_target_": "gan_augment.networks.dcgan.DCGAN", "latent_dim": 5, "channels": 4}}


class ShowLabel(torch.nn.Module):
    """Shows the label in the first pixel and the first number of the latent vector in the second."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, labels):
        pixels = torch.stack([labels / 127.5 - 1, latents[:, 0].tanh()], dim=1)
        return self.scale * pixels[:, None, None]


def test_images_are_made_for_their_labels():
    labels = torch.tensor([2, 0, 1] * 100)
    images = generate(ShowLabel(), 5, labels, first=0, seed=0)
    assert images.shape == (300, 1, 1, 2)
    assert images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == labels.tolist()


def test_later_images_are_those_of_later_latents():
    labels = torch.zeros(300, dtype=torch.int64)
    assert torch.equal(generate(ShowLabel(), 5, labels, 0, 3)[40:], generate(ShowLabel(), 5, labels[40:], 40, 3))


def test_points_stay_as_fine_as_they_are():
    points = generate(ShowLabel(), 5, torch.zeros(4, dtype=torch.int64), 0, seed=0, dtype=torch.float32)
    assert points[:, 0, 0, 1].tolist() == pytest.approx(latents(0, range(4), 5)[:, 0].tanh().tolist())


@pytest.mark.parametrize("architecture", [MLP(5, 8), DCGAN(5, 4)], ids=["mlp", "dcgan"])
def test_an_image_can_be_made_again_without_the_others(image_set, architecture):
    generator = Projection().generator(architecture, image_set().shape, 3).eval()
    labels = torch.arange(3).repeat_interleave(100)
    images = generate(generator, 5, labels, first=0, seed=7)
    for index in (0, 128, 299):
        alone = latents(7, [index], 5)
        assert torch.equal(alone, latents(7, range(300), 5)[[index]])
        image = generator(alone, labels[[index]]).add(1).mul(127.5)
        # The last bit of a sum depends on the size of the batch; a level more or less is rounding.
        torch.testing.assert_close(images[[index]].float(), image.detach(), atol=0.51, rtol=0)


def test_latents_are_standard_normal_and_follow_the_seed():
    drawn = latents(0, range(400), 50)
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)
    assert len({tuple(row.tolist()) for row in drawn}) == 400
    assert not torch.equal(latents(1, range(400), 50), drawn)


@pytest.fixture
def gan(image_set):
    """A stage that leaves the untrained weights of a GAN; the averaged generator differs from the other."""
    architecture = DCGAN(latent_dim=5, channels=4)

    def compute(folder):
        generators = {name: Projection().generator(architecture, image_set().shape, 3) for name in ("ema", "generator")}
        save_weights(folder, **generators)

    return Stage("gan", 1, {}, {}, 0, compute)


def test_the_stage_samples_the_averaged_generator(tmp_path, image_set, gan, cpu):
    store = StageStore(tmp_path)
    stage = synthesis_stage(gan, image_set(), DESIGN, {"per_class": 4}, seed=3, hardware=cpu)
    found = read_synthetic(store.fetch(stage).folder, ["a", "b", "c"])
    weights = torch.load(store.folder(gan) / "weights.pt", weights_only=True)
    generator = Projection().generator(DCGAN(latent_dim=5, channels=4), image_set().shape, 3)
    generator.load_state_dict(weights["ema"])
    labels = torch.arange(3).repeat_interleave(4)
    assert torch.equal(found.images, generate(generator.eval(), 5, labels, 0, seed=3))
    assert found.labels.tolist() == labels.tolist()
    assert found.class_names == ["a", "b", "c"]


def test_no_images_a_class_are_refused(image_set, gan, cpu):
    with pytest.raises(ValueError, match=r"^synthesis\.per_class=0: use a whole number of at least 1$"):
        synthesis_stage(gan, image_set(), DESIGN, {"per_class": 0}, seed=3, hardware=cpu)


def brightness(folder, images):
    """A teacher of three classes, dark, middle and bright, which is surer the closer a pixel is to its class's own."""
    levels = images.images.flatten(1)[:, :1].float() / 127.5
    return (-8 * (levels - torch.arange(3.0)).abs()).softmax(dim=1)


def candidates(first, number):
    """Images whose brightness rises with their number, over and over."""
    return ((torch.arange(first, first + number) * 17) % 256).to(torch.uint8).view(-1, 1, 1, 1)


def teacher(threshold, says=brightness):
    return Teacher(Stage("teacher", 1, {}, {}, 0, lambda folder: None), says, ["dark", "middle", "bright"], threshold)


def test_a_teacher_takes_the_first_images_that_it_is_sure_of(tmp_path):
    images, labels, numbers = teacher(0.99).choose(candidates, tmp_path, per_class=5)
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    everything = candidates(0, int(numbers.max()) + 1)
    says = brightness(None, ImageSet(everything, torch.zeros(len(everything)).long(), ["any"]))
    for label in range(3):
        sure = ((says[:, label] >= 0.99) & (says.argmax(dim=1) == label)).nonzero().squeeze(1)
        assert numbers[labels == label].tolist() == sure[:5].tolist()
    assert torch.equal(images, everything[numbers])


def test_without_a_threshold_every_image_is_taken(tmp_path):
    _, labels, numbers = teacher(0.0).choose(candidates, tmp_path, per_class=4)
    assert labels.bincount().tolist() == [4, 4, 4]
    assert sorted(numbers.tolist())[:4] == [0, 1, 2, 3]


def test_a_class_that_the_generator_does_not_make_is_named(tmp_path):
    def dark(first, number):
        return torch.zeros(number, 1, 1, 1, dtype=torch.uint8)

    with pytest.raises(ValueError, match=r"of 300 .* fewer than 2 for class 'middle', 'bright'; lower"):
        teacher(0.9).choose(dark, tmp_path, per_class=2)


def test_the_stage_asks_the_teacher_and_keeps_the_numbers(tmp_path, image_set, gan, cpu):
    store, seen = StageStore(tmp_path), []

    def says(folder, images):
        seen.append(folder)
        return torch.eye(3)[torch.arange(len(images)) % 3]

    asked = teacher(0.5, says)
    stage = synthesis_stage(gan, image_set(), DESIGN, {"per_class": 4}, seed=3, hardware=cpu, teacher=asked)
    folder = store.fetch(stage).folder
    assert seen == [store.folder(asked.stage)]
    with np.load(folder / "images.npz") as stored:
        assert stored["labels"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert stored["numbers"].tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    keys = {synthesis_stage(gan, image_set(), DESIGN, {"per_class": 4}, 3, cpu, teacher(t)).key for t in (0.5, 0.9)}
    assert len(keys | {stage.key}) == 2
