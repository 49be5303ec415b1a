import numpy as np
import pytest
import torch
from PIL import Image

from conftest import source_node
from gan_augment.data.image_set import ImageSet
from gan_augment.data.inspection import inspection_notes, telling
from gan_augment.data.loading import load_source
from gan_augment.data.source import Source
from gan_augment.data.toy import ring


def picture(number, size=(48, 48), kind="RGB"):
    """Make up a picture: a smooth random one, as JPEG keeps it."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(kind)


@pytest.fixture
def notes(tmp_path):
    """Write pictures, given by file, into a folder; return the notes on them."""

    def read(pictures, **settings):
        for name, image in pictures.items():
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, **({"quality": 60} if name.endswith("jpg") else {}))
        node = source_node("image_folder") | {"root": str(tmp_path / "photos"), "cache": str(tmp_path / "cache")}
        return list(load_source(node | settings).notes)

    return read


def two_classes(one=(), other=(), size=(48, 48), other_size=(48, 48), ext=("png", "png")):
    return {
        **{f"cat/{number}.{ext[0]}": picture(number, size, *one) for number in range(6)},
        **{f"dog/{number}.{ext[1]}": picture(number + 50, other_size, *other) for number in range(6)},
    }


def test_good_images_have_no_note(notes):
    assert notes(two_classes()) == []
    assert inspection_notes(ring(20)) == []  # points


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        (two_classes(size=(60, 40), other_size=(40, 60)), "size .* cat (60x40 pixels), dog (40x60 pixels)"),
        (two_classes(ext=("png", "jpg")), "format .* cat (PNG), dog (JPEG)"),
        (two_classes(one=("L",)), "colours .* cat (mode L), dog (mode RGB)"),
        (
            {
                **{f"cat/{number}.png": picture(number, (50 + number, 40)) for number in range(6)},
                **{f"dog/{number}.png": picture(50 + number, (40, 50 + number)) for number in range(6)},
            },
            "shape .* cat (wide format), dog (tall format)",
        ),
    ],
)
def test_files_that_tell_the_classes_apart_are_noted(notes, pictures, told):
    (note,) = notes(pictures)
    fact, named = told.split(" .* ")
    assert note.startswith(f"the {fact} of the files tells classes apart by itself: {named}; a classifier may learn")


def test_what_tells_a_class_apart():
    labels = [0] * 10 + [1] * 10 + [2] * 10
    assert telling(["a"] * 10 + ["b"] * 20, labels) == {0: "a"}
    assert telling(["a"] * 8 + ["b"] * 22, labels) == {}  # not enough of its images
    assert telling(["a"] * 13 + ["b"] * 17, labels) == {}  # too many others
    assert telling([str(number) for number in range(30)], labels) == {}  # each occurs once
    assert telling(["a"] * 30, labels) == {}
    assert telling(["a"] * 10 + ["b"] * 10, [0] * 10 + [-1] * 10) == {}  # one class
    assert telling(["a"] * 4 + ["b"] * 10, [0] * 4 + [1] * 10) == {1: "b"}  # too few images of the other


def test_blank_images_are_noted(notes):
    blank = {"cat/a.png": Image.new("RGB", (48, 48), "white"), "dog/b.png": Image.new("RGB", (48, 48), (9, 9, 9))}
    (note,) = notes(two_classes() | blank)
    assert note == "2 of 14 images are blank, of one colour: cat/a.png, dog/b.png"


@pytest.mark.parametrize(("low", "high"), [(0, 15), (0, 63), (60, 120), (200, 255)])
@pytest.mark.parametrize("bars", [False, True])
def test_an_unused_range_is_noted(low, high, bars):
    images = torch.randint(low, high + 1, (200, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    if bars:  # as data.fit=letterbox adds them
        images[:, :, :2] = images[:, :, 6:] = 0
    (note,) = inspection_notes(Source(ImageSet(images, torch.arange(200) % 2, ["cat", "dog"])))
    assert note == (
        f"the middle of all images has only levels {low} to {high} of 255, less than a quarter of the range: "
        "stretch their values, or see data.white (files of 16 bits) and data.value_range (arrays)"
    )
    if low + 64 < 256:
        used = torch.where(images == high, low + 64, images)
        assert inspection_notes(Source(ImageSet(used, torch.arange(200) % 2, ["cat", "dog"]))) == []


def test_a_white_that_is_too_high_is_noted(notes):
    def deep(number):  # 12 bits
        return Image.fromarray(np.random.default_rng(number).integers(0, 4096, (48, 48), dtype=np.uint16))

    twelve = {f"{name}/{number}.png": deep([number, name == "cat"]) for name in ("cat", "dog") for number in range(6)}
    (note,) = notes(twelve, white=32767, image_size=48)
    assert note.startswith("the middle of all images has only levels 0 to 32 of 255, less than a quarter of the range")
    assert notes({}, white=4095, image_size=48) == []


def test_frames_and_pages_that_are_not_read_are_noted(notes):
    folder = two_classes()
    (note,) = notes(folder | {"cat/0.png": Stack(0), "dog/x.tif": Stack(3), "dog/y.gif": Stack(5)})
    assert note == (
        "3 files have several frames or pages, of which only the first is read: cat/0.png, dog/x.tif, dog/y.gif"
    )


class Stack:
    """An image with two frames."""

    def __init__(self, number):
        self.frames = [picture(100 + number), picture(101 + number)]

    def save(self, path):
        self.frames[0].save(path, save_all=True, append_images=self.frames[1:])


def test_the_same_picture_as_png_and_jpeg_is_found(notes):
    twin = {f"dog/twin.{ext}": picture(200) for ext in ("png", "jpg")}
    assert notes(two_classes() | twin) == [
        "images are almost the same, and may come into different parts of a split (1 pair): dog/twin.jpg ~ "
        "dog/twin.png; leave one of each out, or put them into one group"
    ]
    assert notes({}, group_by=r"twin|\d") == []  # as the note says


def detailed(number, size=96):
    """Make up a picture with details of all sizes, as in photographs."""
    random = np.random.default_rng(number)
    layers = [
        np.asarray(
            Image.fromarray(random.normal(0, 2 * scale, (96 // scale, 96 // scale)).astype(np.float32)).resize((96, 96))
        )
        for scale in (2, 8, 24)
    ]
    return Image.fromarray(np.clip(sum(layers) + 128, 0, 255).astype(np.uint8)).resize((size, size), Image.BICUBIC)


@pytest.mark.parametrize("size", [24, 40, 200])
def test_a_copy_of_another_size_is_found(notes, size):
    folder = {
        f"{name}/{number}.png": detailed([number, len(name)]) for name in ("cat", "kitten") for number in range(6)
    }
    (note,) = notes(folder | {"cat/twin.jpg": detailed([3, 3], size)}, image_size=96)
    assert "almost the same, and may come into different parts of a split (1 pair): cat/3.png ~ cat/twin.jpg" in note


def test_near_copies_in_several_parts_are_noted(notes):
    parts = {f"{part}/{name}": image for part in ("train", "test") for name, image in two_classes().items()}
    parts = {name: picture(index) for index, name in enumerate(parts)}
    twin = {"train/dog/twin.png": picture(200), "test/dog/twin.jpg": picture(200)}
    same_part = {"train/cat/a.png": picture(300), "train/cat/b.jpg": picture(300)}
    assert notes(parts | twin | same_part) == [
        "images that are almost the same are in more than one of training, validation and test, so results may be too "
        "good (1 pair): test/dog/twin.jpg ~ train/dog/twin.png"
    ]


def test_many_copies_of_each_picture_give_a_few_pairs_each():
    random = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 250, (30, 1, 16, 16), generator=random).repeat_interleave(100, dim=0)
    noisy = (frames + torch.randint(0, 2, frames.shape, generator=random)).to(torch.uint8)
    (note,) = inspection_notes(Source(ImageSet(noisy, torch.arange(3000) % 2, ["cat", "dog"])))
    pairs = int(note.split("(")[1].split(" ")[0].replace(",", ""))
    assert 3000 <= pairs <= 4 * 3000


def test_images_that_are_much_alike_in_a_class_are_not_copies():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    colours = torch.randint(-8, 9, (60, 3, 16, 16), generator=random) + torch.where(labels == 0, 60, 180).view(
        -1, 1, 1, 1
    )
    colours[:, :, :4], colours[:, :, 12:] = 0, 0  # bars
    assert inspection_notes(Source(ImageSet(colours.to(torch.uint8), labels, ["cat", "dog"]))) == []


@pytest.mark.parametrize(("white", "message"), [(None, "none above 15 of 255"), (4095, "data.white does not apply")])
def test_twelve_bits_in_sixteen_in_colour_are_refused(notes, tmp_path, white, message):
    deep = np.random.default_rng(0).integers(0, 4096, (8, 8, 3), dtype=np.uint16)
    with pytest.raises(ValueError, match=rf"cat/deep\.png \(16 bits in colour, .*{message}"):
        notes(two_classes() | {"cat/deep.png": Deep(deep)}, white=white)
    assert notes({"cat/deep.png": Deep(deep * 16)}) == []  # the full range


class Deep:
    """A PNG of 16 bits in colour, uint16 `[H, W, 3]`, which Pillow does not write."""

    def __init__(self, pixels):
        self.pixels = pixels

    def save(self, path):
        import struct
        import zlib

        height, width, _ = self.pixels.shape
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in self.pixels)
        header = struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        content = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
