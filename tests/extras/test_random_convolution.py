import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from gan_augment.data.image_set import ImageSet
from gan_augment.extras import random_convolution
from gan_augment.extras.random_convolution import RandomConvolution, filtered
from gan_augment.randomness import Stream


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def change(labelled, split_seed=0, seed=0):
    return RandomConvolution(split_seed).images(labelled, {}, seed)


@pytest.mark.parametrize("size", random_convolution.SIZES)
def test_an_image_is_mixed_with_its_convolution(monkeypatch, size):
    images = torch.randint(100, 156, (3, 2, 9, 12), generator=generator(1), dtype=torch.uint8)
    monkeypatch.setattr(random_convolution, "SIZES", (size,))
    found = filtered(images, generator())
    again = generator()
    torch.randint(1, (3,), generator=again)
    alpha = torch.rand(3, 1, 1, 1, generator=again, dtype=torch.double).flatten().tolist()
    weights = torch.randn(3, 2, 2, size, size, generator=again, dtype=torch.double).numpy() / np.sqrt(2 * size**2)
    pixels = images.numpy() / 127.5 - 1
    for one, mixed in enumerate(alpha):
        for out in range(2):
            by_hand = sum(correlate(pixels[one, of], weights[one, out, of], mode="nearest") for of in range(2))
            wanted = (mixed * pixels[one, out] + (1 - mixed) * by_hand + 1) * 127.5
            assert np.abs(found[one, out].numpy() - wanted.clip(0, 255)).max() <= 0.51


def test_all_sizes_occur_and_each_image_has_a_filter_of_its_own():
    images = torch.full((400, 1, 8, 8), 255, dtype=torch.uint8)
    images[:, :, 4, 4] = 0
    found = filtered(images, generator())
    reach = (found != found[:, :, :1, :1]).flatten(1).sum(dim=1)
    assert {1, 9, 25, 49} <= set(reach.tolist())  # pixels that a point reaches
    assert len(found.unique(dim=0)) > 300


def test_shapes_stay_while_contrasts_turn_round():
    images = torch.zeros(1000, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 2:6, 2:6] = 255
    found = filtered(images, generator()).double()
    brighter = found[:, 0, 4, 4] - found[:, 0, 0, 0]
    assert 0.05 < (brighter < 0).double().mean() < 0.5
    assert (brighter > 0).double().mean() > 0.5


def test_images_depend_on_the_split_and_not_on_the_seed_of_the_training(image_set):
    labelled = image_set(channels=3)
    found = change(labelled)
    assert len(found) == 20 * len(labelled)
    assert found.images.equal(change(labelled, seed=1).images)
    assert not found.images.equal(change(labelled, split_seed=1).images)
    assert found.labels.equal(labelled.labels.repeat(20))
    assert not found.images[: len(labelled)].equal(found.images[len(labelled) : 2 * len(labelled)])


def test_images_in_a_file_give_the_same(image_set, mapped):
    assert change(mapped(image_set())).images.equal(change(image_set()).images)


def test_each_piece_has_a_stream_of_its_own(image_set, monkeypatch):
    monkeypatch.setattr(random_convolution, "AT_ONCE", 10)
    labelled = image_set()
    wanted = filtered(labelled.images[10:20], Stream(0, "random_convolution").at(1))
    assert change(labelled).images[10:20].equal(wanted)


def test_points_are_refused():
    points = ImageSet(torch.zeros(4, 2, 1, 1), torch.zeros(4, dtype=torch.int64), ["one"])
    with pytest.raises(ValueError, match="filters images, not points"):
        RandomConvolution(0).check(points, num_extra=2, batch_size=4)
