"""Pairs: two domains whose images show the same things, one by one. Translators learn from them (Isola et al. 2017)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms.functional import gaussian_blur

from gan_augment.data.domains import join, load_node, read_domain, with_a_class
from gan_augment.data.source import HALVES, Source, abridged
from gan_augment.settings import check_boolean, check_choice

LOOKS = ("edges", "blurred")
BLUR = 1 / 14  # standard deviation of a blur, as a share of the side
AT_ONCE = 1000  # images


def made_pairs(of: Mapping[str, Any], look: str) -> Source:
    """Make pairs from a data set: the second domain is the set, the first its images in another style.

    Args:
        of: A data node.
        look: `edges`, the length of the Sobel gradient, its largest of an image being white; or `blurred`, by a
            Gaussian whose standard deviation is a fourteenth of the side.

    Raises:
        ValueError: If a setting is out of range, or the images cannot be loaded.
    """
    check_choice("data.look", look, LOOKS)
    second = load_node(of, "data.of")
    if second.pool is not None or second.images.shape.is_point:
        raise ValueError("data.of joins two domains, or has points: pairs are made from one set of images")
    change = edges if look == "edges" else blurred
    looks = torch.cat([change(some) for some in second.images.images[:].split(AT_ONCE)])
    first = replace(second, images=replace(second.images, images=looks), notes=())  # those of the second say enough
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
    found = [one.name for one in folder.iterdir() if one.is_dir() and one.name.upper() in ("A", "B")]
    if sorted(found) == ["A", "B"]:
        read = (read_domain(folder / name, settings) for name in ("A", "B"))
        both = _in_one_order([*read], root, skip_broken)
    elif found:
        raise ValueError(f"data.root={root} has the folder {found[0]}: pairs need two, A and B")
    else:
        if fit != "stretch":
            raise ValueError(f"data.fit={fit}: images side by side are stretched to squares: use data.fit=stretch")
        both = [read_domain(folder, settings | {"fit": half}) for half in HALVES]
        shapes = both[0].facts["shape"]
        if single := [both[0].name(index) for index, shape in enumerate(shapes) if not shape.startswith("wide")]:
            raise ValueError(
                f"data.root={root}: not two images side by side, because not wider than tall: {abridged(single)}; put "
                "pairs that are files of their own into A/ and B/"
            )
    names = ["A", "B"]
    if backward:
        both, names = both[::-1], names[::-1]
    return join(names, with_a_class(both[0]), both[1], are_pairs=True)


def _in_one_order(both: Sequence[Source], root: str, skip_broken: bool) -> list[Source]:
    """Return two sources in the order of the first, by names without their extensions.

    With `skip_broken`, images whose partner is missing are left out, with a note.
    """
    places = [{str(Path(one.name(index)).with_suffix("")): index for index in range(len(one.images))} for one in both]
    if any(len(one) != len(source.images) for one, source in zip(places, both, strict=True)):
        raise ValueError(f"data.root={root}: two images of A, or of B, have the same name, but for the extension")
    alone = sorted(places[0].keys() ^ places[1].keys())
    said = f"images without a partner of the same name in A and B: {abridged(alone)}"
    shared = [name for name in places[0] if name in places[1]]
    if (alone and not skip_broken) or not shared:
        raise ValueError(f"data.root={root}: {said}")
    orders = (torch.tensor([place[name] for name in shared]) for place in places)
    first, second = (source.subset(order) for source, order in zip(both, orders, strict=True))
    return [replace(first, notes=[*first.notes, f"left out: {said}"]) if alone else first, second]
