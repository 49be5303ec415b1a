from types import SimpleNamespace

import pytest
import torch
import yaml
from PIL import Image

from gan_augment.data.standard_sets import digits
from gan_augment.measures.membership import MembershipAttacks
from gan_augment.records.findings import Findings


@pytest.fixture(scope="module")
def parts():
    """Digits: training, validation, and fresh ones."""
    images = digits().images
    return [images.subset(torch.arange(first, 1797, 3)) for first in range(3)]


@pytest.fixture
def attack(parts, monkeypatch, tmp_path):
    """Attack a GAN that has seen 100 images, whose discriminator is given, and that made some images."""
    training, validation, _ = parts
    labelled = training.subset(torch.arange(100))

    class Trained(SimpleNamespace):
        """A stage that trained a GAN."""

    monkeypatch.setattr("gan_augment.measures.membership.TrainGAN", Trained)

    def attacked(made, critic, clusters=1, decoys=validation):
        design = SimpleNamespace(
            conditioning=SimpleNamespace(clusters=clusters), settings=SimpleNamespace(batch_size=32)
        )
        stages = {
            "gan": Trained(
                design=design, critic=lambda folder: critic, labelled=labelled, image_sets={"labelled": labelled}
            )
        }
        split = SimpleNamespace(training=labelled, validation=decoys)
        finished = SimpleNamespace(
            synthetic=made,
            split=split,
            stages=stages,
            outputs={"gan": SimpleNamespace(folder=None)},
            folder=tmp_path,
        )
        return MembershipAttacks().find(finished), labelled

    return attacked


def test_an_honest_gan_gives_nothing_away(attack, parts, tmp_path):
    found, _ = attack(parts[2], lambda images, labels: images.mean(dim=(1, 2, 3)))
    metrics = found.metrics["gan"]["membership"]
    assert metrics["decoys"] == 100
    for name in ("logit", "distance"):
        assert metrics[f"{name}_auc_low"] < 0.5 < metrics[f"{name}_auc_high"]
        assert metrics[f"{name}_p"] > 0.05
    assert found.warnings == ()
    section = found.sections["Membership"]
    assert set(section.columns) <= {f"gan.membership.{name}" for name in metrics}
    with Image.open(tmp_path / section.picture) as picture:
        assert picture.size == (630, 720)


def test_copies_and_a_discriminator_that_remembers_give_them_away(attack, parts):
    labelled = parts[0].subset(torch.arange(100))
    known = {image.numpy().tobytes() for image in labelled.images}

    def critic(images, labels):
        pixels = ((images + 1) * 127.5).round().to(torch.uint8)
        return torch.tensor([float(image.numpy().tobytes() in known) for image in pixels])

    found, _ = attack(labelled.joined(parts[2]), critic)
    metrics = found.metrics["gan"]["membership"]
    assert (metrics["logit_auc"], metrics["logit_tpr"], metrics["distance_tpr"]) == (1, 1, 1)
    assert [one.split(" tells")[0] for one in found.warnings] == [
        "membership: the discriminator's logit",
        "membership: the distance to the nearest generated image",
    ]


def test_a_discriminator_of_clusters_is_not_asked(attack, parts):
    found, _ = attack(parts[2], None, clusters=2)
    assert "logit_auc" not in found.metrics["gan"]["membership"]
    assert found.metrics["gan"]["membership"]["distance_auc"] > 0


def test_few_decoys_and_points_and_given_images_are_left(attack, parts):
    found, _ = attack(parts[2], None, decoys=parts[1].subset(torch.arange(10)))
    assert found.metrics["gan"]["membership"] == {"decoys": 10}
    assert found.warnings[0].startswith("membership is refused: it needs 20 decoys")
    assert MembershipAttacks().find(SimpleNamespace(synthetic=parts[2], stages={})) == Findings()


def test_a_gan_is_attacked_and_the_card_says_what_was_found(measured, tmp_path):
    from gan_augment.synthesize import main as synthesize

    record, folder = measured("copies,membership")
    found = record["metrics"]["gan"]["membership"]
    assert found["decoys"] == 50
    assert 0 <= found["logit_auc_low"] <= found["logit_auc"] <= found["logit_auc_high"] <= 1
    assert {"Copies", "Membership"} <= set(record["sections"])
    synthesize([f"generator={folder}", "per_class=2", f"out={tmp_path / 'set'}"])
    card = (tmp_path / "set" / "data_card.md").read_text()
    assert (
        f"| copies.detection_limit | {record['metrics']['gan']['copies']['detection_limit']} |" in card
        or "| copies.named | 0 |" in card
    )
    told = yaml.safe_load(card.split("---")[1])["gan_augment"]["card"]["metrics"]
    assert told["membership.logit_auc"] == found["logit_auc"]
    assert not {"private", "anonymous", "safe"} & set(card.lower().replace("|", " ").split())
