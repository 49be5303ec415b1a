import pytest
import torch

from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.data.image_set import from_float, to_float
from gan_augment.data.standard_sets import digits
from gan_augment.metrics.leak import leak_statistics, leaks

OFF = {"brightness": 0.0, "saturation": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}
STRONG = {"brightness": 0.8, "saturation": 1.0, "contrast": 0.8, "translation": 0.125, "cutout": 0.5}


def blots(count, channels=3, size=16, seed=0):
    """Make up pictures: a reddish blot, of about the same size, somewhere on a black ground."""
    random = torch.Generator().manual_seed(seed)
    place, width = (
        (torch.rand(2, count, 1, 1, generator=random) + 1) * size / 3,
        3 + 0.5 * torch.rand(count, 1, 1, generator=random),
    )
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    shape = torch.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 2 / width**2)[:, None]
    base = torch.tensor([0.9, 0.5, 0.3])[:channels].view(1, channels, 1, 1)
    colour = base + 0.1 * torch.rand(count, channels, 1, 1, generator=random)
    return from_float(2 * colour * shape - 1)


def augmented(images, **strengths):
    return from_float(DiffAugment(**OFF | strengths)(to_float(images), torch.Generator().manual_seed(1)))


def picture(*rows):
    return torch.tensor(rows, dtype=torch.uint8)[None, None]


def test_colour_statistics_by_hand():
    # Red, black, black, white: brightness (1 + 3) / 12, of which white and black have no saturation.
    image = torch.tensor([[255, 0, 0, 255], [0, 0, 0, 255], [0, 0, 0, 255]], dtype=torch.uint8).view(1, 3, 2, 2)
    found = leak_statistics(image)
    assert found["brightness"].item() == pytest.approx(1 / 3)
    assert found["contrast"].item() == pytest.approx((1 / 3 * 2 / 3) ** 0.5)
    assert found["saturation"].item() == pytest.approx((2 / 3 / 12) ** 0.5)  # (2/3)^2 + 2 (1/3)^2 = 2/3, of 12 values
    assert "saturation" not in leak_statistics(image[:, :1])


@pytest.mark.parametrize(("darkest", "lifted"), [(0, 0), (16, 0), (17, 1)])
def test_lifted_images_have_no_black(darkest, lifted):
    assert leak_statistics(picture([200, darkest], [200, 200]))["lifted"].item() == lifted


@pytest.mark.parametrize(
    ("level", "height", "width", "hole"), [(128, 3, 3, 1), (128, 3, 2, 0), (112, 3, 3, 1), (111, 3, 3, 0), (0, 9, 9, 0)]
)
def test_a_hole_is_a_mid_grey_rectangle_of_half_the_cut_sides(level, height, width, hole):
    image = torch.full((1, 3, 12, 12), 40, dtype=torch.uint8)
    image[:, :, 2 : 2 + height, 5 : 5 + width] = level
    assert leak_statistics(image)["hole"].item() == hole
    image[:, 1] = 40  # grey in two channels only
    assert leak_statistics(image)["hole"].item() == 0


@pytest.mark.parametrize(
    ("edge", "strip"),
    [
        ((slice(0, 1), slice(None)), 1),
        ((slice(-1, None), slice(None)), 1),
        ((slice(None), slice(0, 1)), 1),
        ((slice(None), slice(-1, None)), 1),
        ((slice(0, 1), slice(0, 11)), 0),
        ((slice(1, 2), slice(None)), 0),
    ],
    ids=["top", "bottom", "left", "right", "not to the end", "inside"],
)
def test_a_strip_is_a_whole_edge_of_mid_grey(edge, strip):
    image = torch.full((1, 1, 12, 12), 40, dtype=torch.uint8)
    image[0, 0][edge] = 128
    assert leak_statistics(image)["strip"].item() == strip


@pytest.mark.parametrize("size", [8, 16, 28, 33])
def test_the_augmentation_leaves_its_own_traces_in_every_image(size):
    images = torch.full((300, 1, size, size), 250, dtype=torch.uint8)
    assert leak_statistics(augmented(images, cutout=0.5))["hole"].min() == 1
    unmoved = 1 / (2 * max(1, round(0.125 * size)) + 1) ** 2
    strips = leak_statistics(augmented(images, translation=0.125))["strip"].mean().item()
    assert strips == pytest.approx(1 - unmoved, abs=0.06)


@pytest.mark.parametrize(
    ("strength", "sentence"),
    [
        ("brightness", "colour: brightness varies by"),
        ("saturation", "colour: saturation varies by"),
        ("contrast", "colour: contrast varies by"),
        ("translation", "translation: "),
        ("cutout", "cutout: "),
    ],
)
def test_copies_that_kept_the_augmentation_leak_and_the_sentence_says_which(strength, sentence):
    found = leaks(blots(200), augmented(blots(200, seed=1), **{strength: STRONG[strength]}))
    assert [line for line in found if line.startswith(sentence)]
    # A large hole widens brightness as well, but nothing else leaves a hole or a strip.
    kinds = {line.split(":")[0] for line in found}
    assert kinds <= {sentence.split(":")[0], "colour"}


@pytest.mark.parametrize("strength", ["brightness", "contrast", "translation", "cutout"])
def test_the_digits_show_what_the_papers_strengths_leave(strength):
    images = digits().images.images
    paper = {"brightness": 0.5, "contrast": 0.5, "translation": 0.125, "cutout": 0.5}[strength]
    assert leaks(images[:500], augmented(images[500:1000], **{strength: paper}))


@pytest.mark.parametrize("noise", [0, 5])
def test_holes_in_some_of_the_images_are_enough_and_may_be_drawn_badly(noise):
    made = blots(400, channels=1, seed=1)
    made[:100] = augmented(made[:100], cutout=0.5)
    jitter = torch.randint(-noise, noise + 1, made.shape, generator=torch.Generator().manual_seed(2))
    made = (made + jitter).clamp(0, 255).to(torch.uint8)
    share = leak_statistics(made)["hole"].mean().item()
    expected = f"cutout: {share:.0%} of the generated images have a mid grey rectangle, 0% of the real ones"
    assert leaks(blots(400, channels=1), made) == [expected]
    assert share == pytest.approx(0.25, abs=0.02)


def test_a_few_odd_images_among_many_are_no_leak():
    made = blots(5000, channels=1, size=8, seed=1)
    made[:100] = augmented(made[:100], cutout=0.5)
    assert leaks(blots(5000, channels=1, size=8), made) == []


@pytest.mark.parametrize("image", range(3))
def test_a_collapsed_or_dark_generator_does_not_leak(image):
    real = blots(200)
    assert leaks(real, real[image : image + 1].repeat(200, 1, 1, 1)) == []
    assert leaks(real, real // 2) == []


@pytest.mark.parametrize(("num_real", "num_made"), [(10, 200), (20, 20), (200, 200)])
@pytest.mark.parametrize("source", ["digits", "coloured"])
def test_real_images_beside_real_images_give_at_most_one_false_alarm_in_twenty(source, num_real, num_made):
    images = digits().images.images if source == "digits" else blots(2000)
    random, alarms = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        drawn = images[torch.randperm(len(images), generator=random)[: num_real + num_made]]
        alarms += bool(leaks(drawn[:num_real], drawn[num_real:]))
    assert alarms <= 10
