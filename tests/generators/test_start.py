import dataclasses
import json
import shutil

import pytest
import torch

from conftest import GAN_NODES, TINY, gan_design
from gan_augment.artefacts.weights import read_about
from gan_augment.data.image_set import to_float
from gan_augment.generators.gan import TrainGAN
from gan_augment.generators.start import Start
from gan_augment.plan import plan_trial
from gan_augment.synthesize import main as synthesize

NODES = {
    "mlp": {},
    "dcgan": {"architecture": {"_target_": "gan_augment.networks.dcgan.DCGAN", "latent_dim": 5, "channels": 4}},
    "acgan": {"conditioning": {"_target_": "gan_augment.networks.conditioning.AuxiliaryClassifier"}},
    "per_class": {"conditioning": {"_target_": "gan_augment.networks.conditioning.PerClass"}},
    "projected": {
        "architecture": {
            **{"_target_": "gan_augment.networks.projected.Projected", "latent_dim": 5, "channels": 4, "width": 8},
            "backbone": {"_target_": "tiny"},
        }
    },
}


def parts(name="mlp", **changes):
    return gan_design(GAN_NODES | NODES[name] | {"generator": GAN_NODES["generator"] | changes})


def trained(labelled, design, folder, cpu, seed=0, start=None, stop=False):
    """Train a GAN, or stop before its first step, and write its weights; return its system."""
    found = []

    class Kept:
        def fit(self, system, data, folder, callbacks):
            found.append(system)
            if not stop:
                cpu.fit(system, data, folder)

    folder.mkdir()
    TrainGAN(labelled=labelled, design=design, start=start, seed=seed, hardware=Kept()).run(folder, {})
    return found[0]


@pytest.fixture
def begin(image_set, cpu, tmp_path, tiny_backbone):
    """Train a GAN, then start one on other images; return both systems and the start."""

    def both(name="mlp", freeze=0, stop=True, **other):
        design = parts(name, images_seen=32)
        before = trained(image_set(), design, tmp_path / "before", cpu)
        labelled = image_set(**{"seed": 1} | other)
        start = Start.read(str(tmp_path / "before"), freeze, design, labelled, False)
        return before, trained(labelled, design, tmp_path / "after", cpu, 7, start, stop), start

    return both


@pytest.mark.parametrize("name", NODES)
def test_it_starts_from_the_averaged_generator_and_from_the_discriminator_with_its_frozen_features(
    begin, image_set, name
):
    before, after, start = begin(name)
    for network in (after.generator, after.ema):
        for key, weight in network.state_dict().items():
            assert torch.equal(weight, before.ema.state_dict()[key])
    images = image_set(seed=2)
    for system in (before, after):
        system.discriminator.eval()  # spectral norm takes a step at each forward in training
    judged = [system.judge(to_float(images.images), images.labels)[0] for system in (before, after)]
    assert torch.equal(*judged)
    assert all(weight.requires_grad for weight in (*after.generator.parameters(), *after.discriminator.parameters()))
    assert len(start.notes) == 1


@pytest.mark.parametrize("name", NODES)
def test_the_discriminator_is_read_back_with_its_frozen_features(image_set, cpu, tmp_path, tiny_backbone, name):
    design, images = parts(name, images_seen=32), image_set(seed=2)
    system = trained(image_set(), design, tmp_path / "gan", cpu)
    system.discriminator.eval()
    outputs = system.judge(to_float(images.images), images.labels)[0]
    expected = design.conditioning.split(outputs, images.labels)[0].reshape(len(images), -1).mean(dim=1)
    critic = TrainGAN(labelled=image_set(), design=design, seed=0, hardware=cpu).critic(tmp_path / "gan")
    assert torch.equal(critic(to_float(images.images), images.labels), expected)


def test_frozen_features_are_those_of_the_first_start(begin, image_set, cpu, tmp_path):
    first, second, start = begin("projected")
    of_second = Start.read(str(tmp_path / "after"), 0, second.design, image_set(seed=1), False)
    third = trained(image_set(seed=3), second.design, tmp_path / "third", cpu, 9, of_second, stop=True)
    for name, buffer in third.features.named_buffers():
        assert torch.equal(buffer, dict(first.features.named_buffers())[name])
    # From what a start had learned before is not known from its own images, even if these are the same.
    assert of_second.notes[0].startswith("the generator started from one that had learned from other images")

    # A checkpoint of an earlier version knows their seed, but not their scale.
    start = dataclasses.replace(start, about={key: one for key, one in start.about.items() if key != "frozen"})
    again = trained(image_set(seed=1), first.design, tmp_path / "again", cpu, 7, start, stop=True)
    mixing = (dict(one.features.named_buffers())["across_channels.0.weight"] for one in (first, again))
    assert torch.equal(*mixing)
    assert not torch.equal(first.features.scale, again.features.scale)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("mlp", "generator.embedding.of_class, discriminator.embedding.of_class"),
        ("acgan", "generator.embedding.of_class, discriminator.classifier"),
    ],
)
def test_with_another_number_of_classes_the_layers_of_labels_are_drawn_anew(begin, name, layers):
    before, after, start = begin(name, num_classes=5)
    assert start.notes[1:] == (
        "the generator started from one of 3 classes instead of 5, so these layers were drawn anew: " + layers,
    )
    for player in ("generator", "discriminator"):
        own = getattr(after, player).state_dict()
        for key, weight in getattr(before, player.replace("generator", "ema")).state_dict().items():
            is_of_labels = any(f"{player}.{key}".startswith(layer) for layer in layers.split(", "))
            assert torch.equal(own[key], weight) is not is_of_labels


def test_without_layers_of_labels_the_first_classes_are_kept(begin):
    before, after, start = begin("per_class", num_classes=2)
    assert start.notes[1:] == ("each class started from the one at its place: class0 from class0, class1 from class1",)
    for key, weight in after.discriminator.state_dict().items():
        assert torch.equal(weight, before.discriminator.state_dict()[key])


def test_what_nobody_can_check_is_said(begin, image_set, tmp_path):
    before, _, start = begin()
    known = f"(checkpoint {start.start}, 32 images seen)"
    assert start.notes == (
        f"the generator started from one that had learned from other images {known}: if validation or test images "
        "were among them, results are too good",
    )
    _, of_folds = Start.read(str(tmp_path / "before"), 0, before.design, image_set(seed=1), True).notes
    assert of_folds.startswith("with folds each image is tested by some seed, so a generator that learned from any")
    same = Start.read(str(tmp_path / "before"), 0, before.design, image_set(), True)
    assert same.notes == (f"the generator started from one that had learned from these labelled images {known}",)
    renamed = dataclasses.replace(image_set(), class_names=["a", "b", "c"])
    assert Start.read(str(tmp_path / "before"), 0, before.design, renamed, False).notes[-1] == (
        "each class started from the one at its place: a from class0, b from class1, c from class2"
    )


def test_what_does_not_fit_is_refused(begin, image_set, tmp_path):
    before, _, start = begin()
    where, same = f"^generator.start={tmp_path}/before ", image_set()

    def refused(message, design=before.design, images=same, folder=tmp_path / "before", freeze=0):
        with pytest.raises(ValueError, match=message):
            Start.read(str(folder), freeze, design, images, False)

    (tmp_path / "picture.png").write_bytes(b"PNG")
    refused("^generator.start: .*picture.png cannot be read as a checkpoint", folder=tmp_path / "picture.png")
    refused("^generator.start=.*none: not found: name the folder of a trial or gan stage", folder=tmp_path / "none")
    refused(
        where + "makes images of 8x8 pixels with 1 channel, but the data are 8x8 pixels with 3 channels",
        images=image_set(channels=3),
    )
    refused(where + "has architecture=MLP, but this GAN has DCGAN: use the same$", parts("dcgan"))
    wide = {"architecture": {**GAN_NODES["architecture"], "width": 16}}
    refused(where + "has architecture.width=8, but this GAN has 16: use the same$", gan_design(GAN_NODES | wide))
    refused(where + "has conditioning=Projection, but this GAN has AuxiliaryClassifier: use", parts("acgan"))
    clustered = {"conditioning": {**GAN_NODES["conditioning"], "clusters": 2}}
    refused(
        "clusters are of other images there: use conditioning.clusters=1, not 2$", gan_design(GAN_NODES | clustered)
    )
    refused("^generator.freeze=3: the discriminator has 2 layers: use at most 2$", freeze=3)
    with pytest.raises(
        ValueError, match=r"^generator.freeze=1, but generator.start=null: random weights are not worth"
    ):
        parts(freeze=1)
    content = torch.load(start.path)
    del content["networks"]["discriminator"]
    torch.save(content, start.path)
    refused("weights.pt has no network 'discriminator'")
    with pytest.raises(ValueError, match=r"weights.pt has changed since the launch: launch it again$"):
        start.give(before.design, before.generator, before.discriminator)


@pytest.mark.parametrize(
    ("name", "freeze", "frozen"),
    [
        ("mlp", 1, {"body.1"}),
        ("dcgan", 2, {"body.0", "body.2"}),
        ("per_class", 1, {f"networks.{label}.0.1" for label in range(3)}),
        ("projected", 1, {f"body.0.bodies.{judge}.0" for judge in range(4)}),
    ],
)
def test_the_first_layers_of_each_body_keep_their_weights_and_all_others_learn(begin, name, freeze, frozen):
    before, after, _ = begin(name, freeze, stop=False)
    weights = dict(before.discriminator.named_parameters())
    kept = {
        key.split(".parametrizations")[0].removesuffix(".bias")
        for key, weight in weights.items()
        if torch.equal(weight, dict(after.discriminator.named_parameters())[key])
    }
    assert kept == frozen
    assert [weight.grad for weight in after.discriminator.parameters() if not weight.requires_grad] == [None] * (
        2 * len(frozen)
    )
    moved = zip(after.generator.parameters(), before.ema.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in moved)


def test_no_more_layers_are_frozen_than_the_smallest_body_has(begin):
    with pytest.raises(ValueError, match=r"^generator.freeze=4: the discriminator has 2 layers: use at most 2$"):
        begin("projected", freeze=4)  # bodies of 3 and of 2 layers


def test_clipping_leaves_frozen_layers_alone(image_set, cpu, tmp_path):
    nodes = GAN_NODES | {
        "architecture": {**GAN_NODES["architecture"], "spectral_norm": False},
        "loss": {"_target_": "gan_augment.losses.adversarial.Wasserstein", "weight_clip": 0.01},
    }
    usual = gan_design(nodes | {"loss": GAN_NODES["loss"], "generator": {**GAN_NODES["generator"], "images_seen": 32}})
    before = trained(image_set(), usual, tmp_path / "before", cpu)
    start = Start.read(str(tmp_path / "before"), 1, gan_design(nodes), image_set(), False)
    after = trained(image_set(), gan_design(nodes), tmp_path / "after", cpu, start=start)
    assert torch.equal(after.discriminator.body[1].weight, before.discriminator.body[1].weight)
    assert after.discriminator.body[3].weight.abs().max() <= 0.0100001


@pytest.fixture(scope="module")
def plan(plain_settings):
    """Plan the trial of a generator alone."""

    def planned(start=None, *options):
        settings = plain_settings("augmentation=gan", *options)
        settings["generator"]["start"], settings["classifier"] = start, {"_target_": None}
        return plan_trial(settings)

    return planned


@pytest.fixture(scope="module")
def learned(plan, tmp_path_factory):
    """Train a generator on another split; return its folder."""
    folder = tmp_path_factory.mktemp("learned")
    plan(None, "seed=5").stages["gan"].run(folder, {})
    return folder


def test_a_start_counts_by_its_content_and_not_by_its_path(plan, learned, tmp_path):
    copied = shutil.copy(learned / "weights.pt", tmp_path / "any.pt")
    plain, one, other = map(plan, (None, str(learned), str(copied)))
    content = one.stages["gan"].start.start
    assert "generator.start" not in plain.factors
    assert one.factors == other.factors == {**plain.factors, "generator.start": content}
    assert one.name == other.name != plain.name
    assert one.stages["gan"].identity["settings"]["start"] == content
    assert (
        plan(str(learned), "seed=5")
        .notes[-1]
        .endswith(f"learned from these labelled images (checkpoint {content}, 640 images seen)")
    )
    frozen = plan(str(learned), "generator.freeze=1")
    assert frozen.factors == {**one.factors, "generator.freeze": 1}
    assert frozen.stages["gan"].key != one.stages["gan"].key


def test_a_record_and_a_card_say_from_what_a_generator_started(cli, commanded, learned, tmp_path):
    options = [one for one in TINY if one.startswith(("generator", "architecture", "trainer", "synthesis"))]
    arm = ("classifier=none", "augmentation=gan", "measures=[]", f"generator.start={learned}")
    ended = cli(*options, *arm, f"paths.output_dir={tmp_path}")
    assert ended.code == 0, ended.err
    (path,) = tmp_path.glob("studies/*/trials/*/record.json")
    record, about = json.loads(path.read_text()), read_about(learned / "weights.pt", "gan")
    content = record["factors"]["generator.start"]
    known = {"hash": content, "trained_on": about["trained_on"], "images_seen": 640}
    assert record["provenance"]["files"] == {"generator.start": known}
    assert record["saw"]["pretrained"] is True
    (note,) = [one for one in record["notes"] if "started" in one]
    assert f"had learned from other images (checkpoint {content}, 640 images seen): if validation or test" in note
    assert note in " ".join((ended.out + ended.err).split())
    assert str(learned) not in json.dumps({**record, "provenance": None})
    assert commanded(synthesize, f"generator={path.parent}", "per_class=1", f"out={tmp_path / 'made'}")[0] == 0
    card = (tmp_path / "made" / "data_card.md").read_text()
    assert "a generator from which it started" in card
    assert content in card
