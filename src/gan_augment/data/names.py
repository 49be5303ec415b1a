"""Names that users give to classes and to parts of a split, compared as people read them."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import yaml

from gan_augment.data.source import PART_BY_WORD, abridged

# Further words in the names of folders with a part of a split, such as `test_set` or `seg_train2017`.
FILLERS = ("all", "data", "dataset", "final", "folder", "images", "image", "img", "imgs", "photos", "raw", "seg", "set")
LIKE_PARTS = {**PART_BY_WORD, "dev": "validation", "eval": "validation", "evaluation": "validation", "holdout": "test"}


def same_name(name: str) -> str:
    r"""Return what two spellings of a name have in common: all but case, spaces around it, and how accents are coded.

    Example:
        >>> same_name(" CAFE\u0301") == same_name("caf\u00e9")
        True
    """
    return unicodedata.normalize("NFC", name).strip().casefold()


def part_of(word: str) -> str | None:
    """Return the part that a word stands for, such as `validation` for `Val`; None for any other word."""
    return PART_BY_WORD.get(same_name(word))


def like_part(name: str, typing_errors: bool = False) -> str | None:
    """Return the part that a name probably means, without being its word; None if it means none.

    Example:
        >>> like_part("training_set"), like_part("TestImages"), like_part("test tube"), like_part("test")
        ('train', 'test', None, None)
        >>> like_part("vaildation"), like_part("vaildation", typing_errors=True)
        (None, 'validation')
    """
    if part_of(name):
        return None
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name)).casefold()
    words = [word for word in re.findall(r"[^\W\d_]+", spaced) if word not in FILLERS and len(word) > 1]
    words = [re.sub(r"(?<=.{3})(data|images?)?(sets?)?$", "", word) for word in words]  # testset, traindata
    if typing_errors:
        words = [*map(str, (next(iter(get_close_matches(word, LIKE_PARTS, 1, 0.8)), word) for word in words))]
    found = {LIKE_PARTS.get(word, "") for word in words}
    return found.pop() or None if len(found) == 1 else None


def not_a_part(word: str) -> str:
    """Say what to write instead of a word that names no part: the one it probably means, or else one of all words.

    Example:
        >>> not_a_part("trian"), not_a_part("Test set")
        ("'trian' is no part: write train", "'Test set' is no part: write test")
    """
    meant = like_part(word, typing_errors=True) or f"one of {', '.join(PART_BY_WORD)}"
    return f"{word!r} is no part: write {meant}"


def one_spelling(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Give names that are the same one spelling: the most frequent one, composed and without spaces around it.

    Returns:
        The spelling of each name, and a note, or nothing, on classes whose spellings differ in case.
    """
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        spellings[same_name(name)][name] += 1
    chosen: dict[str, str] = {}
    several = []
    for counts in spellings.values():
        composed = {name: unicodedata.normalize("NFC", name).strip() for name in sorted(counts)}
        chosen |= dict.fromkeys(counts, composed[max(composed, key=counts.__getitem__)])
        if len(unlike := sorted(set(composed.values()))) > 1:
            several.append(" = ".join(map(repr, unlike)))
    note = "names that differ only in case are one class: {}; if these are several classes, rename them"
    return chosen, [note.format(abridged(sorted(several), "; "))] if several else []


def check_one_label(setting: str, names: Set[str]) -> None:
    """Raise a ValueError if a class has a name like `cat|dog`, and cat and dog are classes too."""
    for name in sorted(names):
        parts = [part.strip() for part in re.split(r"[|;,]", name)]
        if len(parts) > 1 and names >= set(parts):
            raise ValueError(
                f"{setting}: {name!r} names {len(parts)} classes: an image has one label here, and several are not "
                "supported; leave such images out, or give the combination a name without | ; and ,"
            )


def find_class(said: Any, class_names: Sequence[str]) -> str | None:
    """Return the class that a setting names, also where Hydra or YAML made a number or a boolean of it; None if none.

    Example:
        >>> find_class(11, ["1_1", "1_2"]), find_class(1000.0, ["1e3"]), find_class(False, ["no", "yes"])
        ('1_1', '1e3', 'no')
    """
    if str(said) in class_names:
        return str(said)
    for name in class_names:
        for read in (same_name,) if isinstance(said, str) else (int, float, yaml.safe_load):
            with suppress(ValueError, yaml.YAMLError):
                found, wanted = read(name), same_name(said) if isinstance(said, str) else said
                if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
                    return name
    return None
