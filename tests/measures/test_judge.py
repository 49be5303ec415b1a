import dataclasses
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from conftest import JUDGE_NODE, NO_TRANSFORM
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.judge import Judge, why_no_judge
from gan_augment.measures.judging import features_of, how_many_to_judge, judge_images
from gan_augment.measures.watching import JudgeWatch, classification_accuracy_score
from gan_augment.metrics.fidelity import judge_metrics
from gan_augment.metrics.inception import inception_network
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import build
from gan_augment.stages import DivergedError, StageStore


@pytest.fixture
def lay_out(image_set, cpu):
    def make(validation=None, training=None, **changes):
        validation = image_set(per_class=60, seed=1) if validation is None else validation
        training = image_set(per_class=40, seed=2) if training is None else training
        config = SimpleNamespace(classical=NO_TRANSFORM, hardware=cpu)
        judge = build(JUDGE_NODE | changes, "measures.judge", Judge)
        stage = judge.stage(config, SimpleNamespace(training=training, validation=validation))
        stage.check()
        return stage

    return make


@pytest.fixture
def judge(lay_out, tmp_path):
    """A trained judge of three levels of grey."""
    one = lay_out()
    return one, one.load(StageStore(tmp_path).fetch(one).folder)


def relabelled(images, labels):
    return dataclasses.replace(images, labels=labels)


def test_what_a_judge_sees(judge, image_set):
    _, network = judge
    images = image_set(per_class=50, seed=3)
    seen = features_of(network, images)
    assert seen.features.shape == (150, 6)
    assert (seen.predicted == images.labels).float().mean() > 0.9
    # Features of about unit variance, whatever the images.
    assert seen.features.var(dim=0).mean().item() == pytest.approx(1, abs=0.6)
    assert torch.equal(network.network.head(seen.features).argmax(dim=1), seen.predicted)


def test_honest_images_are_close_and_their_labels_agree(judge, image_set):
    one, network = judge
    metrics, refusals = judge_images(network, image_set(per_class=60, seed=4), one.validation, image_set(seed=2))
    assert metrics["label_agreement"] > 0.9
    assert metrics["recall"] > 0.7
    assert metrics["judge_frechet_distance"] < 1
    assert metrics["judge_accuracy"] > 0.9
    assert (metrics["judged_real"], metrics["judged_generated"]) == (180, 180)
    assert refusals == []
    for name, value in metrics.items():
        if name in GENERATOR_METRICS:
            assert GENERATOR_METRICS[name].low <= value <= GENERATOR_METRICS[name].high


def test_swapped_labels_are_caught_though_the_images_are_excellent(judge, image_set):
    one, network = judge
    honest = image_set(per_class=60, seed=4)
    swapped = relabelled(honest, (honest.labels + 1) % 3)
    order = swapped.labels.argsort(stable=True)
    metrics, _ = judge_images(network, swapped.subset(order), one.validation, image_set(seed=2))
    fair, _ = judge_images(network, honest, one.validation, image_set(seed=2))
    assert metrics["judge_frechet_distance"] == pytest.approx(fair["judge_frechet_distance"], rel=1e-3, abs=1e-3)
    assert metrics["recall"] == fair["recall"]
    assert metrics["label_agreement"] < 0.1
    for name, values in metrics["per_class"].items():
        assert values["judge_frechet_distance"] > 20 * fair["per_class"][name]["judge_frechet_distance"]
        assert values["recall"] < 0.1
    assert torch.tensor(metrics["confusion_matrix"]).diagonal().sum() < 0.1 * 180


def test_copies_of_the_training_images_score_no_better_than_fresh_ones(judge, image_set):
    """On images that nothing was trained on; against its own training images the copycat would be perfect."""
    one, network = judge
    training = image_set(per_class=40, seed=2)
    few = training.subset(torch.arange(0, 120, 8).repeat_interleave(12).sort().values)  # 5 a class, over and over
    names = training.class_names
    copied, _ = judge_metrics(features_of(network, one.validation), features_of(network, few), names)
    fresh, _ = judge_metrics(
        features_of(network, one.validation), features_of(network, image_set(per_class=60, seed=5)), names
    )
    assert copied["recall"] < fresh["recall"]
    assert copied["coverage"] < fresh["coverage"]
    assert copied["judge_frechet_distance"] > fresh["judge_frechet_distance"]
    at_home, _ = judge_metrics(features_of(network, few), features_of(network, few), names)
    assert at_home["judge_frechet_distance"] == pytest.approx(0, abs=1e-3)


def test_the_teacher_s_accuracy_on_generated_images(judge, image_set):
    one, network = judge
    images = image_set(per_class=60, seed=4)
    wrong = relabelled(images, images.labels.clone().index_fill_(0, torch.arange(30), 2))
    metrics, _ = judge_images(network, wrong, one.validation, image_set(seed=2), teacher=network)
    says = network.probabilities(wrong).argmax(dim=1)
    assert metrics["gan_test"] == pytest.approx((says == wrong.labels).double().mean().item())


def test_as_many_training_images_stand_for_a_copycat(judge, image_set):
    one, network = judge
    generated, training = image_set(per_class=60, seed=4), image_set(per_class=500, seed=2)
    metrics, _ = judge_images(network, generated, one.validation, training)
    few = training.subset(torch.cat([500 * label + torch.arange(60) for label in range(3)]))
    expected, _ = judge_metrics(features_of(network, one.validation), features_of(network, few), training.class_names)
    assert metrics["real"]["recall"] == expected["recall"]
    assert metrics["real"]["judge_frechet_distance"] == expected["judge_frechet_distance"]


def test_the_classes_come_in_the_proportions_of_the_validation_images(image_set):
    validation = image_set(per_class=100).subset(torch.cat([torch.arange(100), torch.arange(100, 125)]))
    assert how_many_to_judge(validation).tolist() == [1600, 400, 0]
    assert how_many_to_judge(image_set(per_class=1000)).tolist() == [1000] * 3
    assert how_many_to_judge(image_set().subset(torch.arange(0))).tolist() == [667] * 3


def test_a_classifier_that_diverges_on_generated_images_has_no_score(judge, image_set, monkeypatch):
    def diverge(*arguments):
        raise DivergedError("not finite")

    one, _ = judge
    monkeypatch.setattr("gan_augment.measures.judging.train_classifier", diverge)
    assert math.isnan(classification_accuracy_score(one, image_set()))


def test_images_without_classes_are_compared_as_they_are(judge, image_set):
    one, network = judge
    any_class = image_set(per_class=60, seed=4).as_one_class()
    metrics, refusals = judge_images(network, any_class, one.validation, image_set(seed=2), teacher=network)
    assert metrics["recall"] > 0.7
    assert not {"label_agreement", "gan_test", "per_class", "confusion_matrix", "judge_accuracy"} & set(metrics)
    assert refusals == []


def test_without_validation_images_only_labels_are_compared(lay_out, tmp_path, image_set):
    nothing = image_set().subset(torch.arange(0))
    one = lay_out(validation=nothing)
    network = one.load(StageStore(tmp_path).fetch(one).folder)
    metrics, refusals = judge_images(network, image_set(per_class=60, seed=4), nothing, image_set(seed=2))
    assert metrics["label_agreement"] > 0.9
    assert metrics["recall"] is metrics["judge_frechet_distance"] is None
    assert len(refusals) == 3
    assert all("there are 0 real and 180 generated ones; raise validation_per_class" in one for one in refusals)


def test_one_judge_serves_every_trial_on_a_data_set(lay_out, image_set):
    key = lay_out().key
    assert lay_out(validation=image_set(per_class=60, seed=1)).key == key
    assert lay_out(training=image_set(per_class=40, seed=9)).key != key
    assert lay_out(num_steps=61).key != key


def test_cas_is_the_accuracy_of_a_classifier_of_generated_images_alone(judge, image_set):
    one, _ = judge
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    honest = image_set(per_class=40, seed=6)
    assert classification_accuracy_score(one, honest) > 0.9
    assert classification_accuracy_score(one, relabelled(honest, (honest.labels + 1) % 3)) < 0.1
    assert torch.equal(torch.rand(1), expected)  # the global random state is as it was


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "measures.judge.num_steps=0: use a whole number of at least 1"),
        ({"batch_size": 1}, "measures.judge.batch_size=1: use a whole number of at least 2"),
        ({"inception": 1}, "measures.judge.inception=1: use true or false"),
        ({"rate": 1}, "measures.judge has no setting rate: use .*"),
        (
            {"network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True}},
            "measures.judge.network is of type CNN: use gan_augment.networks.judge.Judge",
        ),
        (
            {"network": JUDGE_NODE["network"] | {"num_features": 0}},
            "measures.judge.network.num_features=0: use a whole number of at least 1",
        ),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(lay_out, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        lay_out(**changes)


def test_a_metric_to_choose_by_needs_measurements_and_must_be_one_of_them(lay_out):
    with pytest.raises(ValueError, match=r"best_by=recall, but nothing is measured .* set measures\.judge\.every"):
        lay_out(best_by="recall")
    with pytest.raises(ValueError, match="best_by=gan_test: use one of judge_frechet_distance, "):
        lay_out(every=400, best_by="gan_test")
    with pytest.raises(ValueError, match=r"measures\.judge\.every=0: use a whole number of at least 1"):
        lay_out(every=0)


def test_images_that_the_judge_cannot_take_are_refused(lay_out, image_set):
    small = image_set(size=7)
    with pytest.raises(ValueError, match=r"^measures\.judge: .* at least 8x8 pixels, not 7x7"):
        lay_out(validation=small, training=small)


def test_there_must_be_something_to_tell_apart(image_set):
    points = ImageSet(torch.zeros(5, 2, 1, 1), torch.zeros(5, dtype=torch.int64), ["a", "b"])
    assert why_no_judge(image_set()) is None
    assert why_no_judge(image_set().as_one_class()) == (
        "The generator has no judge: its images are of one class, 'any'"
    )
    assert why_no_judge(points) == "The generator has no judge: these are points"


@pytest.mark.parametrize(
    ("metric", "knows_classes", "message"),
    [
        ("cas_validation", False, "measures.judge.best_by=cas_validation, but the generator knows no classes"),
        (
            "judge_frechet_distance",
            True,
            "measures.judge.best_by=judge_frechet_distance needs 12 validation images, but there are 9",
        ),
        ("recall", True, "measures.judge.best_by=recall needs 50 validation images, but there are 9"),
    ],
)
def test_a_generator_is_not_chosen_by_a_metric_that_is_not_there(lay_out, image_set, metric, knows_classes, message):
    with pytest.raises(ValueError, match=message):
        JudgeWatch(lay_out(validation=image_set(per_class=3)), 400, metric).check(knows_classes)


class Colours(torch.nn.Module):
    """Stands in for Inception: the mean of each of 3 channels, and their squares, 2,048 times."""

    def forward(self, pixels):
        assert pixels.dtype == torch.uint8
        assert pixels.shape[1] == 3
        means = pixels.float().mean(dim=(2, 3)) / 255
        return torch.cat([means, means**2], dim=1).repeat(1, 342)[:, :2048]


@pytest.fixture
def _no_inception():
    inception_network.cache_clear()
    yield
    inception_network.cache_clear()


@pytest.mark.usefixtures("_no_inception")
def test_inception_is_asked_where_its_weights_can_be_had(judge, image_set, monkeypatch):
    one, network = judge
    monkeypatch.setattr("gan_augment.metrics.inception.inception_network", Colours)
    images = image_set(per_class=60, seed=4)
    metrics, refusals = judge_images(network, images, one.validation, image_set(seed=2), inception=True)
    assert metrics["frechet_inception_distance"] is None
    assert refusals[-1].startswith(
        "frechet_inception_distance is refused: it needs 4096 images of each kind, there are 180"
    )
    assert abs(metrics["kernel_inception_distance"]) < 0.01
    assert set(metrics["real"]) >= {"frechet_inception_distance", "kernel_inception_distance"}


@pytest.mark.usefixtures("_no_inception")
def test_inception_that_cannot_be_had_is_told_before_anything_trains(lay_out, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(
        ValueError, match=r"^measures\.judge\.inception=true, but Inception is not available .*torch-fidelity"
    ):
        lay_out(inception=True)
