"""The files below a folder, as users see them: without hidden files and what operating systems leave there."""

import os
from collections.abc import Collection
from pathlib import Path

from PIL import Image

# Left by file managers and archives, in lower case; hidden files, such as `.DS_Store` and `._a.jpg`, are skipped too.
JUNK = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found"))
JUNK |= {"$recycle.bin", "system volume information"}


def list_files(root: Path, follow_links: bool) -> tuple[list[str], list[str], list[str]]:
    """List files and folders below a folder, relative to it and sorted, without those that are hidden or junk.

    Returns:
        The files, the folders, and the links that lead out of the folder, which are followed on demand only.
    """
    files: list[str] = []
    folders: list[str] = []
    outside: list[str] = []

    def visit(folder: str, prefix: str, above: tuple[str, ...]) -> None:
        with os.scandir(folder) as entries:
            visible = [one for one in entries if not one.name.startswith(".") and one.name.lower() not in JUNK]
        for entry in visible:
            name = prefix + entry.name
            if entry.is_symlink() and not follow_links and leads_out(entry.path, root):
                outside.append(name)
            elif os.path.isdir(entry.path):
                real = os.path.realpath(entry.path)
                if real not in above:  # otherwise a link leads in circles
                    folders.append(name)
                    visit(entry.path, f"{name}/", (*above, real))
            elif os.path.isfile(entry.path) or not os.path.exists(entry.path):  # a link to nowhere is a broken image
                files.append(name)

    visit(str(root), "", (str(root),))
    return sorted(files), sorted(folders), outside


def leads_out(path: str, root: Path) -> bool:
    """Whether a path, its links followed, is outside of a folder."""
    return not Path(os.path.realpath(path)).is_relative_to(root)


def refuse_outside(outside: Collection[str], root: Path) -> None:
    """Raise a ValueError if there are paths that lead out of a folder."""
    if outside:
        names = ", ".join(shown(name) for name in sorted(outside))
        remedy = "set data.follow_links=true to allow this, or copy the files"
        raise ValueError(f"{count(outside, 'path')} outside of {root}: {names}: {remedy}")


def is_image(name: str) -> bool:
    """Whether a file's name ends like that of an image that Pillow can open."""
    return Image.registered_extensions().get(Path(name).suffix.lower()) in Image.OPEN


def count(things: Collection[str], noun: str) -> str:
    """Return how many things there are, in words."""
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def shown(name: str) -> str:
    """Return a name that fits one line and can be written as UTF-8."""
    return name if name.isprintable() else repr(name)
