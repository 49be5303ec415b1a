"""A classifier on the features of an encoder."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression

from conftest import NO_TRANSFORM
from gan_augment.app import CONF
from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import NoExtra, Plan
from gan_augment.data.image_set import to_float
from gan_augment.encoders.untrained import Pixels, Random
from gan_augment.extras.class_mates import ClassMates
from gan_augment.methods.encoded import EncodedMethod
from gan_augment.methods.supervised import ClassifierSettings, FinetunedSettings
from gan_augment.settings import build
from gan_augment.stages import StageStore

NODE = yaml.safe_load((CONF / "config.yaml").read_text())["encoded"]
CNN = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
MLP = {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 8, "width": 16, "spectral_norm": True}


@pytest.fixture
def lay_out(image_set, cpu):
    def make(encoder=None, transform="none", extra=None, classifier=None, sees="labelled", **changes):
        target = "Encoded" if sees == "pool_images" else "Untrained"
        node = NODE | {"_target_": f"gan_augment.methods.encoded.{target}Method"} | changes
        method = build(node, "encoded", EncodedMethod)
        kinds = {"encoder": encoder or Random(), "classifier": classifier or ClassifierSettings(CNN, 20, 8, 0.01, 0.01)}
        config = SimpleNamespace(
            part=lambda name, kind: kinds[name],
            settings={"architecture": MLP},
            classical=NO_TRANSFORM | {"shift": 0.1},
            source={},
            seeds=SimpleNamespace(classifier=0, gan=0),
            hardware=cpu,
        )
        images = image_set()
        pool = image_set(seed=1).without_labels()
        views = SimpleNamespace(labelled=images, pool=pool, validation=image_set(seed=2), domains=None)
        return method.stage(Plan(config, views), Arm(sees, "none", None, transform, "encoded"), extra or NoExtra())

    return make


def fetched(stage, folder):
    store = StageStore(folder)
    return stage.load(store.fetch(stage).folder), stage.encoder.load(store.fetch(stage.encoder).folder)


@pytest.mark.parametrize("transform", ["none", "classical"])
def test_the_encoder_stays_as_it_is(lay_out, image_set, tmp_path, transform):
    trained, body = fetched(lay_out(transform=transform), tmp_path)
    assert isinstance(trained, TrainedClassifier)
    images = image_set()
    assert trained.features(images, torch.arange(len(images))).equal(body(to_float(images.images)))


def test_a_finetuned_encoder_changes(lay_out, image_set, tmp_path):
    stage = lay_out(finetune=True)
    trained, body = fetched(stage, tmp_path)
    images = image_set()
    assert not trained.features(images, torch.arange(len(images))).equal(body(to_float(images.images)))
    assert "classifier.num_steps" in stage.all_reads
    assert not any(name.startswith("classifier") for name in lay_out().all_reads)
    assert stage.key != lay_out().key
    assert stage.key == lay_out(finetune=True, views=3, weight_decay=1.0).key
    other = ClassifierSettings(CNN | {"channels": 8}, 20, 8, 0.01, 0.01)
    assert stage.key == lay_out(finetune=True, classifier=other).key  # its network is not used
    assert stage.alone() is stage


def test_on_pixels_it_is_logistic_regression(lay_out, image_set, tmp_path):
    trained, _ = fetched(lay_out(Pixels(), weight_decay=0.01), tmp_path)
    images, others = image_set(), image_set(seed=2)
    pixels, test = (to_float(one.images).flatten(1) for one in (images, others))
    scale = (pixels - pixels.mean(dim=0)).square().mean().sqrt()
    one = LogisticRegression(C=1 / (0.01 * len(images)), tol=1e-8, max_iter=10_000)
    one.fit((pixels - pixels.mean(dim=0)) / scale, images.labels)
    expected = torch.tensor(one.predict_proba((test - pixels.mean(dim=0)) / scale))
    torch.testing.assert_close(trained.probabilities(others).double(), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": "mixup"}, "has no further images and mixes none"),
        ({"extra": ClassMates.__new__(ClassMates)}, "has no further images and mixes none"),
        ({"views": 0}, "encoded.views=0"),
        ({"weight_decay": 0.0}, "encoded.weight_decay=0.0"),
        ({"finetune": 1}, "encoded.finetune=1"),
        ({"sees": "pool_images"}, "augmentation.sees=pool_images with an encoder of type Random"),
    ],
)
def test_what_it_cannot_do_is_refused(lay_out, changes, message):
    with pytest.raises(ValueError, match=message):
        lay_out(**changes)


@pytest.mark.parametrize("pretrained", [True, False])
def test_only_the_steps_of_a_classifier_are_used(lay_out, pretrained):
    other = FinetunedSettings.__new__(FinetunedSettings) if pretrained else object()
    with pytest.raises(ValueError, match="finetune=True trains the encoder as classifier=cnn is trained"):
        lay_out(classifier=other, finetune=True)


def test_features_that_are_all_alike_end_the_trial(lay_out, tmp_path):
    stage = lay_out(Pixels())
    same = stage.labelled.images[:1].expand_as(stage.labelled.images[:]).clone()
    alike = replace(stage, labelled=replace(stage.labelled, images=same))
    assert "the same features" in StageStore(tmp_path).fetch(alike).diverged
