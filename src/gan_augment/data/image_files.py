"""From image files to pixels, decoded once and cached.

    files -> (listing: names, sizes, times) -> (content: bytes) -> images.npy, hashes.npy, files.json

A known listing names its content, so a second start opens no image file. Known content is not decoded again, wherever
it lies now.
"""

import errno
import json
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import PIL
from filelock import FileLock
from joblib import cpu_count
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from gan_augment.data.image_set import HASH_BYTES, MappedImages, hash_image
from gan_augment.data.marks import read_mark
from gan_augment.data.source import FLAT, HALVES
from gan_augment.parts import adopt, own_part, publish
from gan_augment.progress import Meter
from gan_augment.records.manifest import UNREADABLE, damage, seal, set_aside
from gan_augment.records.record import digest, write_json

VERSION = 4  # raised by hand when decoding changes
DEEP_WHITE = 65535  # the default white of a 16-bit file
# What is noted of each file, in words; the last three are empty unless it is so.
FACTS = ("size", "shape", "colours", "format", "synthetic", "frames", "blank")
ONE_PICTURE = ("MPO", "PSD")  # formats whose further frames are previews or layers of the first one
SEEN, LOST = 64, 16  # levels, of 255, by which transparency varies in a drawing, and colours where nothing is seen
# Problems of the machine and not of a file: the cache must not depend on them.
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)
IN_FLIGHT = 64  # files that wait for a thread or to be written

Result = TypeVar("Result")
Shape = tuple[int, ...]


def decode(
    path: Path, image_size: int, fit: str, channels: int, white: int | None = None, background: str = "black"
) -> tuple[np.ndarray, dict[str, str]]:
    """Read the first frame of an image file, turned upright, with a colour behind transparent pixels.

    The file may be of any type that Pillow reads by itself; its extension does not matter. Pillow may warn. Resizing is
    antialiased, and 16 bits become 8 as round(255 value / white). `conf/data/image_folder.yaml` describes the settings.

    Returns:
        uint8 `[C, H, W]`, and the `FACTS` of the file.

    Raises:
        ValueError: If the file is empty, or its pixels have no known range, are too many, or need another program.
        Exception: Other errors from Pillow for a file that it cannot read.
    """
    if path.stat().st_size == 0:
        raise ValueError("empty")
    with Image.open(path) as image:
        if image.format == "EPS":
            raise ValueError("EPS would need another program, Ghostscript, to run it: save as PNG")
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and image.width * image.height > most:
            raise ValueError(f"{image.width}x{image.height} pixels, more than {most}: save it smaller")
        is_deep = image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile) for tile in image.tile)
        image.load()  # before reading the mark: a PNG may have texts after its pixels
        if is_deep:
            _check_deep(image, white)
        size, mode, kind = f"{image.width}x{image.height} pixels", image.mode, str(image.format)
        is_synthetic = read_mark(image) is not None
        picture = _to_rgb(_to_8_bit(_upright(image), white), background)
        frames, blank = kind not in ONE_PICTURE and _has_frames(image), _span(picture) < FLAT
    picture = _resize(picture if channels == 3 else picture.convert("L"), image_size, fit)
    pixels = np.asarray(picture).reshape(image_size, image_size, channels).transpose(2, 0, 1)
    shape = f"{'wide' * (image.width > image.height) or 'tall' * (image.width < image.height) or 'square'} format"
    facts = (size, shape, f"mode {mode}", kind, "yes" * is_synthetic, "yes" * frames, "yes" * blank)
    return np.ascontiguousarray(pixels), dict(zip(FACTS, facts, strict=True))


def _check_deep(image: Image.Image, white: int | None) -> None:
    """Refuse 16 bits in colour that come out dark: Pillow reads the upper 8 of them."""
    if white not in (None, DEEP_WHITE):
        raise ValueError(
            "16 bits in colour, where data.white does not apply: save them in the full range, or as 8 bits"
        )
    if 0 < (high := int(np.asarray(image.convert("RGB")).max())) <= 255 // 16:
        raise ValueError(f"16 bits in colour, but none above {high} of 255: save them in the full range, or as 8 bits")


def _has_frames(image: Image.Image) -> bool:
    """Whether an animation or a document has more frames or pages than the one that is read."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the next frame is broken, the first one is read
        return True


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data is broken, the pixels are intact
        return image


def _to_8_bit(image: Image.Image, white: int | None) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range: save as 8 or 16 bit")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image).astype(np.int64)  # Pillow's own conversion clips at 255
    low, high, most = int(pixels.min()), int(pixels.max()), white or DEEP_WHITE
    if low < 0 or high > most:
        raise ValueError(f"pixels from {low} to {high}, not from 0 to {most}: see data.white")
    if white is None and 0 < high <= DEEP_WHITE // 16:  # values of 12 bits or fewer would all be dark
        raise ValueError(f"16 bits, but no pixel above {high}: set white, such as data.white=4095 or 65535")
    return Image.fromarray(((255 * pixels + most // 2) // most).astype(np.uint8))


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    behind = Image.new("RGBA", image.size, ImageColor.getrgb(background)[:3])
    picture = Image.alpha_composite(behind, image).convert("RGB")
    if _span(image.getchannel("A")) >= SEEN and _span(picture) < LOST:
        raise ValueError(f"it is invisible on {background}: set data.background, such as data.background=white")
    return picture


def _span(image: Image.Image) -> int:
    """Return how many levels the channels of an 8-bit image span at most."""
    return int(np.ptp(np.reshape(image.getextrema(), (-1, 2)), axis=1).max())


def _resize(image: Image.Image, side: int, fit: str) -> Image.Image:
    if fit in HALVES:
        middle = image.width // 2
        image = image.crop((0, 0, middle, image.height) if fit == "left" else (middle, 0, *image.size))
        fit = "stretch"
    if fit == "crop":
        return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    if fit == "stretch":
        return image.resize((side, side), Image.Resampling.BILINEAR)
    # Not ImageOps.pad, which loses an image whose short side would shrink below one pixel.
    width, height = (max(1, round(side * one / max(image.size))) for one in image.size)
    square = Image.new(image.mode, (side, side))
    square.paste(image.resize((width, height), Image.Resampling.BILINEAR), ((side - width) // 2, (side - height) // 2))
    return square


def decode_files(
    root: Path,
    files: list[str],
    image_size: int,
    fit: str,
    channels: int,
    white: int | None,
    cache: Path,
    background: str = "black",
) -> tuple[MappedImages, dict[str, str], list[str], dict[str, list[str]]]:
    """Read many image files, given relative to `root`, as `decode` does, or from the cache if it has them.

    Returns:
        The images that can be read, in the order of their files; the reason for each file that cannot be read; the
        files that are marked as synthetic; and by name each of the `FACTS` of the images.

    Raises:
        ValueError: If the cache cannot be written.
    """
    # Two versions of Pillow, or of its libraries, may read the same file as different pixels.
    settings = [VERSION, PIL.__version__, image_size, fit, channels, white, background]
    listing = cache / "listings" / f"{digest([str(root), settings, [_stat(root, file) for file in files]])}.json"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        key = _listed(listing)
        if key is None or _damage(cache / key) is not None:
            contents = list(_each(_hash_file, root, files, "looking for new images"))
            key = digest([settings, contents])
            listing.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{key}.lock"), own_part(cache / key) as part:
                # The same bytes may have been decoded elsewhere or earlier.
                if (damaged := _damage(cache / key)) is not None:
                    if (cache / key).exists():
                        set_aside(cache / key, damaged)
                    adopt(cache / key, part, progress=lambda part: 0)
                    read = partial(decode, image_size=image_size, fit=fit, channels=channels, white=white)
                    read = partial(read, background=background)
                    _fill(part, read, (channels, image_size, image_size), root, files)
                    publish(part, cache / key)
            if all(content is not None for _, content in contents):  # a file that failed may be readable next time
                write_json({"content": key}, listing)
        found, hashes = _read(cache / key)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"data.cache={cache}: {reason}: make room there, or name another folder") from error
    images = MappedImages(cache / key / "images.npy", np.arange(len(hashes)), hashes)
    return images, found["broken"], found["synthetic"], found["facts"]


def _listed(listing: Path) -> str | None:
    """Return the key of the content of a known listing."""
    try:
        return str(json.loads(listing.read_text(encoding="utf-8"))["content"])
    except UNREADABLE:
        return None


def _read(folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Read the description of the files in a folder of the cache, and the hashes of their images."""
    found = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    hashes = np.load(folder / "hashes.npy", allow_pickle=False)
    images = np.load(folder / "images.npy", mmap_mode="r") if len(hashes) else hashes
    if not len(found["files"]) == len(hashes) == len(images):
        raise ValueError(f"{len(found['files'])} files, {len(hashes)} hashes, {len(images)} images")
    return found, hashes


def _damage(folder: Path) -> str | None:
    """Return what is wrong with a folder of the cache; None if it is whole."""
    return damage(folder, lambda: _read(folder))


def _stat(root: Path, file: str) -> tuple[str | int, ...]:
    try:
        status = (root / file).stat()
    except OSError:
        return (file,)
    return file, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hash_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file_digest(file, partial(blake2b, digest_size=HASH_BYTES)).hexdigest()
    except OSError:
        return None


def _fill(
    folder: Path, read: Callable[[Path], tuple[np.ndarray, dict[str, str]]], shape: Shape, root: Path, files: list[str]
) -> None:
    """Decode files into a folder."""

    def read_or_reason(path: Path) -> tuple[np.ndarray, bytes, dict[str, str]] | str:
        try:
            pixels, facts = read(path)
            return pixels, hash_image(pixels), facts
        except Exception as error:  # a broken file can break a decoder in any way
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in OF_THE_MACHINE:
                raise ValueError(f"{path} could not be read now: {_reason(error)}: try again") from error
            return _reason(error)

    shutil.rmtree(folder, ignore_errors=True)  # of a killed process
    folder.mkdir()
    good: dict[str, tuple[bytes, dict[str, str]]] = {}  # hash and facts
    broken: dict[str, str] = {}
    try:
        # Warning filters are shared by all threads, so they are set once, outside the threads.
        with warnings.catch_warnings(), (folder / "images.npy").open("wb") as out:
            warnings.simplefilter("ignore")
            _write_header(out, (0, *shape))
            for file, result in _each(read_or_reason, root, files, "reading images"):
                if isinstance(result, str):
                    broken[file] = result
                else:
                    pixels, hashed, facts = result
                    out.write(pixels.data)
                    good[file] = hashed, facts
            out.seek(0)
            _write_header(out, (len(good), *shape))
        hashes = b"".join(one for one, _ in good.values())
        np.save(folder / "hashes.npy", np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES))
        synthetic = [file for file, (_, facts) in good.items() if facts["synthetic"]]
        about = {name: [facts[name] for _, facts in good.values()] for name in FACTS}
        content = {"files": [*good], "broken": broken, "synthetic": synthetic, "facts": about}
        write_json(content, folder / "files.json")
        seal(folder)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)  # it may be filling the disk
        raise


def _write_header(out: BinaryIO, shape: Shape) -> None:
    """Write the header of an `.npy` file of uint8; NumPy pads it for any number of rows."""
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _reason(error: Exception) -> str:
    """Return in a few words why a file cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    return getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__


def _each(work: Callable[[Path], Result], root: Path, files: list[str], title: str) -> Iterator[tuple[str, Result]]:
    """Yield files with the result of some work on each, in order.

    Threads suffice: Pillow and hashlib release the interpreter's lock.
    """
    in_flight: deque[Future[Result]] = deque()
    with Meter(title, len(files), "files") as meter, ThreadPoolExecutor(cpu_count()) as pool:
        waiting = iter(files)
        for file in files:
            in_flight.extend(pool.submit(work, root / one) for one in islice(waiting, IN_FLIGHT - len(in_flight)))
            meter.advance()
            yield file, in_flight.popleft().result()
