import numpy as np
import pytest
import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.extras.matched import Matched, level_counts, matching_levels


def counts_of(**pixels):
    """Return the counts of one channel: `v9=2` is two pixels of level 9."""
    counts = torch.zeros(1, 256, dtype=torch.int64)
    for level, number in pixels.items():
        counts[0, int(level[1:])] = number
    return counts


def images_of(*channels):
    """Return a set of one image, of two pixels in height and width, from the levels of each channel."""
    pixels = torch.tensor(channels, dtype=torch.uint8).reshape(1, len(channels), 2, 2)
    return ImageSet(pixels, torch.zeros(1, dtype=torch.int64), ["one"])


def match(labelled, pool):
    return Matched(pool.without_labels()).images(labelled, {}, seed=0)


def test_four_pixels_by_hand():
    found = match(images_of([3, 1, 7, 200]), images_of([20, 10, 50, 40]))
    assert found.images.flatten().tolist() == [20, 10, 40, 50]
    assert found.images.dtype == torch.uint8


def test_each_channel_has_levels_of_its_own():
    found = match(images_of([1, 1, 2, 2], [2, 2, 1, 1]), images_of([5, 5, 6, 6], [70, 70, 80, 80]))
    assert found.images.flatten().tolist() == [5, 5, 6, 6, 80, 80, 70, 70]


def test_a_background_stays_a_background_where_it_is_smaller():
    # 8 of 10 pixels are black, and 7 as wanted: their middle, .4, is black, though their end, .8, is grey.
    table = matching_levels(counts_of(v0=8, v255=2), counts_of(v0=7, v90=1, v200=2))
    assert table[0, [0, 255]].tolist() == [0, 200]


def test_the_same_histogram_changes_nothing_however_many_pixels_there_are(image_set):
    counts = level_counts(image_set(channels=3))
    table, there = matching_levels(counts, 3 * counts), counts > 0
    assert table[there].equal(torch.arange(256, dtype=torch.uint8).expand(3, -1)[there])


@pytest.mark.parametrize("channels", [1, 3])
def test_all_images_together_get_mean_and_deviation_of_the_pool_and_keep_their_order(image_set, channels):
    labelled, pool = image_set(channels=channels), image_set(per_class=7, channels=channels, seed=1)
    dark = ImageSet(pool.images // 3 + 40, pool.labels, pool.class_names)
    found = match(labelled, dark)
    assert found.labels.equal(labelled.labels)
    assert found.images.shape == labelled.images.shape
    for channel in range(channels):
        mine, theirs = (some.images[:, channel].double() for some in (found, dark))
        assert mine.mean().item() == pytest.approx(theirs.mean().item(), abs=0.5)
        assert mine.std().item() == pytest.approx(theirs.std().item(), abs=0.5)
        before, after = (some.images[:, channel].flatten() for some in (labelled, found))
        assert (after[before.argsort(stable=True)].diff().int() >= 0).all()
    by_class = [found.images[found.labels == label].double().mean().item() for label in range(3)]
    assert by_class[2] - by_class[0] > 50  # images still differ


def test_images_in_a_file_give_the_same(image_set, mapped):
    labelled, pool = image_set(), image_set(seed=1)
    assert match(mapped(labelled), mapped(pool)).images.equal(match(labelled, pool).images)


def test_numpy_agrees_about_the_quantiles(image_set):
    labelled, pool = image_set(), image_set(seed=1)
    dark = ImageSet(pool.images // 3, pool.labels, pool.class_names)
    before, after = labelled.images.numpy().ravel(), match(labelled, dark).images.numpy().ravel()
    for level in np.unique(before):
        middle = (np.mean(before < level) + np.mean(before <= level)) / 2
        wanted = np.quantile(dark.images.numpy(), middle, method="inverted_cdf")
        assert {*after[before == level]} == {wanted}


def test_points_are_refused():
    points = ImageSet(torch.zeros(4, 2, 1, 1), torch.zeros(4, dtype=torch.int64), ["one"])
    with pytest.raises(ValueError, match="changes grey levels, and points have none"):
        Matched(points).check(points, num_extra=4, batch_size=4)
