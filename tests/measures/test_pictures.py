from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.measures.pictures import Pictures, nearest, slerp


class Painter(torch.nn.Module):
    """Shows the label as brightness and the latent's first number in the left half."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, labels):
        images = (labels / 2 - 1)[:, None, None, None].repeat(1, 1, 8, 8)
        images[..., :4] = latents[:, :1, None, None].tanh()
        return self.scale * images


def generator(names):
    return Generator(
        Painter(), 5, ImageShape(1, 8, 8), torch.uint8, names, len(names) > 1, 1, torch.ones(3), {}, "0" * 16
    )


def sets(names):
    made = generator(names)
    labels = torch.arange(len(names)).repeat_interleave(8)
    images = torch.cat([made.images(label, torch.arange(8), 0) for label in range(len(names))])
    return ImageSet(images, labels, names)


def draw_pictures(names, folder):
    images, stages = sets(names), {"gan": SimpleNamespace(image_sets={})}
    given = {"real": images, "synthetic": images, "split": SimpleNamespace(labelled=images), "stages": stages}
    Pictures().find(SimpleNamespace(**given, generator=generator(names), folder=folder))


def test_every_look_is_drawn(tmp_path):
    draw_pictures(["a", "b", "c"], tmp_path)
    drawn = ["class_walk.png", "interpolation.png", "nearest.png", "samples.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == drawn
    for path in tmp_path.iterdir():
        assert np.unique(np.array(Image.open(path).convert("L"))).size > 10


def test_a_generator_without_classes_walks_through_none(tmp_path):
    draw_pictures(["any"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interpolation.png", "nearest.png", "samples.png"]


@pytest.mark.parametrize("number", [1, 5000])
def test_the_nearest_image_is_that_of_all(number, mapped):
    random = torch.Generator().manual_seed(0)
    among = torch.randint(0, 256, (number, 1, 8, 8), generator=random, dtype=torch.uint8)
    wanted = among[[number - 1, 0, number // 2]].clone()
    wanted[:, 0, 0, 0] ^= 7  # not quite a copy
    labels = torch.zeros(number, dtype=torch.int64)
    expected = [number - 1, 0, number // 2]
    assert nearest(wanted, ImageSet(among, labels, ["a"])).tolist() == expected
    assert nearest(wanted, mapped(ImageSet(among, labels, ["a"]))).tolist() == expected


def test_a_great_circle_keeps_the_length_of_vectors():
    start, end = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 3.0])
    for share in (0.0, 0.25, 0.5, 1.0):
        assert slerp(start, end, share).norm().item() == pytest.approx(3)
    assert torch.allclose(slerp(start, end, 0.0), start)
    assert torch.allclose(slerp(start, end, 1.0), end, atol=1e-6)
    assert torch.allclose(slerp(start, start, 0.5), start)
