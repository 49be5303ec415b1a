import math

import pytest
import torch

from gan_augment.data.toy import grid, ring


def test_the_ring_has_eight_modes_at_equal_distances_on_a_circle_of_radius_1():
    modes = ring(1).modes
    centres = modes.centres * 1.1
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(8))
    torch.testing.assert_close((centres - centres.roll(1, 0)).norm(dim=1), torch.full((8,), 2 * math.sin(math.pi / 8)))
    assert modes.std * 1.1 == pytest.approx(0.01)


def test_the_grid_has_25_modes_two_apart():
    modes = grid(1).modes
    found = {tuple(row) for row in (modes.centres * 4.5).round().int().tolist()}
    assert found == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert modes.std * 4.5 == pytest.approx(0.05)


@pytest.mark.parametrize("density", [ring, grid])
def test_points_are_drawn_from_the_density(density):
    source = density(20_000)
    points, modes = source.images.images.flatten(1), source.modes
    assert points.abs().max() < 1
    which = torch.cdist(points, modes.centres).argmin(dim=1)
    deviations = (points - modes.centres[which]) / modes.std
    assert deviations.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.03)
    assert deviations.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.02)
    expected = len(points) / len(modes.centres)
    assert (which.bincount() - expected).abs().max() < 5 * expected**0.5


def test_test_points_stand_apart_and_all_are_of_one_class():
    source = ring(100)
    assert source.test.tolist() == list(range(100, 2600))
    assert source.images.class_names == ["points"]
    assert source.images.labels.unique().tolist() == [0]


def test_the_same_points_come_every_time():
    assert ring(50).images.fingerprint == ring(50).images.fingerprint != ring(51).images.fingerprint


def test_no_points_are_refused():
    with pytest.raises(ValueError, match=r"^data\.num_points=0: use a whole number of at least 1$"):
        ring(0)
