import dataclasses
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest
import torch
from PIL import Image

from gan_augment.artefacts.drawing import contact_sheet, draw_confusion_matrix, draw_side_by_side
from gan_augment.data.image_set import ImageSet
from gan_augment.data.toy import ring


def gray(level, per_class=10, num_classes=3):
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    images = torch.full((len(labels), 1, 8, 8), level, dtype=torch.uint8)
    return ImageSet(images, labels, [f"class{label}" for label in range(num_classes)])


def test_real_images_stand_left_of_synthetic_ones(tmp_path):
    draw_side_by_side(gray(40), gray(200), tmp_path / "samples.png")
    picture = matplotlib.image.imread(tmp_path / "samples.png")[..., :3]
    left, right = np.array_split(picture, 2, axis=1)
    for half, level in ((left, 40), (right, 200)):
        share = (np.abs(half - level / 255) < 0.01).all(axis=-1).mean()
        assert share > 0.3
    assert not (np.abs(left - 200 / 255) < 0.002).all(axis=-1).mean() > 0.1


def test_the_same_images_make_the_same_file(tmp_path):
    for name in ("one.png", "two.png"):
        draw_side_by_side(gray(40), gray(200), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("per_class", [0, 1, 3])
def test_a_class_may_have_few_images_or_none(tmp_path, per_class):
    few = gray(40, per_class=per_class)
    if per_class == 0:
        few = dataclasses.replace(few, images=torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
    draw_side_by_side(few, gray(200), tmp_path / "few.png")
    draw_side_by_side(gray(40), gray(200), tmp_path / "many.png")
    few, many = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("few", "many"))
    assert few.shape == many.shape
    assert ((few - 40 / 255).__abs__() < 0.01).mean() < ((many - 40 / 255).__abs__() < 0.01).mean()


def test_the_confusion_matrix_shows_every_count_that_is_not_zero():
    figure = draw_confusion_matrix(torch.tensor([[5, 0, 1], [0, 7, 0], [2, 0, 0]]), ["a", "b", "c"])
    (axes,) = figure.axes
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {
        (0, 0, "5"),
        (2, 0, "1"),
        (1, 1, "7"),
        (0, 2, "2"),
    }
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[5 / 6, 0, 1 / 6], [0, 1, 0], [1, 0, 0]], rtol=1e-6)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_a_class_without_test_images_has_an_empty_row():
    figure = draw_confusion_matrix(torch.tensor([[0, 0], [1, 1]]), ["a", "b"])
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0, 0], [0.5, 0.5]])


def test_names_of_classes_are_no_formulas(tmp_path):
    odd = dataclasses.replace(gray(40), class_names=["$a^{$", "b_", "\\c"])
    draw_side_by_side(odd, odd, tmp_path / "odd.png")
    draw_confusion_matrix(torch.eye(3, dtype=torch.int64), ["$a^{$", "b_", "\\c"]).savefig(tmp_path / "counts.png")
    assert (tmp_path / "counts.png").stat().st_size > 1000


@pytest.mark.parametrize("sizes", [(10, 10, 3), (10, 0, 1)])
def test_a_contact_sheet_shows_images_spread_over_each_class(sizes):
    labels = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    pixels = (20 * labels + torch.cat([torch.arange(size) for size in sizes])).to(torch.uint8)
    images = ImageSet(pixels[:, None, None, None].repeat(1, 1, 16, 16), labels, ["cat", "größe", "x" * 60])
    sheet = Image.open(BytesIO(contact_sheet(images)))
    margin = sheet.width - 3 * (8 * 17 + 1)  # images of 16 pixels with a line between them, all three times as large
    assert sheet.height == 3 * (3 * 17 + 1)
    assert 100 < margin < 500
    found = [
        [sheet.getpixel((margin + 3 * (17 * column + 8), 3 * (17 * row + 8)))[0] for column in range(8)]
        for row in range(3)
    ]
    rows = [[0, 1, 2, 3, 5, 6, 7, 9], [20, 21, 22, 23, 25, 26, 27, 29], [40, 41, 42, *[96] * 5]]
    assert found == (rows if sizes[1] else [rows[0], [96] * 8, [40, *[96] * 7]])


def test_a_contact_sheet_makes_large_images_smaller():
    large = ImageSet(torch.full((3, 3, 200, 400), 9, dtype=torch.uint8), torch.tensor([0, 1, 1]), ["a", "b"])
    sheet = Image.open(BytesIO(contact_sheet(large)))
    assert sheet.height == 2 * 97 + 1
    assert [sheet.getpixel((sheet.width - 8 * 97 + 48, y))[0] for y in (10, 48)] == [0, 9]  # bars


def test_a_contact_sheet_of_points_is_a_map():
    assert Image.open(BytesIO(contact_sheet(ring(50).images))).size == (200, 200)
