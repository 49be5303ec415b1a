import pytest
import torch
import yaml
from torch.autograd import gradcheck, gradgradcheck

from gan_augment.app import CONF
from gan_augment.augmentation.discriminator import Adaptive, DiffAugment, Grouped
from gan_augment.data.image_set import to_float
from gan_augment.settings import build

OFF = {"brightness": 0.0, "saturation": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}
PAPER = {"brightness": 0.5, "saturation": 1.0, "contrast": 0.5, "translation": 0.125, "cutout": 0.5}
STRENGTHS = [{name: strength} for name, strength in PAPER.items()]


def augment(images, seed=0, **strengths):
    return DiffAugment(**OFF | strengths)(images, torch.Generator().manual_seed(seed))


@pytest.fixture
def images(image_set):
    return to_float(image_set(per_class=20, size=8, channels=3).images)


class Drawn:
    """Stands in for torch.rand: given draws of brightness, saturation, contrast, two moves and two cuts."""

    def __init__(self, **draws):
        self.draws = [draws.get(name, 0.5) for name in ("brightness", "saturation", "contrast", "y", "x", "cy", "cx")]

    def __call__(self, rows, length, *ones, generator, device):
        return torch.tensor(self.draws).view(rows, 1, 1, 1, 1).expand(rows, length, *ones)


def test_without_strengths_the_images_come_back(images):
    assert augment(images) is images


@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_colour_by_hand(monkeypatch, draw):
    # Two pixels of two channels: pixel means .2 and -.4, image mean -.1.
    images = torch.tensor([[[[0.4, -0.4]], [[0.0, -0.4]]]])
    pixel_means = torch.tensor([0.2, -0.4]).view(1, 1, 1, 2)
    monkeypatch.setattr(torch, "rand", Drawn(brightness=draw, saturation=draw, contrast=draw))
    u = 2 * draw - 1
    torch.testing.assert_close(augment(images, brightness=0.5), images + 0.5 * u)
    torch.testing.assert_close(augment(images, saturation=0.8), pixel_means + (1 + 0.8 * u) * (images - pixel_means))
    torch.testing.assert_close(augment(images, contrast=0.5), -0.1 + (1 + 0.5 * u) * (images + 0.1))


def test_the_smallest_saturation_is_grey_and_one_channel_has_none(images, monkeypatch):
    monkeypatch.setattr(torch, "rand", Drawn(saturation=0.0))
    grey = augment(images, saturation=1.0)
    torch.testing.assert_close(grey, images.mean(dim=1, keepdim=True).expand_as(images))
    assert torch.equal(augment(images[:, :1], saturation=1.0), images[:, :1])


@pytest.mark.parametrize(("dy", "dx"), [(1, 0), (0, -1), (-2, 2), (2, 1)])
def test_a_move_is_a_roll_with_grey_behind_it(images, monkeypatch, dy, dx):
    monkeypatch.setattr(torch, "rand", Drawn(y=(dy + 2.5) / 5, x=(dx + 2.5) / 5))  # five moves, from -2 to 2 pixels
    rolled = torch.roll(images, (dy, dx), dims=(2, 3))
    for shift, dim in ((dy, 2), (dx, 3)):
        edge = range(shift) if shift > 0 else range(8 + shift, 8)
        rolled.index_fill_(dim, torch.tensor(list(edge), dtype=torch.long), 0.0)
    assert torch.equal(augment(images, translation=0.25), rolled)


@pytest.mark.parametrize(
    ("draw", "rows"), [(0.0, range(0, 2)), (0.5, range(2, 6)), (0.999, range(6, 8))], ids=["top", "middle", "bottom"]
)
def test_a_hole_has_its_centre_anywhere(images, monkeypatch, draw, rows):
    monkeypatch.setattr(torch, "rand", Drawn(cy=draw, cx=0.5))
    expected = images.clone()
    expected[:, :, rows.start : rows.stop, 2:6] = 0.0
    assert torch.equal(augment(images, cutout=0.5), expected)


@pytest.mark.parametrize("share", [0.25, 0.4], ids=["even", "odd"])
def test_every_place_is_as_likely_as_its_mirror_image(share):
    white = torch.ones(20_000, 1, 8, 10)
    cut = (augment(white, cutout=share) == 0).float().mean(dim=0)[0]
    moved = (augment(white, translation=share) == 0).float().mean(dim=0)[0]
    for frequency in (cut, moved):
        torch.testing.assert_close(frequency, frequency.flip(0), atol=0.02, rtol=0)
        torch.testing.assert_close(frequency, frequency.flip(1), atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 9, 9), (1, 28, 28), (3, 100, 100), (3, 12, 20)], ids=str)
def test_any_size_and_number_of_channels(shape):
    images = torch.rand(5, *shape) * 2 - 1
    found = augment(images, **PAPER)
    assert found.shape == images.shape
    assert (found == 0).all(dim=1).float().mean(dim=(1, 2)).min() >= 1 / 25  # a hole at least


@pytest.mark.parametrize(("side", "largest"), [(8, 1), (16, 2), (20, 3), (28, 4), (36, 5), (52, 7), (100, 13)])
def test_half_a_pixel_is_rounded_up_as_in_the_authors_code(side, largest):
    white = torch.ones(400, 1, side, side)
    assert int((augment(white, translation=0.125) == 0).all(dim=3).sum(dim=2).max()) == largest
    assert int((augment(white, cutout=0.125) == 0).any(dim=3).sum(dim=2).max()) == largest


def test_a_strength_below_one_pixel_is_one_pixel():
    white = torch.ones(50, 1, 8, 8)
    assert ((augment(white, cutout=0.01) == 0).sum(dim=(1, 2, 3)) == 1).all()
    assert set((augment(white, translation=0.01) == 0).sum(dim=(1, 2, 3)).tolist()) == {0, 8, 15}


@pytest.mark.parametrize("strengths", [*STRENGTHS, PAPER], ids=str)
def test_the_gradient_flows_through_twice(strengths):
    images = torch.rand(2, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert gradcheck(lambda x: augment(x, **strengths), images)
    # A penalty on the discriminator's gradient needs the second one.
    assert gradgradcheck(lambda x: augment(x, **strengths).square(), images)


def test_the_gradient_is_that_of_what_is_left(images):
    images = images.requires_grad_()
    found = augment(images, translation=0.25, cutout=0.5)
    found.sum().backward()
    # Each pixel is left once or not at all.
    assert images.grad.unique().tolist() == [0, 1]
    assert images.grad.sum() == (found != 0).sum()


@pytest.mark.parametrize("strengths", STRENGTHS, ids=str)
def test_every_image_has_draws_of_its_own(images, strengths):
    found = augment(images[:1].repeat(30, 1, 1, 1), **strengths)
    least = 6 if "translation" in strengths else 20  # one pixel each way is nine moves
    assert len({tuple(image.flatten().tolist()) for image in found}) >= least


def test_the_draws_come_from_the_generator_alone(images):
    one = augment(images, **PAPER)
    torch.rand(3)
    assert torch.equal(augment(images, **PAPER), one)
    assert not torch.equal(augment(images, seed=1, **PAPER), one)


def test_switching_a_step_off_leaves_the_draws_of_the_others(images):
    hole = augment(torch.ones_like(images), cutout=0.5) == 0
    assert torch.equal(augment(images, **PAPER), augment(images, **PAPER | {"cutout": 0.0}).where(~hole, 0.0))


@pytest.mark.parametrize(
    ("name", "value", "high"),
    [
        ("brightness", 1.1, 1),
        ("saturation", -0.1, 1),
        ("contrast", 2, 1),
        ("translation", 0.6, 0.5),
        ("cutout", 1.0, 0.9),
        ("cutout", True, 0.9),
    ],
)
def test_strengths_out_of_range_are_refused(name, value, high):
    with pytest.raises(ValueError, match=f"^discriminator_augmentation.{name}={value}: use a number from 0 to {high}$"):
        DiffAugment(**OFF | {name: value})


@pytest.mark.parametrize(("choice", "strengths"), [("none", OFF), ("diffaugment", PAPER)])
def test_the_recipes(choice, strengths):
    node = yaml.safe_load((CONF / "discriminator_augmentation" / f"{choice}.yaml").read_text())
    assert build(node, "discriminator_augmentation", DiffAugment) == DiffAugment(**strengths)


def grouped(images, seed=0, **settings):
    return Grouped(**OFF | {"flip": False, "group": 4} | settings)(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", [*STRENGTHS, {"flip": True}, PAPER], ids=str)
def test_images_of_a_group_share_their_draws_and_groups_do_not(images, settings):
    found = grouped(images[:1].repeat(42, 1, 1, 1), **settings)  # the last group has two images
    groups = [found[first : first + 4] for first in range(0, 42, 4)]
    assert all(torch.equal(group, group[:1].expand_as(group)) for group in groups)
    assert len({tuple(group[0].flatten().tolist()) for group in groups}) >= (2 if "flip" in settings else 4)


@pytest.mark.parametrize(("dy", "dx"), [(1, 0), (0, -1), (-2, 2)])
def test_a_move_of_a_group_repeats_the_edge(images, monkeypatch, dy, dx):
    monkeypatch.setattr(torch, "rand", Drawn(y=(dy + 2.5) / 5, x=(dx + 2.5) / 5))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    assert torch.equal(grouped(images, translation=0.25), padded[:, :, 2 - dy : 10 - dy, 2 - dx : 10 - dx])


def test_half_of_the_groups_are_mirrored_as_a_whole():
    images = torch.randn(4000, 1, 2, 2)
    found = grouped(images, flip=True)
    mirrored = (found == images.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(mirrored, ~(found == images).flatten(1).all(dim=1))
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(mirrored, mirrored[::4].repeat_interleave(4))


def test_alone_in_its_group_an_image_changes_as_under_diffaugment(images):
    strengths = PAPER | {"translation": 0.0}
    assert torch.equal(grouped(images, group=1, **strengths), augment(images, **strengths))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"group": 0}, "group=0: use a whole number of at least 1"), ({"flip": 1}, "flip=1: use true or false")],
)
def test_groups_and_flips_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^discriminator_augmentation.{message}$"):
        grouped(torch.zeros(1, 1, 8, 8), **settings)


def test_flips_alone_are_an_augmentation():
    assert Grouped(**OFF, flip=True).is_on
    assert not Grouped(**OFF, flip=False).is_on


def adaptive(images, probability, seed=0, **settings):
    one = Adaptive(**OFF | {"flip": False, "group": 1} | settings)
    return one(images, torch.Generator().manual_seed(seed), torch.tensor(probability))


CHANGES = [*({name: strength} for name, strength in PAPER.items() if name != "cutout"), {"flip": True}]


@pytest.mark.parametrize("settings", CHANGES, ids=str)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_change_happens_with_the_probability(settings, probability):
    images = torch.randn(3000, 3, 8, 8)
    changed = (adaptive(images, probability, **settings) - images).abs().amax(dim=(1, 2, 3)) > 1e-6
    # By chance a flip does nothing to half of the images, and a shift of 3 rows and 3 columns to a third each.
    expected = {"flip": probability / 2, "translation": 1 - (1 - probability * 2 / 3) ** 2}
    assert changed.float().mean().item() == pytest.approx(expected.get(*settings, probability), abs=0.03)


def test_images_of_a_group_share_whether_they_change(images):
    found = adaptive(images[:1].repeat(40, 1, 1, 1), 0.5, brightness=0.5, group=4)
    assert torch.equal(found, found[::4].repeat_interleave(4, dim=0))


def test_the_probability_rises_while_the_discriminator_is_too_sure():
    one = Adaptive(**OFF, flip=True, target=0.5, images=100)
    probability, sure, unsure = torch.zeros(()), torch.tensor([3.0] * 9 + [-1.0]), torch.tensor([3.0] * 6 + [-1.0] * 4)
    seen = []
    for logits in (unsure, sure, sure, sure, unsure, sure.view(5, 2)):  # r is .8 or .2; at last 5 images, judged twice
        one.adapt(probability, logits)
        seen.append(round(probability.item(), 4))
    assert seen == [0, 0.1, 0.2, 0.3, 0.2, 0.25]
    for _ in range(20):
        one.adapt(probability, sure)
    assert probability == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 1.5}, "target=1.5: use a number from 0 to 1"),
        ({"images": 0}, "images=0: use a whole number of at least 1"),
        ({"cutout": 0.5}, "cutout=0.5: adaptive augmentation has none: use 0.0"),
    ],
)
def test_adaptive_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^discriminator_augmentation.{message}$"):
        Adaptive(**OFF | {"flip": False} | settings)
