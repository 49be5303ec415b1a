import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.domains import Domains, draw_plane, laid_out
from gan_augment.plan import plan_trial
from gan_augment.records.findings import Findings
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

DIGITS = "{_target_:gan_augment.data.standard_sets.digits}"
TWO = ("data=domains", f"data.from={DIGITS}", f"data.to={DIGITS}", "data.from_images=50", "data.to_images=100")


@pytest.fixture
def domains_settings(plain_settings):
    """Return the settings of a trial with the measure alone."""

    def settings(*overrides):
        node = {"domains": {"_target_": "gan_augment.measures.domains.Domains"}}
        return plain_settings("augmentation=none", *overrides) | {"measures": node}

    return settings


@pytest.fixture
def finished(image_set, tmp_path):
    """A trial on two domains, whose classifier's features are the mean and the spread of each image's pixels."""

    def make(source, target, part="test", **parts):
        images = {"labelled": image_set(per_class=2), "validation": source, "test": target, "pool": target} | parts
        split = SimpleNamespace(**images, domains=("here", "there"))

        def features(images, chosen):
            pixels = images.images[chosen].flatten(1).float()
            return torch.stack([pixels.mean(dim=1), pixels.std(dim=1)], dim=1)

        return SimpleNamespace(
            split=split, classifier=SimpleNamespace(features=features), part=part, folder=tmp_path, measured=target
        )

    return make


def test_a_trial_records_it_with_pictures_sections_and_the_projector(domains_settings, tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    trial = plan_trial(domains_settings(*TWO))
    record = run_trial(trial, folder, StageStore(tmp_path / "store"), "trial")
    assert record["warnings"] == []
    metrics = record["metrics"]["domains"]
    assert metrics["images"] == 200  # of the validation
    assert metrics["told_apart"] == pytest.approx((metrics["told_apart_source"] + metrics["told_apart_target"]) / 2)
    assert 0.3 < metrics["told_apart"] < 0.8  # digits against digits, some of them the same
    pictures = {title: one["picture"] for title, one in record["sections"].items()}
    assert pictures == {"Domains": "domains.png", "Features of the domains": "domain_features.png"}
    for name in pictures.values():
        assert np.unique(np.array(Image.open(folder / name).convert("L"))).size > 10
    projected = folder / "tensorboard" / "00000" / "domains"
    with (projected / "metadata.tsv").open() as file:
        heading, *rows = csv.reader(file, delimiter="\t")
    assert heading == ["class", "domain"]
    assert [name for _, name in rows] == ["from"] * 200 + ["to"] * 200
    places = np.loadtxt(projected / "tensors.tsv", delimiter="\t")
    assert places.shape == (400, 50)
    assert (projected / "sprite.png").exists()
    assert "domains:00000" in (folder / "tensorboard" / "projector_config.pbtxt").read_text()


def test_features_are_the_inputs_of_the_last_linear_layer(domains_settings, tmp_path):
    trial = plan_trial(domains_settings())
    output = StageStore(tmp_path / "store").fetch(trial.stages["classifier"])
    classifier = trial.stages["classifier"].load(output.folder)
    chosen = torch.tensor([5, 0, 7])
    features = classifier.features(trial.split.test, chosen)
    head = [layer for layer in classifier.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    expected = classifier.probabilities(trial.split.test)[chosen]
    assert torch.allclose(head(features).softmax(dim=1), expected, atol=1e-6)
    assert not head._forward_pre_hooks


def test_a_network_without_a_linear_layer_has_no_features(image_set, cpu):
    images = image_set()
    network = torch.nn.Flatten()
    classifier = TrainedClassifier(network, images.shape, images.class_names, [1, 1, 1], 8, cpu.device)
    with pytest.raises(ValueError, match="Flatten has no linear layer"):
        classifier.features(images, torch.arange(3))


@pytest.mark.parametrize(("gain", "least", "most"), [(1.0, 0.35, 0.65), (0.4, 0.95, 1.0)])
def test_domains_are_told_apart_as_often_as_scikit_learn_tells_them(image_set, finished, gain, least, most):
    source, target = image_set(per_class=40, seed=1), image_set(per_class=40, seed=2)
    target = replace(target, images=target.images.float().mul(gain).to(torch.uint8))
    one = finished(source, target)
    metrics = Domains().find(one).metrics["domains"]
    features = np.concatenate(
        [one.classifier.features(images, torch.arange(120)).double().numpy() for images in (source, target)]
    )
    is_target = np.arange(240) >= 120
    told = cross_val_predict(KNeighborsClassifier(1), features, is_target, cv=LeaveOneOut())
    shares = [np.mean(told[is_target == side] == side) for side in (False, True)]
    assert (metrics["told_apart_source"], metrics["told_apart_target"]) == pytest.approx(
        shares, abs=0.02
    )  # cdist rounds
    assert least <= metrics["told_apart"] <= most


def test_equally_many_images_of_each_domain_are_compared_up_to_a_limit(image_set, finished, monkeypatch):
    for most, number in ((500, 60), (40, 40)):
        monkeypatch.setattr("gan_augment.measures.domains.MOST", most)
        metrics = Domains().find(finished(image_set(per_class=25), image_set(per_class=20))).metrics["domains"]
        assert metrics["images"] == number


def test_while_test_stays_closed_the_target_is_the_pool(image_set, finished):
    source, pool = image_set(per_class=20, seed=1), image_set(per_class=20, seed=2).without_labels()
    dark = replace(pool, images=pool.images // 4)
    open_test, closed = (
        Domains().find(finished(source, pool, part, pool=dark)).metrics["domains"] for part in ("test", "validation")
    )
    assert open_test["told_apart"] < closed["told_apart"]


def test_few_validation_images_have_a_picture_alone(image_set, finished, tmp_path):
    found = Domains().find(finished(image_set(per_class=3), image_set(per_class=20)))
    assert found.metrics["domains"]["told_apart"] is None
    assert found.warnings == ("domains measures no features: it needs 20 validation images, and there are 9",)
    assert list(found.sections) == ["Domains"]
    assert [path.name for path in tmp_path.iterdir()] == ["domains.png"]


def test_it_does_not_apply_to_one_domain_and_says_so(domains_settings):
    trial = plan_trial(domains_settings())
    assert trial.measures == {}
    assert "the measure domains does not apply: these images are of one domain" in trial.notes
    assert plan_trial(domains_settings(*TWO)).measures.keys() == {"domains"}


def test_many_classes_and_images_without_labels_are_drawn(image_set, tmp_path):
    for name, num_classes in (("few", 3), ("many", 21)):
        source = image_set(per_class=4, num_classes=num_classes)
        source = ImageSet(source.images, source.labels, [f"$_{label}" for label in range(num_classes)])
        both = source, source.without_labels()
        places = torch.rand(2 * len(source), 2)
        draw_plane(places, both, ("here", "$there_"), tmp_path / f"{name}.png")
        colours = np.array(Image.open(tmp_path / f"{name}.png").convert("RGB")).reshape(-1, 3)
        assert len(np.unique(colours, axis=0)) > 10


def test_the_same_features_have_the_same_places():
    features = torch.randn(30, 60, generator=torch.Generator().manual_seed(0))
    first, again = laid_out(features), laid_out(features)
    assert all(one.equal(other) for one, other in zip(first, again, strict=True))
    assert (first[0].shape, first[1].shape) == ((30, 30), (30, 2))


def test_a_trial_that_runs_again_replaces_what_the_projector_shows(image_set, finished, capsys):
    one = finished(image_set(per_class=10), image_set(per_class=10))
    assert Domains().find(one) != Findings()
    Domains().find(one)
    assert capsys.readouterr().out == ""
