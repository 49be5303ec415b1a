import os
import zipfile

import numpy as np
import pytest
import torch

from conftest import source_node
from gan_augment.data import arrays as module
from gan_augment.data.arrays import arrays
from gan_augment.data.image_set import MappedImages
from gan_augment.data.source import Source, resize
from gan_augment.settings import build

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 5, 6), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 3


@pytest.fixture
def save(tmp_path):
    """Write an npz of some arrays, or an npy of one, and return its path."""

    def write(array=None, **named):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.np{'z' if array is None else 'y'}"
        np.savez(path, **named) if array is None else np.save(path, array)
        return str(path)

    return write


# ------------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (np.asfortranarray(COLOUR), COLOUR.transpose(0, 3, 1, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8", ">f4"])
def test_every_layout_and_type_becomes_the_same_images(save, pixels, expected, dtype):
    given = pixels if dtype == "u1" else (pixels / 255).astype(dtype)
    source = arrays(save(given), value_range=None if dtype == "u1" else [0, 1])
    assert source.images.images.dtype == torch.uint8
    assert source.images.images.is_contiguous()
    assert (source.images.images.numpy() == expected).all()


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 255), (-0.5, 3)])
def test_the_stated_range_is_black_to_white(save, value_range):
    black, white = value_range
    values = np.linspace(black, white, 511).reshape(1, 7, 73)  # every grey level, and what lies half way
    found = arrays(save(values), value_range=value_range).images.images.flatten()
    assert found[::2].tolist() == list(range(256))
    assert (found[1::2] - found[:-1:2]).tolist() == pytest.approx([0.5] * 255, abs=0.5)


@pytest.mark.parametrize("pixels", [COLOUR, (COLOUR / 255).astype(np.float32)])
def test_files_larger_than_a_chunk_change_nothing(save, monkeypatch, pixels):
    settings = {"value_range": None if pixels.dtype == np.uint8 else [0, 1], "image_size": 4}
    whole = arrays(save(images=pixels), **settings).images.images
    monkeypatch.setattr(module, "CHUNK", 3 * COLOUR[0].size)
    for path in (save(images=pixels), save(pixels)):
        assert torch.equal(arrays(path, **settings).images.images, whole)
    assert torch.equal(whole, resize(torch.from_numpy(COLOUR).permute(0, 3, 1, 2), 4))


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 3, 8, 8)])
def test_large_images_stay_in_their_file(save, monkeypatch, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = arrays(save(pixels)).images
    monkeypatch.setattr("gan_augment.data.arrays.LARGE", 0)
    large = arrays(save(pixels)).images
    assert isinstance(small.images, torch.Tensor)
    assert isinstance(large.images, MappedImages)
    assert (large.shape, large.fingerprint) == (small.shape, small.fingerprint)
    some = torch.tensor([4, 0, 4])
    assert torch.equal(large.images[some], small.images[some])
    assert isinstance(arrays(save(pixels), image_size=9).images.images, torch.Tensor)  # these have to be made
    if len(shape) == 4:
        assert isinstance(arrays(save(pixels.transpose(0, 2, 3, 1))).images.images, torch.Tensor)


def test_a_layout_that_the_shape_leaves_open_is_asked_for(save):
    path = save(RANDOM.integers(0, 256, (4, 3, 7, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"\[4, 3, 7, 3\]: either axis .* set data.layout to NHWC or NCHW"):
        arrays(path)
    assert arrays(path, layout="NHWC").images.images.shape == (4, 3, 3, 7)
    assert arrays(path, layout="NCHW").images.images.shape == (4, 3, 7, 3)


@pytest.mark.parametrize(
    ("pixels", "settings", "message"),
    [
        (GREY[0], {}, r"shape \[5, 6\]: use \[N, H, W\]"),
        (COLOUR[..., :2], {}, r"shape \[20, 5, 6, 2\]: .* 1 or 3 channels"),
        (GREY[:0], {}, r"shape \[0, 5, 6\]: there are no pixels in them"),
        (GREY[:, :0], {}, r"shape \[20, 0, 6\]: there are no pixels in them"),
        (COLOUR, {"layout": "NCHW"}, r"data.layout=NCHW, but .* shape \[20, 5, 6, 3\]: use NHWC$"),
        (COLOUR, {"layout": "HWC"}, "data.layout=HWC: use one of NHW, NHWC, NCHW"),
        (GREY, {"value_range": [0, 255]}, r"data.value_range=\[0, 255\], but the images are uint8"),
        (GREY, {"image_size": 0}, "data.image_size=0: use a whole number of at least 1"),
        (GREY, {"allow_synthetic": 1}, "data.allow_synthetic=1: use true or false"),
        (GREY.astype(np.int64), {}, "the images are int64: save them as uint8"),
        (GREY > 100, {}, "the images are bool: save them as uint8"),
        (GREY.astype(str), {}, "the images are <U3: save them as uint8"),
        (GREY / 2.0, {}, r"the images are float64, from 0 to 127.5: .* data.value_range=\[0,1\]$"),
        (GREY / 255 - 0.5, {"value_range": [0, 1]}, r"data.value_range=\[0, 1\], .* go from -0.5 to 0.5"),
        (GREY / 254, {"value_range": [0, 1]}, r"data.value_range=\[0, 1\], .* go from 0.0 to 1.0039"),
        (GREY / 255, {"value_range": [1, 0]}, r"data.value_range=\[1, 0\]: use two numbers, black before white"),
        (GREY / 255, {"value_range": [0]}, r"data.value_range=\[0\]: use two numbers"),
        (GREY / 255, {"value_range": 1}, r"data.value_range=1: use two numbers"),
    ],
)
def test_images_that_make_no_sense_are_refused(save, pixels, settings, message):
    with pytest.raises(ValueError, match=message):
        arrays(save(pixels), **settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_counted(save, monkeypatch, bad):
    monkeypatch.setattr(module, "CHUNK", 3 * GREY[0].size)
    pixels = GREY / 255
    pixels[[7, 7, 19], [0, 4, 2], 3] = bad
    with pytest.raises(ValueError, match="2 of 20 images have numbers that are not finite, the first is image 7"):
        arrays(save(pixels), value_range=[0, 1])


# ------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("given", "labels", "class_names"),
    [
        (np.array([7, 10, -1, 7]), [0, 1, -1, 0], ["7", "10"]),
        (np.array([7, 10, 3, 7], dtype=np.uint8), [1, 2, 0, 1], ["3", "7", "10"]),
        (np.array([7, 10, 3, 7], dtype=">u8"), [1, 2, 0, 1], ["3", "7", "10"]),
        (np.array(["dog", "", "Katze", "dog"]), [1, -1, 0, 1], ["Katze", "dog"]),
        (np.array(["dog", "", "Ängste", "dog"]).astype(object).astype("U"), [0, -1, 1, 0], ["dog", "Ängste"]),
        (np.array([b"dog", b"", "é".encode(), b"dog"]), [0, -1, 1, 0], ["dog", "é"]),
    ],
)
def test_labels_are_numbers_or_names(save, given, labels, class_names):
    images = save(GREY[:4])
    for source in (arrays(save(images=GREY[:4], labels=given)), arrays(images, labels=save(given))):
        assert source.images.labels.tolist() == labels
        assert source.images.labels.dtype == torch.int64
        assert source.images.class_names == class_names
        assert source.notes == []


@pytest.mark.parametrize("labels", [None, np.full(20, -1), np.full(20, "")])
def test_without_labels_there_is_one_class_and_a_note(save, labels):
    source = arrays(save(GREY) if labels is None else save(images=GREY, labels=labels))
    assert source.images.class_names == ["unlabelled"]
    assert source.images.labels.tolist() == [0] * 20
    assert source.notes == [
        "the images have no labels: only a generator can be trained on them (classifier=none labels=all)"
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:19], r"the shape of labels is \[19\], but there are 20 images: use one value per image, \[20\]$"),
        (np.eye(3)[LABELS][:19], r"the shape of labels is \[19, 3\], but there are 20 images: use one value per image"),
        (np.full((20, 3), 1 / 3), r"the shape of labels is \[20, 3\], but their rows are not one-hot"),
        (
            np.eye(14)[LABELS] + (np.arange(14) == 5) * (LABELS == 2)[:, None],
            rf"{(LABELS == 2).sum()} of 20 images have no label or several in their rows of 14, the first is image "
            r"\d+ with 2: several labels per image are not supported",
        ),
        (
            np.array(["cat", "dog", "cat|dog", "dog"] * 5),
            r"data.labels: 'cat\|dog' names 2 classes: an image has one label here",
        ),
        (np.array(3), r"the shape of labels is \[\], but there are 20 images"),
        (LABELS / 2, "labels are float64: use whole numbers"),
        (LABELS > 1, "labels are bool: use whole numbers"),
        (np.where(LABELS == 2, -5, LABELS), "image 2 has the label -5: use -1 for no label"),
    ],
)
def test_labels_that_make_no_sense_are_refused(save, labels, message):
    with pytest.raises(ValueError, match=message):
        arrays(save(images=GREY, labels=labels))


def test_labels_in_two_places_are_refused(save):
    both, labels = save(images=GREY, labels=LABELS), save(LABELS)
    with pytest.raises(ValueError, match=f"labels are in data.images={both} and in data.labels={labels}"):
        arrays(both, labels=labels)


# -------------------------------------------------------------------------------------------------------- split


@pytest.mark.parametrize("word", ["validation", "val"])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_a_split_sets_parts_apart(save, word, kind):
    split = np.array(["train"] * 10 + ["test", word] * 5).astype(kind)
    source = arrays(save(images=GREY, labels=LABELS, split=split))
    assert source.test.tolist() == [10, 12, 14, 16, 18]
    assert source.validation.tolist() == [11, 13, 15, 17, 19]


def test_a_part_that_the_split_does_not_name_is_not_set_apart(save):
    split = np.array(["train", "test"] * 10)
    assert arrays(save(images=GREY, labels=LABELS, split=split)).validation is None
    assert arrays(save(images=GREY, labels=LABELS)).test is None
    assert len(arrays(save(images=GREY, split=split)).test) == 10  # images without any label can be set apart too


@pytest.mark.parametrize("labels", [LABELS, np.array([f"digit {label}" for label in LABELS])], ids=["numbers", "names"])
def test_the_labels_of_images_that_are_set_apart_as_unlabelled_are_not_used(save, labels):
    split = np.where(np.arange(20) < 10, "train", "unlabelled")
    source = arrays(save(images=GREY, labels=labels, split=split))
    assert (source.images.labels[10:] == -1).all()
    assert len(source.images.class_names) == len(set(labels[:10].tolist()))
    assert source.notes == []
    split[labels == labels[0]] = "unlabelled"  # a class that no labelled image shows any more
    source = arrays(save(images=GREY, labels=labels, split=split))
    assert str(labels[0]) not in source.images.class_names
    (note,) = source.notes
    assert f"that are no class of the labelled ones ('{labels[0]}', {(labels == labels[0]).sum()} images)" in note


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (np.array(["train", "tset"] * 10), "split 'tset' is no part: write one of train, "),
        (np.array(["train", "Validaton"] * 10), "split 'Validaton' is no part: write validation$"),
        (np.array(["train"] * 19), r"the shape of split is \[19\], but there are 20 images"),
        (LABELS, "split is int64: use the words train"),
        (np.array(["train", "test"] * 10), "3 test images have no label, the first is image 5: label them"),
    ],
)
def test_splits_that_make_no_sense_are_refused(save, split, message):
    labels = np.where(np.isin(np.arange(20), [4, 5, 9, 11]), -1, LABELS)
    with pytest.raises(ValueError, match=message):
        arrays(save(images=GREY, labels=labels, split=split))


# -------------------------------------------------------------------------------------------------------- files


def test_the_yaml_has_what_the_function_takes(save):
    node = source_node("arrays") | {"images": save(GREY / 2.0), "value_range": [0, 127.5]}
    source = build(node, "data", Source)
    assert isinstance(source, Source)
    assert (source.images.images[:, 0].numpy() == GREY).all()
    node |= {"images": save(GREY), "value_range": [0, 1]}
    assert "data.value_range=[0, 1], but" in str(refusal(build, node, "data", Source))


def refusal(call, *arguments):
    with pytest.raises(ValueError, match="data") as error:
        call(*arguments)
    return error.value


@pytest.mark.parametrize("place", ["npy", "npz", "labels", "bare"])
def test_pickled_objects_are_refused_and_run_nothing(save, tmp_path, place):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    bombs = np.array([Bomb()] * 20, dtype=object)
    if place == "npy":
        path = save(bombs)
    elif place == "npz":
        path = save(images=GREY, split=bombs)
    elif place == "labels":
        path = save(bombs)
    else:
        path = str(tmp_path / "bare.npy")
        bombs.dump(path)
    says = refusal(arrays, save(GREY), path) if place == "labels" else refusal(arrays, path)
    assert ("is not a NumPy file" if place == "bare" else "holds pickled objects, which can run any code") in str(says)
    assert not (tmp_path / "harm").exists()


def test_keys_that_are_not_read_are_refused(save):
    for named in ({"images": GREY, "masks": GREY}, {"arr_0": GREY, "masks": GREY}):
        says = str(refusal(arrays, save(**named)))
        assert (
            f"holds {', '.join(named)}: it must hold images, optionally labels, split, groups, and nothing else" in says
        )
    assert "holds arr_0: it must hold labels and nothing else" in str(refusal(arrays, save(GREY), save(arr_0=LABELS)))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_file_that_says_that_it_is_synthetic_is_refused_unless_allowed(save, labelled):
    named = {"images": GREY} | ({"labels": LABELS} if labelled else {})
    path, real = save(**named, synthetic=np.array("{}")), arrays(save(**named))
    assert str(refusal(arrays, path)) == (
        f"data.images={path}: 20 of 20 images are marked as synthetic, for example image 0: a test on them would "
        "measure the generator; remove them, or set data.allow_synthetic=true"
    )
    source = arrays(path, allow_synthetic=True)
    assert source.images.fingerprint == real.images.fingerprint
    assert source.notes == ["20 of 20 images are marked as synthetic", *real.notes]


def test_files_that_are_not_there_or_damaged_are_named(save, tmp_path):
    def damaged(path, change):
        with open(path, "rb") as file:
            content = change(file.read())
        with open(path, "wb") as file:
            file.write(content)
        return path

    words = tmp_path / "words.npy"
    words.write_text("these are words")
    member = tmp_path / "member.npz"
    with zipfile.ZipFile(member, "w") as archive:
        archive.writestr("images", b"these are words")
    cases = {
        str(tmp_path / "nowhere.npy"): "not found: name a NumPy file",
        str(tmp_path): "this is a folder: name a NumPy file",
        str(words): "is not a NumPy file",
        damaged(save(GREY), lambda content: b""): "is not a NumPy file",
        damaged(save(GREY), lambda content: content[:300]): "cannot be read",
        damaged(save(GREY), lambda content: content[:50]): "cannot be read",
        damaged(save(images=GREY), lambda content: content[:300]): "cannot be read",
        damaged(save(images=GREY), lambda content: content[:300] + b"!!" + content[302:]): "cannot be read",
    }
    for path, message in cases.items():
        assert str(refusal(arrays, path)).startswith(f"data.images={path}")
        assert message in str(refusal(arrays, path))
    assert f"data.labels={words} is not" in str(refusal(arrays, save(GREY), str(words)))
    with pytest.raises(ValueError, match=r"the images have shape \[\]"):
        arrays(str(member))


@pytest.mark.parametrize(
    ("groups", "expected"), [(np.arange(20) // 5, [*"00000111112222233333"]), (["a", ""] * 10, ["a", ""] * 10)]
)
def test_groups_are_numbers_or_names(save, groups, expected):
    assert arrays(save(images=GREY, labels=LABELS)).groups is None
    assert arrays(save(images=GREY, labels=LABELS, groups=groups)).groups == expected


def test_groups_that_make_no_sense_are_refused(save):
    with pytest.raises(ValueError, match=r"^groups are float64: use whole numbers, such as int64, or names"):
        arrays(save(images=GREY, labels=LABELS, groups=np.ones(20)))
    with pytest.raises(ValueError, match=r"the shape of groups is \[3\], but there are 20 images"):
        arrays(save(images=GREY, labels=LABELS, groups=[1, 2, 3]))


# ---------------------------------------------------------------------------------------------- formats of others


def test_a_column_of_labels_or_one_hot_rows_are_labels(save):
    plain = arrays(save(images=GREY, labels=LABELS)).images.labels
    for labels in (
        LABELS[:, None],
        np.eye(5)[LABELS],
        np.eye(5, dtype=np.uint8)[LABELS],
        np.eye(5, dtype=bool)[LABELS],
    ):
        assert torch.equal(arrays(save(images=GREY, labels=labels)).images.labels, plain)
    split = np.array(["Train", " TEST"] * 10)[:, None]
    assert len(arrays(save(images=GREY, labels=LABELS[:, None], split=split)).test) == 10


def test_names_of_labels_are_compared_as_people_read_them(save):
    labels = np.array(["caf\u00e9", "cafe\u0301 ", "Dog", "dog", "dog"] * 4)
    source = arrays(save(images=GREY, labels=labels))
    assert source.images.class_names == ["caf\u00e9", "dog"]
    assert source.notes == [
        "names that differ only in case are one class: 'Dog' = 'dog'; if these are several classes, rename them"
    ]


@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),  # MedMNIST
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),  # Keras
        ("X_train", "Y_train", "X_valid", "Y_valid", "X_test", "Y_test"),
    ],
)
def test_arrays_of_parts_are_one_set(save, keys):
    bounds = ((0, 12), (12, 15), (15, 20))
    named = [part for low, high in bounds for part in (GREY[low:high], LABELS[low:high, None])]
    source = arrays(save(**dict(zip(keys, named, strict=True))))
    whole = arrays(save(images=GREY, labels=LABELS))
    assert source.images.fingerprint == whole.images.fingerprint
    assert (source.validation.tolist(), source.test.tolist()) == ([12, 13, 14], [15, 16, 17, 18, 19])


def test_a_part_without_labels_is_unlabelled(save):
    source = arrays(save(x_train=GREY[:15], y_train=LABELS[:15].astype(np.uint64), x_test=GREY[15:]))
    assert source.images.labels.tolist() == [*LABELS[:15].tolist(), *[-1] * 5]
    assert source.test is None


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"x_train": GREY, "y_train": LABELS, "y_test": LABELS}, "has labels of test, but not its images: add them"),
        ({"x_train": GREY, "y_train": LABELS, "x_test": COLOUR, "y_test": LABELS}, "has images of several shapes or "),
        ({"x_train": np.array(3), "y_train": LABELS}, "holds x_train, y_train: it must hold images"),
        ({"x_train": GREY, "y_train": LABELS[:9]}, r"the shape of labels is \[9\], but there are 20 images"),
        (
            {"x_train": GREY, "masks": GREY},
            "holds x_train, masks: it must hold images, .*; or train_images, train_labels",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(save, named, message):
    with pytest.raises(ValueError, match=message):
        arrays(save(**named))


def test_arrays_become_square_as_folders_do(save):
    pixels = np.full((2, 4, 8), 10, dtype=np.uint8)
    pixels[:, :, 4:] = 90
    path = save(pixels)
    found = {fit: arrays(path, image_size=4, fit=fit) for fit in (None, "stretch", "letterbox", "crop")}
    rows = {fit: source.images.images[0, 0].tolist() for fit, source in found.items()}
    row = rows[None][0]
    assert (row[0], row[3]) == (10, 90)
    assert rows == {
        **{None: [row] * 4, "stretch": [row] * 4},
        **{"letterbox": [[0] * 4, row, row, [0] * 4], "crop": [[10, 10, 90, 90]] * 4},
    }
    said = [fit for fit, source in found.items() if any("stretched to a square" in note for note in source.notes)]
    assert said == [None]


def test_a_way_to_become_square_needs_a_size(save):
    with pytest.raises(ValueError, match=r"data\.fit=crop, but data\.image_size is null: set the side in pixels"):
        arrays(save(GREY), fit="crop")
    with pytest.raises(ValueError, match=r"data\.fit=pad: use one of letterbox, crop, stretch"):
        arrays(save(GREY), fit="pad", image_size=4)
