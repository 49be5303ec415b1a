"""The last layer of a classifier learns from real and generated features."""

import numpy as np
import pytest
import torch
import yaml
from sklearn.covariance import LedoitWolf

from conftest import NO_TRANSFORM
from gan_augment.app import CONF
from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import NoExtra
from gan_augment.data.image_set import to_float
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.methods.synthetic_features import VIEWS, FeatureAugmentation, SyntheticFeatures, gaussian
from gan_augment.settings import build
from gan_augment.stages import StageStore

CNN = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
NODE = yaml.safe_load((CONF / "augmentation" / "synthetic_features.yaml").read_text())["synthetic_features"]
SMALL = {"per_class": 20, "images_seen": 640, "width": 16, "latent_dim": 4}


def settings(**changes):
    return build(NODE | SMALL | changes, "synthetic_features", SyntheticFeatures)


@pytest.fixture
def lay_out(image_set, cpu):
    def make(transform="none", batch_size=8, **changes):
        common = {
            **{"labelled": image_set(), "validation": image_set(seed=1), "seed": 3, "hardware": cpu},
            "classical": NO_TRANSFORM | {"shift": 0.1} if transform == "classical" else None,
            "classifier": ClassifierSettings(CNN, 20, batch_size=batch_size, learning_rate=0.01, weight_decay=0.01),
        }
        arm = Arm(sees="labelled", extra="none", share=None, transform=transform, method="classifier")
        trained = Supervised(arm=arm, extra=NoExtra(), **common)
        return FeatureAugmentation(trained=trained, synthetic_features=settings(**changes), **common)

    return make


@pytest.mark.parametrize("source", ["gan", "gaussian"])
@pytest.mark.parametrize("transform", ["none", "classical"])
def test_only_the_last_layer_changes(lay_out, tmp_path, source, transform):
    stage, store = lay_out(transform, source=source), StageStore(tmp_path)
    stage.check()
    after = stage.load(store.fetch(stage).folder)
    before = stage.trained.load(store.fetch(stage.trained).folder)
    assert isinstance(after, TrainedClassifier)
    old = before.network.state_dict()
    moved = {name for name, value in after.network.state_dict().items() if not value.equal(old[name])}
    assert moved == {name for name in old if name.startswith(f"layers.{len(before.network.layers) - 1}.")}
    again = stage.load(StageStore(tmp_path / "again").fetch(stage).folder)
    assert all(value.equal(again.network.state_dict()[name]) for name, value in after.network.state_dict().items())


def test_features_are_those_before_the_last_layer_and_views_of_each_image(lay_out, tmp_path):
    store = StageStore(tmp_path)
    for transform, number in (("none", 1), ("classical", VIEWS)):
        stage = lay_out(transform)
        trained = stage.trained.load(store.fetch(stage.trained).folder)
        views = stage.views(trained)
        assert len(views) == number * len(stage.labelled)
        assert views.labels.equal(stage.labelled.labels.repeat(number))
        if transform == "none":
            logits = trained.network.layers[-1](views.images.flatten(1))
            torch.testing.assert_close(logits, trained.network(to_float(stage.labelled.images)))


@pytest.mark.parametrize("source", ["gan", "gaussian"])
def test_generated_features_are_of_all_classes_and_where_real_ones_are(lay_out, tmp_path, source):
    stage = lay_out(source=source, images_seen=32_000, learning_rate=0.003)
    trained = stage.trained.load(StageStore(tmp_path).fetch(stage.trained).folder)
    real = stage.views(trained)
    (tmp_path / "work").mkdir()
    made = stage.generate(real, tmp_path / "work")
    assert made.class_counts.tolist() == [20, 20, 20]
    assert made.images.min() >= 0  # as real ones, behind a ReLU
    there, here = (
        torch.stack([one.images[one.members(label)].flatten(1).mean(dim=0) for label in range(3)])
        for one in (real, made)
    )
    nearest = torch.cdist(here, there).argmin(dim=1)
    assert nearest.tolist() == [0, 1, 2]


def test_normal_vectors_have_the_means_of_their_classes_and_the_shrunk_covariance():
    random = torch.Generator().manual_seed(0)
    scale = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.1]])
    labels = torch.arange(2).repeat_interleave(20)
    vectors = torch.randn(40, 3, generator=random) @ scale + 5.0 * labels[:, None]
    wanted = torch.arange(2).repeat_interleave(20_000)
    made = gaussian(vectors, labels, wanted, random, images=40)
    means = torch.stack([vectors[:20].mean(dim=0), vectors[20:].mean(dim=0)])
    around = (made - means[wanted]).numpy()
    np.testing.assert_allclose(around[:20_000].mean(axis=0), 0, atol=0.05)
    expected = LedoitWolf(assume_centered=True).fit((vectors - means[labels]).numpy()).covariance_
    np.testing.assert_allclose(np.cov(around.T), expected * 40 / 38, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "vae"}, "synthetic_features.source=vae: use one of gan, gaussian"),
        ({"share": 1.0}, "synthetic_features.share=1.0: use a number above 0"),
        ({"per_class": 0}, "synthetic_features.per_class=0: use a whole number"),
        ({"images_seen": 1}, "synthetic_features.images_seen=1: use a whole number of at least 64"),
        ({"learning_rate": 2}, "synthetic_features.learning_rate=2: use a number above 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_a_batch_needs_room_for_both_kinds(lay_out):
    with pytest.raises(ValueError, match=r"share=0.1 of classifier.batch_size=2 makes 0 features of a batch"):
        lay_out(batch_size=2, share=0.1).check()


def test_networks_without_a_last_layer_of_their_own_and_further_images_are_refused(plain_settings):
    from gan_augment.plan import plan_trial

    with pytest.raises(ValueError, match="mixes features, no images: use extra=none"):
        plan_trial(
            plain_settings("augmentation=synthetic_features", "augmentation.extra=left_out", "augmentation.share=0.5")
        )
    planned = plan_trial(plain_settings("augmentation=gaussian_features"))
    assert planned.stages["classifier"].synthetic_features.source == "gaussian"
    assert isinstance(planned.stages["classifier"].trained, Supervised)
