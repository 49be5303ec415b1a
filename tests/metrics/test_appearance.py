import pytest
import torch

from gan_augment.metrics.appearance import UNITS, appearance


def bar(tilt=0.0, width=4, at=0, length=20, side=40, value=255):
    """Draw a bright bar that leans to the right by a tilt, in pixels per row."""
    image = torch.zeros(side, side)
    for row in range(length):
        y = (side - length) // 2 + row
        x = side / 2 + at - tilt * (row - (length - 1) / 2)
        image[y, round(x - width / 2) : round(x + width / 2)] = value
    return image.to(torch.uint8)[None]


def of(*images):
    return {name: values.tolist() for name, values in appearance(torch.stack(images)).items()}


def test_an_upright_bar_in_the_middle():
    found = of(bar())
    assert found["position to the right"] == pytest.approx([0], abs=0.1)
    assert found["position down"] == pytest.approx([0], abs=0.1)
    assert found["slant"] == pytest.approx([0], abs=0.1)
    assert found["brightness"] == pytest.approx([100 * 80 / 1600])
    assert found["stroke width"] == pytest.approx([2 * 80 / 48])
    assert set(found) == set(UNITS) - {"red against green", "yellow against blue"}


@pytest.mark.parametrize(("tilt", "degrees"), [(0.5, 26.6), (-0.5, -26.6), (1.0, 45.0)])
def test_a_bar_that_leans(tilt, degrees):
    assert of(bar(tilt, length=16))["slant"] == pytest.approx([degrees], abs=2)


def test_position_size_and_width_follow_the_bar():
    there, right, long, wide = (of(bar(**some)) for some in ({}, {"at": 10}, {"length": 30}, {"width": 8}))
    assert right["position to the right"][0] - there["position to the right"][0] == pytest.approx(25, abs=0.1)
    assert long["size"][0] > 1.3 * there["size"][0]
    assert wide["stroke width"][0] > 1.5 * there["stroke width"][0]


def test_what_is_dark_on_bright_ground_has_the_same_shape():
    one, other = of(bar(0.5)), of(255 - bar(0.5))
    for name in ("slant", "size", "stroke width", "position to the right"):
        assert one[name] == pytest.approx(other[name])


def test_an_empty_image_has_no_shape():
    found = of(torch.full((1, 8, 8), 60, dtype=torch.uint8))
    assert all(found[name] == [0] for name in ("slant", "size", "stroke width", "position down"))


def test_colours_are_differences_of_channels():
    red, yellow = torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4, dtype=torch.uint8)
    red[0], yellow[:2] = 255, 255
    found = of(red, yellow)
    assert found["red against green"] == [100, 0]
    assert found["yellow against blue"] == [50, 100]
