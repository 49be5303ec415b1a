import numpy as np
import pytest
import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.extras.fourier import Fourier, FourierSettings, swap_amplitudes


def smooth(*shape, seed=0):
    """Return images of middle levels, which no change of amplitudes takes out of the range."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(120, 136, shape, generator=random, dtype=torch.uint8)


def restyle(labelled, pool, beta=0.1, split_seed=0, seed=0):
    return Fourier(pool.without_labels(), FourierSettings(beta), split_seed).images(labelled, {}, seed)


def test_beta_zero_replaces_the_mean_alone():
    images = torch.tensor([[[[10, 20], [30, 40]]]], dtype=torch.uint8)
    others = torch.tensor([[[[100, 100], [100, 200]]]], dtype=torch.uint8)
    assert swap_amplitudes(images, others, 0.0).flatten().tolist() == [110, 120, 130, 140]  # mean 25 -> 125


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (2, 3, 9, 12), (2, 1, 7, 10), (2, 1, 12, 5)])
def test_the_largest_beta_gives_the_others_amplitudes_and_keeps_the_phases(shape):
    images, others = smooth(*shape), smooth(*shape, seed=1)
    found, source, target = (
        np.fft.fft2(some.numpy()) for some in (swap_amplitudes(images, others, 0.5), images, others)
    )
    rounding = 0.5 * shape[2] * shape[3]  # of the levels, added up
    assert np.abs(found - np.abs(target) * np.exp(1j * np.angle(source))).max() < rounding
    assert np.abs(np.abs(found) - np.abs(target)).max() < rounding
    assert np.abs(np.abs(source) - np.abs(target)).max() > 2 * np.abs(np.abs(found) - np.abs(target)).max()


@pytest.mark.parametrize(("size", "beta", "reach"), [((28, 28), 0.05, (1, 1)), ((20, 60), 0.1, (2, 6))])
def test_only_frequencies_up_to_beta_are_replaced(size, beta, reach):
    images, others = smooth(3, 1, *size), smooth(3, 1, *size, seed=1)
    rows, columns = (np.abs(np.fft.fftfreq(side) * side).round() for side in size)
    low = (rows[:, None] <= reach[0]) & (columns <= reach[1])
    assert low.sum() == (2 * reach[0] + 1) * (2 * reach[1] + 1)
    source, target = (np.fft.fft2(some.numpy()) for some in (images, others))
    wanted = np.where(low, np.abs(target), np.abs(source)) * np.exp(1j * np.angle(source))
    by_hand = np.fft.ifft2(wanted)
    assert np.abs(by_hand.imag).max() < 1e-9
    assert np.array_equal(swap_amplitudes(images, others, beta).numpy(), by_hand.real.round())


def test_an_image_with_its_own_amplitudes_stays_as_it_is(image_set):
    images = image_set(channels=3).images
    assert swap_amplitudes(images, images, 0.2).equal(images)


def test_levels_outside_the_range_are_clipped():
    images = torch.tensor([[[[0, 255], [0, 255]]]], dtype=torch.uint8)
    white = torch.full_like(images, 255)
    assert swap_amplitudes(images, white, 0.0).flatten().tolist() == [128, 255, 128, 255]  # 127.5 more


def test_images_depend_on_the_split_and_not_on_the_seed_of_the_training(image_set):
    labelled, pool = image_set(), image_set(per_class=20, seed=1)
    found = restyle(labelled, pool)
    assert found.images.equal(restyle(labelled, pool, seed=1).images)
    assert not found.images.equal(restyle(labelled, pool, split_seed=1).images)
    assert not found.images.equal(restyle(labelled, pool, beta=0.2).images)
    assert found.labels.equal(labelled.labels)
    assert not found.images.equal(labelled.images)


def test_all_images_of_the_pool_are_drawn_equally_often(image_set):
    labelled = image_set()  # 30
    pool = ImageSet(
        torch.tensor([60, 120, 180], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 8, 8),
        torch.full((3,), -1),
        labelled.class_names,
    )
    grey = ImageSet(torch.full_like(labelled.images, 100), labelled.labels, labelled.class_names)
    found = restyle(grey, pool).images.flatten(1)
    assert found[:, 0].bincount()[[60, 120, 180]].tolist() == [10, 10, 10]


def test_images_in_a_file_give_the_same(image_set, mapped):
    labelled, pool = image_set(), image_set(seed=1)
    assert restyle(mapped(labelled), mapped(pool)).images.equal(restyle(labelled, pool).images)


@pytest.mark.parametrize("beta", [-0.1, 0.51, "low", None])
def test_a_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match=rf"^fourier\.beta={beta}: use a number from 0 to 0\.5$"):
        FourierSettings(beta)


def test_points_are_refused():
    points = ImageSet(torch.zeros(4, 2, 1, 1), torch.zeros(4, dtype=torch.int64), ["one"])
    with pytest.raises(ValueError, match="changes frequencies, and points have none"):
        Fourier(points, FourierSettings(0.1), 0).check(points, num_extra=4, batch_size=4)
