import pytest
import torch

from conftest import GAN_NODES
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP
from gan_augment.networks.weights import save_weights
from gan_augment.stages import Stage, StageStore
from gan_augment.synthesis.sampling import latents, read_synthetic, synthesis_stage, synthesise

DESIGN = GAN_NODES | {"architecture": {"_target_": "gan_augment.networks.dcgan.DCGAN", "latent_dim": 5, "channels": 4}}


class ShowLabel(torch.nn.Module):
    """Shows the label in the first pixel and the first number of the latent vector in the second."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, labels):
        pixels = torch.stack([labels / 127.5 - 1, latents[:, 0].tanh()], dim=1)
        return self.scale * pixels[:, None, None]


@pytest.mark.parametrize("per_class", [1, 7, 200])
def test_every_class_gets_its_exact_quota_in_order(per_class):
    images, labels = synthesise(ShowLabel(), latent_dim=5, num_classes=3, per_class=per_class, seed=0)
    assert labels.tolist() == [0] * per_class + [1] * per_class + [2] * per_class
    assert images.shape == (3 * per_class, 1, 1, 2)
    assert images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == labels.tolist()


@pytest.mark.parametrize("architecture", [MLP(5, 8), DCGAN(5, 4)], ids=["mlp", "dcgan"])
def test_an_image_can_be_made_again_without_the_others(image_set, architecture):
    generator = Projection().generator(architecture, image_set().shape, 3).eval()
    images, labels = synthesise(generator, 5, num_classes=3, per_class=100, seed=7)
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
    images, labels = synthesise(generator.eval(), 5, 3, per_class=4, seed=3)
    assert torch.equal(found.images, images)
    assert found.labels.tolist() == labels.tolist()
    assert found.class_names == ["a", "b", "c"]


def test_no_images_a_class_are_refused(image_set, gan, cpu):
    with pytest.raises(ValueError, match=r"^synthesis\.per_class=0: use a whole number of at least 1$"):
        synthesis_stage(gan, image_set(), DESIGN, {"per_class": 0}, seed=3, hardware=cpu)
