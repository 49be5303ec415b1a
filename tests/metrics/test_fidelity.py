import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.kid import poly_mmd

from gan_augment.metrics import fidelity
from gan_augment.metrics.fidelity import (
    Features,
    frechet_distance,
    judge_metrics,
    kernel_distance,
    precision_recall,
)
from gan_augment.records.metric_meanings import GENERATOR_METRICS

FEATURE_METRICS = ("judge_frechet_distance", "judge_kernel_distance", "precision", "recall", "density", "coverage")
NAMES = ("a", "b", "c", "d")
CENTRES = 20 * torch.eye(4, 6)  # of four classes, far apart


def normal(number, dims=6, seed=0):
    return torch.randn(number, dims, generator=torch.Generator().manual_seed(seed))


def exact(number, mean, spread, seed):
    """A sample whose mean and whose diagonal covariance are exactly these."""
    drawn = normal(number, len(mean), seed).double()
    centred = drawn - drawn.mean(dim=0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(centred.T.cov()), centred.T, upper=False).T
    return torch.tensor(mean) + torch.tensor(spread) * white


def judged(per_class, seed, shown=(0, 1, 2, 3)):
    """Images of four classes; those of class i show class `shown[i]`, which is what the judge sees."""
    labels = torch.arange(4).repeat_interleave(per_class)
    seen = torch.tensor(shown)[labels]
    return Features(CENTRES[seen] + normal(len(labels), seed=seed), seen, labels)


def test_the_frechet_distance_is_scipys():
    mix = normal(6, 6, seed=9)
    real, generated = normal(300, seed=1) @ mix, 0.3 + 1.2 * normal(200, seed=2) @ mix.T
    first, second = (np.cov(features.double().numpy(), rowvar=False) for features in (real, generated))
    shift = real.double().mean(dim=0) - generated.double().mean(dim=0)
    expected = float(shift @ shift) + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(generated, real) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_the_frechet_distance_of_normal_distributions_is_the_closed_form_wherever_they_are(far):
    real = exact(40, [far, far + 1, far], [1.0, 2.0, 0.5], seed=1)
    generated = exact(70, [far + 3, far + 1, far - 1], [1.5, 1.0, 0.5], seed=2)
    expected = 9 + 0 + 1 + 0.5**2 + 1**2 + 0  # the squared differences of means and of standard deviations
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-8)


def test_the_frechet_distance_of_singular_covariances_is_that_of_the_means():
    assert frechet_distance(torch.full((9, 3), 2.0), torch.full((7, 3), 4.0)) == pytest.approx(12)
    for seed in range(10):  # features in a plane: rounding takes some of them below 0
        flat = normal(50, 2, seed) @ normal(2, 6, 100 + seed)
        assert 0 <= frechet_distance(flat, flat) < 1e-5


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_the_frechet_distance_of_features_that_are_not_finite_is_an_error(broken):
    features = normal(20)
    features[3, 2] = broken
    for pair in ((features, normal(20)), (normal(20), features)):
        with pytest.raises(ValueError, match="not finite; check the network"):
            frechet_distance(*pair)


def test_the_kernel_distance_is_the_unbiased_estimator_of_unequal_numbers_too():
    real, generated = normal(7, 3, seed=1).double(), 0.5 + normal(5, 3, seed=2).double()

    def mean_kernel(x, y, same):
        return np.mean([(a @ b / 3 + 1) ** 3 for i, a in enumerate(x) for j, b in enumerate(y) if not same or i != j])

    x, y = real.numpy(), generated.numpy()
    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    assert kernel_distance(real, generated) == pytest.approx(expected, rel=1e-10)


def test_the_kernel_distance_of_equal_numbers_is_torchmetrics():
    real, generated = normal(90, seed=1), 1.1 * normal(90, seed=2)
    expected = float(poly_mmd(real.double(), generated.double()))
    assert kernel_distance(real, generated) == pytest.approx(expected, rel=1e-10)


def test_the_kernel_distance_of_one_distribution_is_0_on_average_and_not_of_another():
    same = np.array([kernel_distance(normal(60, seed=seed), normal(40, seed=100 + seed)) for seed in range(100)])
    assert abs(same.mean()) < 3 * same.std() / 10
    assert (same < 0).any()
    assert kernel_distance(normal(60, seed=1), 1 + normal(40, seed=2)) > same.max()


def test_the_kernel_distance_of_many_images_is_close_to_that_of_all_pairs(monkeypatch):
    real, generated = normal(150, seed=1), 0.5 + normal(120, seed=2)
    of_all_pairs = kernel_distance(real, generated)
    monkeypatch.setattr(fidelity, "SUBSET_SIZE", 100)
    of_subsets = kernel_distance(real, generated)
    assert of_subsets == pytest.approx(of_all_pairs, rel=0.05)
    assert of_subsets != of_all_pairs
    assert of_subsets == kernel_distance(real, generated)


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_and_coverage_are_those_of_nearest_neighbours(k, monkeypatch):
    monkeypatch.setattr(fidelity, "CHUNK", 37)
    real, generated = normal(100, 3, seed=1).double(), 0.7 + 0.8 * normal(100, 3, seed=2).double()

    def balls(centres, points):
        radii = NearestNeighbors(n_neighbors=k + 1).fit(centres).kneighbors(centres)[0][:, -1]
        distances = np.linalg.norm(points[:, None] - centres, axis=2)
        return distances <= radii

    in_real, in_generated = balls(real.numpy(), generated.numpy()), balls(generated.numpy(), real.numpy())
    expected = {
        "precision": in_real.any(axis=1).mean(),
        "recall": in_generated.any(axis=1).mean(),
        "density": in_real.sum(axis=1).mean() / k,
        "coverage": in_real.any(axis=0).mean(),
    }
    assert precision_recall(real, generated, k) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected["recall"] < expected["precision"] < 1


def test_a_set_beside_itself_is_perfect_and_one_elsewhere_is_nothing():
    real = normal(100)
    found = precision_recall(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    nothing = {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    assert precision_recall(real, real + 100) == nothing


def test_two_samples_of_one_distribution_have_density_1_and_coverage_97():
    pairs = [precision_recall(normal(400, seed=seed), normal(400, seed=50 + seed)) for seed in range(10)]
    assert np.mean([pair["density"] for pair in pairs]) == pytest.approx(1, abs=0.02)
    assert np.mean([pair["coverage"] for pair in pairs]) == pytest.approx(1 - 2**-5, abs=0.01)


def test_numbers_are_made_equal_by_drawing_from_all_classes_and_not_the_first_ones():
    few, many = judged(30, seed=1).features, judged(300, seed=2).features  # class after class: the first show one
    found = precision_recall(few, many)
    assert min(found["recall"], found["coverage"]) > 0.8
    assert precision_recall(many, few)["precision"] > 0.8


def test_too_few_neighbours_are_an_error():
    with pytest.raises(ValueError, match="k=5, but there are 5 real and 9 generated images; use at least 6 of each"):
        precision_recall(normal(5), normal(9))


def test_the_judges_metrics_are_in_the_table_and_in_range():
    found, refusals = judge_metrics(judged(60, seed=1), judged(70, seed=2), NAMES)
    assert refusals == []
    assert (found["judged_real"], found["judged_generated"]) == (240, 280)
    assert found["confusion_matrix"] == (70 * torch.eye(4, dtype=int)).tolist()
    assert tuple(found["per_class"]) == NAMES
    beside = {"judged_real", "judged_generated", "per_class", "confusion_matrix"}
    for values in ({name: found[name] for name in found.keys() - beside}, *found["per_class"].values()):
        assert set(values) == {*FEATURE_METRICS, "label_agreement"}
        assert all(
            GENERATOR_METRICS[name].low <= value <= GENERATOR_METRICS[name].high for name, value in values.items()
        )
    others = {"gan_test", "cas_validation", "diversity", "told_apart", "variety"}
    others |= {"frechet_inception_distance", "kernel_inception_distance"}
    assert set(GENERATOR_METRICS) == {*values, *others}


def test_a_class_is_compared_with_the_real_images_of_that_class():
    real, generated = judged(60, seed=1), judged(70, seed=2)
    found = judge_metrics(real, generated, NAMES)[0]["per_class"]["c"]
    pair = real.features[real.labels == 2], generated.features[generated.labels == 2]
    expected = {"judge_frechet_distance": frechet_distance(*pair), "judge_kernel_distance": kernel_distance(*pair)}
    assert found == {**expected, **precision_recall(*pair), "label_agreement": 1}


def test_swapped_labels_hide_from_the_whole_and_show_in_the_classes():
    real = judged(100, seed=1)
    honest, swapped = (judge_metrics(real, judged(100, 2, shown), NAMES)[0] for shown in ((0, 1, 2, 3), (1, 2, 3, 0)))
    for name in FEATURE_METRICS:
        assert swapped[name] == pytest.approx(honest[name], rel=0.1, abs=0.05)
    assert min(swapped["precision"], swapped["recall"]) > 0.9
    assert (honest["label_agreement"], swapped["label_agreement"]) == (1, 0)
    assert swapped["confusion_matrix"] == (100 * torch.eye(4, dtype=int).roll(1, dims=1)).tolist()
    for name in NAMES:
        good, bad = honest["per_class"][name], swapped["per_class"][name]
        assert bad["judge_frechet_distance"] > 100 * good["judge_frechet_distance"]
        assert bad["judge_kernel_distance"] > 100 * abs(good["judge_kernel_distance"])
        assert [bad[metric] for metric in FEATURE_METRICS[2:]] == [0, 0, 0, 0]
        assert (good["label_agreement"], bad["label_agreement"]) == (1, 0)


def test_a_copycat_is_perfect_beside_its_training_images_and_worse_than_an_honest_one_beside_others():
    scores = {"honest": [], "copycat": []}
    for seed in range(5):
        training, held_out, honest = (normal(number, seed=10 * seed + i) for i, number in enumerate((40, 400, 400)))
        copycat = training.repeat(10, 1)
        assert frechet_distance(copycat, copycat) == pytest.approx(0, abs=1e-9)
        assert precision_recall(copycat, copycat)["recall"] == 1
        for name, made in (("honest", honest), ("copycat", copycat)):
            scores[name].append([frechet_distance(held_out, made), precision_recall(held_out, made)["recall"]])
    (honest_distance, honest_recall), (copycat_distance, copycat_recall) = (np.mean(v, axis=0) for v in scores.values())
    assert copycat_distance > 3 * honest_distance
    assert copycat_recall == 0 < 0.8 < honest_recall


def test_too_few_images_are_refused_with_the_numbers_and_what_to_do():
    real, generated = judged(5, seed=1), judged(200, seed=2)
    found, refusals = judge_metrics(real, generated, NAMES)
    assert refusals == [
        "judge_frechet_distance by class is refused for 4 of 4 classes: it needs 12 images of each kind, the classes "
        "have 5 real and 200 generated ones; raise validation_per_class",
        "judge_kernel_distance by class is refused for 4 of 4 classes: it needs 20 images of each kind, the classes "
        "have 5 real and 200 generated ones; raise validation_per_class",
        "precision, recall, density and coverage are refused: they need 50 images of each kind, there are 20 real and "
        "800 generated ones; raise validation_per_class",
    ]  # and so for every class
    assert [name for name in FEATURE_METRICS if found[name] is None] == list(FEATURE_METRICS[2:])
    assert all(values[name] is None for values in found["per_class"].values() for name in FEATURE_METRICS)
    assert all(values["label_agreement"] == 1 for values in found["per_class"].values())


def test_only_the_classes_with_too_few_images_are_refused():
    real, generated = judged(60, seed=1), judged(60, seed=2)
    some = torch.cat([torch.arange(60), torch.arange(60, 79), torch.arange(120, 131), torch.arange(180, 240)])
    few = Features(real.features[some], real.predicted[some], real.labels[some])
    found, refusals = judge_metrics(generated, few, NAMES)
    assert refusals[1].startswith(
        "judge_kernel_distance by class is refused for 2 of 4 classes: it needs 20 images of each kind, the classes "
        "have 60 real and 11 to 19 generated ones; raise synthesis.per_class"
    )
    refused = [name for name, values in found["per_class"].items() if values["judge_kernel_distance"] is None]
    assert refused == ["b", "c"]
    assert found["per_class"]["a"]["judge_kernel_distance"] == kernel_distance(
        generated.features[:60], few.features[:60]
    )


def test_of_images_without_classes_no_labels_are_read():
    real, generated = judged(60, seed=1), judged(60, seed=2)
    found, refusals = judge_metrics(real, generated, ["any"])
    assert set(found) == {*FEATURE_METRICS, "judged_real", "judged_generated"}
    assert found["recall"] > 0.5
    assert refusals == []


def test_without_generated_images_there_is_nothing_but_refusals():
    found, refusals = judge_metrics(judged(60, seed=1), judged(0, seed=2), NAMES)
    assert [found[name] for name in (*FEATURE_METRICS, "label_agreement")] == [None] * 7
    assert len(refusals) == 3
    assert all("0 generated ones; raise synthesis.per_class" in sentence for sentence in refusals)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused_where_they_are(broken):
    real, generated = judged(60, seed=1), judged(60, seed=2)
    generated.features[3, 2] = broken
    found, refusals = judge_metrics(real, generated, NAMES)
    assert len(refusals) == 1
    assert (
        "not finite: over all images, and in the classes of these 0 real and 1 generated ones; check the judge"
        in refusals[0]
    )
    for values, whole in ((found, False), *((found["per_class"][name], name != "a") for name in NAMES)):
        assert all((values[name] is not None) == whole for name in FEATURE_METRICS)
        assert values["label_agreement"] == 1


def test_constant_features_have_numbers():
    labels = torch.arange(2).repeat_interleave(60)
    point = Features(torch.ones(120, 2), labels, labels)
    found, refusals = judge_metrics(point, point, ["a", "b"])
    assert refusals == []
    assert {name: found[name] for name in FEATURE_METRICS[:4]} == pytest.approx(
        {"judge_frechet_distance": 0, "judge_kernel_distance": 0, "precision": 1, "recall": 1}, abs=1e-9
    )


def test_the_same_numbers_come_out_again_and_the_global_random_state_is_untouched(monkeypatch):
    monkeypatch.setattr(fidelity, "SUBSET_SIZE", 50)
    real, generated = judged(60, seed=1), judged(70, seed=2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert judge_metrics(real, generated, NAMES) == judge_metrics(real, generated, NAMES)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_a_ball_includes_its_border():
    real = torch.arange(7.0)[:, None]  # one apart: with one neighbour every ball ends at the next image
    found = precision_recall(real, torch.cat([real[:1] - 1, real[-1:] + 1, real[:1].expand(5, 1) - 9]), k=1)
    assert found["precision"] == pytest.approx(2 / 7)  # the two at the border are in
