"""The standard sets: sources that need no files of the user's. Each is one function and one YAML under `conf/data/`."""

import gzip
import zlib
from pathlib import Path

import torch

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source, resize


def digits(image_size: int | None = None) -> Source:
    """Load the 1,797 handwritten digits of 8x8 pixels that scikit-learn carries (Alpaydin and Kaynak 1998).

    Args:
        image_size: Side to resize to, in pixels; None keeps 8.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = torch.from_numpy(data.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    return Source(
        ImageSet(resize(pixels, image_size), torch.from_numpy(data.target), [str(name) for name in range(10)])
    )


def mnist(root: str, image_size: int | None = None) -> Source:
    """Load MNIST (LeCun et al. 1998): 60,000 training and 10,000 test images of 28x28 pixels.

    Args:
        root: Folder that holds, or will hold, `MNIST/raw`; downloaded when absent, with a progress bar.
        image_size: Side to resize to, in pixels; None keeps 28.

    Raises:
        ValueError: If the files cannot be downloaded, or cannot be read.
    """
    from torchvision.datasets import MNIST

    root = str(Path(root).expanduser())
    folder = Path(root) / "MNIST" / "raw"
    try:
        parts = [MNIST(root, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        if any(folder.glob("*-ubyte*")):
            remedy = "delete the broken files there, and they are downloaded again"
        else:
            remedy = "put its four files there, or set paths.data_dir to a folder that has MNIST/raw"
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"MNIST could not be downloaded to or read from {folder} ({reason}): {remedy}") from error
    lengths = [len(part.data) for part in parts]
    if lengths != [60_000, 10_000]:
        raise ValueError(f"MNIST in {folder} has {lengths} images instead of [60000, 10000]: delete it and start again")
    pixels = torch.cat([part.data for part in parts])[:, None]
    labels = torch.cat([part.targets for part in parts])
    images = ImageSet(resize(pixels, image_size), labels, [str(name) for name in range(10)])
    return Source(images, test=torch.arange(lengths[0], sum(lengths)))
