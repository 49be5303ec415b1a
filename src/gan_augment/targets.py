"""Targets: the classes and functions that a configuration or a checkpoint may name. Everything else is refused.

These are the targets in the files of `conf/` and those in *plugins*, the user's own packages. Plugins are named on the
command line, `plugins=[my_package]`, or in the environment variable GAN_AUGMENT_PLUGINS, never in a file.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from inspect import isabstract
from typing import Any, TypeVar, get_type_hints

import yaml

from gan_augment.options import CONF, PACKAGE
from gan_augment.records.provenance import PLUGINS, plugins

Kind = TypeVar("Kind")
TARGET = "_target_"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, where PyYAML has it


def add_plugins(names: Any) -> None:
    """Allow further packages as plugins, a list of names, in this process and in those it starts.

    Raises:
        ValueError: If it is no such list, or one cannot be imported.
    """
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"plugins={names}: use a list of packages, such as plugins=[my_package]")
    named = dict.fromkeys([*plugins(), *names])
    for name in named:
        try:
            import_module(name)
        except Exception as error:
            raise ValueError(
                f"plugins=[{name}] cannot be imported ({error}): name an installed package, or set PYTHONPATH to the "
                "folder that holds it"
            ) from error
    os.environ[PLUGINS] = ",".join(named)


def find_target(name: str, target: Any, kind: type[Kind]) -> Callable[..., Kind]:
    """Return the target of the node with this name: a class of this kind, or a function declared to return one.

    Raises:
        ValueError: If it is of another kind, or neither in `conf/` nor in a plugin.
    """
    module, _, attribute = str(target).rpartition(".")
    found: Any = None
    made: type = type(None)
    if is_allowed(target):
        try:
            found = getattr(import_module(module), attribute, None)
            made = made_by(found)
        except Exception as error:
            raise ValueError(f"{name}.{TARGET}={target} cannot be imported: {error}") from error
    # What a plugin's module has only imported is not its own.
    if getattr(found, "__module__", None) != module or not issubclass(made, kind) or isabstract(found):
        raise refusal(name, target, f"one of type {kind.__name__}")
    return found


def made_by(found: Any) -> type:
    """Return what a class or function makes: the class itself, or the type that the function is declared to return."""
    made = found if isinstance(found, type) else get_type_hints(found).get("return") if callable(found) else None
    return made if isinstance(made, type) else type(None)


@cache
def kind_at(name: str) -> type:
    """Return the kind of object due at a node: the closest common base of its targets in `conf/`.

    Raises:
        ValueError: If no file of `conf/` has such a node.
    """
    group = name.rpartition(".")[0]  # measures may have any name
    known = [one for node, one in shipped().items() if node == name or (group and node.rpartition(".")[0] == group)]
    if not known:
        raise ValueError(f"{name} is no node of the configuration: leave it out, or use one of {', '.join(shipped())}")
    bases = [made_by(find_target(name, target, object)).__mro__ for target in set.union(*known)]
    return max(set.intersection(*map(set, bases)), key=lambda base: len(base.__mro__))


def check_targets(settings: Any, name: str = "") -> None:
    """Raise a ValueError if settings name a target anywhere that is neither in `conf/` nor in a plugin."""
    for node, target in targets_in(settings, name):
        if not is_allowed(target):
            raise refusal(node, target, "one")


def targets_in(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name of each node with a target, also inside lists, and the target; null is none."""
    if isinstance(settings, Mapping):
        if settings.get(TARGET) is not None:
            yield name, settings[TARGET]
        for key, inner in settings.items():
            yield from targets_in(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(settings, list | tuple):
        for number, inner in enumerate(settings):
            yield from targets_in(inner, f"{name}[{number}]")


@cache
def shipped() -> dict[str, set[str]]:
    """Return the targets in the files of `conf/` by the names of their nodes, such as `classifier.network`."""
    found = defaultdict(set)
    for path in [CONF / "config.yaml", *sorted(CONF.glob("*/*.yaml"))]:
        text = path.read_text(encoding="utf-8")
        first = text.partition("\n")[0]
        group = "" if path.parent == CONF else path.parent.name
        package = first.removeprefix(PACKAGE) if first.startswith(PACKAGE) else group
        for name, target in targets_in(yaml.load(text, LOADER), "" if package == "_global_" else package):
            found[name].add(target)
    return dict(found)


def is_allowed(target: Any) -> bool:
    """Whether a target is in `conf/` or in a plugin."""
    return any(str(target) in one for one in shipped().values()) or is_own(target, plugins())


def is_own(target: Any, packages: Iterable[str]) -> bool:
    """Whether a target belongs to one of these packages."""
    return any(str(target).startswith(f"{package}.") for package in packages)


def refusal(name: str, target: Any, kind: str) -> ValueError:
    """Return the error for a target that may not stand at a node."""
    return ValueError(
        f"{name}.{TARGET}={target}: use {kind} that a file of conf/ names, or one of your own package, named with "
        f"plugins=[my_package] or {PLUGINS}"
    )
