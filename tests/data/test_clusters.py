import pytest
import torch

from gan_augment.data.clusters import cluster_centres, divide_classes, draw_clusters, num_features
from gan_augment.data.image_set import ImageSet


def kinds(per_kind=(12, 6), size=20):
    """Two classes, each of a bright left and a bright right kind, in turns."""
    labels, images = [], []
    random = torch.Generator().manual_seed(0)
    for label in (0, 1):
        for kind, number in enumerate(per_kind):
            made = torch.randint(0, 40, (number, 1, size, size), generator=random)
            made[..., : size // 2] += 200 * (kind == 0)
            made[..., size // 2 :] += 200 * (kind == 1)
            images.append(made)
            labels += [label] * number
    return ImageSet(torch.cat(images).to(torch.uint8), torch.tensor(labels), ["a", "b"])


@pytest.mark.parametrize("size", [8, 20])
def test_kinds_of_a_class_become_clusters(size):
    images = kinds(size=size)
    divided = divide_classes(images, 2, seed=0)
    assert divided.class_names == ["a/0", "a/1", "b/0", "b/1"]
    assert torch.equal(divided.labels // 2, images.labels)
    for label in (0, 1):
        first, second = divided.labels[images.labels == label].split([12, 6])
        assert len(first.unique()) == len(second.unique()) == 1
        assert first[0] != second[0]
    assert torch.equal(divided.images, images.images)


def test_the_same_seed_finds_the_same_clusters(mapped):
    images = kinds()
    one, again, in_a_file = (divide_classes(some, 3, seed=5).labels for some in (images, images, mapped(images)))
    assert torch.equal(one, again)
    assert torch.equal(one, in_a_file)


def test_a_class_with_few_images_has_empty_clusters():
    images = kinds(per_kind=(1, 1))
    divided = divide_classes(images, 5, seed=0)
    assert sorted(divided.class_counts.tolist()) == [0] * 6 + [1] * 4
    alone = divide_classes(images.subset(torch.tensor([0, 2])), 5, seed=0)
    assert alone.class_counts.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_clusters_are_drawn_as_often_as_they_come():
    counts = torch.tensor([3, 1, 0, 0, 2, 2])
    labels = torch.tensor([0, 2]).repeat_interleave(2000)
    drawn = draw_clusters(labels, counts, 2, torch.Generator().manual_seed(0))
    assert torch.equal(drawn // 2, labels)
    shares = torch.bincount(drawn, minlength=6) / 2000
    assert shares.tolist() == pytest.approx([0.75, 0.25, 0, 0, 0.5, 0.5], abs=0.03)


def test_without_clusters_a_label_is_its_class():
    labels = torch.tensor([2, 0, 1])
    assert draw_clusters(labels, torch.tensor([1, 1, 1]), 1, torch.Generator()) is labels


def test_a_centre_is_the_mean_of_a_cluster_s_images_on_a_common_scale():
    divided = divide_classes(kinds(size=8), 2, seed=0)
    centres = cluster_centres(divided)
    assert centres.shape == (4, num_features(divided.shape)) == (4, 64)
    images = divided.images.flatten(1).double()
    means = torch.stack([images[divided.labels == label].mean(dim=0) for label in range(4)]) - images.mean(dim=0)
    each = means[divided.labels]
    torch.testing.assert_close(centres.double(), means / each.square().sum(dim=1).mean().sqrt(), rtol=1e-4, atol=1e-5)


def test_a_cluster_without_images_has_a_centre_of_zeros():
    divided = divide_classes(kinds(per_kind=(2, 1), size=20), 5, seed=0)
    centres = cluster_centres(divided)
    assert centres.shape[1] == 14 * 14
    assert (centres[divided.class_counts == 0] == 0).all()
    assert (centres[divided.class_counts > 0] != 0).any(dim=1).all()


def test_equal_images_have_centres_of_zeros():
    same = ImageSet(torch.full((4, 1, 5, 5), 7, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ["a", "b"])
    assert (cluster_centres(divide_classes(same, 2, seed=0)) == 0).all()
