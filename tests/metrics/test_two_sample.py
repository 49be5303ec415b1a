import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from gan_augment.metrics.two_sample import told_apart


def normal(count, mean=0.0, seed=0, size=6):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + mean


@pytest.mark.parametrize("shift", [0.0, 0.7, 9.0])
def test_scikit_learn_agrees(shift):
    real, made = normal(15), normal(15, shift, seed=1)
    kind = torch.arange(30) >= 15
    said = cross_val_predict(KNeighborsClassifier(1), torch.cat([real, made]), kind, cv=LeaveOneOut())
    right = torch.from_numpy(said == kind.numpy()).double()
    assert told_apart(real, made) == pytest.approx((right[:15].mean().item(), right[15:].mean().item()))


def test_a_narrow_sample_in_the_middle_of_a_wide_one_hides_in_the_mean_of_the_two():
    assert told_apart(10 * normal(50, size=500), normal(50, size=500, seed=1)) == (0.0, 1.0)


def test_copies_are_nearest_to_their_originals():
    assert told_apart(normal(20), normal(20)) == (0.0, 0.0)


@pytest.mark.parametrize("sizes", [(3, 4), (1, 1)])
def test_two_samples_of_one_size_are_needed(sizes):
    with pytest.raises(ValueError, match=rf"{sizes[0]} real and {sizes[1]} generated images: use equally many"):
        told_apart(*map(normal, sizes))
