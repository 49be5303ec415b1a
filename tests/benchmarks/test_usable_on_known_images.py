import sys
from pathlib import Path

import pytest
import torch

sys.path += [str(Path(__file__).parents[2] / "benchmarks")]

from usable import answers, kinds, line

from gan_augment.data.standard_sets import digits


def test_images_are_made_worse_as_they_say():
    real = digits(image_size=16).images
    found = kinds(real, torch.Generator().manual_seed(0))
    assert all(images.shape == real.images.shape and images.dtype == torch.uint8 for images in found.values())
    assert torch.equal(found["other real images"], real.images)
    for number, name in ((1, "one image a class"), (3, "three images a class")):
        assert {len(found[name][real.members(label)].unique(dim=0)) for label in range(10)} == {number}
    moved = found["pixels in another order"]
    assert torch.equal(moved.flatten(1).sort().values, real.images.flatten(1).sort().values)
    assert not torch.equal(moved, real.images)
    for width in (32, 16):
        blurred = found[f"blurred by 1/{width} of the side"].float()
        assert blurred.mean() == pytest.approx(real.images.float().mean().item(), rel=0.02)
        assert blurred.std() < real.images.float().std()


def test_every_kind_is_asked_in_every_draw():
    small = "data=digits measures.judge.num_steps=40 measures.judge.network.channels=4"
    number, found = answers(small, 60, draws=1)
    assert number == 60
    assert {kind: [one["usable"] for one in those] for kind, those in found.items()}.items() >= {
        "other real images": [1],
        "uniform noise": [0],
        "one image a class": [0],
    }.items()
    assert all(one["told_apart_of"] == 60 for those in found.values() for one in those)


def test_a_line_has_the_medians():
    known = {"told_apart_pixels": 1.0, "variety": 0.5, "sharpness": 2.0}
    found = [known | {"usable": 0.0, "variety": value} for value in (0.1, 0.2, 0.9)] + [known | {"usable": 1.0}]
    assert line("noise", found) == "| noise | 1.00 |  |  | 0.35 | 2.00 | no in 3 of 4 |"
