import pytest
import torch

from gan_augment.data.split import SplitSettings, draw_split
from gan_augment.data.standard_sets import digits
from gan_augment.data.views import SEES, Views


@pytest.fixture(scope="module")
def split():
    return draw_split(digits(), SplitSettings(3, 5))


@pytest.mark.parametrize("sees", SEES)
def test_every_arm_sees_the_labelled_and_the_validation_images(split, sees):
    views = Views(split, sees, 3)
    assert views.labelled is split.labelled
    assert views.validation is split.validation


def test_the_images_of_the_pool_come_without_their_labels(split):
    pool = Views(split, "pool_images", 3).pool
    assert (split.pool.labels >= 0).all()
    assert pool.labels.tolist() == [-1] * len(split.pool)
    assert torch.equal(pool.images, split.pool.images)


def test_the_labelled_pool_has_as_many_images_of_each_class_as_there_are(split):
    views, wanted = Views(split, "pool_labels", 3), torch.tensor([0, 1, 7, *[10**6] * 7])
    drawn = views.labelled_pool(wanted)
    assert drawn.class_counts.tolist() == wanted.minimum(split.pool.class_counts).tolist()
    assert views.labelled_pool(wanted).fingerprint == drawn.fingerprint
    assert Views(split, "pool_labels", 4).labelled_pool(wanted).fingerprint != drawn.fingerprint


@pytest.mark.parametrize("sees", ["labelled", "pool_labels"])
def test_asking_for_the_pool_raises_where_an_arm_does_not_see_its_images(split, sees):
    message = f"^augmentation.sees={sees}, but this arm needs pool_images: set augmentation.sees=pool_images$"
    with pytest.raises(ValueError, match=message):
        assert Views(split, sees, 3).pool


@pytest.mark.parametrize("sees", ["labelled", "pool_images"])
def test_asking_for_labels_of_the_pool_raises_where_an_arm_does_not_see_them(split, sees):
    message = f"^augmentation.sees={sees}, but this arm needs pool_labels: set augmentation.sees=pool_labels$"
    with pytest.raises(ValueError, match=message):
        Views(split, sees, 3).labelled_pool(torch.full((10,), 5))


def test_an_empty_pool_is_refused():
    everything = draw_split(digits(), SplitSettings(3, "all"))
    with pytest.raises(ValueError, match=r"^augmentation\.sees=pool_images, but the pool is empty: "):
        assert Views(everything, "pool_images", 3).pool
    with pytest.raises(ValueError, match=r"^augmentation\.extra=pool_labelled, but the pool has no labelled image "):
        Views(everything, "pool_labels", 3).labelled_pool(torch.full((10,), 5))


def test_pairs_are_for_arms_that_see_the_pool():
    for sees in ("labelled", "pool_labels"):
        with pytest.raises(ValueError, match=r"this arm needs pool_images"):
            assert Views(draw_split(digits(), SplitSettings(3, 5)), sees, 3).pairs


def test_views_hand_out_nothing_else_of_a_split():
    public = {name for name in vars(Views) if not name.startswith("_")}
    assert public == {"labelled", "validation", "domains", "pool", "labelled_pool", "pairs"}
