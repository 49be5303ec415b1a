import dataclasses
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import GAN_NODES, gan_stage
from gan_augment.artefacts.weights import load_weights
from gan_augment.augmentation.discriminator import Adaptive, DiffAugment, Grouped
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import to_float
from gan_augment.generators.design import GANDesign, GANSettings
from gan_augment.generators.gan import GANGenerator, TrainGAN
from gan_augment.generators.gan_training import GAN, gradient_norm, labels_in_turns
from gan_augment.losses.adversarial import Hinge, LeastSquares, Minimax, NonSaturating, Relativistic, Wasserstein
from gan_augment.losses.diversity import Diversity
from gan_augment.losses.penalties import Penalties
from gan_augment.networks.conditioning import AuxiliaryClassifier, Concat, PerClass, Projection, ReACGAN, Unconditional
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP
from gan_augment.networks.projected import Projected
from gan_augment.networks.r3gan import R3GAN
from gan_augment.networks.resnet import ResNet
from gan_augment.randomness import initialised
from gan_augment.stages import DivergedError

SETTINGS = {name: value for name, value in GAN_NODES["generator"].items() if name != "_target_"}


def settings(**changes):
    return GANSettings(**SETTINGS | changes)


def design(loss=None, architecture=None, conditioning=None, penalties=None, augmentation=None, **changes):
    return GANDesign(
        architecture or MLP(latent_dim=5, width=8),
        conditioning or Projection(),
        loss or NonSaturating(),
        penalties or Penalties(),
        augmentation or DiffAugment(0, 0, 0, 0, 0),
        settings(**changes),
    )


def train(images, parts, cpu, folder):
    """Train for real, and leave the weights in a folder."""
    TrainGAN(labelled=images, design=parts, seed=0, hardware=cpu).run(folder, {})


def make_system(images, loss=None, architecture=None, **changes):
    parts = design(loss, architecture, **changes)
    networks = [
        initialised(lambda make=make: make(images.shape, images.num_classes), 0)
        for make in (parts.generator, parts.discriminator)
    ]
    return GAN(*networks, parts, images.class_counts, 0)


def fit(system, images, cpu, folder, num_steps=1):
    data = ImageBatches([Part(images, system.settings.batch_size, "order")], num_steps, seed=0)
    cpu.fit(system, data, folder)
    return system


class ShowLabel(torch.nn.Module):
    """A generator of single pixels that show the label."""

    def forward(self, latents, labels):
        return labels.float().view(-1, 1, 1, 1)


class Spy(NonSaturating):
    """The usual loss, which notes whose turn it is."""

    def __init__(self):
        self.turns = []

    def discriminator(self, real, fake):
        self.turns.append("discriminator")
        return super().discriminator(real, fake)

    def generator(self, fake, real):
        self.turns.append("generator")
        return super().generator(fake, real)


@pytest.mark.parametrize("architecture", [MLP(5, 8), DCGAN(5, 4)], ids=["mlp", "dcgan"])
def test_each_player_s_loss_reaches_its_own_weights_and_no_others(image_set, cpu, tmp_path, architecture):
    images, spy = image_set(), Spy()
    system = make_system(images, spy, architecture)
    reached = {"discriminator": set(), "generator": set()}
    for name, weight in system.named_parameters():
        if weight.requires_grad:
            weight.register_hook(lambda gradient, name=name: reached[spy.turns[-1]].add(name))
    fit(system, images, cpu, tmp_path)
    for player in reached:
        network = getattr(system, player)
        assert reached[player] == {f"{player}.{name}" for name, _ in network.named_parameters()}


@pytest.mark.parametrize("loser", ["discriminator", "generator"])
def test_a_player_without_a_gradient_stands_still_while_the_other_moves(image_set, cpu, tmp_path, loser):
    class OneSided(NonSaturating):
        pass

    setattr(OneSided, loser, lambda self, *logits: 0 * sum(one.sum() for one in logits))
    images = image_set()
    system = make_system(images, OneSided())
    before = {name: weight.clone() for name, weight in system.named_parameters()}
    fit(system, images, cpu, tmp_path, num_steps=3)
    moved = {name.split(".")[0] for name, weight in system.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == ({"generator", "ema"} if loser == "discriminator" else {"discriminator"})


def test_learning_rates_stay_or_fall_to_nothing_along_a_half_cosine(image_set):
    rates = {"discriminator_learning_rate": 0.4, "generator_learning_rate": 0.2, "images_seen": 16 * 10}
    steady, falling = (make_system(image_set(), decay=decay, batch_size=16, **rates) for decay in (False, True))
    assert steady.learning_rates(0) == steady.learning_rates(9) == (0.4, 0.2)
    assert falling.learning_rates(0) == (0.4, 0.2)
    assert falling.learning_rates(5) == pytest.approx((0.2, 0.1))
    assert falling.learning_rates(9) == pytest.approx((0.4 * 0.0244717, 0.2 * 0.0244717), rel=1e-5)


def test_a_step_is_taken_at_its_own_learning_rate(image_set, cpu, tmp_path):
    images = image_set()
    system = make_system(images, decay=True, images_seen=16 * 4)
    fit(system, images, cpu, tmp_path, num_steps=3)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in system.trainer.optimizers]
    assert rates == pytest.approx(system.learning_rates(2))


@pytest.mark.parametrize(("discriminator_steps", "expected"), [(1, "dg" * 6), (2, "ddg" * 3), (4, "ddddgdd")])
def test_so_many_discriminator_steps_come_before_a_generator_step(
    image_set, cpu, tmp_path, discriminator_steps, expected
):
    spy, images = Spy(), image_set()
    fit(make_system(images, spy, discriminator_steps=discriminator_steps), images, cpu, tmp_path, num_steps=6)
    assert "".join(turn[0] for turn in spy.turns) == expected


def test_the_average_keeps_half_after_a_half_life(image_set):
    system = make_system(image_set(), batch_size=16, ema_half_life=64, ema_ramp_up=1.0)
    constant_target(system)
    for step in range(20):
        system.average(step + 100)  # long after the ramp
    assert average(system) == pytest.approx(1 - 0.5 ** (20 * 16 / 64), rel=1e-5)


@pytest.mark.parametrize("discriminator_steps", [1, 2])
def test_the_average_ramps_up_with_the_images_seen(image_set, discriminator_steps):
    system = make_system(
        image_set(), batch_size=16, ema_half_life=10**9, ema_ramp_up=0.5, discriminator_steps=discriminator_steps
    )
    constant_target(system)
    kept = 1.0
    for step in range(discriminator_steps - 1, 20, discriminator_steps):
        system.average(step)
        kept *= 2 ** (-16 * discriminator_steps / (0.5 * 16 * (step + 1)))
    assert average(system) == pytest.approx(1 - kept, rel=1e-5)


def constant_target(system):
    for network, value in ((system.ema, 0.0), (system.generator, 1.0)):
        for weight in network.parameters():
            torch.nn.init.constant_(weight, value)


def average(system):
    (value,) = torch.cat([weight.flatten() for weight in system.ema.parameters()]).unique().tolist()
    return value


def test_the_average_takes_the_statistics_of_batch_norm_as_they_are(image_set, cpu, tmp_path):
    images = image_set()
    system = fit(make_system(images, architecture=DCGAN(5, 4)), images, cpu, tmp_path, num_steps=3)
    buffers = dict(system.generator.named_buffers())
    assert any("running_mean" in name for name in buffers)
    for name, value in system.ema.named_buffers():
        assert torch.equal(value, buffers[name])
    assert not torch.equal(system.ema.network[0].weight, system.generator.network[0].weight)


def test_generated_labels_are_as_frequent_as_the_real_ones(image_set, cpu, tmp_path):
    images = image_set(per_class=40, num_classes=2)
    images = images.subset(torch.arange(50))  # 40 of one class and 10 of the other
    system = make_system(images, batch_size=500, images_seen=10_000)
    fit(system, images, cpu, tmp_path, num_steps=20)
    batch = Batch(to_float(images.images), images.labels)
    drawn = torch.cat([system.generate("generator", batch, step)[1] for step in range(20)])
    assert torch.bincount(drawn).div(len(drawn)).tolist() == pytest.approx([0.8, 0.2], abs=0.015)


def test_each_class_is_divided_into_clusters_that_both_networks_know(image_set, cpu, tmp_path):
    images = image_set(per_class=12)
    parts = design(conditioning=Projection(clusters=2), images_seen=16 * 4)
    train(images, parts, cpu, tmp_path)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    counts = torch.tensor(weights["about"]["label_counts"]).view(3, 2)
    assert counts.sum(dim=1).tolist() == [12] * 3
    assert counts.min() > 0
    seen = [weights["networks"][name]["embedding.centres"] for name in ("ema", "generator", "discriminator")]
    assert all(torch.equal(centres, seen[0]) for centres in seen)
    assert seen[0].shape == (6, images.shape.height * images.shape.width)
    assert len(seen[0].unique(dim=0)) == 6


def test_samples_show_classes_whatever_their_clusters(image_set):
    images, parts = image_set(), design(conditioning=Projection(clusters=2))
    networks = parts.generator(images.shape, 3), parts.discriminator(images.shape, 3)
    system = GAN(*networks, parts, torch.tensor([10, 0, 0, 10, 5, 5]), 0)
    system.ema = ShowLabel()
    shown = system.sample(torch.tensor([0, 1, 2] * 50), torch.Generator().manual_seed(0), torch.float32).view(50, 3)
    assert [set(column.tolist()) for column in shown.T] == [{0}, {3}, {4, 5}]


def test_equal_classes_take_turns_so_that_a_draw_of_a_label_is_a_draw_of_a_class():
    labels = labels_in_turns(torch.tensor([5, 5, 5]))
    assert labels.tolist() == [0, 1, 2] * 5

    def random():
        return torch.Generator().manual_seed(0)

    picked = labels[torch.randint(15, (100,), generator=random())]
    assert torch.equal(picked, torch.randint(3, (100,), generator=random()))


def trained(images, cpu, folder, architecture=None, **changes):
    """Train for real; return the averaged generator."""
    parts = design(architecture=architecture, **changes)
    folder.mkdir(exist_ok=True)
    train(images, parts, cpu, folder)
    return load_weights(folder / "weights.pt", "ema", parts.generator(images.shape, images.num_classes))


def test_curves_and_samples_are_drawn_over_images_seen(image_set, cpu, tmp_path):
    trained(image_set(), cpu, tmp_path, images_seen=16 * 120)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0}).Reload()  # 0: all
    diversities = {f"diversity/class{label}" for label in range(3)}
    grids = [16 * 10 * k for k in range(1, 13)]
    assert set(events.Tags()["scalars"]) == {*GAN.CURVES, "images_per_second", *diversities}
    for tag in events.Tags()["scalars"]:
        points = events.Scalars(tag)
        assert [point.step for point in points] == (grids if tag in diversities else [16 * 50, 16 * 100])
        assert all(math.isfinite(point.value) for point in points)
    for tag in ("output/real", "output/fake"):
        assert all(0 < point.value < 1 for point in events.Scalars(tag))
    assert events.Tags()["images"] == ["samples"]
    assert [image.step for image in events.Images("samples")] == grids


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 7, 15])
def test_a_curve_s_point_is_the_mean_since_the_last_point(image_set, cpu, tmp_path, turns):
    class Undecided(NonSaturating):
        def discriminator(self, real, fake):
            return 0 * (real.sum() + fake.sum()) + 3

        def generator(self, fake, real):
            return 0 * fake.sum() + 5

    images = image_set()
    fit(make_system(images, Undecided(), discriminator_steps=turns), images, cpu, tmp_path, num_steps=100)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [point.value for point in events.Scalars("loss/discriminator")] == pytest.approx([3, 3])
    assert [point.value for point in events.Scalars("loss/generator")] == pytest.approx([5, 5])


@pytest.mark.parametrize("turns", [1, 3, 20])
def test_curves_watch_whole_turns_now_and_then(image_set, cpu, tmp_path, turns):
    class Counting(NonSaturating):
        calls = 0

        def output(self, logits):  # which only the curves ask for
            self.calls += 1
            return super().output(logits)

    images, loss = image_set(), Counting()
    fit(make_system(images, loss, discriminator_steps=turns), images, cpu, tmp_path, num_steps=60)
    assert loss.calls == 2 * {1: 3, 3: 9, 20: 60}[turns]  # of 60 steps


def test_nothing_is_drawn_for_an_augmentation_that_is_off(image_set, cpu, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(DiffAugment, "__call__", lambda self, images, *_: asked.append(self) or images)
    images = image_set()
    fit(make_system(images), images, cpu, tmp_path / "off")
    assert not asked
    fit(make_system(images, augmentation=DiffAugment(0.5, 0, 0, 0, 0)), images, cpu, tmp_path / "on")
    assert len(asked) == 3  # real, generated, and those of the generator's own step


@pytest.mark.parametrize("architecture", [MLP(5, 8), DCGAN(5, 4)], ids=["mlp", "dcgan"])
@pytest.mark.parametrize(("reuse", "made"), [(False, 3), (True, 2)])
def test_both_players_can_learn_from_the_same_fakes(image_set, cpu, tmp_path, architecture, reuse, made):
    images = image_set()
    system = make_system(images, architecture=architecture, discriminator_steps=2, reuse_fakes=reuse)
    seen, generate, forward = [], GAN.generate, system.discriminator.forward

    def noted(*arguments):
        seen.append(generate(system, *arguments))
        return seen[-1]

    shown = []
    system.generate = noted
    system.discriminator.forward = lambda images, labels: shown.append(images.detach()) or forward(images, labels)
    before = {name: weight.clone() for name, weight in system.named_parameters()}
    fit(system, images, cpu, tmp_path, num_steps=2)
    assert len(seen) == made  # in two steps of the discriminator and one of the generator
    size = system.settings.batch_size
    assert torch.equal(shown[1][size:], shown[2]) == reuse
    moved = {name.split(".")[0] for name, weight in system.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {"generator", "discriminator", "ema"}


def test_shared_fakes_teach_the_generator_as_its_own_would(image_set, cpu, tmp_path):
    """With a discriminator that stands still, whose images the generator learns from is all the difference there is."""
    images, weights = image_set(), []
    for reuse in (False, True):
        system = make_system(images, reuse_fakes=reuse, discriminator_learning_rate=1e-30)
        fit(system, images, cpu, tmp_path / str(reuse), num_steps=3)
        weights.append(torch.nn.utils.parameters_to_vector(system.generator.parameters()))
    assert torch.equal(*weights)


def test_a_penalty_is_taken_of_the_network_as_it_is_and_not_as_compiled(image_set, cpu, tmp_path):
    images = image_set()
    system = make_system(images, penalties=Penalties(r1=1.0))
    compiled, forward, calls = [], system.discriminator.forward, []
    system.discriminator.forward = lambda images, labels: calls.append("as it is") or forward(images, labels)
    system.discriminator._compiled_call_impl = lambda *inputs: compiled.append(inputs) or forward(*inputs)
    fit(system, images, cpu, tmp_path)
    assert (len(compiled), calls) == (2, ["as it is"])


def test_it_learns_which_class_is_bright(image_set, cpu, tmp_path):
    images = image_set(per_class=20, num_classes=2)
    generator = trained(images, cpu, tmp_path, MLP(latent_dim=5, width=16), images_seen=16 * 400)
    latents = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    dark, bright = (generator(latents, torch.full((100,), label)).mean() for label in (0, 1))
    levels = [to_float(images.images[images.labels == label]).mean() for label in (0, 1)]
    assert dark == pytest.approx(levels[0].item(), abs=0.3)
    assert bright == pytest.approx(levels[1].item(), abs=0.3)


def test_a_loss_that_is_not_finite_ends_the_training(image_set, cpu, tmp_path):
    class Broken(NonSaturating):
        def generator(self, fake, real):
            return super().generator(fake, real) * float("nan")

    images = image_set()
    with pytest.raises(DivergedError, match="within the first 50 steps"):
        train(images, design(Broken(), images_seen=16 * 200), cpu, tmp_path)
    assert not (tmp_path / "weights.pt").exists()


def test_one_seed_makes_one_generator(image_set, cpu, tmp_path):
    one, again = (trained(image_set(), cpu, tmp_path / name) for name in ("one", "again"))
    for name, value in one.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


GOLDEN = [0.0946612, 0.0103978, 0.739483, 0.0104284, 2.70275]


def test_golden_numbers(image_set, cpu, tmp_path):
    images = image_set()
    architecture = DCGAN(latent_dim=5, channels=4)
    generator = trained(images, cpu, tmp_path, architecture, images_seen=16 * 6)
    discriminator = load_weights(
        tmp_path / "weights.pt", "discriminator", design(architecture=architecture).discriminator(images.shape, 3)
    )
    latents = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    made = generator(latents, torch.tensor([0, 1, 2]))
    logits = discriminator(to_float(images.images[::10]), images.labels[::10])
    found = [made.abs().mean().item(), made.std().item(), *logits.tolist()]
    assert found == pytest.approx(GOLDEN, rel=1e-3), (
        "the mathematics of the GAN's training has changed: raise the version of TrainGAN in generators/gan.py; "
        f"numbers are now {found}"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "generator.batch_size=0: use a whole number of at least 1"),
        ({"images_seen": 15}, "generator.images_seen=15: use a whole number of at least 16"),
        ({"discriminator_steps": 0}, "generator.discriminator_steps=0: use a whole number of at least 1"),
        ({"generator_learning_rate": 0.0}, "generator.generator_learning_rate=0.0: use a number above 0 and at most 1"),
        (
            {"discriminator_learning_rate": 2},
            "generator.discriminator_learning_rate=2: use a number above 0 and at most 1",
        ),
        ({"betas": [0.5]}, r"generator.betas=\[0.5\]: use a list of two numbers"),
        ({"betas": [0.5, 1.0]}, "generator.betas=1.0: use a number from 0 to 0.99999"),
        ({"ema_half_life": 0}, "generator.ema_half_life=0: use a whole number of at least 1"),
        ({"decay": 1}, "generator.decay=1: use true or false"),
        ({"ema_ramp_up": 0}, "generator.ema_ramp_up=0: use a number above 0 and at most 1"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        settings(**change)


def test_the_discriminator_sees_no_more_images_than_asked_for():
    assert settings(images_seen=100, batch_size=16).num_steps == 6


def test_the_stage_is_made_from_labelled_images_and_settings(image_set, cpu):
    def key(images=None, width=8, seed=0, **changes):
        images = images or image_set()
        changed = {
            "architecture": GAN_NODES["architecture"] | {"width": width},
            "generator": GAN_NODES["generator"] | changes,
        }
        return gan_stage(images, GAN_NODES | changed, seed, cpu).key

    keys = [key(), key(image_set(seed=1)), key(width=9), key(seed=1), key(batch_size=17)]
    assert len(set(keys)) == 5
    assert key() == keys[0]


@pytest.mark.parametrize(
    ("size", "strengths", "r1", "is_revised"),
    [
        (8, {"cutout": 0.5}, 1, True),
        (8, {"cutout": 0.5}, 0, False),
        (8, {}, 1, False),
        (20, {"cutout": 0.125}, 0, True),
    ],
)
def test_only_augmented_penalties_and_rounded_halves_have_new_keys(image_set, size, strengths, r1, is_revised):
    augmentation = GAN_NODES["discriminator_augmentation"] | strengths
    nodes = {"discriminator_augmentation": augmentation, "penalty": GAN_NODES["penalty"] | {"r1": r1}}
    assert ("revised" in gan_stage(image_set(size=size), GAN_NODES | nodes).identity) == is_revised


def test_settings_that_somebody_adds_are_in_the_key_and_a_path_is_not():
    @dataclasses.dataclass(frozen=True)
    class Patient(GANGenerator):
        patience: int = 3

    parts = dataclasses.replace(design(), settings=Patient(**SETTINGS, start="somewhere", freeze=1))
    assert parts.identity["gan"] == {**SETTINGS, "patience": 3}


def test_images_that_the_architecture_cannot_make_are_refused(image_set, cpu):
    with pytest.raises(ValueError, match="makes images of 8 to 128 pixels a side, not 4"):
        gan_stage(image_set(size=4), hardware=cpu).check()


LOSSES = {
    "minimax": Minimax(),
    "smoothed": NonSaturating(label_smoothing=0.1),
    "least_squares": LeastSquares(),
    "hinge": Hinge(),
    "wasserstein": Wasserstein(weight_clip=0.01),
    "relativistic": Relativistic(),
}
ARCHITECTURES = {
    "mlp": MLP(5, 8),
    "dcgan": DCGAN(5, 4),
    "dcgan with batch norm": DCGAN(5, 4, spectral_norm=False, batch_norm=True),
    "mlp with batch std": MLP(5, 8, batch_std=True),
    "resnet": ResNet(5, 4),
    "r3gan": R3GAN(5, 8),
}
CONDITIONINGS = {
    "projection": Projection(),
    "concat": Concat(),
    "acgan": AuxiliaryClassifier(),
    "reacgan": ReACGAN(sphere_dim=8),
    "none": Unconditional(),
    "per_class": PerClass(),
}


def sound(loss="minimax", architecture="mlp", conditioning="projection", penalties=None, **parts):
    return design(
        LOSSES[loss], ARCHITECTURES[architecture], CONDITIONINGS[conditioning], penalties or Penalties(), **parts
    )


def assert_trained(images, parts, folder):
    """Assert that all weights moved and are finite, and that the averaged generator makes images of its classes."""
    for name, make, stream in (
        ("generator", parts.generator, "init/generator"),
        ("discriminator", parts.discriminator, "init/discriminator"),
        ("ema", parts.generator, "init/generator"),
    ):
        before = dict(initialised(lambda make=make: make(images.shape, 3), 0, stream).named_parameters())
        network = load_weights(folder / "weights.pt", name, make(images.shape, 3))
        assert all(value.isfinite().all() for value in network.state_dict().values())
        unmoved = {weight for weight, value in network.named_parameters() if torch.equal(value, before[weight])}
        assert unmoved <= {"linear.bias"}  # one number for all logits cancels out in some losses
    latents = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
    made = torch.stack([network(latents, torch.full((10,), label)) for label in range(3)])
    assert made.shape == (3, 10, 1, 8, 8)
    assert 0 < made.std(dim=1).mean() < 1  # other latents, other images
    assert made.abs().max() <= 1
    assert torch.equal(made[0], made[1]) != parts.conditioning.knows_classes


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_every_architecture(image_set, cpu, tmp_path, loss, architecture):
    images, parts = image_set(), sound(loss, architecture, images_seen=16 * 4)
    train(images, parts, cpu, tmp_path)
    assert_trained(images, parts, tmp_path)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("penalties", [Penalties(), Penalties(r1=1, r2=1), Penalties(gradient_penalty=10, interval=2)])
@pytest.mark.parametrize("loss", ["minimax", "relativistic"])
def test_every_conditioning_trains_under_penalties_and_augmentation(
    image_set, cpu, tmp_path, conditioning, penalties, loss
):
    augmentation = DiffAugment(0.5, 1.0, 0.5, 0.125, 0.5)
    images, parts = (
        image_set(),
        sound(loss, "dcgan", conditioning, penalties, augmentation=augmentation, images_seen=16 * 4),
    )
    train(images, parts, cpu, tmp_path)
    assert_trained(images, parts, tmp_path)


class WeighsPixels(torch.nn.Module):
    """A linear discriminator: the gradient of its logit in an image is its weight of each pixel."""

    def __init__(self, shape):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.arange(1.0, 1 + shape.height * shape.width).view(shape.height, -1))

    def forward(self, images, labels):
        return (images * self.weights).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("penalty", ["r1", "r2", "gradient_penalty"])
def test_penalties_are_slopes_in_the_image_before_its_augmentation(image_set, penalty):
    images, parts = image_set(), sound(penalties=Penalties(**{penalty: 1}), augmentation=DiffAugment(0.5, 0, 0, 0, 0.5))
    system = GAN(parts.generator(images.shape, 3), WeighsPixels(images.shape), parts, images.class_counts, 0)
    system.on_fit_start()
    pixels = to_float(images.images)
    batch = Batch(pixels, images.labels)
    found = system.penalty(batch, pixels, 0).item()
    left = (system.augment(torch.ones_like(pixels), "real", batch, 0) != 0).float()  # a hole has no slope
    assert 0 < left.mean() < 1
    slopes = (left * system.discriminator.weights).flatten(1).norm(dim=1)
    expected = {"gradient_penalty": (slopes - 1).square().mean()}.get(penalty, slopes.square().mean() / 2)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_a_penalty_and_batch_norm_in_the_discriminator_are_refused(image_set):
    parts = sound(architecture="dcgan with batch norm", penalties=Penalties(r1=1))
    with pytest.raises(ValueError, match="penalty: batch norm in the discriminator makes each logit depend on"):
        parts.check(image_set().shape, 3)


def test_batch_norm_together_with_spectral_norm_is_refused(image_set):
    with pytest.raises(ValueError, match=r"^architecture.batch_norm=True: batch norm undoes what spectral norm bounds"):
        design(architecture=DCGAN(batch_norm=True)).check(image_set().shape, 3)


@pytest.mark.parametrize(
    ("conditioning", "batch_size", "num_classes"), [("per_class", 16, 3), ("projection", 1, 3), ("none", 1, 1)]
)
def test_batch_norm_over_one_image_is_refused(image_set, conditioning, batch_size, num_classes):
    shape, sizes = image_set().shape, {"batch_size": batch_size}
    normed = MLP(5, 8, generator_batch_norm=True)
    message = "^architecture.generator_batch_norm=True: .* conditioning=per_class: use .*generator_batch_norm=false"
    with pytest.raises(ValueError, match=message):
        design(None, normed, CONDITIONINGS[conditioning], **sizes).check(shape, num_classes)
    for architecture in (MLP(5, 8), DCGAN(5, 4), ResNet(5, 4)):  # over the pixels of one image is enough
        design(None, architecture, CONDITIONINGS[conditioning], **sizes).check(shape, num_classes)
    design(None, normed, PerClass(), batch_size=16).check(shape, 1)
    design(None, normed, Projection(), batch_size=2).check(shape, 3)


def test_clipped_weights_stay_within_their_bound(image_set, cpu, tmp_path):
    images, parts = image_set(), design(LOSSES["wasserstein"], MLP(5, 8, spectral_norm=False), images_seen=16 * 4)
    train(images, parts, cpu, tmp_path)
    discriminator = load_weights(tmp_path / "weights.pt", "discriminator", parts.discriminator(images.shape, 3))
    layers = [layer for layer in discriminator.modules() if isinstance(layer, torch.nn.Linear)]
    assert max(layer.weight.abs().max() for layer in layers) == pytest.approx(0.01)


@pytest.mark.parametrize("architecture", [MLP(5, 8), DCGAN(5, 4), ResNet(5, 4)], ids=["mlp", "dcgan", "resnet"])
@pytest.mark.parametrize(
    ("parts", "setting", "off"),
    [
        ({"loss": Wasserstein(0.01)}, "loss.weight_clip=0.01", "loss.weight_clip=null"),
        ({"penalties": Penalties(gradient_penalty=10)}, "penalty.gradient_penalty=10", "penalty.gradient_penalty=0.0"),
    ],
)
def test_what_spectral_norm_undoes_is_refused_with_it(image_set, architecture, parts, setting, off):
    shape = image_set().shape
    with pytest.raises(ValueError, match=f"^{setting}: .*architecture.spectral_norm=false, or {off}$"):
        design(architecture=architecture, **parts).check(shape, 3)
    design(architecture=dataclasses.replace(architecture, spectral_norm=False), **parts).check(shape, 3)
    design(architecture=architecture, loss=Wasserstein(None), penalties=Penalties(r1=1)).check(shape, 3)
    design(architecture=R3GAN(5, 8), **parts).check(shape, 3)


def test_real_and_generated_images_do_not_meet_where_logits_depend_on_the_batch(image_set):
    images = image_set()
    parts = sound(architecture="mlp with batch std")
    system = GAN(parts.generator(images.shape, 3), parts.discriminator(images.shape, 3), parts, images.class_counts, 0)
    system.discriminator.eval()  # spectral norm takes a step at each forward in training
    real, fake = ((to_float(images.images[part]), images.labels[part]) for part in (slice(0, 8), slice(8, 16)))
    on_real, on_fake = system.discriminate(real, fake)
    assert torch.equal(on_real, system.discriminator(*real))
    assert torch.equal(on_fake, system.discriminator(*fake))


@pytest.mark.parametrize(("penalties", "loss"), [(Penalties(r1=1), "minimax"), (Penalties(), "relativistic")])
def test_what_is_compared_one_by_one_has_the_same_labels(image_set, cpu, tmp_path, penalties, loss):
    images, parts = image_set(), sound(loss, penalties=penalties, images_seen=16 * 4)
    system = make_system(images)
    system.design = parts
    data = ImageBatches([Part(images, 16, "order")], 1, seed=0)
    (selection,) = data.train_dataloader()
    batch = data.transfer_batch_to_device(selection, torch.device("cpu"), 0)
    system.on_fit_start()
    assert torch.equal(system.generate("generator", batch, 0)[1], batch.labels)


class SeesBrightness(torch.nn.Module):
    """A discriminator that takes bright images for real, times a weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(float(weight)))

    def forward(self, images, labels):
        return self.weight * images.mean(dim=(1, 2, 3))


@pytest.mark.parametrize(("weight", "accuracy"), [(1, 1), (-1, 0)])
def test_the_curves_tell_how_sure_the_discriminator_is(image_set, cpu, tmp_path, weight, accuracy):
    images = image_set().subset(torch.arange(20, 30))  # the bright class; an untrained generator draws mid grey
    rates = {"discriminator_learning_rate": 1e-6, "generator_learning_rate": 1e-6, "images_seen": 16 * 50}
    system = make_system(images, **rates)
    system.discriminator = SeesBrightness(weight)
    fit(system, images, cpu, tmp_path, num_steps=50)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("accuracy/real", "accuracy/fake"):
        assert [point.value for point in events.Scalars(tag)] == pytest.approx([accuracy])
    for tag in ("gradient_norm/discriminator", "gradient_norm/generator"):
        assert all(point.value > 0 for point in events.Scalars(tag))


def test_the_norm_of_a_gradient_is_that_of_all_weights_together():
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    assert gradient_norm(layer).item() == 5


@pytest.mark.parametrize(("weight", "probability"), [(1, 0.5), (-1, 0)])
def test_the_probability_of_an_adaptive_augmentation_follows_the_discriminator(
    image_set, cpu, tmp_path, weight, probability
):
    images = image_set().subset(torch.arange(20, 30))  # bright ones, which a weight of 1 takes for real
    augmentation = Adaptive(0, 0, 0, 0.125, 0, flip=False, images=16 * 100)
    parts = design(augmentation=augmentation, discriminator_learning_rate=1e-6, images_seen=16 * 50)
    system = GAN(parts.generator(images.shape, 3), SeesBrightness(weight), parts, images.class_counts, 0)
    fit(system, images, cpu, tmp_path, num_steps=50)
    (point,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("augmentation/probability")
    assert point.value == pytest.approx(probability)


def projected(backbone, **changes):
    parts = {"penalties": Diversity(), "augmentation": Grouped(0.2, 0, 0.2, 0.125, 0, flip=True, group=4)} | changes
    return design(Hinge(), Projected(5, 4, 8, backbone=backbone), reuse_fakes=True, **parts)


def test_a_projected_gan_trains_both_networks_and_leaves_its_frozen_features_alone(
    image_set, cpu, tmp_path, tiny_backbone
):
    images, parts, seen = image_set(), projected(tiny_backbone, images_seen=16 * 6), []
    frozen = parts.architecture.features(to_float(images.images))
    system = GAN(
        initialised(lambda: parts.generator(images.shape, 3), 0),
        initialised(lambda: parts.discriminator(images.shape, 3), 0),
        *(parts, images.class_counts, 0, None, frozen),
    )
    generator_loss = parts.loss.generator
    system.loss.generator = lambda fake, real: seen.append(fake.shape) or generator_loss(fake, real)
    before = {name: value.clone() for name, value in system.features.named_buffers()}
    weights = {name: value.clone() for name, value in system.named_parameters()}
    fit(system, images, cpu, tmp_path, num_steps=6)
    assert seen == [(16, 4)] * 6
    assert before
    for name, value in system.features.named_buffers():
        assert torch.equal(value, before[name])
    assert not any(torch.equal(value, weights[name]) for name, value in system.named_parameters())
    assert system.diversity.real[-1] > 0
    assert not [name for name in system.state_dict() if name.startswith("features")]
    system.save(tmp_path / "weights.pt")
    assert set(torch.load(tmp_path / "weights.pt")["networks"]) == {"ema", "generator", "discriminator"}


@pytest.mark.parametrize("weight", [0, 5])
def test_a_collapsed_generator_pays_for_it(image_set, cpu, tmp_path, tiny_backbone, weight):
    """With a discriminator that does not care, the diversity hinge is the generator's loss."""
    images, parts = image_set(), projected(tiny_backbone, penalties=Diversity(diversity=weight), batch_size=4)
    parts.loss.discriminator = lambda real, fake: 0 * real.sum() + 0 * fake.sum()
    parts.loss.generator = lambda fake, real: 0 * fake.sum()
    system = GAN(
        *(parts.generator(images.shape, 3), parts.discriminator(images.shape, 3)),
        *(parts, images.class_counts, 0, None, parts.architecture.features(to_float(images.images))),
    )
    with torch.no_grad():
        system.generator.network[0].weight.zero_()  # every latent gives the same image
    fit(system, images, cpu, tmp_path, num_steps=50)
    assert system.last_points["loss/generator"] == pytest.approx(weight)


def trained_on_labels_alone(conditioning, images, cpu, folder):
    """Train a GAN whose losses do not care for real and generated."""
    parts = design(NonSaturating(), conditioning=conditioning, images_seen=16 * 100)
    parts.loss.discriminator = lambda real, fake: 0 * real.sum() + 0 * fake.sum()
    parts.loss.generator = lambda fake, real: 0 * fake.sum()
    networks = [
        initialised(lambda make=make: make(images.shape, 3), 0) for make in (parts.generator, parts.discriminator)
    ]
    return fit(GAN(*networks, parts, images.class_counts, 0), images, cpu, folder, num_steps=100)


def test_both_players_of_an_ac_gan_want_the_labels_to_be_told_right(image_set, cpu, tmp_path):
    """With losses that do not care for real and generated, the cross-entropy is all that is minimised."""
    images = image_set(per_class=20)
    system = trained_on_labels_alone(AuxiliaryClassifier(weight=2), images, cpu, tmp_path)
    assert system.last_points["loss/generator"] < 0.2 * 2 * math.log(3)  # of a guess
    real, labels = to_float(images.images), images.labels
    told = system.discriminator(real, labels)[:, 1].exp()
    assert told.mean() > 0.7
    made = system.generator(torch.randn(60, 5), labels)
    assert system.discriminator(made, labels)[:, 1].exp().mean() > 0.7


def test_both_players_of_a_reacgan_draw_images_to_their_labels(image_set, cpu, tmp_path):
    """With losses that do not care for real and generated, D2D-CE is all that is minimised."""
    images = image_set(per_class=20)
    system = trained_on_labels_alone(ReACGAN(sphere_dim=8), images, cpu, tmp_path)
    real, labels = to_float(images.images), images.labels
    for shown in (real, system.generator(torch.randn(60, 5), labels)):
        vectors = system.discriminator(shown, labels)[:, 1:9]
        nearest = (vectors @ torch.nn.functional.normalize(system.discriminator.proxies.weight, dim=1).T).argmax(dim=1)
        assert (nearest == labels).float().mean() > 0.9


@pytest.mark.parametrize("name", ["acgan", "reacgan"])
@pytest.mark.parametrize("architecture", ["mlp", "projected"])
def test_whose_labels_the_discriminator_learns(image_set, cpu, tmp_path, tiny_backbone, architecture, name):
    images, seen, minimised = image_set(), [], []
    of = MLP(5, 8, False) if architecture == "mlp" else Projected(5, 4, 8, spectral_norm=False, backbone=tiny_backbone)
    parts = design(Hinge(), of, CONDITIONINGS[name], reuse_fakes=True)
    frozen = of.features(to_float(images.images))
    made = parts.generator(images.shape, 3), parts.discriminator(images.shape, 3)
    system = GAN(*made, parts, images.class_counts, 0, None, frozen)
    discriminate = system.discriminate
    system.discriminate = lambda *both: seen.append(both) or discriminate(*both)
    system.minimise = lambda loss, optimizer: minimised.append(loss.item())
    fit(system, images, cpu, tmp_path)
    ((real, fake),) = seen
    with torch.no_grad():
        (on_real, of_real), (on_fake, of_fake) = (
            parts.conditioning.split(system.judge(*one)[0], one[1]) for one in (real, fake)
        )
        expected = parts.loss.discriminator(on_real, on_fake) + of_real + (of_fake if name == "acgan" else 0)
        assert minimised[0] == pytest.approx(expected.item(), rel=1e-5)
        assert minimised[1] == pytest.approx((parts.loss.generator(on_fake, on_real) + of_fake).item(), rel=1e-5)


@pytest.mark.parametrize("loss", [Relativistic(), Wasserstein()])
def test_an_adaptive_augmentation_needs_a_loss_whose_zero_divides(image_set, loss):
    augmentation = Adaptive(0.5, 0, 0, 0, 0, flip=False, group=1)
    parts = {"architecture": DCGAN(5, 4, spectral_norm=False), "augmentation": augmentation}
    with pytest.raises(ValueError, match=r"^discriminator_augmentation=ada asks how many real images have a logit"):
        design(**parts, loss=loss).check(image_set().shape, 3)
    design(**parts, loss=Hinge()).check(image_set().shape, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": DCGAN(5, 4)},
            r"penalty.diversity=5.0: it is measured in frozen features: use architecture=projected",
        ),
        (
            {"augmentation": DiffAugment(0.5, 0, 0, 0, 0)},
            r"penalty.diversity=5.0: .* use discriminator_augmentation=gr",
        ),
        ({"conditioning": Concat()}, r"conditioning: one GAN a class, .* use conditioning=projection or none$"),
        ({"conditioning": PerClass()}, r"conditioning: one GAN a class, .* use conditioning=projection or none$"),
    ],
    ids=["architecture", "augmentation", "concat", "per_class"],
)
def test_what_does_not_fit_frozen_features_is_refused(image_set, changes, message):
    parts = {"architecture": Projected(5, 4, 8), "penalties": Diversity(), "augmentation": None}
    with pytest.raises(ValueError, match=f"^{message}"):
        design(**parts | changes).check(image_set().shape, 3)
    design(**parts).check(image_set().shape, 3)
