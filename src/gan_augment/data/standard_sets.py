"""Standard data sets: sources without files of the user. Each is one function and one YAML under `conf/data/`.

`image_size` is the side to resize to, in pixels; None keeps the original. `root` is the folder that holds, or will
hold, the data set's own folder; it is downloaded when absent, with a progress bar. A `ValueError` says that the files
cannot be downloaded, or cannot be read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import pad

from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source, resize
from gan_augment.settings import check_choice, check_integer

DIGITS = [str(name) for name in range(10)]
# Numbers of training and test images of torchvision's data sets, by class name.
LENGTHS = {
    "MNIST": (60_000, 10_000),
    "FashionMNIST": (60_000, 10_000),
    "USPS": (7_291, 2_007),
    "CIFAR10": (50_000, 10_000),
}
LICENCES = {"MNIST": "CC BY-SA 3.0", "FashionMNIST": "MIT"}  # the makers of USPS and CIFAR-10 name none


def digits(image_size: int | None = None, num_images: int | None = None) -> Source:
    """Load the 1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak 1998).

    `num_images` takes only the first so many; None takes all.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = torch.from_numpy(data.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    if num_images is not None:
        check_integer("data.num_images", num_images, low=1, high=len(pixels))
    images = ImageSet(resize(pixels[:num_images], image_size), torch.from_numpy(data.target)[:num_images], DIGITS)
    return Source(images, licence="CC BY 4.0")


def mnist(root: str, image_size: int | None = None) -> Source:
    """Load MNIST (LeCun et al. 1998): 60,000 training and 10,000 test images of 28x28 pixels, digits."""
    return _published("MNIST", root, "MNIST/raw", "four", image_size, DIGITS)


def fashion_mnist(root: str, image_size: int | None = None) -> Source:
    """Load Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images of 28x28 pixels, clothes."""
    return _published("FashionMNIST", root, "FashionMNIST/raw", "four", image_size)


def usps(root: str, image_size: int | None = None, layout: str | None = None) -> Source:
    """Load USPS (Hull 1994): 7,291 training and 2,007 test images of 16x16 pixels, digits from envelopes.

    Digits of USPS fill the image. `layout="mnist"` lays them out as those of MNIST: within a black border of a seventh
    of the image on each side.
    """
    if layout is None:
        return _published("USPS", root, "USPS", "two", image_size, DIGITS)
    check_choice("data.layout", layout, ("mnist",))
    size = 28 if image_size is None else image_size
    check_integer("data.image_size", size, low=7)
    source = _published("USPS", root, "USPS", "two", size - 2 * round(size / 7), DIGITS)
    framed = pad(source.images.images[:], [round(size / 7)] * 4)
    return replace(source, images=replace(source.images, images=framed))


def cifar10(root: str, image_size: int | None = None) -> Source:
    """Load CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32x32 pixels, in colour.

    Its files are pickles, which torchvision reads only if their checksums equal the published ones.
    """
    return _published("CIFAR10", root, "cifar-10-batches-py", "seven", image_size)


def _published(
    name: str, root: str, folder: str, num_files: str, image_size: int | None, class_names: Sequence[str] | None = None
) -> Source:
    """Read a data set of torchvision, whose files are in a folder below the root; class names default to its own."""
    from torchvision import datasets

    where = Path(root).expanduser() / folder
    home = where if name == "USPS" else Path(root).expanduser()  # torchvision makes a folder for each of the others
    try:
        parts = [getattr(datasets, name)(str(home), train=train, download=True) for train in (True, False)]
    except Exception as error:  # of many kinds: from the network, the archive, or a broken file
        if any(where.glob("*")):
            remedy = "delete the broken files there, and they are downloaded again"
        else:
            remedy = f"put its {num_files} files there, or set paths.data_dir to a folder that has {folder}"
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{name} could not be downloaded to or read from {where} ({reason}): {remedy}") from error
    found, published = [len(part.data) for part in parts], list(LENGTHS[name])
    if found != published:
        raise ValueError(f"{name} in {where} has {found} images instead of {published}: delete it and start again")
    pixels = torch.cat([torch.as_tensor(part.data) for part in parts])
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    labels = torch.cat([torch.as_tensor(part.targets) for part in parts])
    images = ImageSet(resize(pixels, image_size), labels, class_names or parts[0].classes)
    return Source(images, test=torch.arange(found[0], sum(found)), licence=LICENCES.get(name, "unknown"))
