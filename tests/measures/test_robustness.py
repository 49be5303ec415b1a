import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageSet, ImageShape, to_float
from gan_augment.measures.robustness import (
    CORRUPTIONS,
    Robustness,
    add_noise,
    blur,
    brighten,
    corrupted,
    fgsm,
    lower_contrast,
    occlude,
    pgd,
    rotate,
    shift,
)
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

SETTINGS = {"seed": 0, "severities": [1, 2, 3], "corruptions": list(CORRUPTIONS), "radii": [3, 30], "pgd_steps": 10}


def pixels(batch=2, channels=1, height=8, width=8, seed=0):
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def draws(*rows):
    return torch.tensor([[float(value) for value in row] for row in rows])


def classifier_of(network, images, batch_size=7):
    network = network.eval().requires_grad_(False)
    counts = images.class_counts.tolist()
    return TrainedClassifier(network, images.shape, images.class_names, counts, batch_size, torch.device("cpu"))


def measured_by(measure, classifier, images):
    return measure.find(SimpleNamespace(classifier=classifier, measured=images))


def linear(shape, num_classes, weights=None, seed=0):
    """A network with one linear layer."""
    size = shape.channels * shape.height * shape.width
    layer = nn.utils.skip_init(nn.Linear, size, num_classes)
    random = torch.randn(num_classes, size, generator=torch.Generator().manual_seed(seed))
    layer.weight.data = random if weights is None else weights
    layer.bias.data = torch.zeros(num_classes)
    return nn.Sequential(nn.Flatten(), layer)


def trained(images):
    """A linear network that has learned its images."""
    network = linear(images.shape, images.num_classes)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        cross_entropy(network(to_float(images.images)), images.labels).backward()
        optimizer.step()
    return classifier_of(network, images)


# Corruptions.


@pytest.mark.parametrize(
    "change",
    [
        lambda p: add_noise(p, 0, torch.ones_like(p)),
        lambda p: blur(p, 1e-4),
        lambda p: brighten(p, 0),
        lambda p: lower_contrast(p, 1),
        lambda p: shift(p, 0, draws([0.2], [0.7])),
        lambda p: rotate(p, 0, draws([0.2], [0.7])),
    ],
)
def test_at_no_strength_nothing_changes(change):
    images = pixels(channels=3, height=8, width=12)
    assert change(images) == pytest.approx(images, abs=1e-5)


def test_brightness_and_contrast_by_hand():
    images = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 1, 2, 2)
    assert brighten(images, 0.1).flatten().tolist() == pytest.approx([0.3, 0.5, 0.7, 0.9])
    assert lower_contrast(images, 0.4).flatten().tolist() == pytest.approx([0.38, 0.46, 0.54, 0.62])


def test_contrast_keeps_the_mean_of_each_image_and_channel():
    images = pixels(batch=3, channels=3)
    assert lower_contrast(images, 0.2).mean(dim=(2, 3)) == pytest.approx(images.mean(dim=(2, 3)), abs=1e-6)
    assert lower_contrast(images, 0.2).std(dim=(2, 3)) == pytest.approx(0.2 * images.std(dim=(2, 3)), abs=1e-6)


def test_an_occlusion_is_a_grey_square_at_the_place_that_was_drawn():
    images = torch.zeros(3, 1, 8, 10)
    made = occlude(images, 0.25, draws([0, 0], [0.999, 0.999], [0.5, 0.5]))  # a side of 2, 7 and 9 places
    for one, (top, left) in zip(made, [(0, 0), (6, 8), (3, 4)], strict=True):
        expected = torch.zeros(1, 8, 10)
        expected[:, top : top + 2, left : left + 2] = 0.5
        assert torch.equal(one, expected)


@pytest.mark.parametrize(("size", "side"), [(8, 2), (28, 7), (224, 56), (2, 1)])
def test_the_size_of_an_occlusion_follows_the_image(size, side):
    made = occlude(torch.zeros(1, 1, size, size + 3), 0.25, draws([0.3, 0.6]))
    assert (made > 0).sum() == side**2


@pytest.mark.parametrize(("draw", "turns"), [(0.1, 1), (0.9, -1)])
def test_a_quarter_turn_of_a_square(draw, turns):
    images = pixels(batch=1, channels=3)
    assert rotate(images, 90, draws([draw])) == pytest.approx(torch.rot90(images, turns, dims=(2, 3)), abs=1e-4)


def test_a_rotation_does_not_distort_images_that_are_not_square():
    images = torch.zeros(1, 1, 9, 15)
    images[0, 0, 4, 3:12] = 1  # a line of 9 pixels through the centre becomes a column of 9
    turned = rotate(images, 90, draws([0]))
    expected = torch.zeros(1, 1, 9, 15)
    expected[0, 0, :, 7] = 1
    assert turned == pytest.approx(expected, abs=1e-4)


def test_a_shift_by_whole_pixels_leaves_black_behind():
    images = pixels(batch=2, height=8, width=10)
    right, down = shift(images, 1 / 8, draws([0], [0.25]))  # a pixel of the shorter side
    assert right[:, :, 1:] == pytest.approx(images[0, :, :, :-1], abs=1e-5)
    assert right[:, :, 0] == pytest.approx(torch.zeros(1, 8), abs=1e-5)
    assert down[:, 1:] == pytest.approx(images[1, :, :-1], abs=1e-5)
    assert down[:, 0] == pytest.approx(torch.zeros(1, 10), abs=1e-5)


def test_a_blur_spreads_a_dot_as_its_standard_deviation_says():
    images = torch.zeros(1, 2, 65, 65)
    images[:, 0, 32, 32] = 1
    made, place = blur(images, 4 / 65)[0], torch.arange(65.0) - 32
    assert made[0].sum() == pytest.approx(1, abs=1e-5)
    assert (made[0].sum(dim=0) * place**2).sum().sqrt() == pytest.approx(4, rel=0.02)  # cut off at three
    assert made[1].abs().max() == 0  # channels do not mix
    flat = torch.full((1, 1, 8, 8), 0.7)
    assert blur(flat, 0.1) == pytest.approx(flat, abs=1e-6)  # edges do not darken


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_noise_has_the_stated_standard_deviation(severity):
    grey = torch.zeros(20, 3, 32, 32)
    change = corrupted(grey, torch.arange(20), "noise", severity, seed=0) / 2  # in units of the pixel range
    inside = change.abs() < 0.49  # the rest is clipped
    assert inside.float().mean() > 0.99
    assert change.std() == pytest.approx((0.08, 0.12, 0.18)[severity - 1], rel=0.03)
    assert change.mean() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [8, 28])
def test_a_corruption_grows_with_its_severity_and_stays_in_range(name, size):
    x = torch.linspace(-1, 1, size)
    images = (x[:, None] * 5).sin()[None, None].mul((x * 3).cos()).repeat(40, 1, 1, 1) * 0.9
    changes = [corrupted(images, torch.arange(40), name, severity, seed=0) for severity in (1, 2, 3)]
    assert all(one.min() >= -1 and one.max() <= 1 for one in changes)
    sizes = [(one - images).square().mean() for one in changes]
    assert 1e-6 < sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_draws_depend_on_the_number_of_an_image_and_not_on_its_batch(name):
    images, numbers = 2 * pixels(batch=1).expand(9, -1, -1, -1) - 1, torch.arange(9)
    whole = corrupted(images, numbers, name, 2, seed=0)
    assert whole[3:5] == pytest.approx(corrupted(images[3:5], numbers[3:5], name, 2, seed=0), abs=1e-6)
    drawn = CORRUPTIONS[name].draw is not None
    assert (whole[0] - whole[1:]).abs().amax().gt(1e-3) == drawn
    assert (whole - corrupted(images, numbers, name, 2, seed=1)).abs().amax().gt(1e-3) == drawn


class Recorder(nn.Module):
    """Keeps what it is shown."""

    def __init__(self, network):
        super().__init__()
        self.network, self.shown = network, []

    def forward(self, images):
        self.shown.append(images)
        return self.network(images)


def test_two_classifiers_meet_the_same_corrupted_images(image_set):
    images, measure = image_set(), Robustness(**SETTINGS | {"radii": []})
    shown = []
    for batch_size in (4, 30):
        network = Recorder(linear(images.shape, 3, seed=batch_size))
        measured_by(measure, classifier_of(network, images, batch_size), images)
        variants = 1 + 3 * len(CORRUPTIONS)
        shown.append(torch.stack([torch.cat(network.shown[number::variants]) for number in range(variants)]))
    assert shown[0] == pytest.approx(shown[1], abs=1e-5)


# Attacks.


def test_fgsm_moves_each_pixel_of_a_linear_model_by_the_radius():
    """The gradient of an image of class 0 is (1 - p0) (w1 - w0); that of an image of class 1 is its opposite."""
    weights = torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 1.0, 1.5, 0.0]])
    network = linear(ImageShape(1, 2, 2), 2, weights)
    images = torch.tensor([[0.0, 0.5, -0.5, 0.25], [0.0, -0.99, 0.99, -0.25]]).view(2, 1, 2, 2)
    made = fgsm(network, images, torch.tensor([0, 1]), radius=0.05).flatten(1)
    assert made[0].tolist() == pytest.approx([-0.1, 0.6, -0.4, 0.25])  # a tenth: the range [-1, 1] is 2 wide
    assert made[1].tolist() == pytest.approx([0.1, -1, 0.89, -0.25])  # clipped


def test_pgd_finds_the_worst_image_of_a_linear_model_from_any_start():
    """The loss of a linear model is worst in the corner that FGSM goes to."""
    network, images = linear(ImageShape(1, 8, 8), 3), 2 * pixels(batch=5) - 1
    binary = nn.Sequential(network, nn.Linear(3, 2, bias=False))
    binary[1].weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 1, 0, 1, 0])
    for seed in (0, 1):
        made = pgd(binary, images, labels, 0.02, 10, pixels(batch=5, seed=seed))
        assert made == pytest.approx(fgsm(binary, images, labels, 0.02), abs=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_pgd_stays_within_its_radius_and_in_range_and_uses_its_start(steps):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).requires_grad_(False)
    images, labels = (2.04 * pixels(batch=6) - 1.02).clamp(-1, 1), torch.arange(6) % 3
    made = pgd(network, images, labels, 0.05, steps, pixels(batch=6, seed=1))
    assert (made - images).abs().max() <= 0.1 + 1e-6
    assert made.abs().max() <= 1
    assert not made.requires_grad
    before, after = (cross_entropy(network(one), labels) for one in (images, made))
    assert after > before
    other = pgd(network, images, labels, 0.05, 1, pixels(batch=6, seed=2))
    assert steps > 1 or not torch.equal(made, other)


def test_an_attack_leaves_no_gradients_in_the_network():
    network = linear(ImageShape(1, 8, 8), 3).requires_grad_(False)
    with torch.no_grad():  # as a caller may have it
        fgsm(network, 2 * pixels() - 1, torch.tensor([0, 1]), 0.1)
    assert all(weight.grad is None and not weight.requires_grad for weight in network.parameters())


# The measure.


def test_a_trained_classifier_is_less_accurate_under_attack(image_set):
    images = image_set(per_class=20)
    found = measured_by(Robustness(**SETTINGS | {"radii": [3, 60]}), trained(images), images)
    metrics = found.metrics["robustness"]
    assert metrics["clean"] == 1
    assert metrics["pgd_60_of_255"] < metrics["pgd_3_of_255"] <= metrics["clean"]
    assert metrics["pgd_60_of_255"] <= metrics["fgsm_60_of_255"] < metrics["clean"]
    assert metrics["clean"] > metrics["corruption"]


def test_means_and_the_names_of_what_is_compared(image_set):
    images = image_set()
    found = measured_by(Robustness(**SETTINGS), trained(images), images)
    metrics = found.metrics["robustness"]
    of_corruptions = {f"{name}_{severity}" for name in CORRUPTIONS for severity in (1, 2, 3)}
    of_attacks = {f"{name}_{radius}_of_255" for name in ("fgsm", "pgd") for radius in (3, 30)}
    assert set(metrics) == {"clean", "corruption", "attack", *CORRUPTIONS, *of_corruptions, *of_attacks}
    assert metrics["noise"] == pytest.approx(math.fsum(metrics[f"noise_{severity}"] for severity in (1, 2, 3)) / 3)
    assert metrics["corruption"] == pytest.approx(math.fsum(metrics[name] for name in of_corruptions) / 21)
    assert metrics["attack"] == pytest.approx(math.fsum(metrics[name] for name in of_attacks) / 4)
    assert found.compared == {
        "robustness.corruption": "accuracy under corruption",
        "robustness.attack": "accuracy under attack",
    }


def test_what_is_not_measured_is_not_compared(image_set):
    images = image_set()
    none = {"corruptions": []}, {"radii": []}
    without, only = (measured_by(Robustness(**SETTINGS | one), trained(images), images) for one in none)
    assert list(without.compared) == ["robustness.attack"]
    assert list(only.compared) == ["robustness.corruption"]
    assert set(only.metrics["robustness"]) >= {"clean", "corruption"}
    assert not {"attack", "fgsm_3_of_255"} & set(only.metrics["robustness"])


def test_images_may_lie_in_a_file_and_nothing_global_is_drawn(image_set, mapped):
    images, measure = image_set(), Robustness(**SETTINGS)
    classifier, state = trained(images), torch.random.get_rng_state()
    assert measured_by(measure, classifier, mapped(images)) == measured_by(measure, classifier, images)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed=-1: use a whole number of at least 0"),
        ({"pgd_steps": 0}, "pgd_steps=0: use a whole number of at least 1"),
        ({"severities": [0]}, "severities=0: use a whole number from 1 to 3"),
        ({"severities": 2}, "severities=2: use a list"),
        ({"severities": [1, 1]}, r"severities=\[1, 1\]: name each value once"),
        ({"severities": []}, r"severities=\[\]: name at least one of 1, 2, 3, or use corruptions=\[\]"),
        ({"corruptions": ["snow"]}, "corruptions=snow: use one of noise, blur, .*occlusion"),
        ({"radii": [0.01]}, "radii=0.01: use a whole number from 1 to 255"),
        ({"radii": [256]}, "radii=256: use a whole number from 1 to 255"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=rf"^measures\.robustness\.{message}$"):
        Robustness(**SETTINGS | changes)


def test_there_must_be_something_to_measure():
    with pytest.raises(ValueError, match="no corruptions and no radii"):
        Robustness(**SETTINGS | {"corruptions": [], "radii": []})


@pytest.mark.parametrize("open_test", ["true", "false"])
def test_a_trial_measures_its_classifier(plain_settings, shared_outputs, tmp_path, open_test):
    overrides = ("augmentation=none", "measures=[judge,robustness]", f"open_test={open_test}")
    trial = plan_trial(plain_settings(*overrides))
    assert trial.factors["measures.robustness.severities"] == "1 2 3"
    record = run_trial(trial, tmp_path, StageStore(shared_outputs / "store"), "trial")
    part = "test" if open_test == "true" else "validation"
    metrics = record["metrics"]["robustness"]
    assert record["warnings"] == []
    assert metrics["clean"] == pytest.approx(record["metrics"][part]["accuracy"])
    assert 0 <= metrics["corruption"] <= 1
    assert metrics["pgd_8_of_255"] <= metrics["clean"]
    assert record["compared"]["robustness.attack"] == "accuracy under attack"


def test_it_applies_to_classifiers_of_pictures_only(image_set):
    measure, pictures = Robustness(**SETTINGS), SimpleNamespace(labelled=image_set())
    points = SimpleNamespace(labelled=ImageSet(torch.zeros(5, 2, 1, 1), torch.zeros(5, dtype=torch.int64), ["a"]))
    assert measure.stages(None, pictures, {"gan": None, "classifier": None}) == {}
    assert measure.stages(None, pictures, {"gan": None, "synthesis": None}) is None
    assert measure.stages(None, points, {"classifier": None}) is None
