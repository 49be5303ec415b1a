import pytest
import torch

from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.image_set import ImageShape


def noise(*shape):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_an_area_is_the_rounded_mean_of_its_pixels():
    images = noise(3, 2, 8, 12)
    blocks = images.float().unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-1, -2))
    assert (Degrading(4, "area").degrade(images).float() - blocks).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("kernel", ["area", "bicubic"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 31, 47), (3, 8, 8)], ids=str)
def test_images_keep_their_shape_and_small_ones_have_rounded_sides(kernel, shape):
    images, degrading = noise(2, *shape), Degrading(4, kernel)
    assert degrading.degrade(images).shape == (2, shape[0], round(shape[1] / 4), round(shape[2] / 4))
    for enlarged in (degrading.bicubic(images), degrading.repeated(images)):
        assert enlarged.shape == images.shape
        assert enlarged.dtype == torch.uint8


def test_a_small_image_with_repeated_pixels_is_small_already():
    images, degrading = noise(5, 1, 28, 28), Degrading(4, "area")
    once = degrading.repeated(images)
    assert degrading.repeated(once).equal(once)
    assert once[0, 0, :4, :4].unique().numel() == 1


def test_even_images_stay_as_they_are():
    grey = torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)
    for kernel in ("area", "bicubic"):
        assert Degrading(4, kernel).bicubic(grey).equal(grey)
        assert Degrading(4, kernel).repeated(grey).equal(grey)


@pytest.mark.parametrize(
    ("scale", "kernel", "message"),
    [
        (1, "area", "degrade.scale=1: use a whole number from 2 to 64"),
        (2.0, "area", "degrade.scale=2.0"),
        (4, "nearest", "degrade.kernel=nearest: use one of area, bicubic"),
    ],
)
def test_bad_settings_are_refused(scale, kernel, message):
    with pytest.raises(ValueError, match=message):
        Degrading(scale, kernel)


def test_images_that_would_become_too_small_and_points_are_refused():
    Degrading(4, "area").check(ImageShape(1, 8, 8))
    with pytest.raises(ValueError, match=r"degrade\.scale=8 leaves fewer than 2 pixels a side of 8x28"):
        Degrading(8, "area").check(ImageShape(1, 8, 28))
    with pytest.raises(ValueError, match="degrade changes the size of images, and these are points"):
        Degrading(2, "area").check(ImageShape(2, 1, 1))
