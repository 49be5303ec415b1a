import dataclasses

import matplotlib.image
import numpy as np
import pytest
import torch

from gan_augment.artefacts.drawing import draw_confusion_matrix, draw_side_by_side
from gan_augment.data.image_set import ImageSet


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
