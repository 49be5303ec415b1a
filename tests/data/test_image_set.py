import dataclasses

import pytest
import torch

from gan_augment.data.image_set import (
    ImageSet,
    ImageShape,
    from_float,
    imbalance_ratio,
    in_proportion,
    rare_classes,
    to_float,
)


def test_every_pixel_value_survives_the_way_to_float_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(pixels)
    assert floats.dtype == torch.float32
    assert floats[[0, 255]].tolist() == [-1.0, 1.0]
    assert torch.equal(from_float(floats), pixels)


def test_from_float_rounds_to_the_nearest_level_and_cuts_off_what_is_out_of_range():
    assert from_float(torch.tensor([-7.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 3.0])).tolist() == [0, 0, 1, 255]


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


def test_images_in_a_file_are_the_same_set(image_set, mapped):
    images = image_set()
    in_file = mapped(images)
    some = torch.tensor([25, 3, 3])
    assert len(in_file) == 30
    assert in_file.shape == images.shape
    assert in_file.fingerprint == images.fingerprint
    assert torch.equal(in_file.images[some], images.images[some])
    part, part_in_file = images.subset(some), in_file.subset(some)
    assert part_in_file.fingerprint == part.fingerprint
    assert torch.equal(part_in_file.images[torch.arange(3)], part.images)
    assert part_in_file.labels.tolist() == [2, 0, 0]


def test_copies_are_known_by_the_first_of_them():
    pixels = torch.tensor([7, 9, 7, 9, 7, 8], dtype=torch.uint8)[:, None, None, None]
    images = ImageSet(pixels, torch.zeros(6, dtype=torch.int64), ["a"])
    assert images.first_copy.tolist() == [0, 1, 0, 1, 0, 5]


@pytest.mark.parametrize(
    ("counts", "ratio", "rare"),
    [
        ([10, 10, 10], 1.0, []),
        ([10, 8, 5], 2.0, []),  # half of an equal share is 23 / 6
        ([10, 10, 1], 10.0, ["class2"]),
        ([10, 0, 10], None, ["class1"]),
    ],
)
def test_how_unequal_the_classes_are(counts, ratio, rare):
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    images = ImageSet(
        torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels, [f"class{label}" for label in range(3)]
    )
    assert images.class_counts.tolist() == counts
    assert imbalance_ratio(images) == ratio
    assert rare_classes(images) == rare


def test_images_without_a_label_are_in_no_class():
    images = ImageSet(torch.zeros(3, 1, 1, 1, dtype=torch.uint8), torch.tensor([-1, 0, -1]), ["a"])
    assert images.class_counts.tolist() == [1]


def test_points_are_floats_and_stay_as_they_are():
    points = torch.tensor([[0.1234567, -0.9], [0.3, 0.2]])[:, :, None, None]
    images = ImageSet(points, torch.zeros(2, dtype=torch.int64), ["points"])
    assert images.shape.is_point
    assert torch.equal(to_float(images.images), points)
    assert torch.equal(from_float(to_float(images.images), images.dtype), points)
    nudged = ImageSet(points.nextafter(torch.tensor(1.0)), images.labels, ["points"])
    assert nudged.fingerprint != images.fingerprint


def test_pictures_are_no_floats():
    with pytest.raises(ValueError, match="use uint8"):
        ImageSet(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), ["any"])


def test_without_classes_the_images_are_the_same(image_set):
    images = image_set()
    merged = images.as_one_class()
    assert merged.images is images.images
    assert merged.class_counts.tolist() == [len(images)]
    assert merged.class_names == ["any"]


def test_no_image_is_lost_to_rounding():
    for there in range(1, 20):
        for count in range(1, 120):
            labels = torch.zeros(there, dtype=torch.int64)
            images = ImageSet(torch.zeros(there, 1, 2, 2, dtype=torch.uint8), labels, ["a"])
            assert len(in_proportion(images, torch.tensor([count]))) == there


def test_the_scarcest_class_decides_the_proportions():
    labels = torch.arange(3).repeat_interleave(torch.tensor([10, 100, 50]))
    images = ImageSet(torch.zeros(160, 1, 2, 2, dtype=torch.uint8), labels, ["a", "b", "c"])
    assert in_proportion(images, torch.tensor([20, 40, 0])).class_counts.tolist() == [10, 20, 0]
    assert len(in_proportion(images, torch.tensor([0, 0, 0]))) == 0


def test_sets_of_one_source_are_joined_in_memory_and_in_a_file(image_set, mapped):
    images = image_set(per_class=3)
    for whole in (images, mapped(images)):
        one, other = whole.subset(torch.tensor([5, 1])), whole.subset(torch.tensor([0, 8, 2])).without_labels()
        both = one.joined(other)
        assert both.labels.tolist() == [1, 0, -1, -1, -1]
        assert torch.equal(both.images[torch.arange(5)], images.images[[5, 1, 0, 8, 2]])
        assert (both.hashes == images.hashes[[5, 1, 0, 8, 2]]).all()
        assert both.class_counts.tolist() == [1, 1, 0]


def test_a_set_without_labels_has_the_same_images_and_one_fingerprint_whatever_the_labels_were(image_set):
    images = image_set()
    hidden = images.without_labels()
    assert hidden.labels.unique().tolist() == [-1]
    assert torch.equal(hidden.images, images.images)
    other = dataclasses.replace(images, labels=images.labels.flip(0))
    assert hidden.fingerprint == other.without_labels().fingerprint != images.fingerprint
