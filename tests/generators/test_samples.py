from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from gan_augment.data.image_set import ImageSet, from_float
from gan_augment.data.toy import ring
from gan_augment.generators.samples import SampleGrid


class Generator(torch.nn.Module):
    """Shows the label as a level of gray, and remembers its latents."""

    def __init__(self):
        super().__init__()
        self.latents = []

    def forward(self, latents, labels):
        self.latents.append(latents)
        return (labels.float() - 1)[:, None, None, None].expand(-1, 1, 4, 4)


class Noise(torch.nn.Module):
    """Shows the latents as they are, so that images of one class differ."""

    def forward(self, latents, labels):
        return latents.clamp(-1, 1).view(len(latents), *((2, 1, 1) if latents.shape[1] == 2 else (1, 1, 5)))


def real_images(num_classes=3, per_class=20):
    """Images whose pixels are as the latents of `Noise`, clamped."""
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    noise = torch.randn(len(labels), 1, 1, 5, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    return ImageSet(noise.add(1).mul(127.5).to(torch.uint8), labels, [f"c{label}" for label in range(num_classes)])


def draw(num_steps, real=None, ema=None, latent_dim=5, **settings):
    """Run the callback over a training; return its pictures as (tag, step, grid), its curves, and the generator."""
    pictures, curves, ema = [], [], ema or Generator()
    writer = SimpleNamespace(add_image=lambda tag, grid, step: pictures.append((tag, step, grid)))
    logger = SimpleNamespace(experiment=writer, log_metrics=lambda values, step: curves.append((step, values)))
    trainer = SimpleNamespace(logger=logger)

    def sample(labels, random, dtype):
        return from_float(ema(torch.randn(len(labels), latent_dim, generator=random), labels), dtype)

    system = SimpleNamespace(
        sample=sample,
        images_seen=lambda step: 64 * (step + 1),
        turn=lambda step, number: step * number // num_steps,
        pause=nullcontext,
    )
    callback = SampleGrid(real or real_images(), seed=0, **settings)
    for step in range(num_steps):
        callback.on_train_batch_end(trainer, system, None, None, step)
    return pictures, curves, ema


@pytest.mark.parametrize(("num_steps", "expected"), [(100, 12), (937, 12), (12, 12), (5, 5), (1, 1)])
def test_there_are_so_many_grids_and_the_last_at_the_end(num_steps, expected):
    pictures, curves, _ = draw(num_steps)
    steps = [step for _, step, _ in pictures]
    assert len(set(steps)) == expected
    assert steps[-1] == 64 * num_steps
    assert {tag for tag, _, _ in pictures} == {"samples"}
    assert [step for step, _ in curves] == steps


def test_a_row_is_a_class_of_eight():
    ((_, _, grid),), _, _ = draw(1)
    assert grid.shape == (3, 3 * 5 + 1, 8 * 5 + 1)  # a pixel between the images
    assert [grid[0, 3 + 5 * row, 3].item() for row in range(3)] == [0, 128, 255]


def test_a_single_class_fills_a_page():
    ((_, _, grid),), _, _ = draw(1, real_images().as_one_class())
    assert grid.shape == (3, 8 * 5 + 1, 8 * 5 + 1)


def test_points_are_drawn_where_they_lie():
    ((_, _, picture),), curves, _ = draw(1, ring(100).images, Noise(), latent_dim=2)
    assert picture.shape == (3, 200, 200)
    assert 1000 < (picture[0] == 255).sum() <= 2500
    assert curves == []


def test_all_grids_show_the_same_latents():
    _, _, ema = draw(10, num_grids=3)
    assert len(ema.latents) == 3
    assert all(torch.equal(latents, ema.latents[0]) for latents in ema.latents)


def test_the_diversity_of_a_class_is_that_of_its_samples_over_that_of_its_real_images():
    _, curves, _ = draw(1, ema=Generator())
    assert curves == [(64, {"diversity/c0": 0, "diversity/c1": 0, "diversity/c2": 0})]
    _, ((_, curve),), _ = draw(1, ema=Noise())
    assert list(curve) == ["diversity/c0", "diversity/c1", "diversity/c2"]
    assert list(curve.values()) == pytest.approx([1, 1, 1], abs=0.2)


def test_a_class_whose_real_images_are_all_the_same_has_no_diversity_to_compare_with():
    same = real_images()
    same = ImageSet(same.images.where(same.labels[:, None, None, None] > 0, 7), same.labels, same.class_names)
    _, ((_, curve),), _ = draw(1, same, Noise())
    assert list(curve) == ["diversity/c1", "diversity/c2"]
