"""Flow matching and the variational autoencoder as generators."""

import math

import pytest
import torch
import yaml

from gan_augment.app import CONF
from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import to_float
from gan_augment.generators.flow_matching import FlowTraining
from gan_augment.generators.single import SingleSettings
from gan_augment.generators.start import Start
from gan_augment.generators.vae import FOLLOWING
from gan_augment.settings import build
from gan_augment.stages import StageStore

KINDS = ["flow", "vae"]


def settings_of(kind, network=None, **changes):
    node = yaml.safe_load((CONF / "generator" / f"{kind}.yaml").read_text())
    small = {"channels": 4} | ({"steps": 4} if kind == "flow" else {})
    node |= {"network": node["network"] | small | (network or {}), "images_seen": 1600, "batch_size": 16, **changes}
    return build(node, "generator", SingleSettings)


@pytest.fixture
def plan(image_set, cpu):
    def made(kind, images=None, classical=None, **changes):
        settings = settings_of(kind, **changes)
        images = image_set(per_class=40) if images is None else images
        return settings.kind(labelled=images, generator=settings, classical=classical, seed=0, hardware=cpu)

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_the_level_of_gray_of_each_class(plan, image_set, tmp_path, kind):
    stage = plan(kind, images_seen=16_000)
    output = StageStore(tmp_path).fetch(stage)
    generator = stage.load(output.folder)
    for label in range(3):
        real = stage.labelled.images[stage.labelled.members(label)].double()
        made = generator.images(label, torch.arange(64), seed=0).double()
        assert abs(made.mean() - real.mean()) < 20, label  # classes are 97 levels apart
    assert stage.findings(output.folder).metrics["gan"]["training"].keys() >= {"loss_generator"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_same_bits_alone_as_among_many(plan, tmp_path, kind):
    stage = plan(kind)
    generator = stage.load(StageStore(tmp_path).fetch(stage).folder)
    many = generator.images(1, torch.arange(130), seed=3)
    assert generator.images(1, torch.tensor([77]), seed=3)[0].equal(many[77])
    assert not generator.images(2, torch.tensor([77]), seed=3)[0].equal(many[77])


def test_the_loss_of_a_flow_is_the_error_of_its_velocity(image_set):
    settings = settings_of("flow", label_dropout=0.0)
    images = image_set()
    system = FlowTraining(settings.build(images.shape, 3), settings=settings, transform=None, seed=0)
    system.on_fit_start()
    seen = {}

    def velocity(between, times, labels, changes):
        seen.update(between=between, times=times)
        return torch.zeros_like(between)

    system.network.velocity = velocity
    pixels = to_float(images.images[:8])
    loss = system.terms(pixels, images.labels[:8], None, step=0)["loss/generator"]
    # With noise x0, the point on the way is (1 - t) x0 + t x1: from it and x1 follows x0, and so the velocity.
    time = seen["times"][:, None, None, None]
    noise = (seen["between"] - time * pixels) / (1 - time)
    assert loss.item() == pytest.approx((pixels - noise).square().mean().item(), rel=1e-4)
    assert (seen["times"] > 0).all()
    assert (seen["times"] < 1).all()


def test_some_times_are_near_the_ends_of_the_way(image_set):
    settings, images = settings_of("flow"), image_set(per_class=400)
    system = FlowTraining(settings.build(images.shape, 3), settings=settings, transform=None, seed=0)
    system.on_fit_start()
    seen = []
    system.network.velocity = lambda between, times, labels, changes: seen.append(times) or torch.zeros_like(between)
    for step in range(10):
        system.terms(to_float(images.images), images.labels, None, step)
    times = torch.cat(seen)
    for near in (times < 0.01, times > 0.99):
        assert near.double().mean().item() == pytest.approx(0.2 * 0.01, abs=0.001)  # of uniform ones alone
    middle = ((times > 0.25) & (times < 0.75)).double().mean().item()
    normal = torch.distributions.Normal(0, 1).cdf(torch.tensor(3.0).log()).item()  # sigmoid(ln 3) = 0.75
    assert middle == pytest.approx(0.8 * (2 * normal - 1) + 0.2 * 0.5, abs=0.02)


def test_labels_are_dropped_as_often_as_asked(image_set):
    settings = settings_of("flow", label_dropout=0.25)
    images = image_set()
    system = FlowTraining(settings.build(images.shape, 3), settings=settings, transform=None, seed=0)
    system.on_fit_start()
    seen = []
    system.network.velocity = lambda between, times, labels, changes: seen.append(labels) or torch.zeros_like(between)
    for step in range(40):
        system.terms(to_float(images.images), images.labels, None, step)
    dropped = torch.cat(seen) == 3
    assert dropped.double().mean() == pytest.approx(0.25, abs=0.04)


def test_the_loss_of_an_autoencoder_is_its_bound_by_hand(image_set):
    settings, images = settings_of("vae", divergence=2.0), image_set()
    system = settings.trains(settings.build(images.shape, 3), settings, None, seed=0)
    system.on_fit_start()
    mean, log_variance = torch.full((8, 16), 0.5), torch.full((8, 16), math.log(0.25))
    system.network.encode = lambda pixels, labels: (mean, log_variance)
    pixels = to_float(images.images[:8])
    system.network.decode = lambda codes, labels, changes: pixels + 0.1
    terms = system.terms(pixels, images.labels[:8], None, step=0)
    divergence = 16 * (0.25 + 0.25 - 1 - math.log(0.25)) / 2  # Kingma and Welling 2014, appendix B
    assert terms["vae/divergence"].item() == pytest.approx(divergence, rel=1e-5)
    assert terms["loss/generator"].item() == pytest.approx(math.log(0.01) / 2 + 2 * divergence / 64, rel=1e-4)
    assert system.network.deviation.item() == pytest.approx(1 + FOLLOWING * (0.1 - 1), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_transformed_images_are_told_from_others(plan, image_set, tmp_path, kind):
    moved = {"_target_": "gan_augment.augmentation.classical.ClassicalTransform"}
    moved |= {"shift": 0.2, "rotation": 0.0, "scale": 0.0, "flip": False}
    stage = plan(kind, classical=moved, transformed=0.5)
    assert "data.classical" in stage.all_reads
    generator = stage.load(StageStore(tmp_path).fetch(stage).folder)
    assert generator.network.of_changes.weight.abs().sum() > 0


def test_a_training_of_a_gan_does_not_start_from_another_generator(plan, tmp_path):
    stage = plan("vae")
    path = stage.checkpoint(StageStore(tmp_path).fetch(stage).folder)
    with pytest.raises(ValueError, match=r"is a checkpoint of kind 'generator': one of kind 'gan' is needed"):
        Start.read(str(path), 0, None, stage.labelled, folds=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_description_is_refused(plan, tmp_path, kind):
    stage = plan(kind)
    path = stage.checkpoint(StageStore(tmp_path).fetch(stage).folder)
    content = torch.load(path, weights_only=True)
    content["about"]["design"]["network"]["_target_"] = "os.system"
    torch.save(content, path)
    with pytest.raises(ValueError, match="does not describe a generator"):
        Generator.load(path, torch.device("cpu"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"guidance": 2.0}, "label_dropout": 0.0}, "trains none: set it to 0.1"),
        ({"transformed": 1.5}, "generator.transformed=1.5"),
        ({"network": {"solver": "leapfrog"}}, "generator.network.solver=leapfrog: use one of euler, heun"),
        ({"images_seen": 3}, "generator.images_seen=3"),
        ({"network": {"_target_": "gan_augment.networks.vae.VAENetwork"}}, "use one of type FlowNetwork"),
    ],
)
def test_bad_settings_are_refused(image_set, changes, message):
    images = image_set()
    with pytest.raises(ValueError, match=message):
        settings_of("flow", **changes).build(images.shape, 3)
