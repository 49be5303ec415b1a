import itertools
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import NoExtra, Plan
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.methods import consistency, semi_supervised
from gan_augment.methods.base import NUM_VALIDATIONS
from gan_augment.methods.semi_supervised import SemiSupervised, SemiSupervisedSettings, SemiSupervisedStage
from gan_augment.networks.classifying import ClassifyingMLP
from gan_augment.randomness import Stream
from gan_augment.settings import build
from gan_augment.stages import DivergedError, StageStore
from gan_augment.training.hardware import Hardware

NODE = {
    "_target_": "gan_augment.methods.semi_supervised.SemiSupervisedSettings",
    "network": {
        "_target_": "gan_augment.networks.classifying.ClassifyingMLP",
        "_partial_": True,
        "width": 16,
        "input_noise": 0.1,
        "noise": 0.1,
    },
    "generator": {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 5, "width": 8},
    "num_steps": 60,
    "discriminator_steps": 1,
    "batch_size": 16,
    "labelled_batch_size": 6,
    "learning_rate": 0.003,
    "betas": [0.5, 0.999],
    "ema_half_life": 1000,
    "ema_ramp_up": 0.05,
    "entropy": 0.1,
    "virtual_adversarial": 1.0,
    "radius": 0.1,
    "pull_away": 0.1,
}
CLASSICAL = {
    "_target_": "gan_augment.augmentation.classical.ClassicalTransform",
    **{"shift": 0.1, "rotation": 15.0, "scale": 0.1, "flip": False},
}


def parts(image_set):
    """A few labelled images, a pool without labels, and validation images."""
    return image_set(per_class=2), image_set(per_class=20, seed=1).without_labels(), image_set(per_class=5, seed=2)


def read_settings(**changes):
    return build(NODE | changes, "semi_supervised", SemiSupervisedSettings)


def stage(given, cpu, seed=0, classical=None, **changes):
    """Plan the stage that trains on labelled images, a pool and validation images; `None`: without transforms."""
    labelled, pool, validation = given
    arm = Arm("pool_images", "none", None, "none" if classical is None else "classical", "semi_supervised")
    config = SimpleNamespace(
        source={}, classical=classical or CLASSICAL, seeds=SimpleNamespace(classifier=seed), hardware=cpu
    )
    plan = Plan(config, SimpleNamespace(labelled=labelled, pool=pool, validation=validation, domains=None))
    return read_settings(**changes).stage(plan, arm, NoExtra())


def train(image_set, cpu, folder, seed=0, classical=None, given=None, **changes):
    folder.mkdir(exist_ok=True)
    stage(given or parts(image_set), cpu, seed, classical, **changes).run(folder, {})
    return torch.load(folder / "weights.pt", weights_only=True)["networks"]


def make_system(image_set, **changes):
    labelled, settings = image_set(per_class=2), read_settings(**changes)
    network = settings.discriminator(labelled.shape, labelled.num_classes)
    generator = settings.architecture.generator(labelled.shape, settings.architecture.latent_dim)
    return SemiSupervised(network, generator, settings, None, seed=0)


def fit(system, image_set, cpu, folder):
    labelled, pool, _ = parts(image_set)
    settings = system.settings
    each = [Part(labelled, settings.labelled_batch_size, "order"), Part(pool, settings.batch_size, "order/pool")]
    cpu.fit(system, ImageBatches(each, settings.num_steps, seed=0), folder)


@pytest.mark.parametrize("changes", [{}, {"entropy": 0.0, "virtual_adversarial": 0.0, "pull_away": 0.0}])
def test_feature_matching_reaches_the_generator_alone_and_the_discriminator_s_loss_it_alone(
    image_set, cpu, tmp_path, monkeypatch, changes
):
    system, turns = make_system(image_set, num_steps=3, **changes), ["discriminator"]
    matching = semi_supervised.feature_matching

    def spy(real, fake):
        turns.append("generator")
        assert fake.requires_grad
        return matching(real, fake)

    monkeypatch.setattr(semi_supervised, "feature_matching", spy)
    reached = {"discriminator": set(), "generator": set()}
    for name, weight in system.named_parameters():
        if weight.requires_grad:
            weight.register_hook(lambda gradient, name=name: reached[turns[-1]].add(name.split(".")[0]))
    step = system._discriminator_step

    def discriminator_step(*arguments):
        turns.append("discriminator")
        return step(*arguments)

    monkeypatch.setattr(system, "_discriminator_step", discriminator_step)
    fit(system, image_set, cpu, tmp_path)
    assert turns[1:] == ["discriminator", "generator"] * 3
    assert reached == {"discriminator": {"network"}, "generator": {"generator"}}


def test_the_generator_comes_after_so_many_discriminator_steps(image_set, cpu, tmp_path, monkeypatch):
    made, matching = [], semi_supervised.feature_matching
    monkeypatch.setattr(semi_supervised, "feature_matching", lambda *both: made.append(1) or matching(*both))
    fit(make_system(image_set, num_steps=7, discriminator_steps=3), image_set, cpu, tmp_path)
    assert len(made) == 2


def test_the_rate_stays_for_half_of_the_training_and_falls_to_nothing(image_set):
    system = make_system(image_set, num_steps=100, learning_rate=0.2)
    assert system.learning_rate(0) == system.learning_rate(50) == 0.2
    assert system.learning_rate(75) == pytest.approx(0.1)
    assert system.learning_rate(99) == pytest.approx(0.004)


def test_it_learns_from_two_labels_a_class(image_set, cpu, tmp_path):
    network = {"_target_": "gan_augment.networks.classifying.ClassifyingCNN", "_partial_": True, "channels": 8}
    train(image_set, cpu, tmp_path, num_steps=200, network=network, radius=0.02)
    images = image_set(per_class=30, seed=7)
    says = TrainedClassifier.load(tmp_path / "weights.pt", torch.device("cpu")).probabilities(images)
    assert (says.argmax(dim=1) == images.labels).double().mean() > 0.95


def test_what_it_leaves_is_a_classifier_by_its_averaged_weights(image_set, cpu, tmp_path, monkeypatch):
    systems, fit_any = [], Hardware.fit
    monkeypatch.setattr(
        Hardware,
        "fit",
        lambda self, system, *rest, **more: systems.append(system) or fit_any(self, system, *rest, **more),
    )
    train(image_set, cpu, tmp_path)
    (system,), images = systems, image_set(seed=3)
    classifier = TrainedClassifier.load(tmp_path / "weights.pt", torch.device("cpu"))
    assert isinstance(classifier.network, ClassifyingMLP)
    assert [*classifier.class_names] == ["class0", "class1", "class2"]
    assert [*classifier.class_counts] == [2, 2, 2]
    shown = images.images.float() / 127.5 - 1
    with torch.no_grad():
        assert torch.allclose(classifier.probabilities(images), system.ema(shown).softmax(dim=1), atol=1e-6)
        assert not torch.allclose(system.ema(shown), system.network.eval()(shown), atol=1e-4)


def test_one_seed_gives_one_result_and_another_another(image_set, cpu, tmp_path):
    one, same, other = (
        train(image_set, cpu, tmp_path / str(number), seed)["classifier"]["head.1.bias"]
        for number, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "change",
    [{"entropy": 0.0}, {"virtual_adversarial": 0.0}, {"radius": 0.2}, {"pull_away": 0.0}, {"discriminator_steps": 2}],
    ids=str,
)
def test_every_option_changes_the_result(image_set, cpu, tmp_path, change):
    plain = train(image_set, cpu, tmp_path / "plain", num_steps=10)["classifier"]["head.1.bias"]
    changed = train(image_set, cpu, tmp_path / "changed", num_steps=10, **change)["classifier"]["head.1.bias"]
    assert not torch.equal(plain, changed)


def test_real_images_are_transformed_and_the_average_says_what_they_show_before(image_set, cpu, tmp_path, monkeypatch):
    seen, loss = [], consistency.virtual_adversarial

    def spy(network, images, logits, radius, random):
        seen.append((images, logits))
        return loss(network, images, logits, radius, random)

    monkeypatch.setattr(consistency, "virtual_adversarial", spy)
    classical = CLASSICAL | {"shift": 0.2, "rotation": 0.0, "scale": 0.0}
    train(image_set, cpu, tmp_path / "moved", classical=classical, num_steps=1)
    train(image_set, cpu, tmp_path / "still", num_steps=1)
    (moved, one), (still, other) = seen
    assert moved.shape == still.shape == (16, 1, 8, 8)
    assert not torch.allclose(moved, still, atol=0.1)
    assert torch.equal(one, other)
    assert not one.requires_grad


def test_the_labels_of_the_pool_change_nothing(image_set, cpu, tmp_path):
    labelled, pool, validation = parts(image_set)
    with_labels = image_set(per_class=20, seed=1)
    one, other = (
        train(image_set, cpu, tmp_path / name, given=(labelled, some, validation))["classifier"]["head.1.bias"]
        for name, some in (("without", pool), ("with", with_labels))
    )
    assert torch.equal(one, other)


def test_the_stage_refuses_to_be_handed_labels_of_the_pool(image_set, cpu):
    labelled, _, validation = parts(image_set)
    with pytest.raises(AssertionError, match="views provide the pool without its labels"):
        stage((labelled, image_set(seed=1), validation), cpu).check()


def test_curves_show_losses_confidence_on_the_pool_and_validation_accuracy(image_set, cpu, tmp_path):
    train(image_set, cpu, tmp_path, num_steps=100)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = {*SemiSupervised.CURVES, "validation/accuracy", "validation/loss"}
    assert names <= {*events.Tags()["scalars"]}
    assert len(events.Scalars("validation/accuracy")) == NUM_VALIDATIONS
    confidence = [point.value for point in events.Scalars("pool/confidence")]
    assert len(confidence) == 2
    assert all(1 / 3 <= value <= 1 for value in confidence)
    assert all(0 <= point.value <= 1 for name in ("output/pool", "output/fake") for point in events.Scalars(name))


def test_a_resumed_training_equals_one_that_ran_through(image_set, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.training.checkpoints.monotonic", itertools.count().__next__)  # a second a step
    hardware = Hardware(accelerator="cpu", precision="32-true", num_threads=1, checkpoint_every=20)
    whole = train(image_set, hardware, tmp_path / "whole")["classifier"]

    class KilledError(Exception):
        pass

    interrupted, store = stage(parts(image_set), hardware), StageStore(tmp_path / "store")
    taken = SemiSupervised.training_step
    with pytest.MonkeyPatch.context() as patch:

        def step_or_die(self, batch, step):
            if step == 47:
                raise KilledError
            return taken(self, batch, step)

        patch.setattr(SemiSupervised, "training_step", step_or_die)
        with pytest.raises(KilledError):
            store.fetch(interrupted)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SemiSupervised, "training_step", lambda self, batch, step: steps.append(step) or taken(self, batch, step)
        )
        folder = store.fetch(interrupted).folder
    assert steps[0] == 40
    resumed = torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_loss_that_is_not_finite_ends_the_training(image_set, cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(semi_supervised, "real_loss", lambda logits: logits.sum() * float("nan"))
    with pytest.raises(DivergedError):
        train(image_set, cpu, tmp_path)


def test_golden_numbers(image_set, cpu, tmp_path):
    # A change of these numbers is a change of mathematics: raise the version and put the new ones here.
    bias = train(image_set, cpu, tmp_path)["classifier"]["head.1.bias"]
    assert SemiSupervisedStage.version == 1
    assert bias.tolist() == pytest.approx([0.326209, -0.509831, -0.370440], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "semi_supervised.num_steps=0: use a whole number of at least 1"),
        ({"discriminator_steps": 61}, "semi_supervised.num_steps=60: use a whole number of at least 61"),
        ({"discriminator_steps": 0}, "semi_supervised.discriminator_steps=0"),
        ({"batch_size": 1}, "semi_supervised.batch_size=1: use a whole number of at least 2"),
        ({"labelled_batch_size": 0}, "semi_supervised.labelled_batch_size=0"),
        ({"learning_rate": 0}, "semi_supervised.learning_rate=0: use a number above 0"),
        ({"betas": [0.5]}, "semi_supervised.betas=.*use a list of two numbers"),
        ({"betas": [0.5, 1.0]}, "semi_supervised.betas=1.0"),
        ({"ema_half_life": 0}, "semi_supervised.ema_half_life=0"),
        ({"ema_ramp_up": 0}, "semi_supervised.ema_ramp_up=0"),
        ({"entropy": -1}, "semi_supervised.entropy=-1"),
        ({"virtual_adversarial": "yes"}, "semi_supervised.virtual_adversarial=yes"),
        ({"pull_away": -0.1}, "semi_supervised.pull_away=-0.1"),
        ({"radius": 0}, "semi_supervised.radius=0: use a number above 0"),
        ({"depth": 3}, "semi_supervised has no setting depth"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read_settings(**change)


def test_networks_that_do_not_fit_are_refused(image_set, cpu):
    def lay_out(**changes):
        stage(parts(image_set), cpu, **changes).check()

    cnn = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True}
    with pytest.raises(ValueError, match=r"network\._target_=\S+CNN: use one of type ClassifyingDiscriminator "):
        lay_out(network=cnn)
    points = {"_target_": "gan_augment.networks.points.Points", "latent_dim": 2}
    with pytest.raises(ValueError, match=r"semi_supervised\.generator: architecture Points makes points"):
        lay_out(generator=points)
    with pytest.raises(
        ValueError, match=r"^semi_supervised\.generator\._target_=\S+Projection: use one of type Architecture "
    ):
        lay_out(generator={"_target_": "gan_augment.networks.conditioning.Projection"})
    with pytest.raises(ValueError, match=r"semi_supervised\.generator: architecture\.latent_dim=0"):
        lay_out(generator=NODE["generator"] | {"latent_dim": 0})


def test_the_stage_is_made_from_images_settings_and_seed(image_set, cpu):
    labelled, pool, validation = parts(image_set)

    def key(labelled=labelled, pool=pool, classical=None, seed=0, **changes):
        return stage((labelled, pool, validation), cpu, seed, classical, **changes).key

    others = [
        key(labelled=image_set(per_class=3)),
        key(pool=image_set(per_class=21, seed=1).without_labels()),
        key(classical=CLASSICAL),
        key(seed=1),
        key(entropy=0.2),
    ]
    assert len({key(), *others}) == 6
    assert key() == key(pool=image_set(per_class=20, seed=1).without_labels())


def test_the_step_keeps_the_labels_of_the_pool_out(image_set):
    """The pool's images reach both players, and no label but those of the labelled images."""
    system = make_system(image_set)
    system.draws = {name: Stream(0, name) for name in system.STREAMS}
    rates = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (system.network, system.generator)]
    system.optimizers = lambda use_pl_optimizer: rates
    system.log_every_n_steps = 100
    images = torch.rand(22, 1, 8, 8) * 2 - 1
    labels = torch.cat([torch.arange(6) % 3, torch.full((16,), 10**6)])  # no class: reading one of them fails
    parts = {"labelled": slice(0, 6), "pool": slice(6, 22)}
    for step in range(2):
        system.training_step(Batch(images, labels, parts), step)
    assert system.finite
