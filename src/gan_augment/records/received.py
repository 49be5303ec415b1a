"""What comes from elsewhere: files, values and texts that anybody may have made, for example to harm their reader.

A file is read only if it is a regular one within its folder, up to a limit; its values are plain and not too deep; its
texts have no characters that act on a terminal or hide the order of letters. What is written for spreadsheets and
Markdown is escaped.
"""

import json
import re
import stat
import zipfile
from html import escape
from itertools import count
from pathlib import Path
from typing import IO, Any
from unicodedata import category, normalize

MOST_BYTES = 2**26  # of a record
MOST_VALUES = 10_000_000  # of any file
DEEPEST = 32  # nested lists and mappings
LARGEST = 2**63  # whole numbers are smaller
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (such as the order of letters), surrogates, separators
FORMULAS = ("=", "+", "-", "@")  # start one in a spreadsheet, in full width too
JOINERS = "\u200c\u200d"  # format characters that some scripts and emoji need
MARKUP = re.compile(r"([\\`*_~\[\]|@]|:(?=//)|(?<=www)\.)")  # of Markdown, links by themselves included


def read_regular(path: Path, limit: int = MOST_BYTES, within: Path | None = None) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; as `check_regular` with `within`.

    Raises:
        ValueError: If it is anything else.
        OSError: If it cannot be read.
    """
    check_regular(path, within)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit:,} bytes")
    return content


def check_regular(path: Path, within: Path | None = None) -> None:
    """Raise a ValueError unless a path is a regular file: no device, no pipe; below `within` also no link on the way.

    Raises:
        OSError: If there is no such file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file")
    if within is not None and path.resolve() != within.resolve() / path.relative_to(within):
        raise ValueError(f"{path} is a link: copy the file itself there")


def check_unpacked(file: Path | IO[bytes], most: int) -> None:
    """Raise a ValueError unless a file is a zip, as those of NumPy and torch are, of at most `most` unpacked bytes."""
    try:
        with zipfile.ZipFile(file) as members:
            size = sum(member.file_size for member in members.infolist())
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("it is not a complete zip file") from error
    if size > most:
        raise ValueError(f"it unpacks to {size:,} bytes, more than {most:,}")


def read_values(content: bytes | str) -> Any:
    """Read JSON as `plain_values`; raise a ValueError if it is none."""
    try:
        return plain_values(json.loads(content))
    except RecursionError as error:
        raise ValueError(f"values are nested deeper than {DEEPEST} times") from error


def plain_values(value: Any, most: int = MOST_VALUES) -> Any:
    """Return nested plain values, at most so many, with printable texts.

    Raises:
        ValueError: If they are not plain, a whole number is huge, they are nested too deep, or they are too many.
    """
    number = count(1)

    def plain(value: Any, depth: int) -> Any:
        if next(number) > most:  # a list in a pickle may hold another one many times
            raise ValueError(f"there are more than {most:,} values")
        if isinstance(value, str):
            return printable(value)
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < LARGEST):
            return value
        if not isinstance(value, list | tuple | dict):
            raise ValueError(f"a value is {'huge' if isinstance(value, int) else f'of type {type(value).__name__}'}")
        if not depth:
            raise ValueError(f"values are nested deeper than {DEEPEST} times")
        if isinstance(value, dict):
            return {printable(str(name)): plain(inner, depth - 1) for name, inner in value.items()}
        return [plain(inner, depth - 1) for inner in value]

    return plain(value, DEEPEST)


def printable(text: str) -> str:
    r"""Return a text without control and bidirectional characters; lines become one.

    Example:
        >>> printable("cat\x1b[31m\u202e\ndog")
        'cat[31m dog'
    """
    if text.isprintable():
        return text
    spaced = (" " if character.isspace() else character for character in text)
    return "".join(one for one in spaced if one in JOINERS or category(one) not in INVISIBLE)


def cell(value: Any) -> Any:
    """Return a value for a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe in front.

    Example:
        >>> cell("=1+1"), cell("cat"), cell(-1.5)
        ("'=1+1", 'cat', -1.5)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if normalize("NFKC", text.lstrip()[:1]) in FORMULAS else text


def markdown(value: Any) -> str:
    r"""Return a value as Markdown that shows it as it is, on one line.

    Example:
        >>> markdown("<b>a|b_c")
        '&lt;b&gt;a\\|b\\_c'
    """
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return MARKUP.sub(r"\\\1", escape(" ".join(printable(text).split()), quote=False))
