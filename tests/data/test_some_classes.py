import numpy as np
import pytest

from gan_augment.data.some_classes import some_classes
from gan_augment.data.standard_sets import digits

DIGITS = {"_target_": "gan_augment.data.standard_sets.digits"}


def test_the_classes_are_kept_in_order():
    source, whole = some_classes(DIGITS, [7, "2"]), digits().images
    assert source.images.class_names == ["2", "7"]
    kept = [index for index, label in enumerate(whole.labels.tolist()) if label in (2, 7)]
    assert source.images.images.equal(whole.images[kept])
    assert [(2, 7)[label] for label in source.images.labels] == whole.labels[kept].tolist()


def test_parts_and_names_stay_with_their_images(tmp_path):
    parts = np.array(["train", "test", "validation", "unlabelled"] * 6)
    labels, groups = np.array(["a", "b", "c"] * 8), np.arange(24)
    pixels = (10 * np.arange(24)).astype(np.uint8).repeat(64).reshape(24, 8, 8)
    np.savez(tmp_path / "some.npz", images=pixels, labels=labels, split=parts, groups=groups)
    node = {
        "_target_": "gan_augment.data.arrays.arrays",
        "images": str(tmp_path / "some.npz"),
        **dict.fromkeys(("labels", "layout", "value_range", "image_size")),
        "allow_synthetic": False,
    }
    source = some_classes(node, ["a", "c"])
    numbers = source.images.images[:, 0, 0, 0].div(10).int().tolist()
    assert numbers == [n for n in range(24) if n % 3 != 1 and n % 4 != 3]
    assert [numbers[index] for index in source.test.tolist()] == [n for n in numbers if n % 4 == 1]
    assert [numbers[index] for index in source.validation.tolist()] == [n for n in numbers if n % 4 == 2]
    assert [int(group) for group in source.groups] == numbers
    assert source.name(1) == f"image {numbers[1]}"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("2", "data.classes=2: use a list of class names"),
        ([], r"data.classes=\[\]: use a list of class names"),
        ([2, "two"], "data.classes names two: use some of 0, 1, 2"),
        ([2, "2"], "names a class twice"),
    ],
)
def test_classes_that_are_not_there_are_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        some_classes(DIGITS, classes)


def test_domains_are_refused():
    node = {"_target_": "gan_augment.data.domains.domains", "from": DIGITS, "to": DIGITS}
    with pytest.raises(ValueError, match="joins two domains"):
        some_classes(node, ["2"])
