import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from gan_augment.metrics.calibration import bins, calibration, cooled, fit_temperature
from gan_augment.metrics.classification import NUM_BINS, nll


def drawn(number, temperature, seed=0):
    """Return probabilities of four classes after a temperature, and labels drawn from those before it."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(number, 4, generator=random)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=random)[:, 0]
    return (logits / temperature).softmax(dim=1), labels


def test_the_error_is_that_of_torchmetrics():
    probabilities, labels = drawn(997, 0.5)
    expected = multiclass_calibration_error(probabilities.double(), labels, 4, n_bins=NUM_BINS)
    assert calibration(probabilities, labels).ece == pytest.approx(float(expected))


def test_bins_have_confidence_accuracy_and_number():
    found = bins(torch.tensor([[0.7, 0.3], [0.72, 0.28], [1.0, 0.0]]), torch.tensor([0, 1, 0]))
    assert found.flatten().tolist() == pytest.approx([0.71, 0.5, 2, 1, 1, 1])


def test_over_confidence_is_confidence_less_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 10)
    found = calibration(probabilities, torch.tensor([0] * 6 + [1] * 4))
    assert found.overconfidence == pytest.approx(0.3)
    assert found.ece == pytest.approx(0.3)
    low, high = found.overconfidence_interval
    assert 0 <= round(low, 6) < 0.3 < high <= 0.9
    assert calibration(probabilities, torch.zeros(10, dtype=torch.int64)).overconfidence == pytest.approx(-0.1)


def test_a_calibrated_classifier_shows_the_error_of_chance_and_may_have_none():
    probabilities, labels = drawn(200, 1)
    found = calibration(probabilities, labels)
    assert found.ece_interval[0] == 0
    assert found.ece == pytest.approx(found.ece_by_chance, abs=0.03)
    low, high = found.overconfidence_interval
    assert low < 0 < high


def test_a_sharpened_one_is_over_confident_beyond_chance():
    found = calibration(*drawn(500, 0.4))
    assert found.ece > 2 * found.ece_by_chance
    assert 0 < found.ece_interval[0] < found.ece < found.ece_interval[1]
    assert found.overconfidence_interval[0] > 0.05


def test_groups_of_images_widen_the_intervals():
    probabilities, labels = drawn(100, 0.7)
    groups = torch.arange(100).repeat(5)
    copies = probabilities.repeat(5, 1), labels.repeat(5)
    single, alone, grouped = (calibration(*args) for args in ((probabilities, labels), copies, (*copies, groups)))
    width = [one.overconfidence_interval[1] - one.overconfidence_interval[0] for one in (single, alone, grouped)]
    assert width[2] == pytest.approx(width[0])
    assert width[1] < 0.7 * width[2]
    assert alone.ece_by_chance < grouped.ece_by_chance


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_fitted_temperature_restores_the_probabilities(temperature):
    probabilities, labels = drawn(20_000, temperature)
    fitted = fit_temperature(probabilities, labels)
    assert fitted == pytest.approx(1 / temperature, rel=0.05)
    before, after = nll(probabilities, labels), nll(cooled(probabilities, fitted), labels)
    assert after <= before + 1e-9


def test_cooling_by_1_changes_nothing_and_keeps_the_answers():
    probabilities, _ = drawn(50, 1)
    assert torch.allclose(cooled(probabilities, 1.0), probabilities.double(), atol=1e-6)
    assert cooled(probabilities, 7.0).argmax(dim=1).equal(probabilities.argmax(dim=1))
    assert math.isfinite(float(cooled(torch.tensor([[1.0, 0.0]]), 0.05).log()[0, 0]))
