from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.measures.counterfactuals import Counterfactuals, attack, choose, distance_to_class
from gan_augment.networks.conditioning import LabelBehind
from gan_augment.records.findings import Findings

SIDE = 6


class Blocks(nn.Module):
    """Images whose left half is bright for class 0 and whose right half for class 1, at a brightness of one number."""

    def forward(self, inputs):
        brightness, left, right = inputs.unbind(dim=1)
        halves = torch.stack([left, right], dim=1)[:, None, None, :].expand(-1, 1, SIDE, -1)
        return (2 * halves - 1).repeat_interleave(SIDE // 2, dim=3) * (0.8 + 0.1 * brightness.tanh())[
            :, None, None, None
        ]


class Brighter(nn.Module):
    """Logits that say which half is brighter; the left one needs a lead."""

    def forward(self, images):
        left, right = images[:, 0].view(-1, SIDE, 2, SIDE // 2).mean(dim=(1, 3)).unbind(dim=1)
        return torch.stack([left - 0.4, right], dim=1)


@pytest.fixture
def generator():
    embedding = nn.Embedding(2, 2)
    with torch.no_grad():
        embedding.weight.copy_(torch.eye(2))
    network = LabelBehind(embedding, Blocks()).requires_grad_(False)
    counts = torch.tensor([9, 9])
    return Generator(
        network,
        1,
        ImageShape(1, SIDE, SIDE),
        torch.uint8,
        ["left", "right"],
        True,
        1,
        counts,
        {"images_seen": 9},
        "0" * 16,
    )


@pytest.fixture
def classifier():
    network = Brighter()

    def probabilities(images):
        return network(images.images.float() / 127.5 - 1).softmax(dim=1)

    return SimpleNamespace(
        network=network, probabilities=probabilities, device=torch.device("cpu"), class_names=["left", "right"]
    )


def blocks(generator, labels, seed=0):
    """Images of the generator, with labels that may be wrong."""
    random = torch.Generator().manual_seed(seed)
    shown = torch.arange(len(labels)) % 2
    images = generator.show(torch.randn(len(labels), 1, generator=random), shown)
    return ImageSet(images, torch.tensor(labels), ["left", "right"])


def find(generator, classifier, validation, folder):
    split = SimpleNamespace(validation=validation, training=blocks(generator, [0, 1] * 10, seed=1))
    finished = SimpleNamespace(
        stages={"gan": object()},
        synthetic=validation,
        generator=generator,
        classifier=classifier,
        split=split,
        folder=folder,
    )
    return Counterfactuals().find(finished)


def test_wrong_images_and_right_ones_of_the_most_confused_pair_are_chosen(generator):
    images = blocks(generator, [0, 1, 1, 1, 0, 0])
    case = choose(torch.tensor([0, 1, 0, 1, 1, 1]), images)  # one 1 is taken for a 0, two 0 for a 1
    assert list(case.kinds) == ["wrong"] * 3 + ["right"]
    assert case.before.tolist() == [0, 1, 1, 0]
    assert case.after.tolist() == [1, 0, 0, 1]


def test_the_class_changes_until_the_answer_does(generator, classifier, tmp_path):
    found = find(
        generator, classifier, blocks(generator, [0, 1, 0, 0]), tmp_path
    )  # one image of the right is mislabelled
    metrics = found.metrics["gan"]["counterfactuals"]
    assert metrics["inverted"] == metrics["tried"] == 3
    assert metrics["fit"] > 0.99
    assert metrics["valid"] == 1
    assert 0.1 < metrics["change"] < 0.8
    assert metrics["pgd_valid"] == 1  # this classifier has no other way to change its answer
    section = found.sections["Counterfactuals"]
    assert section.sentences[0].startswith("a wrong answer becomes the right one: right to left, 1 image, pixels")
    assert section.sentences[1].startswith("a right answer becomes the usual wrong one: left to right, 2 images")
    assert (tmp_path / section.picture).stat().st_size > 1000


def test_images_that_the_generator_does_not_reach_are_refused(generator, classifier, tmp_path):
    validation = blocks(generator, [0, 1, 0, 0])
    noise = torch.randint(0, 256, validation.images.shape, generator=torch.Generator().manual_seed(0))
    found = find(generator, classifier, ImageSet(noise.to(torch.uint8), validation.labels, ["left", "right"]), tmp_path)
    assert found.metrics["gan"]["counterfactuals"]["inverted"] == 0
    assert found.warnings[0].startswith("counterfactuals: no validation image could be inverted")


def test_an_attack_is_no_larger_than_asked_and_goes_where_it_is_told(classifier):
    images = torch.zeros(3, 1, SIDE, SIDE)
    size = torch.tensor([0.1, 1.0, 5.0])
    attacked = attack(classifier, images, torch.tensor([0, 0, 0]), size)
    assert (attacked - images).flatten(1).norm(dim=1).tolist() == pytest.approx(size.tolist(), rel=0.3)
    assert (attacked - images).flatten(1).norm(dim=1).le(size + 1e-4).all()
    assert classifier.network(attacked).argmax(dim=1).tolist()[-1] == 0


def test_the_distance_to_a_class_is_1_at_the_usual_distance(image_set):
    images = image_set(per_class=50, size=4)
    real = images.images.float() / 127.5 - 1
    assert distance_to_class(real, images.labels, images) == pytest.approx(0, abs=0.01)
    fresh = image_set(per_class=50, size=4, seed=1)
    assert distance_to_class(fresh.images.float() / 127.5 - 1, fresh.labels, images) == pytest.approx(1, abs=0.1)


def test_where_it_does_not_apply(generator, classifier):
    assert Counterfactuals().find(SimpleNamespace(stages={}, classifier=classifier)) == Findings()
    other = SimpleNamespace(network=nn.Identity(), clusters=1)
    shape = SimpleNamespace(shape=generator.shape)
    found = Counterfactuals().find(
        SimpleNamespace(stages={"gan": object()}, classifier=classifier, synthetic=shape, generator=other)
    )
    assert found.warnings[0].startswith("counterfactuals are refused: the generator has no embedding")


def test_a_trial_has_them(measured):
    assert measured("counterfactuals")[0]["metrics"]["gan"]["counterfactuals"]["tried"] > 0
