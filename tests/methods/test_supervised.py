import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.contracts import Plan
from gan_augment.data.batches import Batch
from gan_augment.data.image_set import ImageSet
from gan_augment.extras import extras
from gan_augment.methods.supervised import MIXING, Classifier, ClassifierSettings, Supervised
from gan_augment.networks.cnn import CNN
from gan_augment.settings import build
from gan_augment.stages import DivergedError, Stage
from gan_augment.training.hardware import Hardware

NODE = {
    "_target_": "gan_augment.methods.supervised.ClassifierSettings",
    "network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4},
    "num_steps": 30,
    "batch_size": 16,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
}
NONE = {"sees": "labelled", "extra": "none", "share": None, "transform": "none", "method": "classifier"}
CLASSICAL = {
    "_target_": "gan_augment.augmentation.classical.ClassicalTransform",
    **{"shift": 0.1, "rotation": 15.0, "scale": 0.1, "flip": False},
}


def read_settings(**changes):
    return build(NODE | changes, "classifier", ClassifierSettings)


def stage(images, validation, cpu, arm=(), extra=None, seed=0, classical=CLASSICAL, **changes):
    """Plan the stage of an arm; an extra that needs no stage follows from its row."""
    arm = Arm(**NONE | dict(arm))
    config = SimpleNamespace(source={}, classical=classical, seeds=SimpleNamespace(classifier=seed), hardware=cpu)
    plan = Plan(config, SimpleNamespace(labelled=images, validation=validation, domains=None))
    return read_settings(**changes).stage(plan, arm, extra or extras()[arm.extra].plan(plan))


@dataclass(frozen=True, eq=False, kw_only=True)
class Written(Stage):
    """The stage of a synthetic set that lies in a folder."""

    name, version = "synthesis", 1

    def run(self, folder, made):
        raise AssertionError("it is already there")

    def load(self, folder):
        return SyntheticSet.read(folder, [f"class{label}" for label in range(3)])


def train(images, cpu, folder, validation=None, synthesis=None, arm=(), **settings):
    folder.mkdir(exist_ok=True)
    extra, made = None, {}
    if synthesis is not None:
        extra, made = extras()[dict(arm)["extra"]](Written(seed=0, hardware=cpu)), {"synthesis": synthesis}
    stage(images, images if validation is None else validation, cpu, arm, extra, **settings).run(folder, made)
    return torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]


def says(folder, images):
    return TrainedClassifier.load(folder / "weights.pt", torch.device("cpu")).probabilities(images)


@pytest.fixture
def transformed(monkeypatch):
    """Put every training image through a function instead of the data set's transforms."""
    return lambda transform: monkeypatch.setattr(Supervised, "transform", property(lambda self: transform))


@pytest.fixture
def synthetic_folder(tmp_path, image_set):
    folder = tmp_path / "synthetic"
    folder.mkdir()
    images = image_set(per_class=20, seed=5)
    SyntheticSet(images, torch.arange(60), torch.full((60,), math.nan), 60).write(folder)
    return folder


@pytest.fixture
def fitted(monkeypatch):
    """Note what would be trained, and train nothing."""
    notes = []
    monkeypatch.setattr(
        Hardware, "fit", lambda self, system, data, folder, **settings: notes.append((system, data, settings))
    )
    return notes


@pytest.mark.parametrize(("share", "extra"), [(0.5, 8), (0.25, 4), (0.3, 5), (1.0, 16)])
def test_every_batch_has_the_exact_share_of_synthetic_images(
    image_set, cpu, tmp_path, synthetic_folder, fitted, share, extra
):
    images = image_set()
    train(images, cpu, tmp_path / "c", synthesis=synthetic_folder, arm={"extra": "synthetic", "share": share})
    ((_, data, _),) = fitted
    for selection in data.train_dataloader():
        *real, synthetic = selection.values()
        assert [len(indices) for indices in real] == ([16 - extra] if extra < 16 else [])
        assert all(indices.max() < len(images) for indices in real)
        assert len(synthetic) == extra
        assert synthetic.max() < 60


def through(data):
    """Take the training batches of some data the way that Lightning takes them: selections, and what they select."""
    return [
        (selection, data.transfer_batch_to_device(selection, torch.device("cpu"), 0))
        for selection in data.train_dataloader()
    ]


def test_a_placebo_has_the_same_images_in_the_same_order_and_labels_by_chance(
    image_set, cpu, tmp_path, synthetic_folder, fitted
):
    for extra, seed in (("synthetic", 0), ("shuffled_synthetic", 0), ("shuffled_synthetic", 1)):
        arm, folder = {"extra": extra, "share": 0.5}, tmp_path / f"{extra}{seed}"
        train(image_set(), cpu, folder, synthesis=synthetic_folder, arm=arm, seed=seed)
    true, one, two = (through(data) for _, data, _ in fitted)
    for (_, with_true), (_, with_shuffled) in zip(true, one, strict=True):
        assert torch.equal(with_true.images, with_shuffled.images)
        assert torch.equal(with_true.labels[:8], with_shuffled.labels[:8])  # of the real ones

    def labels(batches):
        found = torch.empty(60, dtype=torch.int64)
        for selection, batch in batches:
            found[selection[1]] = batch.labels[8:]
        return found

    assert labels(true).bincount().tolist() == labels(one).bincount().tolist() == [20, 20, 20]
    assert 8 <= (labels(true) == labels(one)).sum() <= 32  # 20 of 60 by chance
    assert not torch.equal(labels(one), labels(two))


def test_what_is_left_out_leaves_the_same_real_images_as_beside_synthetic_ones(
    image_set, cpu, tmp_path, synthetic_folder, fitted
):
    images = image_set()
    train(images, cpu, tmp_path / "left out", arm={"extra": "left_out", "share": 0.3})
    train(images, cpu, tmp_path / "mixed", synthesis=synthetic_folder, arm={"extra": "synthetic", "share": 0.3})
    (_, alone, _), (_, mixed, _) = fitted
    steps = list(zip(alone.train_dataloader(), mixed.train_dataloader(), strict=True))
    assert len(steps) == 30
    for left, both in steps:
        assert list(left) == [0]
        assert len(left[0]) == 11  # of 16, less round(.3 * 16)
        assert torch.equal(left[0], both[0])


def test_oversampling_draws_every_class_as_often(image_set, cpu, tmp_path, fitted):
    images = image_set().subset(torch.arange(24))  # ten, ten and four
    train(images, cpu, tmp_path, arm={"extra": "labelled", "share": 1.0}, batch_size=15)
    ((_, data, _),) = fitted
    assert all(images.labels[selection[0]].bincount().tolist() == [5, 5, 5] for selection in data.train_dataloader())


def test_the_rate_decays_to_nothing_along_a_half_cosine(image_set, cpu, tmp_path, monkeypatch):
    class Rates(Callback):
        seen = ()

        def on_train_batch_start(self, trainer, *arguments):
            self.seen += (trainer.optimizers[0].param_groups[0]["lr"],)

        def on_train_end(self, trainer, *arguments):
            self.seen += (trainer.optimizers[0].param_groups[0]["lr"],)

    rates, fit = Rates(), Hardware.fit
    monkeypatch.setattr(Hardware, "fit", lambda *args, **settings: fit(*args, **settings | {"callbacks": (rates,)}))
    train(image_set(), cpu, tmp_path)
    expected = [0.01 * (1 + math.cos(math.pi * step / 30)) / 2 for step in range(31)]
    assert rates.seen == pytest.approx(expected, abs=1e-8)


def test_it_learns(image_set, cpu, tmp_path):
    images, others = image_set(), image_set(seed=1)
    train(images, cpu, tmp_path, num_steps=60)
    probabilities = says(tmp_path, others)
    assert (probabilities.argmax(dim=1) == others.labels).float().mean() > 0.9


def test_predictions_are_probabilities_of_every_class(image_set, cpu, tmp_path):
    train(image_set(), cpu, tmp_path)
    probabilities = says(tmp_path, image_set(per_class=400, seed=1))
    assert probabilities.shape == (1200, 3)
    assert probabilities.dtype == torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1200))


def test_predictions_come_from_the_stored_weights(image_set, cpu, tmp_path):
    weights, others = train(image_set(), cpu, tmp_path), image_set(seed=1)
    network = CNN(others.shape, 3, channels=4)
    network.load_state_dict(weights)
    expected = network(others.images.float() / 127.5 - 1).softmax(dim=1)
    torch.testing.assert_close(says(tmp_path, others), expected.detach(), atol=1e-6, rtol=0)


def test_the_transform_is_applied_to_real_and_synthetic_images(image_set, cpu, tmp_path, synthetic_folder, transformed):
    seen = []

    def transform(images, generator):
        seen.append(len(images))
        return images

    transformed(transform)
    train(image_set(), cpu, tmp_path / "c", synthesis=synthetic_folder, arm={"extra": "synthetic", "share": 0.5})
    assert seen == [16] * 30  # and never to validation images


def test_a_transform_changes_the_result_and_its_draws_follow_the_seed(image_set, cpu, tmp_path):
    def bias(name, transform, seed=0):
        return list(train(image_set(), cpu, tmp_path / name, arm={"transform": transform}, seed=seed).values())[-1]

    plain = bias("plain", "none")
    moved, again = (bias(name, "classical") for name in ("moved", "again"))
    assert torch.equal(moved, again)
    assert not torch.equal(moved, plain)
    assert not torch.equal(bias("other", "classical", seed=1), moved)


class Brightness(torch.nn.Module):
    """Says with how much weight an image is white, and black; notes a draw from the global stream."""

    def forward(self, images):
        self.drew = torch.rand(1).item()
        white = images.mean(dim=(1, 2, 3))
        return torch.stack([white, 1 - white], dim=1)


@pytest.fixture
def mixed_loss(monkeypatch):
    """Compute the loss on a white image, of class 0, and a black one, of class 1, with a kind of mixing or without."""
    images = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)

    def compute(kind, seed=0, step=0, **params):
        mixing = MIXING[kind](num_classes=2) if kind else None
        if params:
            monkeypatch.setattr(mixing, "make_params", lambda images: params)
        system = Classifier(Brightness(), read_settings(), None, mixing, seed)
        monkeypatch.setattr(system, "log", lambda *arguments: None)
        return system.training_step(Batch(images, torch.tensor([0, 1])), step).item(), system.network.drew

    return compute


@pytest.mark.parametrize(
    ("kind", "params"),
    [("mixup", {"lam": 0.25}), ("cutmix", {"box": (0, 0, 8, 6), "lam_adjusted": 0.25})],
    ids=["blended", "six rows of eight"],
)
def test_the_loss_on_mixed_images_by_hand(mixed_loss, kind, params):
    # Logits and probabilities are (1/4, 3/4) and (3/4, 1/4): log(e^(1/4) + e^(3/4)) - 1/16 - 9/16.
    assert mixed_loss(kind, **params)[0] == pytest.approx(0.5990770, abs=1e-6)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_is_a_function_of_seed_and_step_and_leaves_the_draws_of_networks(mixed_loss, kind):
    loss, drew = mixed_loss(kind, seed=0, step=3)
    torch.rand(5)
    assert mixed_loss(kind, seed=0, step=3) == (loss, drew)
    assert mixed_loss(None, seed=0, step=3)[1] == drew
    assert len({loss, mixed_loss(kind, seed=0, step=4)[0], mixed_loss(kind, seed=1, step=3)[0]}) == 3


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_classifier_of_mixed_images_learns_their_classes(image_set, cpu, tmp_path, kind):
    images, others = image_set(), image_set(seed=1)
    one, again = (
        train(images, cpu, tmp_path / name, arm={"transform": kind}, num_steps=60) for name in ("one", "again")
    )
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert (says(tmp_path / "one", others).argmax(dim=1) == others.labels).float().mean() > 0.8


def test_validation_is_looked_at_ten_times_and_logged(image_set, cpu, tmp_path):
    train(image_set(), cpu, tmp_path, validation=image_set(seed=1))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("validation/accuracy", "validation/loss"):
        assert len(events.Scalars(tag)) == 10
    assert events.Scalars("validation/accuracy")[-1].value > 0.5


def test_there_may_be_no_validation_images(image_set, cpu, tmp_path):
    nothing = image_set().subset(torch.arange(0))
    with_look, without = (
        train(image_set(), cpu, tmp_path / name, validation=images)
        for name, images in (("with", image_set(seed=1)), ("without", nothing))
    )
    assert all(torch.equal(value, without[name]) for name, value in with_look.items())


def test_a_loss_that_is_not_finite_ends_the_training(image_set, cpu, tmp_path, transformed):
    def transform(images, generator):
        return images * float("nan")

    transformed(transform)
    with pytest.raises(DivergedError, match="not finite"):
        train(image_set(), cpu, tmp_path)
    assert not (tmp_path / "weights.pt").exists()


GOLDEN = [-1.01214, -1.1027, -1.1888, -1.21668, -1.10027, -0.991531, -1.6747, -1.29474, -0.618655]


def test_golden_numbers(image_set, cpu, tmp_path):
    train(image_set(), cpu, tmp_path, arm={"transform": "classical"}, num_steps=6)
    found = says(tmp_path, image_set()).log()[::10].flatten().tolist()
    assert found == pytest.approx(GOLDEN, rel=1e-3), (
        "the mathematics of the classifier's training has changed: "
        f"raise the version of Supervised in methods/supervised.py; numbers are now {found}"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "classifier.num_steps=0: use a whole number of at least 1"),
        ({"batch_size": 0}, "classifier.batch_size=0: use a whole number of at least 1"),
        ({"learning_rate": 0}, "classifier.learning_rate=0: use a number above 0 and at most 1"),
        ({"weight_decay": -1}, "classifier.weight_decay=-1: use a number from 0 to 1"),
        ({"rate": 1}, "classifier has no setting rate: use network, .*"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        read_settings(**change)


def test_the_stage_is_made_from_images_arm_and_settings(image_set, cpu):
    images, validation = image_set(), image_set(seed=1)
    stages = [
        stage(images, validation, cpu),
        stage(validation, validation, cpu),
        stage(images, images, cpu),
        stage(images, validation, cpu, arm={"transform": "classical"}),
        stage(images, validation, cpu, arm={"transform": "mixup"}),
        stage(images, validation, cpu, arm={"transform": "classical"}, classical=CLASSICAL | {"shift": 0.2}),
        stage(images, validation, cpu, seed=1),
        stage(images, validation, cpu, num_steps=31),
    ]
    assert len({one.key for one in stages}) == len(stages)


@pytest.mark.parametrize(
    ("width", "arm", "rotation", "is_revised"),
    [(12, "classical", 15.0, 1), (8, "classical", 15.0, 0), (12, "classical", 0.0, 0), (12, "none", 15.0, 0)],
)
def test_only_rotations_of_images_that_are_not_square_have_new_keys(image_set, cpu, width, arm, rotation, is_revised):
    square = image_set()
    images = ImageSet(square.images.repeat(1, 1, 1, 2)[..., :width], square.labels, square.class_names)
    made = stage(images, images, cpu, arm={"transform": arm}, classical=CLASSICAL | {"rotation": rotation})
    assert ("revised" in made.identity) == is_revised


def test_the_strength_of_transforms_that_an_arm_does_not_use_does_not_count(image_set, cpu):
    images = image_set()
    assert stage(images, images, cpu).key == stage(images, images, cpu, classical=CLASSICAL | {"shift": 0.2}).key


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"extra": "left_out", "share": 0.01}, "of classifier.batch_size=16 rounds to no image: use a larger share"),
        ({"extra": "left_out", "share": 0.99}, "leaves no image in a batch of classifier.batch_size=16: use a smaller"),
        ({"extra": "labelled", "share": 1.0}, "each has 10 labelled images, so this changes nothing: leave this arm"),
    ],
    ids=str,
)
def test_arms_that_images_or_settings_leave_without_meaning_are_refused(image_set, cpu, arm, message):
    with pytest.raises(ValueError, match=message):
        stage(image_set(), image_set(seed=1), cpu, arm=arm).check()


def test_a_single_image_is_not_mixed(image_set, cpu):
    with pytest.raises(ValueError, match=r"transform=mixup mixes images, but classifier\.batch_size=1: use more"):
        stage(image_set(), image_set(seed=1), cpu, arm={"transform": "mixup"}, batch_size=1).check()


def test_images_that_the_network_cannot_take_are_refused(image_set, cpu):
    with pytest.raises(ValueError, match="at least 8x8 pixels, not 7x7"):
        stage(image_set(size=7), image_set(size=7), cpu).check()
