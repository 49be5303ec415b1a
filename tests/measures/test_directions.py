import csv
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageShape
from gan_augment.data.toy import ring
from gan_augment.measures.directions import Directions, beyond, effect, first_layer, image_components
from gan_augment.records.findings import Findings

SIDE, LENGTH = 16, 6


class Bars(nn.Module):
    """A bar whose place follows the first number of the latent vector, and whose brightness the second one."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(LENGTH, 2, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2, LENGTH) * torch.tensor([[1.5], [1.0]]))

    def forward(self, latents, labels):
        place, bright = self.first(latents).unbind(dim=1)
        columns = torch.arange(SIDE).float() - (SIDE - 1) / 2
        bar = (-((columns - place[:, None]) ** 2) / 4).exp() * (0.6 + 0.1 * bright[:, None]).clamp(0.05, 1)
        return 2 * bar[:, None, None, :].expand(-1, 1, SIDE, -1) - 1


@pytest.fixture
def bars():
    shape = ImageShape(1, SIDE, SIDE)
    return Generator(
        Bars(),
        LENGTH,
        shape,
        torch.uint8,
        ["left", "right"],
        True,
        1,
        torch.tensor([9, 9]),
        {"images_seen": 9},
        "0" * 16,
    )


@pytest.fixture
def sides():
    """A classifier that tells on which side an image is brighter."""

    def probabilities(images):
        halves = images.images.float().view(len(images), SIDE, 2, -1).mean(dim=(1, 3))
        return halves / halves.sum(dim=1, keepdim=True)

    return SimpleNamespace(probabilities=probabilities, class_names=["left", "right"])


def test_the_first_layer_gives_its_singular_vectors(bars):
    found = first_layer(bars)
    assert found[0].abs().tolist() == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-5)
    assert found[1].abs().tolist() == pytest.approx([0, 1, 0, 0, 0, 0], abs=1e-5)


def test_the_components_of_the_images_are_found_in_the_latent_space(bars):
    first = image_components(bars)[0]
    assert first[:2].norm() > 0.99


def test_a_direction_is_described_by_what_it_moves(bars, sides):
    one = effect(bars, torch.eye(LENGTH)[0], sides)
    assert one.changes["position to the right"] == pytest.approx(100 * 3 * 1.5 / SIDE, rel=0.25)
    assert one.flips > 0.8
    assert {pair for pair, _ in one.pairs} <= {(0, 1), (1, 0)}
    other = effect(bars, torch.eye(LENGTH)[1], sides)
    assert other.changes["brightness"] > 5
    assert other.flips == 0
    nothing = effect(bars, torch.eye(LENGTH)[5], sides)
    assert set(nothing.changes.values()) == {0}
    strong, weak = beyond([one, nothing], [other, nothing])
    assert strong > 1
    assert weak == 0


def test_directions_beyond_the_random_ones_are_listed_with_a_table_and_a_picture(bars, sides, tmp_path):
    finished = SimpleNamespace(
        stages={"gan": None},
        synthetic=SimpleNamespace(shape=bars.shape),
        generator=bars,
        classifier=sides,
        folder=tmp_path,
    )
    found = Directions().find(finished)
    metrics = found.metrics["gan"]["directions"]
    section = found.sections["Directions"]
    assert metrics["listed"] >= 1
    assert metrics["flips"] > metrics["flips_random"] > 0
    assert any("position to the right" in sentence and "mostly" in sentence for sentence in section.sentences)
    assert section.picture == "directions.png"
    assert (tmp_path / "directions.png").stat().st_size > 1000
    with (tmp_path / "directions.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == metrics["tried"]
    assert sum(row["listed"] == "yes" for row in rows) == metrics["listed"]


def test_points_and_given_images_have_none():
    of_points = SimpleNamespace(stages={"gan": None}, synthetic=ring().images)
    assert Directions().find(of_points) == Findings()
    assert Directions().find(SimpleNamespace(stages={})) == Findings()


def test_an_embedding_of_clusters_is_not_taken_for_the_first_layer(bars):
    class Clustered(Bars):
        """As `Bars`, after a layer that sees only the label."""

        def __init__(self):
            super().__init__()
            self.of_centre = nn.Linear(1, 1)

        def forward(self, latents, labels):
            self.of_centre(labels[:, None].float())
            return super().forward(latents, labels)

    found = first_layer(dataclasses.replace(bars, network=Clustered()))
    assert torch.allclose(found.abs(), first_layer(bars).abs(), atol=1e-5)


@pytest.mark.parametrize("conditioning", ["concat", "per_class"])
def test_the_directions_of_a_trained_gan(measured, conditioning):
    record, folder = measured("directions", f"conditioning={conditioning}")
    assert record["warnings"] == []
    assert record["metrics"]["gan"]["directions"]["tried"] >= 8
    assert record["sections"]["Directions"]["explained"].startswith("What does the generator vary")
    assert (folder / "directions.csv").exists()
