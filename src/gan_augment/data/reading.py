"""Reading a folder of images in the same way as those that a network learned from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gan_augment.data.image_files import decode_files
from gan_augment.data.image_set import ImageShape, MappedImages
from gan_augment.data.listing import count, list_files, refuse_outside, shown
from gan_augment.data.source import FITS, HALVES, abridged
from gan_augment.settings import check_choice

MOST_SIDE = 4096  # pixels: a checkpoint of others may ask for any number


@contextmanager
def read_alike(
    network: str,
    shape: ImageShape,
    decoding: Mapping[str, Any] | None,
    folder: Path,
    skip_broken: bool = False,
    follow_links: bool = False,
    are_images: Callable[[str], bool] = lambda name: True,
) -> Iterator[tuple[list[str], MappedImages]]:
    """Read the images below a folder as a network needs them, in the same size, colours and so on.

    Args:
        network: What to call the network in messages, such as `classifier`.
        shape: The images that it takes.
        decoding: How the files of its training were read: `fit`, `white` and `background`; None if unknown.
        folder: The folder.
        skip_broken: Whether to continue without files that cannot be read.
        follow_links: Whether symbolic links may lead out of the folder.
        are_images: Tells by their names which files are read; by default all.

    Yields:
        The files, relative to the folder, and their images, which can be read inside the context.

    Raises:
        ValueError: If there are no images, one cannot be read, or the network does not say how to read them.
    """
    if decoding is None:
        raise ValueError(f"the {network} does not say how to read files: an earlier version made it: train again")
    if shape.is_point or shape.height != shape.width or shape.height > MOST_SIDE or shape.channels not in (1, 3):
        raise ValueError(
            f"the {network} takes {shape.height}x{shape.width} pixels of {shape.channels} channels, but files are "
            f"read as squares of up to {MOST_SIDE} pixels a side and 1 or 3 channels: name another one"
        )
    check_choice(f"the {network}'s data.fit", fit := decoding.get("fit") or "stretch", (*FITS, *HALVES))
    root = folder.resolve()
    if not root.is_dir():
        raise ValueError(f"images={folder}: {'this is a file' if root.exists() else 'not found'}: name a folder")
    found, _, outside = list_files(root, follow_links)
    files = [*filter(are_images, found)]
    try:
        refuse_outside(outside, root)
    except ValueError as error:
        raise ValueError(str(error).replace("data.", "")) from error
    with TemporaryDirectory(prefix="gan-augment-") as cache:
        background = decoding.get("background") or "black"
        settings = shape.height, fit, shape.channels, decoding.get("white"), Path(cache), background
        images, broken, _, _ = decode_files(root, files, *settings)
        reasons = [f"{shown(file)} ({reason})" for file, reason in broken.items()]
        if broken and not skip_broken:
            raise ValueError(
                f"{count(broken, 'file')} cannot be read: {abridged(reasons)}; set skip_broken=true to go on without"
            )
        if not len(images):
            raise ValueError(f"images={folder}: there is no image in it: name another folder")
        yield [file for file in files if file not in broken], images
