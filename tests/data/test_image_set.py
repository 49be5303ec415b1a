import dataclasses

import pytest
import torch

from gan_augment.data.image_set import ImageSet, ImageShape, to_float, to_uint8


def test_every_pixel_value_survives_the_way_to_float_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(pixels)
    assert floats.dtype == torch.float32
    assert floats[[0, 255]].tolist() == [-1.0, 1.0]
    assert torch.equal(to_uint8(floats), pixels)


def test_to_uint8_rounds_to_the_nearest_level_and_cuts_off_what_is_out_of_range():
    assert to_uint8(torch.tensor([-7.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 3.0])).tolist() == [0, 0, 1, 255]


def test_to_float_leaves_the_images_as_they_are():
    pixels = torch.full((2, 1, 2, 2), 7, dtype=torch.uint8)
    to_float(pixels)
    assert pixels.unique().tolist() == [7]


def test_shape_and_number_of_classes():
    images = ImageSet(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), torch.tensor([0, 0]), ["a", "b", "c"])
    assert images.shape == ImageShape(channels=3, height=4, width=5)
    assert (len(images), images.num_classes) == (2, 3)


def test_only_square_images_have_a_size():
    assert ImageShape(1, 8, 8).size == 8
    with pytest.raises(ValueError, match="8x9 pixels: only square images"):
        _ = ImageShape(1, 8, 9).size


def test_a_subset_holds_images_with_their_labels(image_set):
    images = image_set()
    part = images.subset(torch.tensor([25, 3]))
    assert torch.equal(part.images, images.images[[25, 3]])
    assert part.labels.tolist() == [2, 0]
    assert part.class_names == images.class_names


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2), "use uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2), r"use uint8 \[N, C, H, W\]"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3), "2 images but labels of shape"),
    ],
)
def test_what_is_no_image_set_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels, ["a"])


def one_pixel(images):
    pixels = images.images.clone()
    pixels[4, 0, 3, 3] += 1
    return dataclasses.replace(images, images=pixels)


def one_label(images):
    labels = images.labels.clone()
    labels[4] = 1
    return dataclasses.replace(images, labels=labels)


def other_order(images):
    return images.subset(torch.arange(len(images)).flip(0))


def other_names(images):
    return dataclasses.replace(images, class_names=["a", "b", "c"])


def other_shape(images):
    return dataclasses.replace(images, images=images.images.reshape(len(images), 1, 4, 16))


@pytest.mark.parametrize("change", [one_pixel, one_label, other_order, other_names, other_shape])
def test_the_fingerprint_notices(image_set, change):
    assert change(image_set()).fingerprint != image_set().fingerprint


def test_the_fingerprint_depends_on_content_alone(image_set):
    images = image_set(channels=3)
    strided = images.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert dataclasses.replace(images, images=strided).fingerprint == image_set(channels=3).fingerprint
