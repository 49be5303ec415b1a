import errno
import json
import logging
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from gan_augment.data import image_files
from gan_augment.data.image_files import decode, decode_files
from gan_augment.data.image_set import hash_images
from gan_augment.data.marks import png_mark
from gan_augment.data.source import FITS

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def read(root, tmp_path):
    """Read files through the cache: 2x2 pixels of RGB."""
    return lambda *files, at=root: decode_files(at, list(files), 2, "stretch", 3, None, tmp_path / "cache")[:2]


def pixels_of(*arguments):
    pixels, _ = decode(*arguments)
    return pixels


def png(path, color, size=(2, 2)):
    Image.new("RGB", size, color).save(path, "PNG")


def png_of_any_size(path, width, height):
    """Write a PNG that only claims its size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def of_pixels(mode, *pixels):
    """Make an image of one row."""
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def palette(transparent):
    image = of_pixels("P", 0, 1)
    image.putpalette([*RED, *GREEN])
    image.info |= {"transparency": 0} if transparent else {}
    return image


GRAY16 = Image.fromarray(np.array([[257, 65535, 128, 129]], np.uint16))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

# Each is saved and read back as a row of RGB, worked out by hand.
MODES = {
    "1": (of_pixels("1", 0, 255), "png", [BLACK, WHITE]),
    "L": (of_pixels("L", 0, 100), "png", [BLACK, (100, 100, 100)]),
    "LA": (of_pixels("LA", (200, 255), (200, 51)), "png", [(200, 200, 200), (40, 40, 40)]),
    "P": (palette(transparent=False), "png", [RED, GREEN]),
    "P with transparency": (palette(transparent=True), "png", [BLACK, GREEN]),
    "PA": (of_pixels("RGBA", (*RED, 255), (*RED, 0)).convert("PA"), "tiff", [RED, BLACK]),
    "RGB": (of_pixels("RGB", RED, (1, 2, 3)), "png", [RED, (1, 2, 3)]),
    "RGBA": (of_pixels("RGBA", (255, 100, 0, 51), (9, 9, 9, 0)), "png", [(51, 20, 0), BLACK]),
    "CMYK": (of_pixels("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), "tiff", [RED, BLACK]),
    "YCbCr": (of_pixels("YCbCr", (100, 128, 128), (255, 128, 128)), "tiff", [(100, 100, 100), WHITE]),
    "LAB": (of_pixels("LAB", (0, 128, 128), (255, 128, 128)), "tiff", [BLACK, WHITE]),
    "I;16": (GRAY16, "png", [(1, 1, 1), WHITE, BLACK, (1, 1, 1)]),
    "I;16B": (Image.frombytes("I;16B", (2, 1), b"\x01\x01\xff\xff"), "tiff", [(1, 1, 1), WHITE]),
    "I": (Image.fromarray(np.array([[257, 65535]], np.int32)), "tiff", [(1, 1, 1), WHITE]),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(tmp_path, mode):
    image, kind, expected = MODES[mode]
    image.save(tmp_path / "image", kind)
    with Image.open(tmp_path / "image") as saved:
        assert saved.mode == mode.split()[0]
    pixels = pixels_of(tmp_path / "image", image.width, "letterbox", 3)
    assert pixels.shape == (3, image.width, image.width)
    assert pixels.dtype == np.uint8
    row = (image.width - 1) // 2
    rounding = 1 if mode == "LAB" else 0  # its way to RGB leads through floating point
    assert abs(pixels[:, row].T.astype(int) - expected).max() <= rounding
    assert not np.delete(pixels, row, axis=1).any()


def test_one_channel_is_luminance(tmp_path):
    png(tmp_path / "image", (255, 100, 3))
    assert pixels_of(tmp_path / "image", 2, "stretch", 1).tolist() == [
        [[round(0.299 * 255 + 0.587 * 100 + 0.114 * 3)] * 2] * 2
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_an_image_is_turned_as_its_exif_says(tmp_path, orientation, kind):
    upright = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    stored = {  # how the sensor saw what is upright
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "image", kind, exif=exif, **lossless)
    assert (pixels_of(tmp_path / "image", 4, "stretch", 3) == upright.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_of_several_counts(tmp_path, kind):
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, GREEN, BLUE)]
    lossless = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / "image", kind, save_all=True, append_images=frames[1:], **lossless)
    assert pixels_of(tmp_path / "image", 1, "stretch", 3).ravel().tolist() == list(RED)


@pytest.fixture
def flag(tmp_path):
    """Three stripes, 6x2 pixels."""
    image = Image.new("RGB", (6, 2), GREEN)
    image.paste(RED, (0, 0, 2, 2))
    image.paste(BLUE, (4, 0, 6, 2))
    image.save(tmp_path / "flag.png")
    return tmp_path / "flag.png"


def test_letterbox_keeps_all_between_black_bars(flag):
    pixels = pixels_of(flag, 6, "letterbox", 3)
    assert not pixels[:, [0, 1, 4, 5]].any()
    expected = np.array([RED, RED, GREEN, GREEN, BLUE, BLUE]).T
    assert (pixels[:, 2] == expected).all()
    assert (pixels[:, 3] == expected).all()


def test_crop_takes_the_middle(flag):
    assert (pixels_of(flag, 2, "crop", 3) == np.array(GREEN)[:, None, None]).all()


def test_stretch_takes_all_without_bars(flag):
    assert pixels_of(flag, 3, "stretch", 3)[:, 1].T.tolist() == [
        pytest.approx(color, abs=70) for color in (RED, GREEN, BLUE)
    ]


def test_resizing_averages(tmp_path):
    chess = np.indices((64, 64)).sum(axis=0) % 2 * 255
    Image.fromarray(chess.astype(np.uint8)).save(tmp_path / "chess.png")
    assert abs(pixels_of(tmp_path / "chess.png", 8, "stretch", 1).astype(int) - 127.5).max() < 4


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_images_of_any_shape_leave_their_color(tmp_path, fit, size):
    png(tmp_path / "image", WHITE, size)
    pixels = pixels_of(tmp_path / "image", 8, fit, 3)
    assert pixels.shape == (3, 8, 8)
    assert pixels.max() == 255
    assert fit == "letterbox" or pixels.min() == 255


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_range_are_refused(tmp_path, mode):
    of_pixels(mode, 1, 65536).save(tmp_path / "image", "tiff")
    reasons = {"F": "floating-point pixels have no stated range", "I": "pixels from 1 to 65536, not from 0 to 65535"}
    with pytest.raises(ValueError, match=reasons[mode]):
        pixels_of(tmp_path / "image", 2, "stretch", 3)


@pytest.mark.parametrize(("white", "expected"), [(4095, [0, 128, 255]), (65535, [0, 8, 16])])
def test_what_is_white_in_sixteen_bits_can_be_said(tmp_path, white, expected):
    Image.fromarray(np.array([[0, 2056, 4095]], np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="no pixel above 4095: set white, such as"):
        pixels_of(tmp_path / "deep.png", 3, "letterbox", 1)
    assert pixels_of(tmp_path / "deep.png", 3, "letterbox", 1, white)[0, 1].tolist() == expected
    with pytest.raises(ValueError, match="pixels from 0 to 4095, not from 0 to 255"):
        pixels_of(tmp_path / "deep.png", 3, "letterbox", 1, 255)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_a_trouble_of_the_machine_is_no_fault_of_a_file(root, read, tmp_path, monkeypatch, error):
    png(root / "a.png", RED)

    def fail(path, **_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(image_files, "decode", fail)
        with pytest.raises(ValueError, match=r"a\.png could not be read now: .*: try again"):
            read("a.png")
    images, broken = read("a.png")
    assert (len(images), broken) == (1, {})


def test_eps_is_refused_whatever_it_is_called(root, read):
    Image.new("RGB", (2, 2)).save(root / "image.png", "EPS")
    _, broken = read("image.png")
    assert "Ghostscript" in broken["image.png"]


def test_too_many_pixels_are_refused_before_they_are_decoded(root, read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    png_of_any_size(root / "large.png", 30, 34)
    png_of_any_size(root / "bomb.png", 3000, 3000)
    png(root / "fine.png", RED, (30, 33))
    images, broken = read("large.png", "bomb.png", "fine.png")
    assert len(images) == 1
    assert broken["large.png"] == "30x34 pixels, more than 1000: save it smaller"
    assert "9000000 pixels" in broken["bomb.png"]


def test_files_that_cannot_be_read_are_named_with_a_reason(root, read):
    png(root / "good.png", RED, (40, 40))
    (root / "empty.png").touch()
    (root / "text.png").write_text("no image")
    Image.effect_noise((64, 64), 99).save(root / "cut.jpg")
    os.truncate(root / "cut.jpg", 1500)
    png(root / "cut.png", RED, (40, 40))
    os.truncate(root / "cut.png", 60)
    (root / "gone.png").symlink_to("nowhere")
    (root / "itself.png").symlink_to("itself.png")
    png_of_any_size(root / "hollow.png", 30, 34)
    images, broken = read(*sorted(os.listdir(root)))
    assert len(images) == 1
    assert broken.pop("cut.jpg").startswith("image file is truncated")
    assert broken.pop("cut.png")
    assert broken.pop("hollow.png")
    assert broken == {
        "empty.png": "empty",
        "text.png": "not an image that Pillow can read",
        "gone.png": "No such file or directory",
        "itself.png": "Too many levels of symbolic links",
    }


@pytest.mark.parametrize("error", [OSError("x"), SyntaxError("x"), ValueError("x"), struct.error("x"), zlib.error("x")])
def test_whatever_a_decoder_raises_breaks_one_file_only(root, read, monkeypatch, error):
    png(root / "a.png", RED)
    png(root / "b.png", GREEN)

    def fail(path, **settings):
        if path.name == "a.png":
            raise error
        return decode(path, **settings)

    monkeypatch.setattr(image_files, "decode", fail)
    images, broken = read("a.png", "b.png")
    assert len(images) == 1
    assert broken == {"a.png": "x"}


def test_a_broken_exif_does_not_break_an_image(root, read):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a long description of the photograph"
    whole = exif.tobytes()
    names = []
    for length in (7, 12, 16, 30, len(whole) - 5):
        names.append(f"{length}.jpg")
        Image.new("RGB", (2, 2), WHITE).save(root / names[-1], exif=whole[:length])
    Image.new("RGB", (2, 2), WHITE).save(root / "noise.jpg", exif=b"Exif\0\0" + bytes(range(100)))
    images, broken = read(*names, "noise.jpg")
    assert broken == {}
    assert images[torch.arange(len(images))].min() == 255


def test_warnings_of_pillow_do_not_leak(root, read, monkeypatch):
    png(root / "a.png", RED)

    def warn(path, **settings):
        warnings.warn("Palette images with Transparency expressed in bytes should be converted", stacklevel=1)
        return decode(path, **settings)

    monkeypatch.setattr(image_files, "decode", warn)
    images, broken = read("a.png")
    assert (len(images), broken) == (1, {})
    with pytest.raises(UserWarning, match="heard again"):
        warnings.warn("heard again", stacklevel=1)


def test_images_come_in_the_order_of_their_files_with_their_hashes(root, read, monkeypatch):
    monkeypatch.setattr(image_files, "IN_FLIGHT", 4)
    files = [f"{number}.png" for number in np.random.default_rng(0).permutation(19)]
    for file in files:
        png(root / file, (int(file[:-4]), 0, 0))
    (root / files[6]).write_bytes(b"")
    images, broken = read(*files)
    assert broken == {files[6]: "empty"}
    assert images.shape == (18, 3, 2, 2)
    pixels = images[torch.arange(18)]
    assert pixels[:, 0, 0, 0].tolist() == [int(file[:-4]) for file in files if file != files[6]]
    assert (images.hashes == hash_images(pixels)).all()


def test_odd_file_names(root, read):
    files = ["with space.png", "new\nline.png", "größe 猫.png", os.fsdecode(b"latin1-\xe9.png"), '"quoted".png']
    for number, file in enumerate(files):
        png(root / file, (number, 0, 0))
    for _ in range(2):
        images, broken = read(*files)
        assert (images[torch.arange(5)][:, 0, 0, 0].tolist(), broken) == ([0, 1, 2, 3, 4], {})


@pytest.fixture
def filled(root, read):
    """Three images in the cache."""
    for name, color in (("a.png", RED), ("b.png", GREEN), ("c.png", BLUE)):
        png(root / name, color)
    read("a.png", "b.png", "c.png")
    return root


def counting(monkeypatch, name):
    """Count the files that a function of the module is given."""
    function, seen = getattr(image_files, name), []

    def count(path, **settings):
        seen.append(path.name)
        return function(path, **settings)

    monkeypatch.setattr(image_files, name, count)
    return seen


def test_a_second_start_opens_no_image(filled, read, monkeypatch):
    decoded, hashed = counting(monkeypatch, "decode"), counting(monkeypatch, "_hash_file")
    images, broken = read("a.png", "b.png", "c.png")
    assert images[torch.tensor([2, 0])][:, :, 0, 0].tolist() == [list(BLUE), list(RED)]
    assert (broken, decoded, hashed) == ({}, [], [])


def test_a_folder_that_was_moved_is_not_decoded_again(filled, read, monkeypatch):
    decoded, hashed = counting(monkeypatch, "decode"), counting(monkeypatch, "_hash_file")
    moved = filled.rename(filled.with_name("moved"))
    for _ in range(2):
        images, _ = read("a.png", "b.png", "c.png", at=moved)
        assert images[torch.arange(3)][:, :, 0, 0].tolist() == [list(RED), list(GREEN), list(BLUE)]
    assert decoded == []
    assert sorted(hashed) == ["a.png", "b.png", "c.png"]


def test_files_that_were_only_touched_are_not_decoded_again(filled, read, monkeypatch):
    decoded = counting(monkeypatch, "decode")
    os.utime(filled / "a.png", (1, 1))
    read("a.png", "b.png", "c.png")
    assert decoded == []


def test_changed_content_is_decoded_again(filled, read):
    png(filled / "a.png", WHITE)
    os.utime(filled / "a.png", (1, 1))
    images, _ = read("a.png", "b.png", "c.png")
    assert images[torch.tensor([0])][0, :, 0, 0].tolist() == list(WHITE)


@pytest.mark.parametrize("other", [{"image_size": 3}, {"fit": "crop"}, {"channels": 1}])
def test_other_settings_are_decoded_again(filled, tmp_path, monkeypatch, other):
    decoded = counting(monkeypatch, "decode")
    settings = {"image_size": 2, "fit": "stretch", "channels": 3, **other}
    images, *_ = decode_files(filled, ["a.png"], white=None, cache=tmp_path / "cache", **settings)
    assert images.shape == (1, settings["channels"], settings["image_size"], settings["image_size"])
    assert decoded == ["a.png"]


def test_a_file_that_becomes_readable_is_noticed(root, read, monkeypatch):
    png(root / "a.png", RED)
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "_hash_file", lambda path: None)
        patch.setattr(image_files, "decode", lambda path, **_: path.open("r+x"))  # any OSError
        _, broken = read("a.png")
        assert list(broken) == ["a.png"]
    _, broken = read("a.png")
    assert broken == {}


def test_a_killed_decoding_leaves_nothing_that_is_taken_for_whole(root, read, tmp_path, monkeypatch):
    png(root / "a.png", RED)

    def killed(images):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(image_files, "hash_image", killed)
        with pytest.raises(KeyboardInterrupt):
            read("a.png")
    assert len(list((tmp_path / "cache").glob("*.partial"))) == 1
    images, broken = read("a.png")
    assert (images[torch.tensor([0])][0, :, 0, 0].tolist(), broken) == (list(RED), {})
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_a_full_disk_is_said_and_leaves_no_cache(root, read, tmp_path, monkeypatch):
    png(root / "a.png", RED)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(ValueError, match=r"data.cache=.*No space left on device: make room there"):
            read("a.png")
    assert {path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()} <= {".lock"}
    assert len(read("a.png")[0]) == 1


def test_a_cache_that_cannot_be_made_is_named(root, tmp_path):
    png(root / "a.png", RED)
    (tmp_path / "cache").touch()
    with pytest.raises(ValueError, match=r"data\.cache=.*cache: .*: make room there, or name another folder"):
        decode_files(root, ["a.png"], 2, "stretch", 3, None, tmp_path / "cache")


def test_the_cache_says_what_it_holds(filled, tmp_path):
    (files,) = (tmp_path / "cache").glob("*/files.json")
    found = json.loads(files.read_text())
    assert found["facts"].pop("size") == ["2x2 pixels"] * 3
    del found["facts"]
    assert found == {"files": ["a.png", "b.png", "c.png"], "broken": {}, "synthetic": []}
    assert np.load(files.with_name("images.npy")).shape == (3, 3, 2, 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("manifest", [True, False], ids=["", "of an earlier version"])
@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("images.npy", flip),
        ("images.npy", lambda path: path.write_bytes(path.read_bytes()[:-5])),
        ("hashes.npy", lambda path: path.write_bytes(b"")),
        ("files.json", lambda path: path.unlink()),
    ],
    ids=["flipped", "cut off", "empty", "lost"],
)
def test_a_damaged_cache_is_set_aside_and_filled_again(filled, read, tmp_path, caplog, file, harm, manifest):
    (path,) = (tmp_path / "cache").glob(f"*/{file}")
    if not manifest:
        path.with_name("manifest.json").unlink()
    harm(path)
    images, broken = read("a.png", "b.png", "c.png")
    if harm is flip and not manifest:
        return  # an earlier version wrote nothing that would tell
    assert (images[torch.arange(3)][:, :, 0, 0].tolist(), broken) == ([list(RED), list(GREEN), list(BLUE)], {})
    (line,) = [line for line in caplog.messages if "is damaged" in line]
    assert f"{path.parent} is damaged (" in line
    assert f"set aside as {path.parent.name}.damaged, and made again when needed" in line


def test_an_empty_listing_is_made_again(filled, read, tmp_path):
    (path,) = (tmp_path / "cache" / "listings").glob("*.json")
    content = path.read_text()
    path.write_text("")
    assert len(read("a.png", "b.png", "c.png")[0]) == 3
    assert path.read_text() == content


def test_reading_is_shown(root, read, caplog):
    caplog.set_level(logging.INFO)
    png(root / "a.png", RED)
    read("a.png")
    read("a.png")
    assert caplog.messages == ["looking for new images: 1 files", "reading images: 1 files"]


@pytest.mark.parametrize("behind", [False, True])
def test_files_that_say_that_they_are_synthetic_are_kept_in_mind(root, tmp_path, monkeypatch, behind):
    """Wherever the text stands: some programs write it behind the pixels."""
    png(root / "real.png", RED)
    Image.new("RGB", (2, 2), BLUE).save(root / "made.png", pnginfo=png_mark("cat", {}))
    if behind:
        content = (root / "made.png").read_bytes()
        start, end = content.index(b"tEXt") - 4, content.index(b"IDAT") - 4
        (root / "made.png").write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    decoded = counting(monkeypatch, "decode")
    for _ in range(2):
        files = ["made.png", "real.png"]
        images, broken, synthetic, _ = decode_files(root, files, 2, "stretch", 3, None, tmp_path / "cache")
        assert images[torch.arange(2)][:, :, 0, 0].tolist() == [list(BLUE), list(RED)]
        assert (broken, synthetic) == ({}, ["made.png"])
    assert decoded == files
