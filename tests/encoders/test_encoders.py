"""What encoders learn from, and that each loss is what its paper says."""

import math
from dataclasses import replace

import pytest
import torch
import yaml

from gan_augment.app import CONF
from gan_augment.encoders.autoencoder import Autoencoder
from gan_augment.encoders.base import EncoderSettings, LearnedEncoder, TrainEncoder, without_order
from gan_augment.networks.encoded import effective, encoder_architecture, encoder_of
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
        node = None if encoder.of_pixels else effective(architecture)
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
        system = initialised(lambda: encoder.trains(body, encoder, encoder_architecture(MLP, shape), shape, seed=0), 0)
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


def test_settings_without_an_effect_are_no_part_of_the_key():
    node = MLP | {"batch_std": False, "generator_batch_norm": True}
    assert effective(node) == {"_target_": MLP["_target_"], "width": 16, "generator_batch_norm": True}
    with pytest.raises(ValueError, match=r"architecture\.batch_std=true: an image would have other features"):
        effective(MLP | {"batch_std": True})


def test_a_class_of_a_plugin_is_another_encoder(lay_out):
    class Other(Autoencoder):
        pass

    one, stage = settings("autoencoder"), lay_out("autoencoder")
    other = replace(stage, encoder=Other(one.codes, one.images_seen, one.batch_size, one.learning_rate, one.betas))
    assert other.key != stage.key


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


def test_a_bigan_s_losses_are_those_of_the_paper(training, image_set):
    system, images = training("bigan"), image_set().images / 127.5 - 1

    def judge(images, codes, made, latents):  # real pairs have the logit 2, generated ones -1
        assert latents.abs().max() <= 1
        return 2 + 0 * codes.sum(dim=1) + zero(), -1 + 0 * made.flatten(1).sum(dim=1) + zero()

    def zero():
        return 0 * system.discriminator.of_both[2].weight.sum()

    system.judge = judge
    judged, of_encoder, of_generator = system.play(system.configure_optimizers(), images, step=0)
    # -log D(x, E(x)) - log(1 - D(G(z), z)) with D = sigmoid(2) and sigmoid(-1); the others want the opposite.
    d_real, d_fake = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    assert float(judged.detach()) == pytest.approx(-math.log(d_real) - math.log(1 - d_fake))
    assert float(of_encoder.detach()) == pytest.approx(-math.log(1 - d_real))
    assert float(of_generator.detach()) == pytest.approx(-math.log(d_fake))


def test_the_errors_of_an_infogan_s_predictions(training):
    system = training("infogan", categories=3)
    for head in (system.categorical, system.continuous):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    features, labels, codes = torch.ones(4, 16), torch.tensor([0, 1, 2, 0]), torch.full((4, 5), 0.5)
    categorical, continuous = system.errors(features, labels, codes)
    assert float(categorical.detach()) == pytest.approx(math.log(3))
    assert float(continuous.detach()) == pytest.approx(0.25)


def test_an_infogan_s_players_lower_the_errors_on_generated_images(training, image_set):
    system, images = training("infogan", information=100.0, learning_rate=0.01), image_set().images / 127.5 - 1
    optimizers = system.configure_optimizers()
    first = system.play(optimizers, images, step=0)
    body = [weight.clone() for weight in system.body.parameters()]
    optimizers[0].param_groups[0]["lr"] = 0.0  # the generator alone
    losses = [system.play(optimizers, images, step=0) for _ in range(20)]
    assert all(one.equal(two) for one, two in zip(system.body.parameters(), body, strict=True))
    assert float(losses[-1][2].detach()) < float(first[2].detach())


def test_an_infogan_predicts_the_codes_of_generated_images_alone(training, image_set):
    def predicted_from(images):
        system, seen = training("infogan"), []
        errors = system.errors
        system.errors = lambda features, *codes: seen.append(features.detach()) or errors(features, *codes)
        system.play(system.configure_optimizers(), images, step=0)
        return seen[0]

    one, other = (image_set(seed=seed).images / 127.5 - 1 for seed in (0, 1))
    assert predicted_from(one).equal(predicted_from(other))


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
