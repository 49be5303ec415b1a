"""Settings of the command line that Hydra cannot read, in the user's words."""

import shlex
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException


def check_overrides(arguments: Sequence[str]) -> None:
    """Check the settings among the arguments of the command before Hydra does, which speaks of its grammar.

    Raises:
        ValueError: If one cannot be read; it says how to quote the value, if that helps. Or if Hydra has no such flag.
    """
    parser = get_args_parser()
    parser.allow_abbrev = False  # --experiment is none of Hydra's flags
    parser.error = _refuse  # type: ignore[method-assign]  # argparse would print its usage, and end with 2
    given = parser.parse_intermixed_args(arguments)
    is_study = given.multirun or any(setting.startswith("hydra.mode=") for setting in given.overrides)
    for setting in given.overrides:
        name, _, value = setting.partition("=")
        what = "contains characters that need quotes:"
        if _can_be_read(setting):
            (override,) = OverridesParser.create().parse_overrides([setting])
            if not override.is_sweep_override() or is_study:
                continue
            what = "has several values: add -m for a study of all; or, if it is one,"
        elif "=" not in setting:
            raise ValueError(f"{setting} is not a setting: use name=value, such as seed=0")
        quoted = f"{name}={_quoted(value)}"
        if not _can_be_read(quoted):
            raise ValueError(
                f"{setting} cannot be read: use name=value, with quotes around a value with special characters"
            )
        raise ValueError(f"{setting} {what} quote it for Hydra and the shell: {shlex.quote(quoted)}")


def _refuse(message: str) -> NoReturn:
    raise ValueError(f"{message}: settings are name=value, such as seed=0; gan-augment --hydra-help lists the flags")


def _quoted(value: str) -> str:
    """Return a value in quotes; of a list, quote what needs it inside."""
    if value.startswith("[") and value.endswith("]"):
        words = [word.strip() for word in value[1:-1].split(",")]
        quoted = f"[{','.join(word if _can_be_read(f'name={word}') else _quoted(word) for word in words)}]"
        if _can_be_read(f"name={quoted}"):
            return quoted
    text = value.replace('"', '\\"')
    return f'"{text}"'


def _can_be_read(setting: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([setting])
    except OverrideParseException:
        return False
    return True
