"""A source of images from NumPy files: one file, and optionally another with their labels."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_augment.data.image_set import ImageSet, MappedImages, hash_images
from gan_augment.data.marks import MEMBER, check_marked
from gan_augment.data.names import check_one_label, not_a_part, one_spelling, part_of, same_name
from gan_augment.data.source import FITS, PART_BY_WORD, UNLABELLED, Source, resize, unknown_class_notes
from gan_augment.settings import check_boolean, check_choice, check_integer

KEYS = ("images", "labels", "split", "groups")  # of an npz
KINDS = {"images": "images", "x": "images", "labels": "labels", "y": "labels"}  # of an npz with an array for each part
NPY = b"\x93NUM"  # first bytes of a file with one array
NPZ = (b"PK\x03\x04", b"PK\x05\x06")  # first bytes of a file with several arrays, or none
LAYOUTS = ("NHW", "NHWC", "NCHW")
CHUNK = 2**22  # pixel values converted at a time
LARGE = 2**28  # larger files, in bytes, are mapped instead of loaded, unless their images need conversion
NO_LABELS = "the images have no labels: only a generator can be trained on them (classifier=none labels=all)"


def arrays(
    images: str,
    labels: str | None = None,
    layout: str | None = None,
    value_range: Sequence[float] | None = None,
    image_size: int | None = None,
    allow_synthetic: bool = False,
    fit: str | None = None,
) -> Source:
    """Read images from a NumPy file; `conf/data/arrays.yaml` describes the settings.

    Images are `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` with 1 or 3 channels, uint8 or floats of 16, 32 or 64 bits,
    which become the nearest of 256 levels. Labels `[N]` are whole numbers, -1 for none, or names, empty for none; or
    they are one-hot rows `[N, K]`. The split has one word per image: train, validation (or val), test or unlabelled;
    the label of an unlabelled image is not used. Groups, whole numbers or names, are equal for images that belong
    together; an empty name is for an image that is alone. Arrays `train_images`, `train_labels`, `val_images`, ..., as
    in MedMNIST, or `x_train`, `y_train`, `x_test`, ..., as in Keras, are one set with its split; a part without labels
    is unlabelled.

    Returns:
        The images in the file's order, classes in the order of their numbers or names. If no image has a label, all
        are of one class, `unlabelled`.

    Raises:
        ValueError: If a file cannot be read without running code, its images or labels are ambiguous, or it is marked
            as synthetic.
    """
    if image_size is not None:  # checked before large files are read
        check_integer("data.image_size", image_size, low=1)
    check_boolean("data.allow_synthetic", allow_synthetic)
    if fit is not None:
        check_choice("data.fit", fit, FITS)
        if image_size is None:
            raise ValueError(f"data.fit={fit}, but data.image_size is null: set the side in pixels, or data.fit=null")
    found = _load("data.images", images, KEYS)
    if labels is not None:
        if "labels" in found:
            raise ValueError(f"labels are in data.images={images} and in data.labels={labels}: remove one of the two")
        found |= _load("data.labels", labels, ("labels",))
    pixels = found["images"]
    layout = _find_layout(pixels.shape, layout)
    said = {name: _one_per_image(name, found[name], len(pixels)) for name in KEYS[1:] if name in found}
    parts = _read_split(said["split"]) if "split" in said else {}
    unlabelled = parts.pop(UNLABELLED, torch.empty(0).long()).numpy()
    indices, class_names, notes = _read_labels(said.get("labels", np.full(len(pixels), -1)), unlabelled)
    num_marked = len(pixels) if MEMBER in found else 0
    notes = check_marked(f"data.images={images}", num_marked, len(pixels), "image 0", allow_synthetic) + notes
    if not class_names:
        indices, class_names, notes = torch.zeros_like(indices), ["unlabelled"], [*notes, NO_LABELS]
    _check_labelled(parts, indices)
    height, width = (pixels.shape[layout.index(axis)] for axis in "HW")
    if image_size is not None and fit is None and height != width:
        notes = [*notes, f"images of {height}x{width} pixels are stretched to a square: data.fit has other ways"]
    groups = _read_groups(said["groups"]) if "groups" in said else None
    black, white = _find_value_range(pixels, value_range)
    is_as_needed = pixels.dtype == np.uint8 and layout != "NHWC" and image_size is None
    if isinstance(pixels, np.memmap) and pixels.nbytes > LARGE and is_as_needed:
        kept: Tensor | MappedImages = _map(pixels)
    else:
        kept = _convert(pixels, layout, black, white, image_size, fit or "stretch")
    images_read = ImageSet(kept, indices, class_names)
    return Source(images_read, parts.get("test"), parts.get("validation"), notes=notes, groups=groups, is_own=True)


def _load(setting: str, path: str, known: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a NumPy file by name; an npy is mapped from disk and gets the first of the known names."""
    file = Path(str(path)).expanduser()
    if not file.is_file():
        raise ValueError(f"{setting}={path}: {'this is a folder' if file.is_dir() else 'not found'}: name a NumPy file")
    found = None
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == NPY:
                found = {known[0]: np.load(file, mmap_mode="r", allow_pickle=False)}
            elif magic in NPZ:  # from the stream: NumPy leaves a damaged file open that it opens by name
                with np.load(stream, allow_pickle=False) as members:
                    found = {name: np.asarray(members[name]) for name in members}  # other members are bytes
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds
        if "object" in str(error).lower():
            raise ValueError(
                f"{setting}={path} holds pickled objects, which can run any code when they are read: "
                "save plain numbers instead"
            ) from error
        raise ValueError(f"{setting}={path} cannot be read ({error}): it may be damaged or cut off") from error
    if found is None:
        raise ValueError(f"{setting}={path} is not a NumPy file: save it with numpy.save or numpy.savez")
    if known == KEYS:
        found = _join_parts(f"{setting}={path}", found)
    if known[0] not in found or set(found) - {*known, MEMBER}:
        others = f", optionally {', '.join(known[1:])}," if known[1:] else ""
        parts = "; or train_images, train_labels, ..., or x_train, y_train, ..." if known == KEYS else ""
        raise ValueError(
            f"{setting}={path} holds {', '.join(found) or 'nothing'}: it must hold {known[0]}{others} and nothing else"
            f"{parts}"
        )
    return found


def _join_parts(setting: str, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join the arrays of parts, such as `val_images` or `x_test`, into one set with a split; leave others as they are.

    Raises:
        ValueError: If a part does not fit its labels or the others.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, values in found.items():
        first, _, second = same_name(name).partition("_")
        part, kind = (part_of(first), KINDS.get(second)) if part_of(first) else (part_of(second), KINDS.get(first))
        if part and kind and values.ndim:
            parts.setdefault(part, {})[kind] = values
        elif name != MEMBER:
            return found
    if lacking := [part for part, its in parts.items() if "images" not in its]:
        raise ValueError(f"{setting} has labels of {lacking[0]}, but not its images: add them")
    if len({(its["images"].shape[1:], its["images"].dtype) for its in parts.values()}) > 1:
        have = ", ".join(f"{its['images'].dtype} {list(its['images'].shape)} of {part}" for part, its in parts.items())
        raise ValueError(f"{setting} has images of several shapes or types ({have}): make them alike")
    if not parts:
        return found
    number = {part: len(its["images"]) for part, its in parts.items()}
    labels = {
        part: _one_per_image("labels", its["labels"], number[part]) for part, its in parts.items() if "labels" in its
    }
    labels = {part: one.astype(np.int64) if one.dtype.kind == "u" else one for part, one in labels.items()}  # for -1
    unknown = "" if any(one.dtype.kind == "U" for one in labels.values()) else -1
    return {
        "images": np.concatenate([its["images"] for its in parts.values()]),
        "labels": np.concatenate([labels.get(part, np.full(number[part], unknown)) for part in parts]),
        "split": np.repeat([part if part in labels else UNLABELLED for part in parts], [*number.values()]),
        **{name: found[name] for name in found if name == MEMBER},
    }


def _find_layout(shape: tuple[int, ...], layout: str | None) -> str:
    """Return the layout of the images' axes: the given one, or the only one that fits."""
    if layout is not None:
        check_choice("data.layout", layout, LAYOUTS)
    have = f"the images have shape {list(shape)}"
    if 0 in shape:
        raise ValueError(f"{have}: there are no pixels in them")
    as_long = [name for name in LAYOUTS if len(name) == len(shape)]
    fitting = [name for name in as_long if "C" not in name or shape[name.index("C")] in (1, 3)]
    if not fitting:
        raise ValueError(f"{have}: use [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels")
    if layout is None and len(fitting) > 1:
        raise ValueError(f"{have}: either axis can be the channels; set data.layout to NHWC or NCHW")
    if layout is not None and layout not in fitting:
        raise ValueError(f"data.layout={layout}, but {have}: use {' or '.join(fitting)}")
    return layout or fitting[0]


def _one_per_image(name: str, values: np.ndarray, num_images: int) -> np.ndarray:
    """Return the values, bytes decoded to text, if there is one for each image, `[N]`, `[N, 1]` or a one-hot row."""
    if values.shape == (num_images, 1):
        values = values[:, 0]
    if name == "labels" and values.ndim == 2 and len(values) == num_images:
        values = _from_one_hot(values)
    if values.shape != (num_images,):
        raise ValueError(
            f"the shape of {name} is {list(values.shape)}, but there are {num_images} images: "
            f"use one value per image, [{num_images}]"
        )
    return np.strings.decode(values, "utf-8", "backslashreplace") if values.dtype.kind == "S" else values


def _from_one_hot(rows: np.ndarray) -> np.ndarray:
    """Return the number of the only 1 in each row, `[N]`; raise a ValueError if a row is not one-hot."""
    if rows.dtype.kind not in "biuf" or not np.isin(rows, (0, 1)).all():
        raise ValueError(
            f"the shape of labels is {list(rows.shape)}, but their rows are not one-hot, 0 and a single 1: use one "
            "value per image"
        )
    marked = rows.sum(axis=1)
    if len(odd := np.flatnonzero(marked != 1)):
        raise ValueError(
            f"{len(odd):,} of {len(rows):,} images have no label or several in their rows of {rows.shape[1]}, the "
            f"first is image {odd[0]} with {marked[odd[0]]:g}: several labels per image are not supported; keep the "
            "images with one label, or one column as the label"
        )
    return rows.argmax(axis=1)


def _read_labels(given: np.ndarray, unlabelled: np.ndarray) -> tuple[Tensor, list[str], list[str]]:
    """Return the labels, int64 `[N]` with -1 for none, the names of the classes, and notes for the reader.

    The given labels are numbers, -1 for none, or names, empty for none; those at the unlabelled indices are not used.
    """
    if given.dtype.kind not in "iuU":
        raise ValueError(f"labels are {given.dtype}: use whole numbers, such as int64, or names")
    is_text, notes = given.dtype.kind == "U", list[str]()
    if is_text:
        spelling, notes = one_spelling(given.tolist())
        given = np.array([spelling[name] for name in given.tolist()])
    if not is_text and (given < -1).any():
        first = int(np.argmax(given < -1))
        raise ValueError(
            f"image {first} has the label {given[first]}: use -1 for no label, and no other negative number"
        )
    has_label = given != ("" if is_text else -1)
    unused = [str(name) for name in given[unlabelled][has_label[unlabelled]]]
    has_label[unlabelled] = False
    labels = np.full(len(given), -1)
    class_names, labels[has_label] = np.unique(given[has_label], return_inverse=True)
    names = [str(name) for name in class_names]
    if odd := [name for name in names if not name.isprintable()]:
        raise ValueError(f"labels have the name {odd[0]!r}: rename it, it has characters that cannot be shown")
    check_one_label("data.labels", set(names))
    return torch.from_numpy(labels), names, notes + unknown_class_notes(unused, names)


def _read_split(words: np.ndarray) -> dict[str, Tensor]:
    """Return the indices, int64 `[M]`, of the images of each part that occurs."""
    if words.dtype.kind != "U":
        raise ValueError(f"split is {words.dtype}: use the words {', '.join(PART_BY_WORD)}")
    part_by_word = {word: part_of(word) for word in sorted(set(words.tolist()))}
    if unknown := [word for word, part in part_by_word.items() if part is None]:
        raise ValueError(f"split {not_a_part(unknown[0])}")
    parts = np.array([part_by_word[word] for word in words.tolist()])
    return {part: torch.from_numpy(np.flatnonzero(parts == part)) for part in sorted(set(parts.tolist()))}


def _read_groups(given: np.ndarray) -> list[str]:
    if given.dtype.kind not in "iuU":
        raise ValueError(f"groups are {given.dtype}: use whole numbers, such as int64, or names")
    return [str(group) for group in given.tolist()]


def _check_labelled(parts: Mapping[str, Tensor], labels: Tensor) -> None:
    """Raise unless every validation and test image has a label."""
    for part in parts.keys() - {"train"}:
        if len(without := parts[part][labels[parts[part]] < 0]):
            raise ValueError(
                f"{len(without)} {part} images have no label, the first is image {without[0]}: "
                "label them, or make them training images"
            )


def _find_value_range(pixels: np.ndarray, value_range: Sequence[float] | None) -> tuple[float, float]:
    """Return the numbers that mean black and white; for floats, check that all images are finite and in this range."""
    if pixels.dtype == np.uint8:
        if value_range is not None:
            raise ValueError(f"data.value_range={value_range}, but the images are uint8, 0 to 255: leave it null")
        return 0, 255
    if pixels.dtype.kind != "f" or pixels.dtype.itemsize > 8:
        raise ValueError(
            f"the images are {pixels.dtype}: save them as uint8, 0 to 255; or as floats, such as float32, "
            "and set data.value_range to the numbers that mean black and white"
        )
    flat = (chunk.reshape(len(chunk), -1) for _, chunk in _chunks(pixels))
    extremes = np.concatenate([np.stack([chunk.min(axis=1), chunk.max(axis=1)], axis=1) for chunk in flat])  # [N, 2]
    if len(broken := np.flatnonzero(~np.isfinite(extremes).all(axis=1))):
        raise ValueError(
            f"{len(broken)} of {len(pixels)} images have numbers that are not finite, the first is image {broken[0]}: "
            "fix them, or leave them out"
        )
    low, high = float(extremes.min()), float(extremes.max())
    if value_range is None:
        raise ValueError(
            f"the images are {pixels.dtype}, from {low:.6g} to {high:.6g}: set the numbers that mean black and white, "
            "such as data.value_range=[0,1]"
        )
    try:
        black, white = map(float, value_range)
        is_range = -np.inf < black < white < np.inf
    except (TypeError, ValueError):
        is_range = False
    if not is_range:
        raise ValueError(f"data.value_range={value_range}: use two numbers, black before white, such as [0,1]")
    if low < black or high > white:
        raise ValueError(
            f"data.value_range={value_range}, but the images go from {low!r} to {high!r}: "
            "set a range that includes them, or clip them"
        )
    return black, white


def _convert(pixels: np.ndarray, layout: str, black: float, white: float, image_size: int | None, fit: str) -> Tensor:
    """Turn images of any layout and range into uint8 `[N, C, H, W]`."""
    channels, height, width = (dict(zip(layout, pixels.shape, strict=True)).get(axis, 1) for axis in "CHW")
    converted = torch.empty(len(pixels), channels, image_size or height, image_size or width, dtype=torch.uint8)
    for start, chunk in _chunks(pixels):
        if chunk.dtype != np.uint8:
            chunk = ((chunk.astype(np.float64) - black) / (white - black) * 255).round()
        chunk = chunk[:, None] if layout == "NHW" else chunk.transpose([layout.index(axis) for axis in "NCHW"])
        levels = torch.from_numpy(np.array(chunk, dtype=np.uint8, order="C"))
        converted[start : start + len(chunk)] = resize(levels, image_size, fit)
    return converted


def _map(pixels: np.memmap) -> MappedImages:
    """Leave images in their file, which must not change while it is in use; read them once, to hash them."""
    assert pixels.filename is not None
    hashes = [hash_images(torch.from_numpy(np.array(chunk, order="C"))) for _, chunk in _chunks(pixels)]
    return MappedImages(Path(pixels.filename), np.arange(len(pixels)), np.concatenate(hashes))


def _chunks(pixels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the images in chunks, each with the index of its first image."""
    step = max(1, CHUNK // pixels[0].size)
    for start in range(0, len(pixels), step):
        if isinstance(pixels, np.memmap):
            # Mapped anew each time: the pages of a lasting mapping would count as this process's memory.
            assert pixels.filename is not None
            pixels = np.load(pixels.filename, mmap_mode="r", allow_pickle=False)
        yield start, pixels[start : start + step]
