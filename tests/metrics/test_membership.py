import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, norm

from gan_augment.metrics.membership import membership

LABELS = torch.arange(100) % 5


def drawn(seed, shift, number=100):
    """Draw scores of as many seen images as decoys, those of the seen ones larger by a shift."""
    random = torch.Generator().manual_seed(seed)
    is_seen = torch.arange(2 * number) < number
    return torch.randn(2 * number, generator=random) + shift * is_seen, is_seen


def test_the_auc_is_that_of_mann_and_whitney():
    scores, is_seen = drawn(0, 0.5)
    scores = scores.mul(2).round()  # with ties
    expected = mannwhitneyu(scores[is_seen], scores[~is_seen]).statistic / 100**2
    assert membership(scores, is_seen, LABELS.repeat(2)).auc == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_the_interval_holds_the_truth(shift):
    truth = norm.cdf(shift / 2**0.5)
    found = [membership(*drawn(seed, shift), LABELS.repeat(2)) for seed in range(50)]
    holds = [low <= truth <= high for low, high in (one.auc_interval for one in found)]
    assert 0.86 <= np.mean(holds) <= 1


def test_without_a_difference_p_is_small_as_often_as_chance():
    small = [membership(*drawn(seed, 0), LABELS.repeat(2)).p <= 0.05 for seed in range(100)]
    assert np.mean(small) <= 0.11  # of 100, at most 11 with a probability of .99


def test_a_perfect_attack_names_all_and_a_blind_one_hardly_any():
    is_seen = torch.arange(200) < 100
    perfect = membership(is_seen.double(), is_seen, LABELS.repeat(2))
    assert (perfect.auc, perfect.tpr, perfect.p) == (1, 1, 1 / 1000)
    blind = membership(torch.zeros(200), is_seen, LABELS.repeat(2))
    assert (blind.auc, blind.tpr, blind.p) == (0.5, 0, 1)


def test_one_decoy_in_a_hundred_may_be_named():
    scores = torch.cat([torch.full((100,), 2.0), torch.tensor([3.0]), torch.ones(99)])
    assert membership(scores, torch.arange(200) < 100, LABELS.repeat(2)).tpr == 1
    scores[101] = 3.0
    assert membership(scores, torch.arange(200) < 100, LABELS.repeat(2)).tpr == 0


def test_classes_that_differ_in_their_scores_are_no_evidence():
    labels = torch.arange(2).repeat_interleave(100)
    is_seen = torch.cat([torch.arange(100) < 80, torch.arange(100) < 20])
    random = torch.Generator().manual_seed(0)
    found = membership(10 * (labels == 0) + torch.randn(200, generator=random), is_seen, labels)
    assert found.auc > 0.75
    assert found.p > 0.05
