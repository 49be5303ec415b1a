"""Groups: images that belong together, such as those of one patient, so that they are not independent."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from gan_augment.data.source import UNLABELLED, Place, Source, abridged

# The name up to a separator and a trailing number, without its folders; a name without these is a group of its own.
BEFORE_NUMBER = r".*?([^/]+)[-_. ][0-9]+[^/0-9]*$|.*"
LEAST_NAMED = 5  # groups with several images that names must show before they look as if images belong together


def group_files(group_by: str, places: Mapping[str, Place], in_folders: bool) -> list[str]:
    """Return the group of each file, as `conf/data/image_folder.yaml` describes it; empty for no match.

    Args:
        group_by: `folder`, or a regular expression.
        places: Path of each file below the root -> its part and class.
        in_folders: Whether the folders are the classes, and not a table.

    Raises:
        ValueError: If the expression does not compile.
    """
    try:
        expression = re.compile(group_by)
    except re.error as error:
        raise ValueError(
            f"data.group_by={group_by}: this is no regular expression ({error}): correct it, or use folder"
        ) from error
    if group_by == "folder":
        classes = {name for part, name in places.values() if part != UNLABELLED}
        above = {file: 1 + (part != "" and name in classes) for file, (part, name) in places.items()}
        return ["/".join(file.split("/")[above[file] * in_folders : -1]) for file in places]
    found = map(expression.search, places)
    return ["" if one is None else next(filter(None, one.groups()), one[0]) for one in found]


def check_grouped(group_by: str, groups: Sequence[str], files: Iterable[str]) -> None:
    """Raise a ValueError if files are in no group."""
    if without := [file for file, group in zip(files, groups, strict=True) if not group]:
        what = "are in no folder below that of a class" if group_by == "folder" else "do not match"
        raise ValueError(
            f"data.group_by={group_by}: {len(without):,} of {len(groups):,} files {what}, for example "
            f"{abridged(list(map(repr, without)))}: rename them, or write the groups into a table (data.table)"
        )


def looks_grouped(places: Mapping[str, Place], in_folders: bool) -> list[str]:
    """Return a note, or nothing, on files whose folders or names look as if their images belong together.

    They do if at least half of the images share their group with others, and if there are several such groups for each
    class of each part: a name before a number is often that of the class.
    """
    for group_by in ("folder", BEFORE_NUMBER):
        sizes = Counter(group for group in group_files(group_by, places, in_folders) if group)
        shared = [f"{group} ({size} images)" for group, size in sizes.items() if size > 1]
        num_images = sum(size for size in sizes.values() if size > 1)
        if len(shared) > max(LEAST_NAMED - 1, 2 * len(set(places.values()))) and 2 * num_images >= len(places):
            return [
                f"{'folders' if group_by == 'folder' else 'file names'} look as if {num_images:,} images belong "
                f"together in {len(shared):,} groups: {abridged(shared)}; each image counts as independent, so if "
                f"these are patients, days or objects, the intervals are too narrow: set 'data.group_by=\"{group_by}\"'"
            ]
    return []


def group_notes(source: Source) -> list[str]:
    """Return a note, or nothing, on groups that span the parts that the user set apart."""
    if source.groups is None:
        return []
    parts: dict[str, set[int]] = {}
    for group, part in zip(source.groups, source.given_part.tolist(), strict=True):
        if source.pool is None or part:  # labelled images of another domain are left out where their group is tested
            parts.setdefault(group, set()).add(part)
    if not (spanning := [group for group, found in parts.items() if group and len(found) > 1]):
        return []
    number = f"{len(spanning):,} group{'s' if len(spanning) > 1 else ''}"
    return [
        "images of one group are in more than one of training, validation and test, so results may be too good "
        f"({number}): {abridged(spanning)}"
    ]


def draw_groups(
    by_class: Sequence[Tensor],
    wanted: Sequence[int],
    group: Tensor,
    random: torch.Generator,
    spare_one: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """Draw whole groups in a random order until every class has the wanted number of images.

    Each class takes the first groups of the order that have images of it, so fewer images lie within more. A group with
    images of several classes brings all of them along.

    Args:
        by_class: Indices of the images of each class, int64 `[N]`.
        wanted: Number of images of each class.
        group: The group of each image of the source, int64.
        random: Decides the order.
        spare_one: Whether to leave every class its last group.

    Returns:
        For each class the images that are drawn and the rest, both in the order of their groups.
    """
    present, compact = group[torch.cat([*by_class])].unique(return_inverse=True)
    place = torch.randperm(len(present), generator=random)[compact].split([len(members) for members in by_class])
    counts = torch.stack([torch.bincount(places, minlength=len(present)) for places in place], dim=1)  # [G, K]
    if spare_one:
        counts[[int(places.max()) for places in place if len(places)]] = 0
    before = counts.cumsum(dim=0) - counts
    drawn = ((counts > 0) & (before < torch.tensor(wanted))).any(dim=1)
    found = []
    for members, places in zip(by_class, place, strict=True):
        order = places.argsort(stable=True)
        is_drawn = drawn[places[order]]
        found.append((members[order][is_drawn], members[order][~is_drawn]))
    return found
