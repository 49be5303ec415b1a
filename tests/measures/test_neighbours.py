from types import SimpleNamespace

import pytest
import torch

from gan_augment.measures.neighbours import NeighboursInFeatures


def features(images, chosen):
    return images.images[chosen].flatten(1).float()


def test_images_get_the_class_of_their_neighbours_in_the_features(image_set):
    labelled, images = image_set(per_class=4, num_classes=2), image_set(per_class=6, num_classes=2, seed=1)
    near = torch.cdist(features(images, torch.arange(12)), features(labelled, torch.arange(8))).argmin(dim=1)
    right = (labelled.labels[near] == images.labels).double().mean()
    finished = SimpleNamespace(
        classifier=SimpleNamespace(features=features), split=SimpleNamespace(labelled=labelled), measured=images
    )
    found = NeighboursInFeatures(1).find(finished)
    assert found.metrics["neighbours"]["accuracy"] == pytest.approx(float(right))
    assert set(found.compared) == {"neighbours.accuracy"}


def test_the_number_is_checked():
    with pytest.raises(ValueError, match=r"measures\.neighbours\.num_neighbours=0"):
        NeighboursInFeatures(0)


def test_more_neighbours_than_images_are_refused(image_set):
    split = SimpleNamespace(labelled=image_set(per_class=4, num_classes=2))
    assert NeighboursInFeatures(8).stages(None, split, {"classifier": None}) == {}
    assert NeighboursInFeatures(9).stages(None, split, {"gan": None}) is None
    with pytest.raises(ValueError, match="num_neighbours=9, but there are 8 labelled images"):
        NeighboursInFeatures(9).stages(None, split, {"classifier": None})
