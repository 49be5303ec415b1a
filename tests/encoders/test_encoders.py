"""What encoders learn from, and that each loss is what its paper says."""

import math

import pytest
import torch
import yaml
from torch.nn.functional import softplus

from gan_augment.app import CONF
from gan_augment.encoders.base import EncoderSettings, LearnedEncoder, TrainEncoder, without_order
from gan_augment.networks.encoded import encoder_architecture, encoder_of
from gan_augment.randomness import Stream, initialised
from gan_augment.settings import build
from gan_augment.stages import StageStore

MLP = {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 8, "width": 16, "spectral_norm": True}
LEARNED = ("autoencoder", "adversarial_autoencoder", "bigan", "infogan")
SMALL = {"codes": 5, "images_seen": 160, "batch_size": 8}


def settings(name, **changes):
    node = {}
    for member in {"autoencoder", name} if name in LEARNED else {name}:
        node |= yaml.safe_load((CONF / "encoder" / f"{member}.yaml").read_text()) if member != name else {}
    node |= yaml.safe_load((CONF / "encoder" / f"{name}.yaml").read_text())
    node.pop("defaults", None)
    return build(node | (SMALL if name in LEARNED else {}) | changes, "encoder", EncoderSettings)


@pytest.fixture
def lay_out(image_set, cpu):
    def make(name, architecture=MLP, seed=0, **changes):
        encoder, images = settings(name, **changes), image_set().joined(image_set(per_class=8, seed=1))
        node = None if encoder.of_pixels else architecture
        return TrainEncoder(
            images=images.as_one_class(), pool=image_set(), encoder=encoder, architecture=node, seed=seed, hardware=cpu
        )

    return make


@pytest.fixture
def training(image_set):
    """Make a training with streams, outside a trainer."""

    def make(name, **changes):
        shape, encoder = image_set().shape, settings(name, **changes)
        assert isinstance(encoder, LearnedEncoder)
        body = initialised(lambda: encoder_of(shape, MLP), 0)
        system = initialised(lambda: encoder.training(body, encoder_architecture(MLP, shape), shape, seed=0), 0)
        system.draws = {stream: Stream(0, stream) for stream in system.STREAMS}
        return system

    return make


@pytest.mark.parametrize("name", [*LEARNED, "random", "pixels"])
def test_an_encoder_has_the_same_features_again(lay_out, image_set, tmp_path, name):
    stage = lay_out(name)
    stage.check()
    first, again = (stage.load(StageStore(tmp_path / part).fetch(stage).folder) for part in ("one", "two"))
    images = image_set().images / 127.5 - 1
    assert first(images).equal(again(images))
    assert first(images).shape == (len(images), 64 if name == "pixels" else 16)
    learned = any(not one.equal(two) for one, two in zip(first.parameters(), stage.start().parameters(), strict=True))
    assert learned == (name in LEARNED)
    assert bool(stage.findings(StageStore(tmp_path / "one").folder(stage)).metrics) == (name in LEARNED)


def test_encoders_have_keys_of_their_own(lay_out):
    keys = {lay_out(name).key for name in (*LEARNED, "random", "pixels")}
    assert len(keys) == 6
    assert lay_out("random", seed=1).key != lay_out("random").key
    assert "architecture" in lay_out("bigan").all_reads
    assert "architecture" not in lay_out("pixels").all_reads


def test_the_features_of_an_image_do_not_depend_on_its_batch(image_set):
    images = image_set().images / 127.5 - 1
    for name in ("batch_std", "batch_norm"):
        node = {"_target_": "gan_augment.networks.dcgan.DCGAN", "channels": 4, name: True}
        body = initialised(lambda node=node: encoder_of(image_set().shape, node), 0)
        assert body(images)[:1].shape[1] == body.num_features
        torch.testing.assert_close(body(images)[:3], body(images[:3]))


def test_a_pretrained_discriminator_is_no_encoder(lay_out, tiny_backbone):
    node = yaml.safe_load((CONF / "architecture" / "projected.yaml").read_text())["architecture"]
    stage = lay_out("bigan", architecture=node | {"spectral_norm": True, "backbone": tiny_backbone})
    with pytest.raises(ValueError, match="through a pretrained network, which needs no other encoder"):
        stage.check()


def test_which_images_are_labelled_does_not_matter(image_set):
    images = image_set(per_class=8).as_one_class()
    one, two = images.subset(torch.arange(20)), images.subset(torch.arange(20, len(images)))
    first, second = without_order(one.joined(two)), without_order(two.joined(one).joined(one))
    assert first.fingerprint == second.fingerprint
    assert sorted(map(bytes, first.hashes)) == sorted(set(map(bytes, images.hashes)))


@pytest.mark.parametrize("name", LEARNED)
def test_the_encoder_gets_a_gradient_and_teachers_keep_theirs_apart(training, image_set, name):
    system, images = training(name), image_set().images / 127.5 - 1
    before = {key: value.clone() for key, value in system.state_dict().items()}
    optimizers = system.configure_optimizers()
    assert len(system.CURVES) == len(system.play(optimizers, images, step=0))
    assert all(weight.requires_grad for weight in system.parameters())
    still = {key for key, value in system.state_dict().items() if value.equal(before[key])}
    moved = {key.split(".")[0] for key in set(before) - still}
    assert {
        "body",
        *(part for part in ("code", "generator", "decoder", "discriminator") if hasattr(system, part)),
    } <= moved
    weights = [{id(weight) for one in player for weight in one.parameters()} for player in system.players()]
    assert sum(map(len, weights)) == len(set().union(*weights)) == len([*system.parameters()])


def test_a_bigan_s_encoder_and_generator_share_one_loss(training, image_set):
    system, images = training("bigan"), image_set().images / 127.5 - 1
    latents = 2 * torch.rand(len(images), 5, generator=Stream(0, "latents").at(0)) - 1
    codes, made = system.code(system.body(images)), system.generator(latents)
    real, fake = system.judge(images, codes, made, latents)
    expected = softplus(-real).mean() + softplus(fake).mean()
    judged, _, _ = system.play(system.configure_optimizers(), images, step=0)
    torch.testing.assert_close(judged, expected)
    assert latents.abs().max() <= 1


def test_an_undecided_bigan_loses_one_bit_for_each(training, image_set):
    system, images = training("bigan"), image_set().images / 127.5 - 1
    torch.nn.init.zeros_(system.discriminator.of_both[2].weight)
    torch.nn.init.zeros_(system.discriminator.of_both[2].bias)
    for optimizer in (optimizers := system.configure_optimizers()):
        optimizer.param_groups[0]["lr"] = 0.0
    losses = system.play(optimizers, images, step=0)
    assert [float(one.detach()) for one in losses] == pytest.approx([2 * math.log(2), math.log(2), math.log(2)])


def test_an_infogan_guesses_what_the_generator_was_told(training):
    system = training("infogan", categories=3, information=2.0)
    for head in (system.category, system.numbers):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    features, labels, told = torch.ones(4, 16), torch.tensor([0, 1, 2, 0]), torch.full((4, 5), 0.5)
    category, numbers = system.guesses(features, labels, told)
    assert float(category.detach()) == pytest.approx(math.log(3))
    assert float(numbers.detach()) == pytest.approx(0.25)


def test_codes_of_an_adversarial_autoencoder_become_normal(lay_out, tmp_path):
    stage = lay_out("adversarial_autoencoder", adversarial=1.0, images_seen=4000, learning_rate=0.002)
    points = stage.findings(StageStore(tmp_path).fetch(stage).folder).metrics["encoder"]["training"]
    assert points["loss_discriminator"] > 0.5  # it cannot tell them any more: 1.39 if not at all


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bigan", {"codes": 0}, "encoder.codes=0"),
        ("bigan", {"batch_size": 1}, "encoder.batch_size=1"),
        ("bigan", {"images_seen": 4}, "encoder.images_seen=4"),
        ("bigan", {"learning_rate": 0.0}, "encoder.learning_rate=0.0"),
        ("bigan", {"betas": [0.5]}, "encoder.betas"),
        ("infogan", {"categories": 1}, "encoder.categories=1"),
        ("infogan", {"information": 0.0}, "encoder.information=0.0"),
        ("adversarial_autoencoder", {"adversarial": 0.0}, "encoder.adversarial=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        settings(name, **change)
