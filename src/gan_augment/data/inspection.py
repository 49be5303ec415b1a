"""One pass over the images as they were read: notes on what a user would see at a glance."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import interpolate

from gan_augment.data.source import FLAT, Source, abridged

CHUNK = 2**22  # pixel values at a time
QUARTER = 64  # levels: if all images together span fewer, most of the range is unused
LEAST = 5  # images of a class, for its files to tell it apart
TELLS = 0.9  # share of a class's images, and of the images that look like them, by which a fact tells it apart
OF_FILES = ("size", "shape", "colours", "format")  # facts that have nothing to do with what an image shows
SIDE = 8  # of the thumbnails that find near-copies
DETAIL = 16  # side at which the pairs that they find are compared
DIMENSIONS = 8  # of these thumbnails in the search
# Largest RMS difference of two near-copies: of their thumbnails in levels, and relative to their distance from the mean
# of their class; and of images of 16 pixels relative to their contrast. Different digits differ by more.
ALIKE, ALIKE_SHARE = 1.5, 0.12
PAIRS = 256  # compared at a time
NEIGHBOURS = 4  # near-copies looked for of each image


def inspection_notes(source: Source) -> list[str]:
    """Return notes, one sentence each, on pictures: flat ones, unused range, frames, telling files, near-copies."""
    if source.images.shape.is_point:
        return []
    blank, levels, thumbnails = _summarise(source)
    if "blank" in source.facts:  # black bars may be next to one colour
        blank |= np.array([*source.facts["blank"]]) != ""
    return [
        *_on_pixels(source, blank, *levels),
        *_on_frames(source),
        *_on_telling_files(source),
        *_on_near_copies(source, ~blank, thumbnails),
    ]


def _summarise(source: Source) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """Return which images are blank, bool `[N]`, their levels, the lowest and the highest, and thumbnails `[N, 64]`.

    The levels are those of the middle of the images: there may be black bars around it.
    """
    images, step = source.images, max(1, CHUNK // int(np.prod(source.images.images.shape[1:])))
    blank, levels, small = [], [], []
    for start in range(0, len(images), step):
        pixels = images.images[start : start + step]  # no indices, which would take longer than the rest
        flat, (top, left) = pixels.flatten(1), (side // 4 for side in pixels.shape[2:])
        middle = pixels[:, :, top : pixels.shape[2] - top, left : pixels.shape[3] - left]
        blank.append(flat.amax(dim=1) - flat.amin(dim=1) < FLAT)
        levels += [int(middle.min()), int(middle.max())]
        thumbnails = interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        small.append(thumbnails.float().mean(dim=1).flatten(1))
    return torch.cat(blank).numpy(), (min(levels), max(levels)), torch.cat(small).numpy()


def _on_pixels(source: Source, blank: np.ndarray, low: int, high: int) -> list[str]:
    notes = []
    if names := [source.name(index) for index in np.flatnonzero(blank).tolist()]:
        are = "is" if len(names) == 1 else "are"
        notes.append(f"{len(names):,} of {len(blank):,} images {are} blank, of one colour: {abridged(names)}")
    if FLAT <= high - low < QUARTER:
        notes.append(
            f"the middle of all images has only levels {low} to {high} of 255, less than a quarter of the range: "
            "stretch their values, or see data.white (files of 16 bits) and data.value_range (arrays)"
        )
    return notes


def _on_frames(source: Source) -> list[str]:
    several = [source.name(index) for index, has in enumerate(source.facts.get("frames", ())) if has]
    if not several:
        return []
    have = "1 file has" if len(several) == 1 else f"{len(several):,} files have"
    return [f"{have} several frames or pages, of which only the first is read: {abridged(several)}"]


def _on_telling_files(source: Source) -> list[str]:
    """Note the first fact of files, if any, that tells classes apart whatever the images show."""
    labels = source.images.labels.tolist()
    for fact in OF_FILES:
        if fact in source.facts and (told := telling(source.facts[fact], labels)):
            named = [f"{source.images.class_names[label]} ({value})" for label, value in told.items()]
            return [
                f"the {fact} of the files tells classes apart by itself: {abridged(named)}; a classifier may learn "
                "this instead of what the images show: make the files of all classes alike"
            ]
    return []


def telling(values: Sequence[str], labels: Sequence[int]) -> dict[int, str]:
    """Find the classes that a fact of files tells apart: label -> its most frequent value.

    The class of an image is guessed as that of most *other* images with the same value, so values that occur once tell
    nothing. A class is told apart if the guesses have a recall and a precision of at least 0.9 for it.

    Example:
        >>> telling(["60x40"] * 9 + ["40x60"] * 9, [0] * 9 + [1] * 9)
        {0: '60x40', 1: '40x60'}
    """
    pairs = [(value, label) for value, label in zip(values, labels, strict=True) if label >= 0]
    counts: dict[str, Counter[int]] = {}
    for value, label in pairs:
        counts.setdefault(value, Counter())[label] += 1
    size, guessed, right = Counter(label for _, label in pairs), Counter[int](), Counter[int]()
    for (value, label), number in Counter(pairs).items():
        others = counts[value] - Counter({label: 1})
        for guess, _ in others.most_common(1):
            guessed[guess] += number
            right[guess] += number * (guess == label)
    found = [
        label
        for label in sorted(size)
        if LEAST <= size[label] < len(pairs) and right[label] >= TELLS * max(size[label], guessed[label])
    ]
    return {label: max(counts, key=lambda value: counts[value][label]) for label in found}


def _on_near_copies(source: Source, is_shown: np.ndarray, thumbnails: np.ndarray) -> list[str]:
    """Note pairs of images that are almost the same, if they are, or may come, in different parts."""
    first, part = source.images.first_copy.numpy(), source.given_part.numpy()
    together, was_split = source.together, source.test is not None or source.validation is not None
    pairs = [
        (one, other)
        for one, other in near_copies(source, np.flatnonzero(is_shown & (first == np.arange(len(first)))), thumbnails)
        if (part[one] != part[other] if was_split else together is None or together[one] != together[other])
    ]
    if not pairs:
        return []
    named = [f"{source.name(one)} ~ {source.name(other)}" for one, other in pairs]
    number = f"{len(pairs):,} pair{'s' * (len(pairs) > 1)}"
    if was_split:
        return [
            "images that are almost the same are in more than one of training, validation and test, so results may "
            f"be too good ({number}): {abridged(named, '; ')}"
        ]
    return [
        f"images are almost the same, and may come into different parts of a split ({number}): "
        f"{abridged(named, '; ')}; leave one of each out, or put them into one group"
    ]


def _coarse(images: Tensor) -> Tensor:
    """Return images with little enough detail to compare them with copies that were once smaller, `[N, pixels]`."""
    height, width = (min(side, DETAIL) for side in images.shape[2:])
    return interpolate(images, (height, width), mode="bilinear", antialias=True).flatten(1).float()


def near_copies(source: Source, among: np.ndarray, thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Find pairs of images, by their indices, that are one picture saved in two ways, such as PNG and JPEG.

    Copies of another size are found too, but no crops. Thumbnails `[N, 64]` are compared first, by their principal
    components, which only makes them look closer; then the images. Near means near for a class: images that differ
    little from their class's mean must be nearer. At most a few pairs are found of each image.
    """
    if len(among) < 2:
        return []
    small = thumbnails[among] - thumbnails[among].mean(axis=0)
    axes = np.linalg.eigh(small.T @ small)[1][:, -DIMENSIONS:]
    tree = cKDTree(small @ axes)
    radius = ALIKE * SIDE  # of an RMS difference over 64 values
    _, near = tree.query(tree.data, k=min(1 + NEIGHBOURS, len(among)), distance_upper_bound=radius)
    near = np.asarray(near)
    row, column = np.nonzero(near < len(among))
    pairs = np.unique(np.sort(np.stack([row, near[row, column]], axis=1)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    labels, from_mean = source.images.labels.numpy()[among], small.copy()
    for label in np.unique(labels):
        from_mean[labels == label] -= small[labels == label].mean(axis=0)
    limit = np.minimum(radius, ALIKE_SHARE * np.linalg.norm(from_mean, axis=1)[pairs].min(axis=1))
    pairs = among[pairs[np.linalg.norm(small[pairs[:, 0]] - small[pairs[:, 1]], axis=1) <= limit]]
    found = []
    for some in (pairs[start : start + PAIRS] for start in range(0, len(pairs), PAIRS)):
        one, other = (_coarse(source.images.images[torch.from_numpy(side)]) for side in some.T)
        difference, contrast = (one - other).square().mean(dim=1).sqrt(), one.std(dim=1, correction=0)
        found += some[(difference <= ALIKE_SHARE * contrast).numpy()].tolist()
    return [(one, other) for one, other in found]
