"""Pairs: two domains whose images show the same, one by one. A translator can learn from them (Isola et al. 2017)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms.functional import gaussian_blur

from gan_augment.data.domains import join, load_node, read_domain
from gan_augment.data.source import HALVES, Source, abridged
from gan_augment.settings import check_boolean, check_choice

LOOKS = ("edges", "blurred")
BLUR = 1 / 14  # standard deviation of a blur, as a share of the side
AT_ONCE = 1000  # images


def made_pairs(of: Mapping[str, Any], look: str) -> Source:
    """Make pairs from a data set: the second domain is the set, the first its images in another look.

    Args:
        of: A data node.
        look: `edges`, the length of the Sobel gradient, its largest of an image being white; or `blurred`, by a
            Gaussian whose standard deviation is a fourteenth of the side.

    Raises:
        ValueError: If a setting is out of range, or the images cannot be loaded.
    """
    check_choice("data.look", look, LOOKS)
    second = load_node(of, "data.of")
    change = edges if look == "edges" else blurred
    looks = torch.cat([change(some) for some in second.images.images[:].split(AT_ONCE)])
    first = replace(second, images=replace(second.images, images=looks))
    return join([look, "images"], first, second, are_pairs=True)


def edges(images: Tensor) -> Tensor:
    """Return the length of the Sobel gradient of uint8 images `[N, C, H, W]`, whose largest of each image is white.

    Example:
        >>> step = torch.tensor([0, 0, 255, 255], dtype=torch.uint8).expand(1, 1, 4, 4)
        >>> edges(step)[0, 0, 0].tolist()
        [0, 255, 255, 0]
    """
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    grey = pad(images.float().mean(dim=1, keepdim=True), [1] * 4, mode="replicate")
    across, down = conv2d(grey, torch.stack([sobel, sobel.T])[:, None]).unbind(1)
    length = (across**2 + down**2).sqrt()
    scaled = 255 * length / length.amax(dim=(1, 2), keepdim=True).clamp(min=1)
    return scaled.round().to(torch.uint8)[:, None].expand_as(images).contiguous()


def blurred(images: Tensor) -> Tensor:
    """Return uint8 images `[N, C, H, W]` blurred by a Gaussian."""
    width = BLUR * min(images.shape[2:])
    return gaussian_blur(images, 2 * round(3 * width) + 1, width)


def pair_folders(
    root: str,
    group_by: str | None,
    image_size: int,
    fit: str,
    channels: int,
    white: int | None,
    skip_broken: bool,
    follow_links: bool,
    allow_synthetic: bool,
    cache: str,
    background: str | None = None,
    backward: bool = False,
) -> Source:
    """Read the user's own pairs: two folders `A/` and `B/` with the same names, or images with both side by side.

    Each is a folder as `data=image_folder` reads it. Without folders of classes, all labelled images are of one class,
    for a translator without a classifier. Images side by side are stretched to squares.

    With `backward`, the second image is the one to translate: `B/`, or the right half.

    Raises:
        ValueError: As `image_folder`, and if an image has no partner.
    """
    check_boolean("data.backward", backward)
    settings = {name: value for name, value in locals().items() if name not in ("root", "backward")}
    folder = Path(str(root)).expanduser()
    if not folder.is_dir():
        raise ValueError(f"data.root={root}: not found: name a folder")
    if (folder / "A").is_dir() and (folder / "B").is_dir():
        both = [read_domain(folder / name, settings) for name in ("A", "B")]
        both[1] = _in_order_of(both[0], both[1], root)
    else:
        if fit != "stretch":
            raise ValueError(f"data.fit={fit}: images side by side are stretched to squares: use data.fit=stretch")
        both = [read_domain(folder, settings | {"fit": half}) for half in HALVES]
    names = ["A", "B"]
    if backward:
        both, names = both[::-1], names[::-1]
    first, second = both
    if not (first.images.labels >= 0).any():
        first = replace(first, images=first.images.as_one_class())
    return join(names, first, second, are_pairs=True)


def _in_order_of(first: Source, second: Source, root: str) -> Source:
    """Return the second source in the order of the first, by names without their extensions."""
    places = [
        {str(Path(one.name(index)).with_suffix("")): index for index in range(len(one.images))}
        for one in (first, second)
    ]
    if any(len(one) != len(source.images) for one, source in zip(places, (first, second), strict=True)):
        raise ValueError(f"data.root={root}: two images of A, or of B, have the same name, but for the extension")
    if alone := sorted(places[0].keys() ^ places[1].keys()):
        raise ValueError(f"data.root={root}: images without a partner of the same name in A and B: {abridged(alone)}")
    order = torch.tensor([places[1][name] for name in places[0]])
    return replace(
        second,
        images=second.images.subset(order),
        test=_moved(second.test, order),
        validation=_moved(second.validation, order),
        names=[second.name(index) for index in order.tolist()],
        groups=None if second.groups is None else [second.groups[index] for index in order.tolist()],
    )


def _moved(indices: Tensor | None, order: Tensor) -> Tensor | None:
    return None if indices is None else torch.isin(order, indices).nonzero()[:, 0]
