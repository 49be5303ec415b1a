from types import SimpleNamespace

import pytest
import torch

from gan_augment.callbacks.samples import SampleGrid


class Generator(torch.nn.Module):
    """Shows the label as a level of gray, and remembers its latents."""

    def __init__(self):
        super().__init__()
        self.latents = []

    def forward(self, latents, labels):
        self.latents.append(latents)
        return (labels.float() - 1)[:, None, None, None].expand(-1, 1, 4, 4)


def draw(num_steps, **settings):
    """Run the callback over a training; return its pictures as (step, grid), and the generator."""
    pictures, ema = [], Generator()
    writer = SimpleNamespace(add_image=lambda tag, grid, step: pictures.append((tag, step, grid)))
    trainer = SimpleNamespace(num_training_batches=num_steps, logger=SimpleNamespace(experiment=writer))
    system = SimpleNamespace(
        num_classes=3, latent_dim=5, ema=ema, device="cpu", images_seen=lambda step: 64 * (step + 1)
    )
    callback = SampleGrid(seed=0, **settings)
    for step in range(num_steps):
        callback.on_train_batch_end(trainer, system, None, None, step)
    return pictures, ema


@pytest.mark.parametrize(("num_steps", "expected"), [(100, 12), (937, 12), (12, 12), (5, 5), (1, 1)])
def test_there_are_so_many_grids_and_the_last_at_the_end(num_steps, expected):
    pictures, _ = draw(num_steps)
    steps = [step for _, step, _ in pictures]
    assert len(set(steps)) == expected
    assert steps[-1] == 64 * num_steps
    assert {tag for tag, _, _ in pictures} == {"samples"}


def test_a_row_is_a_class_in_levels_from_0_to_1():
    ((_, _, grid),), _ = draw(1, num_columns=2)
    assert grid.shape == (3, 3 * 5 + 1, 2 * 5 + 1)  # a pixel between the images
    assert [grid[0, 3 + 5 * row, 3].item() for row in range(3)] == [0.0, 0.5, 1.0]


def test_all_grids_show_the_same_latents():
    _, ema = draw(10, num_grids=3)
    assert len(ema.latents) == 3
    assert all(torch.equal(latents, ema.latents[0]) for latents in ema.latents)
