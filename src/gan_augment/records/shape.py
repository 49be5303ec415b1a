"""The shape of a record and of `study.json`: which kind of value each part holds, as a report relies on it."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

STATUSES = ("ok", "diverged", "failed")


class Kind(NamedTuple):
    """A kind of value, in words, and whether a value is of this kind."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    """Whether all values in nested lists and mappings are numbers or null."""
    if isinstance(value, Mapping | list):
        return all(map(_are_numbers, value.values() if isinstance(value, Mapping) else value))
    return value is None or _is_number(value)


def _or_null(words: str, fits: Callable[[Any], bool]) -> Kind:
    return Kind(f"{words} or null", lambda value: value is None or fits(value))


def list_of(words: str, fits: Callable[[Any], bool]) -> Kind:
    """Return the kind of a list whose items fit."""
    return Kind(f"a list of {words}", lambda value: isinstance(value, list) and all(map(fits, value)))


TEXT = _or_null("a text", lambda value: isinstance(value, str))
WORD = Kind("a text", lambda value: isinstance(value, str))
WORDS = list_of("texts", WORD.fits)
NUMBERS = Kind("numbers or null", _are_numbers)
SWITCH = _or_null("true or false", lambda value: isinstance(value, bool))
AMOUNT = _or_null("a number of at least 0", lambda value: _is_number(value) and not value < 0)
SHARE = _or_null("a number from 0 to 1", lambda value: _is_number(value) and not (value < 0 or value > 1))
SETTING = _or_null(
    "a finite number or a word",
    lambda value: isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)),
)
COUNTS = list_of("counts", list_of("counts", lambda value: _is_number(value) and 0 <= value < math.inf).fits)
RESULTS = {"accuracy": SHARE, "balanced_accuracy": SHARE, "rare_recall": SHARE, "per_class": {...: SHARE}, ...: NUMBERS}
ON_IMAGES = (
    *("pool_images", "validation_images", "validation_imbalance_ratio"),
    *("test_images", "test_groups", "test_imbalance_ratio"),
)
# By the names of its parts: a mapping of such shapes, in which ... stands for all others, or the kind of a value. What
# is not here may be anything: a newer version may have written it.
SHAPE: dict[Any, Any] = {
    "trial": WORD,
    "status": Kind(f"one of {', '.join(STATUSES)}", STATUSES.__contains__),
    "error": TEXT,
    "factors": {
        "folds": _or_null(
            "a whole number above 1", lambda value: value == "null" or (type(value) is int and value > 1)
        ),
        "labels": _or_null(
            "a number above 0 or a word",
            lambda value: isinstance(value, str) or (_is_number(value) and 0 < value < math.inf),
        ),
        "generator.images_seen": _or_null(
            "a number of at least 0", lambda value: value == "null" or (_is_number(value) and not value < 0)
        ),
        "gan.images_seen": AMOUNT,
        ...: SETTING,
    },
    "metrics": {
        "test": RESULTS,
        "validation": RESULTS,
        "gan": {"confusion_matrix": COUNTS, "per_class": {...: {...: NUMBERS}}, ...: NUMBERS},
        ...: {...: NUMBERS},
    },
    "compared": {...: WORD},
    "sections": {
        ...: {"explained": WORD, "columns": {...: WORD}, "sentences": WORDS, "picture": TEXT, "each_arm": SWITCH}
    },
    "costs": {"device": TEXT, "seconds": {...: {...: AMOUNT}}, ...: NUMBERS},
    "saw": {"rare_classes": WORDS, "pretrained": SWITCH, ...: AMOUNT},
    "notes": WORDS,
    "warnings": WORDS,
    "provenance": {
        **{name: TEXT for name in ("split", "fingerprint", "licence", "domains", "commit", "command", "test_opened")},
        **dict.fromkeys(ON_IMAGES, AMOUNT),
        "overlap": SHARE,
        "pool_overlap": SHARE,
        "copies": list_of("lists of texts", WORDS.fits),
        "reads": {...: WORDS},
        "versions": {...: TEXT},
        "stages": {...: TEXT},
        "made": {...: {...: SETTING}},
        "checkpoint": {...: SETTING},
    },
    "result": Kind("not there: a report makes it", lambda value: False),
    # requests, and the study.json of earlier versions
    "study": TEXT,
    "requested": _or_null("a list of texts", WORDS.fits),
    "jobs": {...: WORD},
    "against": {...: SETTING},
    "looks": list_of("whole numbers", lambda value: type(value) is int and value > 0),
    "further": list_of("lists of texts", WORDS.fits),
    "left_out": WORDS,
    "search": {"tried": list_of("candidates with settings, gains and a state", lambda value: _is_candidate(value))},
}


def _is_candidate(value: Any) -> bool:
    """Whether a value is a candidate of a search: settings, gains for each rung and split, and a state."""
    if not isinstance(value, Mapping) or not isinstance(value.get("settings"), Mapping):
        return False
    gains = value.get("gains")
    if not isinstance(gains, list) or not all(isinstance(one, list) and one for one in gains):
        return False
    return isinstance(value.get("state"), str) and all(_is_number(gain) for one in gains for gain in one)


def check_shape(value: Any, shape: Any = SHAPE, name: str = "") -> None:
    """Raise a ValueError unless a value, of a dotted name, has a shape."""
    if isinstance(shape, Kind):
        if not shape.fits(value):
            raise ValueError(f"{name}={str(value)[:50]} is not {shape.words}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if (kind := shape.get(key, shape.get(...))) is not None:
                check_shape(inner, kind, f"{name}.{key}" if name else key)
    # A part may be missing, but not a whole chapter; the baselines of early studies are null.
    elif value is not None or ("." not in name and name != "against"):
        raise ValueError(f"{name}={str(value)[:50]} is not a mapping")
