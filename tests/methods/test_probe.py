from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gan_augment.arm import Arm
from gan_augment.contracts import Extra, Plan
from gan_augment.data.image_set import ImageShape
from gan_augment.extras import extras
from gan_augment.methods.probe import ProbeSettings, fit_linear
from gan_augment.methods.supervised import Classifier, FinetunedSettings
from gan_augment.networks.transfer import Transfer
from gan_augment.randomness import initialised
from gan_augment.settings import build
from gan_augment.stages import StageStore, in_order

NETWORK = {
    "_target_": "gan_augment.networks.transfer.Transfer",
    "_partial_": True,
    "backbone": {"_target_": "gan_augment.networks.efficientnet_lite.EfficientNetLite0", "weights": None},
    "frozen": True,
    "input_size": 16,
}
NODE = {
    "_target_": "gan_augment.methods.probe.ProbeSettings",
    **{"network": NETWORK, "views": 3, "weight_decay": 0.1, "batch_size": 16},
}
NONE = {"sees": "labelled", "extra": "none", "share": None, "transform": "none", "method": "classifier"}
CLASSICAL = {
    "_target_": "gan_augment.augmentation.classical.ClassicalTransform",
    **{"shift": 0.1, "rotation": 15.0, "scale": 0.1, "flip": False},
}


@dataclass(frozen=True, eq=False)
class MadeUp(Extra):
    """Images that are there."""

    given: object = None
    name = "made_up"

    def images(self, labelled, made, seed):
        return self.given


def probe(images, cpu, source=None, seed=0, settings=(), **arm):
    arm = Arm(**NONE | arm)
    config = SimpleNamespace(classical=CLASSICAL, source={}, seeds=SimpleNamespace(classifier=seed), hardware=cpu)
    plan = Plan(config, SimpleNamespace(labelled=images, validation=images, domains=None))
    method = build(NODE | dict(settings), "classifier", ProbeSettings)
    return method.stage(plan, arm, source or extras()[arm.extra].plan(plan))


def fit(stage, folder):
    return stage.load(StageStore(folder).fetch(stage).folder)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_fit_is_that_of_scikit_learn(num_classes):
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(60, 5)), random.integers(num_classes, size=60)
    weights = random.uniform(size=60)
    layer = fit_linear(
        *map(torch.tensor, (features.astype(np.float32), labels, weights.astype(np.float32))), num_classes, 0.5
    )
    # Two classes of scikit-learn share one vector, whose norm counts twice as much as that of its two halves.
    expected = LogisticRegression(C=2.0 if num_classes > 2 else 4.0, tol=1e-8).fit(features, labels, weights)
    torch.testing.assert_close(
        layer(torch.tensor(features).float()).softmax(dim=1).double(),
        torch.tensor(expected.predict_proba(features)),
        atol=2e-4,
        rtol=0,
    )


def test_it_learns_and_its_checkpoint_is_a_classifier(image_set, cpu, tmp_path):
    stage = probe(image_set(size=16), cpu)
    folder = StageStore(tmp_path).fetch(stage).folder
    classifier = stage.load(folder)
    others = image_set(size=16, seed=1)
    assert (classifier.probabilities(others).argmax(dim=1) == others.labels).float().mean() == 1
    assert sum(path.stat().st_size for path in folder.glob("*.pt")) < 30_000


def test_probes_of_one_backbone_compute_the_features_of_a_test_set_once(image_set, cpu, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_augment.artefacts.classifier.KEPT", {})
    first, second = (
        fit(probe(image_set(size=16), cpu, settings={"weight_decay": decay}), tmp_path) for decay in (0.1, 10)
    )
    tested, other = image_set(size=16, seed=1), image_set(size=16, seed=2)
    expected = [one.outputs(one.network, tested).softmax(dim=1) for one in (first, second)]
    calls = []
    monkeypatch.setattr(
        Transfer, "features", lambda self, images, own=Transfer.features: calls.append(1) or own(self, images)
    )
    torch.testing.assert_close([one.probabilities(tested) for one in (first, second)], expected)
    assert len(calls) == 2  # the batches of one image set
    assert not torch.equal(first.probabilities(other), first.probabilities(tested))


def test_features_are_shared_by_arms_and_seeds_unless_they_are_of_random_views(image_set, cpu):
    images = image_set(size=16)
    key = {
        (transform, seed, decay): probe(
            images, cpu, transform=transform, seed=seed, settings={"weight_decay": decay}
        ).features.key
        for transform in ("none", "classical")
        for seed in (0, 1)
        for decay in (0.1, 0.2)
    }
    assert len({key["none", seed, decay] for seed in (0, 1) for decay in (0.1, 0.2)}) == 1
    assert key["classical", 0, 0.1] == key["classical", 0, 0.2] != key["classical", 1, 0.1] != key["none", 0, 0.1]


def test_the_features_of_random_views_belong_to_their_batch_size(image_set, cpu):
    images = image_set(size=16)
    keys = {probe(images, cpu, transform="classical", settings={"batch_size": size}).features.key for size in (8, 16)}
    assert len(keys) == 2


def test_classical_transforms_give_views_of_every_image(image_set, cpu, tmp_path):
    images = image_set(size=16)
    store = StageStore(tmp_path)
    plain, views = probe(images, cpu).features, probe(images, cpu, transform="classical").features
    first, many = plain.load(store.fetch(plain).folder), views.load(store.fetch(views).folder)
    assert (first.shape, many.shape) == ((30, 1280), (90, 1280))
    rounds = many.view(3, 30, 1280)
    assert not torch.allclose(rounds[0], rounds[1], atol=1e-2)


def test_extra_images_weigh_as_much_as_their_share(image_set, cpu, tmp_path):
    """A copy of the labelled images changes nothing, whatever its share; images of one class move the biases."""
    images = image_set(size=16)
    alone = fit(probe(images, cpu), tmp_path).network.head
    with_copy = fit(probe(images, cpu, MadeUp(images), extra="made_up", share=0.3), tmp_path / "copy").network.head
    torch.testing.assert_close(with_copy.weight, alone.weight, atol=2e-3, rtol=1e-2)
    shuffled = images.subset(torch.arange(10))  # all of the first class
    prior = fit(
        probe(images, cpu, MadeUp(shuffled), extra="made_up", share=0.999, settings={"weight_decay": 1000}),
        tmp_path / "one",
    ).network.head
    # Without weights the biases are the logarithms of the classes' shares.
    expected = torch.tensor([0.001 / 3 + 0.999, 0.001 / 3, 0.001 / 3])
    torch.testing.assert_close(prior.bias.softmax(dim=0), expected, atol=1e-3, rtol=0)


def test_the_features_of_extra_images_are_computed_once_for_all_shares(image_set, cpu, tmp_path):
    images, extra = image_set(size=16), MadeUp(image_set(size=16, seed=1).subset(torch.arange(12)))
    few, many, plain = (
        probe(images, cpu, extra, extra="made_up", share=share, transform=transform)
        for share, transform in ((0.1, "classical"), (0.5, "classical"), (0.5, "none"))
    )
    assert few.extra_features.key == many.extra_features.key != plain.extra_features.key
    assert few.key != many.key
    found = [
        stage.load(StageStore(tmp_path).fetch(stage).folder) for stage in (plain.extra_features, few.extra_features)
    ]
    # 90 views of 30 labelled images: as many of the others
    assert [features.shape for features in found] == [(12, 1280), (96, 1280)]
    assert not torch.allclose(found[0], found[1][:12], atol=1e-2)


def test_a_share_of_one_leaves_the_labelled_images_out(image_set, cpu, tmp_path):
    images = image_set(size=16)
    swapped = replace(images, labels=images.labels.flip(0))
    classifier = fit(probe(swapped, cpu, MadeUp(images), extra="made_up", share=1.0), tmp_path)
    assert (classifier.probabilities(images).argmax(dim=1) == images.labels).all()


@pytest.mark.parametrize("arm", [{"transform": "mixup"}, {"extra": "left_out", "share": 0.5}])
def test_arms_that_fixed_features_cannot_tell_from_others_are_refused(image_set, cpu, arm):
    with pytest.raises(ValueError, match=r"^augmentation\.transform=.*: classifier=probe has neither batches"):
        probe(image_set(size=16), cpu, **arm).check()


def test_a_probe_and_its_teacher_may_have_features_of_their_own(image_set, cpu):
    images = image_set(size=16)
    teacher = probe(images, cpu, transform="classical")

    @dataclass(frozen=True, eq=False)
    class Taught(MadeUp):
        teacher: object = None

    stages = in_order(classifier=probe(images, cpu, Taught(None, teacher), extra="made_up", share=0.5))
    views = {role: stage.views for role, stage in stages.items() if "features" in role}
    assert views == {"features": 3, "extra_features": 1, "classifier_features": 1}


def test_a_finetuned_backbone_learns_more_slowly_than_the_linear_layer():
    node = {
        "_target_": "gan_augment.methods.supervised.FinetunedSettings",
        "network": NETWORK | {"frozen": False},
        **{"num_steps": 4, "batch_size": 4, "learning_rate": 0.01, "backbone_rate": 0.2, "weight_decay": 0.0},
    }
    settings = build(node, "classifier", FinetunedSettings)
    network = initialised(lambda: settings.build(ImageShape(1, 16, 16), 3), 0)
    (optimizer, schedule) = Classifier(network, settings, None, None, 0).configure_optimizers().values()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.002])
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 98]
    assert schedule["scheduler"].base_lrs == pytest.approx([0.01, 0.002])
