import pytest
import torch

from gan_augment.losses.diversity import Diversity, DiversityHinge, distances
from gan_augment.losses.penalties import Penalties


def maps(*images):
    """One map of two numbers an image."""
    return [torch.tensor(images).view(-1, 2, 1, 1)]


def hinge(real, labels, weight=1.0, group=8):
    one = DiversityHinge(weight, group, num_maps=len(real))
    one.watch(real, labels)
    return one


def test_distances_by_hand():
    # Of the first label 5, 10 and 5 between neighbours; the second label has one image.
    found = distances(maps([0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [99.0, 99.0]), torch.tensor([0, 0, 0, 1]), group=8)
    assert found.tolist() == [20.0, 3.0]


@pytest.mark.parametrize(("group", "expected"), [(1, [0, 0]), (2, [5 + 1, 2]), (4, [5 + 3 + 4 + 4 + 17**0.5 + 1, 6])])
def test_only_images_of_a_group_are_compared(group, expected):
    images = maps([0.0, 0.0], [3.0, 4.0], [3.0, 0.0], [4.0, 0.0])
    assert distances(images, torch.zeros(4).long(), group).tolist() == pytest.approx(expected)


def test_the_hinge_by_hand():
    labels = torch.tensor([0, 0, 1, 1])
    real = [
        *maps([0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 5.0]),
        *maps([0.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.0, 2.0]),
    ]
    fake = [
        *maps([0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 3.0]),
        *maps([0.0, 0.0], [0.0, 3.0], [0.0, 0.0], [0.0, 3.0]),
    ]
    # Mean distances 5 and 2 of real images, 2 and 3 of generated ones: the mean of 1 - 2/5 and 0, times the weight.
    assert hinge(real, labels, weight=10)(fake, labels).item() == pytest.approx(10 * 0.3)


def test_it_is_0_for_the_real_images_and_the_weight_for_a_collapsed_batch():
    images, labels = [torch.randn(16, 3, 4, 4), torch.randn(16, 5, 2, 2)], torch.arange(16) % 3
    one = hinge(images, labels, weight=5)
    assert one(images, labels).item() == pytest.approx(0, abs=1e-5)
    assert one([2 * image for image in images], labels).item() == 0
    collapsed = [image[:1].expand_as(image) for image in images]
    assert one(collapsed, labels).item() == pytest.approx(5)


def test_the_real_distance_is_a_running_mean_over_pairs():
    one, labels = DiversityHinge(1.0, 8, num_maps=1), torch.tensor([0, 0])
    for distance, times in ((2.0, 1), (4.0, 1), (8.0, 200)):
        for _ in range(times):
            one.watch(maps([0.0, 0.0], [0.0, distance]), labels)
        real = one.real[0] / one.real[1]
        expected = {2: 2, 4: (0.95 * 2 + 4) / 1.95, 8: 8}[distance]
        assert real.item() == pytest.approx(expected, rel=1e-3)


def test_labels_without_a_pair_change_nothing():
    images, alone = maps([0.0, 0.0], [3.0, 4.0]), torch.tensor([0, 1])
    assert hinge(images, alone)(images, torch.tensor([0, 0])).item() == 0  # no real distance is known yet
    one = hinge(images, torch.tensor([0, 0]))
    assert one(maps([0.0, 0.0], [0.0, 0.0]), alone).item() == 0
    one.watch(images, alone)
    assert (one.real[0] / one.real[1]).item() == pytest.approx(5)


def test_the_gradient_moves_images_of_a_label_apart():
    labels = torch.tensor([0, 0])
    one = hinge(maps([0.0, 0.0], [0.0, 4.0]), labels)
    fake = maps([0.0, 0.0], [0.0, 1.0])[0].requires_grad_()
    one([fake], labels).backward()
    assert fake.grad.flatten().tolist() == pytest.approx([0, 0.25, 0, -0.25])  # of 1 - d/4


def test_the_weight_is_a_setting_next_to_the_slopes():
    assert Penalties.diversity == 0
    assert Diversity().diversity == 5
    assert not Diversity().are_on  # on the discriminator
    with pytest.raises(ValueError, match=r"^penalty\.diversity=-1: use a number from 0 to 10000$"):
        Diversity(diversity=-1)
