import math

import pytest
import torch
import yaml

from gan_augment.app import CONF
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.image_set import to_float

STILL = {"shift": 0.0, "rotation": 0.0, "scale": 0.0, "flip": False}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def transform(images, seed=0, **changes):
    return ClassicalTransform(**STILL | changes)(images, generator(seed))


@pytest.fixture
def images(image_set):
    return to_float(image_set(per_class=20, size=8, channels=3).images)


def test_without_strength_nothing_changes(images):
    torch.testing.assert_close(transform(images), images, atol=1e-5, rtol=0)


class Drawn:
    """Stands in for torch.rand: the same numbers for every image."""

    def __init__(self, *draws):
        self.draws = draws

    def __call__(self, rows, length, generator, device):
        return torch.tensor(self.draws)[:, None].expand(rows, length).clone()


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-2, 0), (3, -1)])
def test_a_shift_by_whole_pixels_is_a_roll_with_black_behind_it(images, monkeypatch, dx, dy):
    # A draw u in [0, 1] becomes 2u - 1 times the largest shift, 4 of 8 pixels here.
    monkeypatch.setattr(torch, "rand", Drawn(0.5, 0.5, 0.5 + dx / 8, 0.5 + dy / 8, 1.0))
    rolled = torch.roll(images, (-dy, -dx), dims=(2, 3))
    for shift, dim in ((-dy, 2), (-dx, 3)):
        edge = range(shift) if shift > 0 else range(8 + shift, 8)
        rolled.index_fill_(dim, torch.tensor(list(edge), dtype=torch.long), -1.0)
    torch.testing.assert_close(transform(images, shift=0.5), rolled, atol=1e-5, rtol=0)


def test_a_quarter_turn_is_a_quarter_turn(images, monkeypatch):
    monkeypatch.setattr(torch, "rand", Drawn(1.0, 0.5, 0.5, 0.5, 1.0))
    turned = transform(images, rotation=90.0)
    assert any(torch.allclose(turned, torch.rot90(images, k, dims=(2, 3)), atol=1e-5) for k in (1, 3))


def direction(image):
    """Return the direction of the white part of an image `[H, W]`, in degrees from the horizontal, in [0, 180)."""
    weight = (image + 1).flatten()
    places = torch.stack(torch.meshgrid(*map(torch.arange, image.shape), indexing="ij")).flatten(1).float()
    spread = torch.cov(places, aweights=weight)  # of rows and columns
    return math.degrees(0.5 * math.atan2(2 * spread[0, 1], spread[1, 1] - spread[0, 0])) % 180


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (96, 32)])
@pytest.mark.parametrize("start", [0, 90])
def test_a_bar_turns_by_the_angle_that_was_drawn(monkeypatch, height, width, start):
    bar = torch.full((1, 1, height, width), -1.0)
    rows, columns = (slice(-1, 1), slice(-10, 10))[:: -1 if start else 1]
    middle = [slice(side // 2 + one.start, side // 2 + one.stop) for side, one in ((height, rows), (width, columns))]
    bar[:, :, middle[0], middle[1]] = 1.0
    assert direction(bar[0, 0]) == pytest.approx(start)
    monkeypatch.setattr(torch, "rand", Drawn(1.0, 0.5, 0.5, 0.5, 1.0))
    turned = direction(transform(bar, rotation=30.0)[0, 0])
    assert min((turned - start) % 180, (start - turned) % 180) == pytest.approx(30, abs=0.5)


def test_zooming_in_cuts_the_edge_off_and_zooming_out_puts_black_around(monkeypatch):
    white = torch.ones(1, 1, 8, 8)
    monkeypatch.setattr(torch, "rand", Drawn(0.5, 1.0, 0.5, 0.5, 1.0))
    assert transform(white, scale=0.5).min() == pytest.approx(1, abs=1e-5)
    monkeypatch.setattr(torch, "rand", Drawn(0.5, 0.0, 0.5, 0.5, 1.0))
    small = transform(white, scale=0.5)
    assert small[0, 0, 3:5, 3:5].min() == pytest.approx(1, abs=1e-5)
    assert small[0, 0, 0].max() == pytest.approx(-1, abs=1e-5)


def test_values_stay_in_range_and_black_stays_black(images):
    moved = transform(images, shift=0.3, rotation=45.0, scale=0.3, flip=True)
    assert not torch.allclose(moved, images, atol=0.1)
    assert moved.min() >= -1 - 1e-5
    assert moved.max() <= 1 + 1e-5
    black = torch.full((50, 1, 8, 8), -1.0)
    torch.testing.assert_close(transform(black, shift=0.3, rotation=45.0, scale=0.3), black)


@pytest.mark.parametrize("strength", [{"shift": 0.2}, {"rotation": 30.0}, {"scale": 0.3}], ids=str)
def test_every_image_has_a_draw_of_its_own(images, strength):
    moved = transform(images[:1].repeat(30, 1, 1, 1), **strength)
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 30


def test_the_draws_come_from_the_generator_alone(images):
    one = transform(images, shift=0.2)
    torch.rand(3)
    assert torch.equal(transform(images, shift=0.2), one)
    assert not torch.equal(transform(images, seed=1, shift=0.2), one)


def test_only_a_flip_that_is_asked_for_mirrors_half_of_the_images(images):
    images = images[:1].repeat(200, 1, 1, 1)
    moved = transform(images, flip=True)
    mirrored = [torch.allclose(image, images[0].flip(2), atol=1e-5) for image in moved]
    kept = [torch.allclose(image, images[0], atol=1e-5) for image in moved]
    assert sum(mirrored) + sum(kept) == 200
    assert 70 <= sum(mirrored) <= 130


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("shift", 1.1, "from 0 to 1"), ("rotation", -1.0, "from 0 to 180"), ("scale", 1.0, "from 0 to 0.9")],
)
def test_strengths_out_of_range_are_refused(name, value, allowed):
    with pytest.raises(ValueError, match=f"^data.classical.{name}={value}: use a number {allowed}$"):
        ClassicalTransform(**STILL | {name: value})


@pytest.mark.parametrize("data", ["digits", "mnist"])
def test_digits_are_not_mirrored(data):
    node = yaml.safe_load((CONF / "data" / f"{data}.yaml").read_text())["classical"]
    assert node["flip"] is False
    assert node["rotation"] < 45  # a 6 must not become a 9


def test_mixed_precision_does_not_move_the_images_elsewhere(images):
    exact = transform(images, shift=0.1, rotation=15.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(images, shift=0.1, rotation=15.0), exact)


def test_a_share_of_the_images_is_mapped_and_numbers_tell_how(images):
    settings = STILL | {"shift": 0.2, "rotation": 30.0, "scale": 0.1, "flip": True}
    moved, changes = ClassicalTransform(**settings).some(images, 0.5, generator())
    still = (changes == 0).all(dim=1)
    assert changes.shape == (len(images), 5)
    assert 0.3 < still.double().mean() < 0.7
    torch.testing.assert_close(moved[still], images[still], atol=1e-5, rtol=0)
    assert ((moved - images).abs().flatten(1).amax(dim=1)[~still] > 0.01).all()
    assert set(changes[~still, 4].tolist()) == {0.0, 1.0}  # mirrored or not
    again = ClassicalTransform(**settings).move(images, torch.cat([changes[:, :4], 1 - 2 * changes[:, 4:]], dim=1).T)
    torch.testing.assert_close(again, moved)
