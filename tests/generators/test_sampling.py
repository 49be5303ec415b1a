import dataclasses
import json
from dataclasses import dataclass

import pytest
import torch

from conftest import GAN_NODES, gan_design
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import Generator, Latents, chosen_checkpoint
from gan_augment.artefacts.synthetic_set import Refused, SyntheticSet
from gan_augment.artefacts.weights import save_weights
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.generators.sampling import Synthesis, SynthesisSettings, synthesize
from gan_augment.networks.cnn import CNN
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.dcgan import DCGAN
from gan_augment.plan import plan_trial
from gan_augment.stages import Stage, StageStore

DESIGN = GAN_NODES | {"architecture": {"_target_": "gan_augment.networks.dcgan.DCGAN", "latent_dim": 5, "channels": 4}}
NODE = {
    "per_class": 4,
    "quotas": "balanced",
    "latent_scale": 1.0,
    "truncation": None,
    "selection": "all",
    "threshold": None,
}
CONFIDENT = {"selection": "confident", "threshold": 0.9}
CPU = torch.device("cpu")
NAMES = ["dark", "middle", "bright"]
EQUAL = torch.tensor([5, 5, 5])


def settings(**changes):
    return SynthesisSettings(**NODE | changes)


class Anything(torch.nn.Module):
    """Shows the latent's first number as brightness, whatever the label."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, labels):
        return self.scale * latents[:, :1, None, None].expand(-1, 1, 8, 8).tanh()


class Brightness(torch.nn.Module):
    """A teacher that is surer the closer a pixel is to its class's own level: -1, 0 or 1."""

    def forward(self, images):
        return -8 * (images.flatten(1)[:, :1] - torch.tensor([-1.0, 0.0, 1.0])).abs()


def generator(knows_classes, network=None):
    names = NAMES if knows_classes else ["any"]
    shape = ImageShape(1, 8, 8)
    return Generator(network or Anything(), 5, shape, torch.uint8, names, knows_classes, 1, EQUAL, {}, "0" * 16)


TEACHER = TrainedClassifier(Brightness(), ImageShape(1, 8, 8), NAMES, [5, 5, 5], 64, CPU)


@pytest.mark.parametrize(
    ("quotas", "per_class", "counts", "wanted"),
    [
        ("balanced", 7, [1, 2, 3], [7, 7, 7]),
        ("proportional", 7, [1, 2, 4], [3, 6, 12]),
        ("proportional", 5, [1, 1, 1], [5, 5, 5]),
        (
            "proportional",
            1,
            [1, 1, 5],
            [1, 0, 2],
        ),  # 3 images: .43, .43 and 2.14, and a rest of 1 to the first of equals
        ("top_up", 7, [1, 7, 30], [6, 0, 0]),
    ],
)
def test_quotas(quotas, per_class, counts, wanted):
    assert settings(quotas=quotas, per_class=per_class).count(torch.tensor(counts)).tolist() == wanted


def test_proportional_quotas_are_as_many_in_all_as_balanced_ones():
    counts = torch.tensor([3, 1, 17, 5, 11])
    for per_class in range(1, 50):
        wanted = settings(quotas="proportional", per_class=per_class).count(counts)
        assert wanted.sum() == 5 * per_class
        assert (wanted - 5 * per_class * counts / counts.sum()).abs().max() < 1


@pytest.mark.parametrize("quotas", ["balanced", "proportional", "top_up"])
@pytest.mark.parametrize("change", [{}, CONFIDENT], ids=["all", "confident"])
def test_the_set_fills_its_quotas_exactly(quotas, change):
    made = synthesize(
        generator(True), settings(quotas=quotas, **change), torch.tensor([1, 2, 9]), 0, TEACHER if change else None
    )
    expected = {"balanced": [4, 4, 4], "proportional": [1, 2, 9], "top_up": [3, 2, 0]}[quotas]
    assert made.images.class_counts.tolist() == expected
    assert made.images.labels.tolist() == sorted(made.images.labels.tolist())
    assert len(made.numbers) == len(made.confidence) == sum(expected)


def test_without_a_teacher_the_first_images_of_every_label_are_taken():
    made = synthesize(generator(True), settings(latent_scale=2.0, truncation=0.5), EQUAL, seed=3)
    assert made.numbers.tolist() == [0, 1, 2, 3] * 3
    assert made.confidence.isnan().all()
    assert made.candidates == 12
    for label in range(3):
        expected = generator(True).images(label, torch.arange(4), 3, Latents(2.0, 0.5))
        assert torch.equal(made.images.images[made.images.labels == label], expected)


def test_more_images_a_class_hold_the_fewer_ones():
    few, many = (synthesize(generator(True), settings(per_class=n), EQUAL, 0).images for n in (4, 90))
    assert torch.equal(many.subset(torch.tensor([0, 1, 2, 3, 90, 91, 92, 93])).images, few.images[:8])


@pytest.mark.parametrize("knows_classes", [True, False])
def test_a_teacher_takes_the_first_images_that_it_is_sure_of(knows_classes):
    source = generator(knows_classes)
    made = synthesize(source, settings(**CONFIDENT), EQUAL, 0, TEACHER)
    for label in range(3):
        one = label if knows_classes else 0
        candidates = source.images(one, torch.arange(300), 0)
        levels = candidates[:, 0, 0, 0].float() / 127.5 - 1
        says = (-8 * (levels[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()).softmax(dim=1)
        sure = ((says[:, label] >= 0.9) & (says.argmax(dim=1) == label)).nonzero().squeeze(1)[:4]
        members = made.images.labels == label
        assert made.numbers[members].tolist() == sure.tolist()
        assert torch.equal(made.images.images[members], candidates[sure])
        assert made.confidence[members].tolist() == pytest.approx(says[sure, label].tolist())
    assert made.candidates >= int(made.numbers.max()) + 1


def test_a_teacher_of_other_classes_is_refused():
    other = dataclasses.replace(TEACHER, class_names=["dark", "middle", "light"])
    with pytest.raises(ValueError, match="the teacher knows the classes dark, middle, light, the generator dark, "):
        synthesize(generator(True), settings(**CONFIDENT), EQUAL, 0, other)


class Dark(Anything):
    def forward(self, latents, labels):
        return super().forward(latents, labels) * 0 - 1


@pytest.mark.parametrize("knows_classes", [True, False])
def test_a_class_that_the_generator_does_not_make_is_named(knows_classes):
    names = "'middle'" if knows_classes else "'middle', 'bright'"
    with pytest.raises(ValueError, match=f"generated images for class {names}; lower synthesis.threshold=0.9"):
        synthesize(generator(knows_classes, Dark()), settings(**CONFIDENT), EQUAL, 0, TEACHER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_class": 0}, "synthesis.per_class=0: use a whole number of at least 1"),
        ({"quotas": "some"}, "synthesis.quotas=some: use one of balanced, proportional, top_up"),
        ({"latent_scale": 0}, "synthesis.latent_scale=0: use a number above 0 and at most 10"),
        ({"truncation": 0}, "synthesis.truncation=0: use a number above 0 and at most 10"),
        ({"selection": "best"}, "synthesis.selection=best: use one of all, confident, diverse"),
        ({"selection": "confident"}, "synthesis.selection=confident.*threshold.*such as 0.9"),
        (
            {"threshold": 0.5},
            "synthesis.threshold=0.5, but synthesis.selection=all has none: leave it null, .*",
        ),
        ({"selection": "confident", "threshold": 1}, "synthesis.threshold=1: use a number from 0 to 0.9999"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        settings(**change)


def test_nothing_to_top_up_is_said():
    with pytest.raises(ValueError, match=r"top_up to synthesis\.per_class=4, but every class has as many labelled"):
        settings(quotas="top_up").count(EQUAL)


@dataclass(frozen=True, eq=False, kw_only=True)
class Untrained(Stage):
    """Leaves the untrained weights of a GAN; the averaged generator differs from the other."""

    name, version = "gan", 1

    labelled: ImageSet
    best: bool

    def run(self, folder, made):
        images = self.labelled
        about = {
            "kind": "gan",
            "design": gan_design(DESIGN).identity,
            "shape": [1, 8, 8],
            "class_names": images.class_names,
            "class_counts": images.class_counts.tolist(),
            "label_counts": images.class_counts.tolist(),
            "trained_on": "0" * 32,
            "images_seen": 640,
        }
        for name in ("weights.pt", "best.pt")[: 2 if self.best else 1]:
            kinds = ("ema", "generator")
            networks = {kind: Projection().generator(DCGAN(5, 4), images.shape, 3) for kind in kinds}
            save_weights(folder / name, about, **networks)

    def load(self, folder):
        return Generator.load(chosen_checkpoint(folder), CPU)


@dataclass(frozen=True, eq=False, kw_only=True)
class SaysMiddle(Stage):
    """Leaves a classifier that is sure of the second class, whatever it is shown."""

    name, version = "classifier", 1

    def run(self, folder, made):
        network = CNN(ImageShape(1, 8, 8), 3, 4)
        torch.nn.init.zeros_(network.layers[-1].weight)
        network.layers[-1].bias.data = torch.tensor([0.0, 5.0, 0.0])
        node = {"network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}}
        about = {
            "kind": "classifier",
            "classifier": node | {"batch_size": 16},
            "shape": [1, 8, 8],
            "class_names": [f"class{label}" for label in range(3)],
            "class_counts": [5] * 3,
        }
        save_weights(folder / "weights.pt", about, classifier=network)

    def load(self, folder):
        return TrainedClassifier.load(folder / "weights.pt", CPU)


@pytest.fixture
def stage(image_set, cpu):
    """Plan the sampling of an untrained generator."""

    def make(like=None, best=False, teacher=None, **changes):
        asked, like = settings(**changes), image_set() if like is None else like
        return Synthesis(
            gan=Untrained(labelled=image_set(), best=best, seed=0, hardware=cpu),
            teacher=teacher,
            settings=asked,
            images=asked.count(like.class_counts).tolist(),
            like=like,
            seed=3,
            hardware=cpu,
        )

    return make


@pytest.mark.parametrize("best", [False, True])
def test_the_stage_samples_the_averaged_generator(tmp_path, image_set, stage, best):
    store, one = StageStore(tmp_path), stage(best=best)
    found = one.load(store.fetch(one).folder)
    checkpoint = store.folder(one.gan) / ("best.pt" if best else "weights.pt")
    assert chosen_checkpoint(store.folder(one.gan)) == checkpoint
    expected = synthesize(Generator.load(checkpoint, CPU), settings(), image_set().class_counts, seed=3)
    assert torch.equal(found.images.images, expected.images.images)
    assert found.images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.images.class_names == image_set().class_names
    assert found.numbers.tolist() == [0, 1, 2, 3] * 3


def test_the_stage_asks_its_teacher(tmp_path, image_set, cpu, stage):
    labelled = image_set(per_class=2).subset(torch.tensor([0, 1, 4, 5]))  # two of the first and the third class
    asked = {"teacher": SaysMiddle(seed=0, hardware=cpu), **CONFIDENT, "quotas": "top_up", "per_class": 2}
    one = stage(labelled, **asked)
    found = one.load(StageStore(tmp_path).fetch(one).folder)
    assert found.images.labels.tolist() == [1, 1]
    assert found.confidence.tolist() == pytest.approx([0.9867] * 2, abs=1e-3)
    assert one.key != stage(labelled, **asked | {"threshold": 0.8}).key


def test_the_number_of_labelled_images_decides_no_more_than_quotas_do(image_set, stage):
    def key(per_class, **changes):
        return stage(image_set(per_class=per_class), **changes).key

    assert key(5) == key(6)
    assert key(1, quotas="top_up") != key(2, quotas="top_up")


def test_quotas_are_checked_before_anything_is_trained(plain_settings):
    quotas = ("synthesis.quotas=top_up", "synthesis.per_class=5")
    with pytest.raises(ValueError, match="every class has as many labelled images already"):
        plan_trial(plain_settings("augmentation=gan", *quotas))


def test_stored_sets_say_how_many_candidates_there_were(tmp_path):
    made = synthesize(generator(False), settings(**CONFIDENT), EQUAL, 0, TEACHER)
    made.write(tmp_path)
    found = SyntheticSet.read(tmp_path, NAMES)
    assert found.candidates == made.candidates > 12
    assert torch.equal(found.confidence, made.confidence)
    assert json.dumps(found.candidates)  # a plain number


def test_a_diverse_set_spreads_over_its_candidates():
    seeing = TrainedClassifier(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ImageShape(1, 8, 8), NAMES, [5, 5, 5], 64, CPU
    )
    made = synthesize(generator(True), settings(per_class=8, selection="diverse"), EQUAL, 0, seeing)
    plain = synthesize(generator(True), settings(per_class=24), EQUAL, 0).images
    assert made.images.class_counts.tolist() == [8, 8, 8]
    assert made.candidates == 3 * 24
    for label in range(3):
        there = plain.images[plain.members(label)]
        here = made.images.images[made.images.members(label)]
        assert here.equal(there[made.numbers[made.images.members(label)]])  # an image is found by its number
        levels, all_levels = (one[:, 0, 0, 0].double().sort().values for one in (here, there))
        assert levels[-1] - levels[0] > 0.9 * (all_levels[-1] - all_levels[0])
        assert levels.diff().min() > all_levels.diff().min()
    with pytest.raises(ValueError, match="this generator knows none: use confident"):
        synthesize(generator(False), settings(selection="diverse"), EQUAL, 0, seeing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refuse_copies": True}, "selection=diverse chooses all at"),
        ({"threshold": 0.9}, "synthesis.selection=diverse has none: leave it null"),
    ],
)
def test_what_a_diverse_set_has_no_use_for_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(selection="diverse", **changes)


@pytest.mark.parametrize(("limits", "worst"), [((0.1, 0.3), 0.3), ((0.1, None), None)])
def test_joined_sets_are_in_order_and_refused_as_many_copies_as_both(limits, worst):
    one, other = (
        dataclasses.replace(
            synthesize(generator(True), settings(per_class=n), EQUAL, seed=n), refused=Refused(n, limit)
        )
        for n, limit in zip((2, 3), limits, strict=True)
    )
    joined = one.joined(other)
    assert joined.images.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert joined.numbers[:5].tolist() == [0, 1, 0, 1, 2]
    assert joined.images.images[:2].equal(one.images.images[:2])
    assert joined.images.images[2:5].equal(other.images.images[:3])
    assert joined.refused == Refused(5, worst)
    assert joined.candidates == 15
    assert one.joined(dataclasses.replace(other, refused=None)).refused is None
