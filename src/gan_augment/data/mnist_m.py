"""MNIST-M: the digits of MNIST on patches of photographs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_augment.data.listing import is_image
from gan_augment.data.source import Source, resize
from gan_augment.data.standard_sets import mnist
from gan_augment.randomness import Stream
from gan_augment.records.record import digest

NAMES = "fd1d72dbc31549b4"  # the hash of the sorted names of BSDS500's 200 training photographs
SIDES = [321, 481]  # of each photograph, in pixels
INK = 0  # pixels of MNIST above this value belong to the digit
WEBSITE = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html"
LICENCE = "digits of MNIST: CC BY-SA 3.0; photographs of BSDS500: non-commercial research and education only"
SEED = 42  # fixed, so that everyone makes the same images


def mnist_m(root: str, image_size: int | None = None, patches_dir: str | None = None) -> Source:
    """Make MNIST-M (Ganin et al. 2016): 60,000 training and 10,000 test images of 28x28 pixels, digits in colour.

    Each image is a random patch of a photograph, inverted where the digit is. Training and test images have patches of
    the same photographs. The paper does not say which pixels belong to a digit: here they are those above 0, as in the
    script that most copies of the data come from. Those have other patches.

    Args:
        root: The folder of MNIST, as for `mnist`.
        image_size: The side to resize to, in pixels; None keeps 28.
        patches_dir: The folder of the 200 training photographs of BSDS500 (Arbelaez et al. 2011).

    Raises:
        ValueError: If these photographs are not there, or cannot be read; or as `mnist`.
    """
    files = _photographs(patches_dir)
    source = mnist(root)
    pixels = invert_patches(source.images.images[:] > INK, files)
    return replace(source, images=replace(source.images, images=resize(pixels, image_size)), licence=LICENCE)


def invert_patches(digits: Tensor, files: Sequence[Path]) -> Tensor:
    """Cut a random patch from a random photograph for each digit, and invert it where the digit is.

    Args:
        digits: Whether a pixel belongs to the digit, bool `[N, 1, H, W]`.
        files: The photographs, in an order that does not depend on the machine.

    Returns:
        `|255 digit - patch|` as uint8 `[N, 3, H, W]`.

    Raises:
        ValueError: If a photograph cannot be read, or is not of the size that BSDS500's have.
    """
    number, _, height, width = digits.shape
    generator = Stream(SEED, "mnist_m").at(0)
    chosen = torch.randint(len(files), [number], generator=generator)
    corners = torch.rand(number, 2, generator=generator, dtype=torch.float64)  # as shares of the possible places
    images = torch.empty(number, 3, height, width, dtype=torch.uint8)
    for index, file in enumerate(files):  # one in memory at a time
        here = (chosen == index).nonzero()[:, 0]
        patches = _read(file).unfold(1, height, 1).unfold(2, width, 1)  # [3, rows, columns, H, W], a view
        top, left = (corners[here] * torch.tensor(patches.shape[1:3])).long().T
        patch = patches[:, top, left].transpose(0, 1)
        images[here] = torch.where(digits[here], 255 - patch, patch)
    return images


def _photographs(patches_dir: str | None) -> list[Path]:
    """Return the files of BSDS500's training photographs; raise a ValueError, which says where to get them."""
    folder, names = Path(str(patches_dir)).expanduser(), list[str]()
    if patches_dir is None:
        problem = "name a folder"
    elif not folder.is_dir():
        problem = "this is a file" if folder.exists() else "not found"
    else:
        names = sorted(one.name for one in folder.iterdir() if is_image(one.name) and not one.name.startswith("."))
        problem = f"its {len(names)} images are not the right ones" if names else "no images in it"
    if digest(names) != NAMES:
        raise ValueError(
            f"data.patches_dir={patches_dir}: {problem}; MNIST-M needs the 200 training photographs of BSDS500: "
            f"download it from {WEBSITE} and name its folder BSDS500/data/images/train"
        )
    return [folder / name for name in names]


def _read(file: Path) -> Tensor:
    """Read a photograph, uint8 `[3, H, W]`."""
    try:
        with Image.open(file) as image:
            pixels = np.array(image.convert("RGB"))
    except Exception as error:  # a broken file can break a decoder in any way
        raise ValueError(f"{file} cannot be read ({error}): copy it from BSDS500 again") from error
    if sorted(pixels.shape[:2]) != SIDES:
        raise ValueError(f"{file} is not {SIDES[0]}x{SIDES[1]} pixels: copy it from BSDS500 again")
    return torch.from_numpy(pixels).permute(2, 0, 1)
