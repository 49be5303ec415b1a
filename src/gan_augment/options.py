"""The groups and options of `conf/` with their comments, and `gan-augment --help`. Imports no torch.

A file starts with comments: its head. An option's comment stands behind it, or above it if it is long. In
`conf/config.yaml`, a line `## Title` starts a section of groups and options.
"""

import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

# A wheel has `conf/` inside the package, a checkout next to `src/`.
CONF = next(
    folder for folder in (Path(__file__).parent / "conf", Path(__file__).parents[2] / "conf") if folder.is_dir()
)
WIDTH = 110  # of the help
NO_OPTIONS = ("_target_", "_partial_", "defaults", "hydra")
PACKAGE = "# @package "
SHARED = {"augmentation": "row"}  # the member of a group that only holds the defaults of the others


@dataclass(frozen=True)
class Option:
    """A setting: its full name, its default as the file writes it, and its comment."""

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Member:
    """A file of `conf/`: its name, the lines of its head, and its options."""

    name: str
    head: Sequence[str]
    options: Sequence[Option]

    @property
    def summary(self) -> str:
        """The first sentence of its head."""
        return re.split(r"(?<=[.?!])\s+(?=[A-Z])", " ".join(self.head))[0]


@dataclass(frozen=True)
class Group:
    """A group of the configuration.

    Attributes:
        name: Its name, that of a folder of `conf/`.
        comment: What it decides.
        chosen: The default members.
        members: All members, the default first.
        shared: The options common to all members, if they have a file of their own.
    """

    name: str
    comment: str
    chosen: Sequence[str]
    members: Sequence[Member]
    shared: Sequence[Option]


@dataclass
class Section:
    """Groups and options with one topic."""

    title: str
    groups: list[Group] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)


def read_sections(conf: Path) -> list[Section]:
    """Return the sections of `conf/config.yaml` in the order of its groups."""
    text = (conf / "config.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    titles = {number: line.partition("## ")[2] for number, line in enumerate(lines) if line.lstrip().startswith("## ")}
    sections = {title: Section(title) for title in titles.values()}

    def section(node: yaml.Node) -> Section:
        above = [title for number, title in titles.items() if number < node.start_mark.line]
        return sections[above[-1]]

    settings = yaml.compose(text).value
    defaults = next(value for key, value in settings if key.value == "defaults")
    for item in defaults.value:
        if not isinstance(item, yaml.MappingNode):
            continue
        ((name, chosen),) = item.value
        if not name.value.startswith("override "):
            names = [one.value for one in chosen.value] if isinstance(chosen.value, list) else [chosen.value]
            group = read_group(conf, name.value, [one for one in names if one != "null"], _comment(lines, name, 0))
            section(name).groups.append(group)
    groups = {group.name for one in sections.values() for group in one.groups}
    for one in sections.values():
        one.groups += [group for group in _nested_groups(conf, one.groups) if group.name not in groups]
        groups |= {group.name for group in one.groups}
    for key, value in settings:
        if key.value not in groups.union(NO_OPTIONS):  # the options of a group's members are the group's
            section(key).options.extend(_options([(key, value)], lines, 0, []))
    return list(sections.values())


def _nested_groups(conf: Path, groups: Sequence[Group]) -> list[Group]:
    """Read the groups of nodes inside members of some groups: `- /backbone@network.backbone: lite0` in their defaults.

    Their options have the names that they have in the first such member.
    """
    found: dict[str, Group] = {}
    for option in (option for group in groups for member in group.members for option in member.options):
        name, _, place = option.name.partition("@")
        if place and name not in found:
            files = sorted((conf / name).glob("*.yaml"), key=lambda file: (file.stem != option.default, file.stem))
            found[name] = Group(name, option.comment, [], [read_member(file, place) for file in files], ())
    return list(found.values())


def read_group(conf: Path, name: str, chosen: Sequence[str], comment: str) -> Group:
    """Read all members of a group."""
    files = sorted((conf / name).glob("*.yaml"), key=lambda file: (file.stem not in chosen, file.stem))
    members = [read_member(file, name) for file in files]
    shared = next((one.options for one in members if one.name == SHARED.get(name)), ())
    return Group(name, comment, chosen, [one for one in members if one.name != SHARED.get(name)], shared)


def read_member(file: Path, group: str) -> Member:
    """Read a file's head and options; its group is the prefix of their names unless the file sets a package."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    head = list(takewhile(lambda line: line.startswith("#"), lines))
    first = len(head)  # line of the options
    if head[0].startswith(PACKAGE):
        group = head.pop(0).removeprefix(PACKAGE)
    prefix = [] if group in ("", "_global_") else [group]
    options = _options(yaml.compose(text).value, lines, first, prefix) if first < len(lines) else ()
    return Member(file.stem, [line[1:].strip() for line in head], list(options))


def _options(
    pairs: Sequence[tuple[yaml.Node, yaml.Node]], lines: Sequence[str], first: int, prefix: Sequence[str]
) -> Iterator[Option]:
    """Yield the options of a mapping's pairs; a mapping counts as one where it has a comment of its own."""
    for key, value in pairs:
        if key.value == "defaults":
            for item in value.value:  # a group within this member
                for nested, chosen in item.value if isinstance(item, yaml.MappingNode) else ():
                    if nested.value.startswith("/"):
                        group, _, place = nested.value[1:].partition("@")
                        full = f"{group}@{'.'.join([*prefix, place])}"
                        yield Option(full, chosen.value, _comment(lines, nested, first))
        if key.value in NO_OPTIONS:
            continue
        name, comment = [*prefix, key.value], _comment(lines, key, first)
        in_line = key.start_mark.line == value.end_mark.line
        default = lines[value.start_mark.line][value.start_mark.column : value.end_mark.column] if in_line else ""
        default = "" if default.startswith("${") else default  # its comment explains the source
        if default or comment:
            yield Option(".".join(name), default, comment)
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _options(value.value, lines, first, name)


def _comment(lines: Sequence[str], node: yaml.Node, first: int) -> str:
    """Return the comment behind a node, or else directly above it, from the first line on."""
    number = node.start_mark.line
    if comment := lines[number].partition(" # ")[2]:
        return comment
    above = list(takewhile(lambda line: line.lstrip().startswith("# "), reversed(lines[first:number])))
    return " ".join(line.strip().removeprefix("# ") for line in reversed(above))


@cache  # Hydra asks for it with every job
def help_text(conf: Path) -> str:
    """Return the groups with their members and the options, under the title of each section."""
    lines: list[str] = []
    for section in read_sections(conf):
        lines += ["", section.title.upper()]
        for group in section.groups:
            lines += ["", *_hanging(f"{group.name}: ", group.comment, 2)]
            width = max(len(one.name) for one in group.members)
            for one in group.members:
                star = "*" if one.name in group.chosen else " "
                lines += _hanging(f"{star} {one.name:{width}}  ", one.summary.rstrip("."), 4)
        lines += [""] if section.options else []
        values = {f"{one.name}={one.default}" if one.default else one.name: one.comment for one in section.options}
        width = max(map(len, values), default=0)
        lines += [line for value, comment in values.items() for line in _hanging(f"{value:{width}}  ", comment, 2)]
    return "\n".join(lines) + "\n"


def read_options(file: Path, given: Sequence[str], texts: Collection[str]) -> dict[str, Any]:
    """Read arguments `option=value`, with the defaults of a file; those among `texts` are not parsed.

    Raises:
        ValueError: If an option is unknown, missing or without a value.
    """
    options: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    if without := [one for one in given if "=" not in one]:
        raise ValueError(f"{without[0]}: write option=value, with one of {', '.join(options)}")
    chosen = {name: text for name, _, text in (one.partition("=") for one in given)}
    if unknown := [name for name in chosen if name not in options]:
        raise ValueError(f"no option {unknown[0]}: use {', '.join(options)}")
    for name, text in chosen.items():
        try:
            options[name] = text if name in texts and text != "null" else yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{name}={text} cannot be read: use a number or a word") from error
    if missing := [name for name, value in options.items() if value == "???"]:
        comment = next(one.comment for one in read_member(file, "").options if one.name == missing[0])
        raise ValueError(f"{missing[0]} must be set: {comment}")
    return options


def _hanging(start: str, text: str, indent: int) -> list[str]:
    """Wrap a text behind its start, further lines under the text."""
    first = " " * indent + start
    further = " " * min(len(first), 40)
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)
    return lines or [first.rstrip()]
