"""From configuration nodes to objects. Each error names the bad value, the allowed ones and what to do."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import signature
from keyword import iskeyword
from typing import Any, TypeVar

from gan_augment.records.record import leaves
from gan_augment.targets import TARGET, find_target, kind_at

Built = TypeVar("Built")


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise a ValueError unless a setting is a whole number in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value}: use a whole number {allowed}")


def check_number(name: str, value: Any, low: float, high: float, open_low: bool = False) -> None:
    """Raise a ValueError unless a setting is a number in [low, high], or in (low, high] with `open_low`."""
    inside = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not inside or (open_low and value == low):
        allowed = f"above {low} and at most {high}" if open_low else f"from {low} to {high}"
        raise ValueError(f"{name}={value}: use a number {allowed}")


def check_betas(name: str, value: Any) -> None:
    """Raise a ValueError unless a setting holds the two decay rates of Adam, each in [0, 1)."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{name}={value}: use a list of two numbers")
    for beta in value:
        check_number(name, beta, 0, 0.99999)


def check_boolean(name: str, value: Any) -> None:
    """Raise a ValueError unless a setting is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value}: use true or false")


def check_choice(name: str, value: Any, allowed: Collection[str]) -> None:
    """Raise a ValueError unless a setting is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name}={value}: use one of {', '.join(allowed)}")


def check_type(name: str, value: Any, kind: type[Built], use: str | None = None) -> Built:
    """Return an object of a setting; raise a ValueError, with what to use instead, if it is of another type."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} is of type {type(value).__name__}: use {use or f'one of type {kind.__name__}'}")
    return value


def check_node(name: str, node: Any) -> None:
    """Raise a ValueError unless a node has settings, instead of being a value."""
    if not isinstance(node, Mapping):
        raise ValueError(f"{name}={node}: this is a node with settings, such as those in conf/")


def build(node: Mapping[str, Any], name: str, kind: type[Built]) -> Built:
    """Turn the configuration node of this name into the object, of this kind, that its `_target_` names.

    Raises:
        ValueError: If the target is not one of this kind, does not have exactly these settings, or refuses one of them.
    """
    return check_type(name, _call(node, name, kind, needed=True)(), kind)


def build_later(node: Mapping[str, Any], name: str, kind: type[Built]) -> "partial[Built]":
    """Turn a node with `_partial_: true` into a call that needs further arguments, such as a network's shape.

    Raises:
        ValueError: As `build`, but settings may be missing.
    """
    return _call(node, name, kind, needed=False)


def _call(node: Mapping[str, Any], name: str, kind: type[Built], needed: bool) -> "partial[Built]":
    check_node(name, node)
    found = find_target(name, node.get(TARGET), kind)
    settings = {key: value for key, value in node.items() if key != TARGET and (needed or key != "_partial_")}
    known = dict(signature(found).parameters)
    if is_dataclass(found):  # what else it is called with is no setting
        known = {one.name: known[one.name] for one in fields(found) if one.init}
    # A setting with a name that Python keeps for itself, such as `from`, is the parameter `from_` (PEP 8).
    known = {key.removesuffix("_") if iskeyword(key.removesuffix("_")) else key: one for key, one in known.items()}
    check_names(name, settings, known, [key for key, one in known.items() if needed and one.default is one.empty])
    return partial(found, **{f"{key}_" if iskeyword(key) else key: value for key, value in settings.items()})


def build_chosen(name: str, node: Mapping[str, Any]) -> Any:
    """Build the object of a node as `build` does; None where its `_target_` is null, because nothing is chosen."""
    check_node(name, node)
    if node.get(TARGET) is not None:
        return build(node, name, kind_at(name))
    check_names(name, node, (TARGET,))
    return None


def class_from(node: Any, kind: type[Built]) -> tuple[Callable[..., Built], dict[str, Any]]:
    """Find the class that a node from an untrusted file names, and the keywords for its call.

    Raises:
        ValueError: Unless the class is of this kind and in `conf/` or a plugin, and the keywords are plain values.
    """
    settings = {**node} if isinstance(node, Mapping) else {}
    settings.pop("_partial_", None)
    found = find_target("network", settings.pop(TARGET, None), kind)
    if not all(value is None or isinstance(value, bool | int | float | str) for _, value in leaves(settings)):
        raise ValueError("the network has settings that are not plain numbers or words")
    return found, settings


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Start each ValueError in this context with the name of the node that it is about."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name}: {error}") from error


def check_names(
    name: str, node: Mapping[str, Any], known: Collection[str], needed: Collection[str] | None = None
) -> None:
    """Raise a ValueError unless a node has known settings only, and all that are needed, so that none is ignored.

    `needed=None` means that all known ones are needed.
    """
    check_node(name, node)
    if unknown := sorted(set(node) - set(known)):
        raise ValueError(f"{name} has no setting {', '.join(unknown)}: use {', '.join(known)}")
    if missing := sorted(set(known if needed is None else needed) - set(node)):
        raise ValueError(f"{name} lacks {', '.join(missing)}")
