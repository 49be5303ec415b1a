"""Two domains: labelled images come from one place, the images to be classified from another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.image_folder import image_folder
from gan_augment.data.image_set import ImageSet
from gan_augment.data.listing import list_files
from gan_augment.data.names import part_of, same_name
from gan_augment.data.source import UNLABELLED, Source, abridged
from gan_augment.settings import build, check_integer, check_node, errors_of

TEST = 2  # in `Source.given_part`
OF_A_SPLIT = ("test_share", "classical")  # settings of a data node that its source does not know


def domains(
    from_: Mapping[str, Any],
    to: Mapping[str, Any],
    from_images: int | None = None,
    to_images: int | None = None,
) -> Source:
    """Join two sources: labelled and validation images of the first, pool and test of the second.

    Test images that the first has set apart are left out. Those of the second are the test; if it has none, they are
    drawn from its labelled images. All its other images are the pool, validation images included. The classes of the
    second must be some of the first. Greyscale images get three equal channels where the others are in colour. Groups
    of one name are one group. All images are kept in memory.

    Args:
        from_: A data node, such as that of `conf/data/mnist.yaml`.
        to: Another one, of images of the same size, with labels or without.
        from_images: How many images each seed labels, in the proportions of their classes; None for all.
        to_images: How many images are in the pool of each seed; None for all.

    Raises:
        ValueError: If a setting is out of range, or the images cannot be joined.
    """
    _check_sizes(from_images, to_images)
    names = [_called(node) for node in (from_, to)]
    if names[0] == names[1]:
        names = ["from", "to"]
    return join(names, load_node(from_, "data.from"), load_node(to, "data.to"), from_images, to_images)


def domain_folders(
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
    from_images: int | None = None,
    to_images: int | None = None,
) -> Source:
    """Join the user's own images of two domains, in `source/` and `target/` of one folder, or `trainA/` and `trainB/`.

    Each is a folder as `data=image_folder` reads it. The second may have its images without folders of classes; then
    none has a label. With `trainA/` and `trainB/`, as in the sets of CycleGAN, the first may have none either: its
    images are then of one class, for a translator without a classifier. `testB/`, if there is one, is the test, and
    `testA/` is not read.

    Raises:
        ValueError: As `domains` and `image_folder`.
    """
    settings = {name: value for name, value in locals().items() if name not in ("root", "from_images", "to_images")}
    folder = Path(str(root)).expanduser()
    is_of_cyclegan = (folder / "trainA").is_dir()
    folders = ("trainA", "trainB") if is_of_cyclegan else ("source", "target")
    names = ("A", "B") if is_of_cyclegan else folders
    if missing := [name for name in folders if not (folder / name).is_dir()]:
        raise ValueError(
            f"data.root={root}: no folder {' and no folder '.join(missing)} in it: it needs source and target, or "
            "trainA and trainB"
        )
    if is_of_cyclegan and (folder / "source").is_dir():
        raise ValueError(f"data.root={root} has both source and trainA: leave one layout of the two")
    _check_sizes(from_images, to_images)
    if is_of_cyclegan:
        first = with_a_class(read_domain(folder / "trainA", settings))
    else:
        first = image_folder(str(folder / "source"), table=None, **settings)
    second = read_domain(folder / folders[1], settings)
    if is_of_cyclegan and (folder / "testB").is_dir():
        second = _with_test(second, read_domain(folder / "testB", settings), root)
    return join(names, first, second, from_images, to_images)


def read_domain(folder: Path, settings: Mapping[str, Any]) -> Source:
    """Read a folder of one domain with the settings of `image_folder`.

    Without folders of classes no image has a label. Folders of parts, such as `train/` and `test/`, keep their meaning.
    """
    folders = (name.partition("/") for name in list_files(folder, settings["follow_links"])[1])
    if any(part_of(top) is None or (below and part_of(top) != UNLABELLED) for top, _, below in folders):
        return image_folder(str(folder), table=None, **settings)
    source = image_folder(str(folder), table=None, **settings, unlabelled=True)
    parts = [part_of(source.name(index).split("/")[0]) for index in range(len(source.images))]
    test, validation = ([index for index, one in enumerate(parts) if one == part] for part in ("test", "validation"))
    return replace(
        source,
        test=torch.tensor(test) if test else None,
        validation=torch.tensor(validation) if validation else None,
    )


def with_a_class(source: Source) -> Source:
    """Return a source whose images are of one class, `any`, if none has a label."""
    return source if (source.images.labels >= 0).any() else replace(source, images=source.images.as_one_class())


def _with_test(source: Source, test: Source, root: str) -> Source:
    """Return a source without test images, with all images of another one as its test, of the same classes."""
    if source.test is not None:
        raise ValueError(f"data.root={root}: trainB has test images of its own, next to testB: leave one of the two")
    classes, others = source.images.class_names or test.images.class_names, test.images.class_names
    if unknown := [repr(name) for name in others if name not in classes]:
        raise ValueError(f"data.root={root}: testB has classes that trainB does not have ({abridged(unknown)})")
    label_of = torch.tensor([*(classes.index(name) for name in others), -1])
    both, parts = (source, test), ("train", "test")
    groups = [group for one in both for group in one.groups or [""] * len(one.images)]
    return replace(
        source,
        images=ImageSet(
            torch.cat([one.images.images[:] for one in both]),
            torch.cat([source.images.labels, label_of[test.images.labels]]),
            classes,
        ),
        test=len(source.images) + torch.arange(len(test.images)),
        names=[f"{part}/{one.name(i)}" for part, one in zip(parts, both, strict=True) for i in range(len(one.images))],
        notes=[*source.notes, *test.notes],
        groups=groups if any(groups) else None,
    )


def _check_sizes(from_images: Any, to_images: Any) -> None:
    """Raise a ValueError unless each number of images is None or at least 1."""
    for name, number in (("from_images", from_images), ("to_images", to_images)):
        if number is not None:
            check_integer(f"data.{name}", number, low=1)


def join(
    names: Sequence[str],
    first: Source,
    second: Source,
    from_images: int | None = None,
    to_images: int | None = None,
    are_pairs: bool = False,
) -> Source:
    """Join two sources under their names, as `domains` describes; in pairs, images of one index show the same thing."""
    kept = (first.given_part != TEST).nonzero()[:, 0]
    first = replace(first.subset(kept), test=None)
    both = [*zip(names, (first, second), strict=True)]
    labels = _joint_labels(first.images, second.images)
    pixels = _joint_pixels(first.images, second.images)
    number, is_test = len(first.images), second.given_part == TEST
    test = second.test if (second.images.labels >= 0).any() else torch.empty(0, dtype=torch.int64)
    groups = None
    if any(one.groups is not None for _, one in both):
        groups = [group for _, one in both for group in one.groups or [""] * len(one.images)]
    return Source(
        ImageSet(pixels, labels, first.images.class_names),
        test=None if test is None else number + test,
        validation=first.validation,
        pool=number + (~is_test).nonzero()[:, 0],
        sizes={part: size for part, size in (("labelled", from_images), ("pool", to_images)) if size is not None},
        domains=(names[0], names[1]),
        partner=_partners(kept, len(second.images)) if are_pairs else None,
        names=[f"{name}/{one.name(index)}" for name, one in both for index in range(len(one.images))],
        notes=[f"{name}: {note}" for name, one in both for note in one.notes],
        groups=groups,
        licence=" and ".join(dict.fromkeys(one.licence for _, one in both)),
        is_own=any(one.is_own for _, one in both),
    )


def load_node(node: Mapping[str, Any], name: str) -> Source:
    """Load the source of a data node inside another one; errors name its settings by the name of the node."""
    check_node(name, node)
    settings = {key: value for key, value in node.items() if key not in OF_A_SPLIT}
    with errors_of(name):
        try:
            return build(settings, name, Source)
        except ValueError as error:  # it starts with `data.setting=`, but the setting is in a node of `data`
            setting, equals, rest = str(error).removeprefix("data.").partition("=")
            if setting in settings:
                raise ValueError(f"{name}.{setting}{equals}{rest}") from error
            raise


def _called(node: Mapping[str, Any]) -> str:
    """Return the name of a domain: that of the user's folder or file, or of a published data set."""
    where = next((str(node[key]) for key in ("root", "images") if key in node), "")
    target = str(node.get("_target_")).rpartition(".")[2]
    return Path(where).stem if target in ("image_folder", "arrays") else target


def _partners(kept: Tensor, number: int) -> Tensor:
    """Return each image's partner, for those kept of the first domain followed by all of the second."""
    of_second = torch.full((number,), -1)
    of_second[kept] = torch.arange(len(kept))
    return torch.cat([len(kept) + kept, of_second])


def _joint_labels(first: ImageSet, second: ImageSet) -> Tensor:
    """Return the labels of both, int64 `[N + M]`, as indices of the first's classes."""
    of_name = {same_name(name): label for label, name in enumerate(first.class_names)}
    shown = [name for name, count in zip(second.class_names, second.class_counts.tolist(), strict=True) if count]
    if unknown := [repr(name) for name in shown if same_name(name) not in of_name]:
        raise ValueError(
            f"the second domain has classes that the first does not have ({abridged(unknown)}): a classifier that "
            f"learns from {abridged([repr(name) for name in first.class_names])} can never name them; rename them, or "
            "leave them out"
        )
    new = torch.tensor([*(of_name.get(same_name(name), -1) for name in second.class_names), -1])
    return torch.cat([first.labels, new[second.labels]])


def _joint_pixels(first: ImageSet, second: ImageSet) -> Tensor:
    """Return the images of both, `[N + M, C, H, W]`, in memory, grey ones in colour if the others are."""
    channels = max(first.shape.channels, second.shape.channels)
    wide = [replace(one.shape, channels=channels) if one.shape.channels == 1 else one.shape for one in (first, second)]
    if wide[0] != wide[1] or first.dtype != second.dtype:
        raise ValueError(
            f"data.from has images of {first.shape.words}, data.to of {second.shape.words}: set the image_size of one "
            "or both, such as data.to.image_size"
        )
    return torch.cat([one.images[:].expand(-1, channels, -1, -1) for one in (first, second)])
