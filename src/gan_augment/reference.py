"""The documentation in the files of `conf/`, as `gan-augment --help` and `docs/reference.md`. Imports no torch.

A file starts with comments: its head. An option's comment stands behind it, or above it if it is long. In
`conf/config.yaml`, a line `## Title` starts a section of groups and options.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_augment.records.aliases import FACTORS, VALUES

WIDTH = 110  # of the help
ENTRY = re.compile(r"(?P<indent> *)(?P<item>- )?(?P<name>[\w/ ]+):(?: (?P<value>[^#]*?))?(?: # (?P<comment>.*))?$")
SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
FACT = re.compile(r"(Command|Expected|Cost): +")  # a line of a recipe's head
NO_OPTIONS = ("_target_", "_partial_", "defaults", "hydra")
SHARED = {"augmentation": "row"}  # the member of a group that only holds the defaults of the others
# Old settings without a direct successor, and what to write now.
REPLACED = {
    "label_fraction=0.1": "labels=10%",
    "judge=none": "measures=[pseudo_labels,diversity,leak,modes,pictures]",
    "conditioning=pseudo_label": "conditioning=none synthesis=confident",
    "loss=relativistic_points": "loss=relativistic generator.betas=[0.5,0.99] and the penalty of the next line",
    "penalty=r1_r2_points": "penalty=r1_r2 penalty.r1=0.02 penalty.r2=0.02 penalty.interval=4",
}


@dataclass(frozen=True)
class Option:
    """A setting: its full name, its default as the file writes it, and its comment."""

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Member:
    """A file of `conf/`.

    Attributes:
        name: Its name.
        head: The comments at its top, without the facts.
        options: Its options.
        facts: `Command`, `Expected` and `Cost` of a recipe, the lines of each.
    """

    name: str
    head: str
    options: Sequence[Option]
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first sentence of its head."""
        return SENTENCE_END.split(self.head)[0]


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
    sections: dict[str, Section] = {}
    options = read_member(conf / "config.yaml", "").options
    for name, title in _titles(conf / "config.yaml"):
        section = sections.setdefault(title, Section(title))
        section.options += [one for one in options if _below(one.name, name)]
    for title, name, chosen, comment in _groups(conf / "config.yaml"):
        sections[title].groups.append(read_group(conf, name, chosen, comment))
    for section in sections.values():  # the options of a group's members are the group's
        groups = {group.name for group in section.groups}
        section.options = [one for one in section.options if one.name not in groups]
    return list(sections.values())


def read_group(conf: Path, name: str, chosen: Sequence[str], comment: str) -> Group:
    """Read all members of a group."""
    files = sorted((conf / name).glob("*.yaml"), key=lambda file: (file.stem not in chosen, file.stem))
    members = [read_member(file, name) for file in files]
    shared = next((one.options for one in members if one.name == SHARED.get(name)), ())
    return Group(name, comment, chosen, [one for one in members if one.name != SHARED.get(name)], shared)


def read_member(file: Path, group: str) -> Member:
    """Read a file's head and options.

    Args:
        file: A file of `conf/`.
        group: Its group, the prefix of its options' names unless the file sets another package.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    prefix = group
    if lines[0].startswith("# @package "):
        package = lines.pop(0).removeprefix("# @package ")
        prefix = "" if package == "_global_" else package
    number = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head, facts = _read_head([line.removeprefix("#").removeprefix(" ") for line in lines[:number]])
    return Member(file.stem, head, list(_options(lines[number:], prefix)), facts)


def _read_head(lines: Sequence[str]) -> tuple[str, Mapping[str, Sequence[str]]]:
    """Divide a head into its text and its facts."""
    text: list[str] = []
    facts: dict[str, list[str]] = {}
    here = text
    for line in lines:
        fact = FACT.match(line)
        if fact:
            here = facts.setdefault(fact[1], [])
        part = line[fact.end() if fact else 0 :]
        if "Command" in facts and here is facts["Command"] and not part.strip().startswith(("gan-augment", "python")):
            here[-1] += f" {part.strip()}"  # a command that goes on
        else:
            here.append(part.strip())
    return " ".join(text), facts


def _options(lines: Sequence[str], prefix: str) -> Iterator[Option]:
    """Yield the options of a file's lines; a mapping counts as one where it has a comment of its own."""
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in lines:
        entry = ENTRY.match(line)
        if line.lstrip().startswith("# "):
            above.append(line.strip().removeprefix("# "))
        elif entry and not entry["item"]:
            indent = len(entry["indent"])
            parents = [(depth, name) for depth, name in parents if depth < indent]
            name = ".".join([*([prefix] if prefix else []), *(one for _, one in parents), entry["name"]])
            parents.append((indent, entry["name"]))
            comment, value = entry["comment"] or " ".join(above), entry["value"] or ""
            value = "" if value.startswith("${") else value  # its comment explains the source
            if not set(name.split(".")) & set(NO_OPTIONS) and (value or comment):
                yield Option(name, value, comment)
            above = []
        else:
            above = []


def _titles(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the top-level settings of the main file, each with the title of its section."""
    title = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = ENTRY.match(line)
        if line.lstrip().startswith("## "):
            title = line.strip().removeprefix("## ")
            yield "", title
        elif entry and title and not entry["indent"]:
            yield entry["name"], title


def _groups(file: Path) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield the groups of the main file: section, name, the members that are the default, comment."""
    title = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = ENTRY.match(line)
        if line.startswith("  ## "):
            title = line.strip().removeprefix("## ")
        elif entry and entry["item"] and not entry["name"].startswith("override "):
            chosen = [name for name in re.findall(r"\w+", entry["value"]) if name != "null"]
            yield title, entry["name"], chosen, entry["comment"]


def _below(option: str, name: str) -> bool:
    return f"{option}.".startswith(f"{name}.")


# ---------------------------------------------------------------------------------------------------------- the help


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
        if section.options:
            width = max(len(f"{one.name}={one.default}") for one in section.options)
            lines += [""]
            for option in section.options:
                value = f"{option.name}={option.default}" if option.default else option.name
                lines += _hanging(f"{value:{width}}  ", option.comment, 2)
    return "\n".join(lines) + "\n"


def _hanging(start: str, text: str, indent: int) -> list[str]:
    """Wrap a text behind its start, further lines under the text."""
    first = " " * indent + start
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * min(len(first), 40), break_on_hyphens=False
    ) or [first.rstrip()]


# ---------------------------------------------------------------------------------------------------------- the page


def page(conf: Path) -> str:
    """Return the reference as Markdown."""
    parts = [INTRODUCTION]
    sections = read_sections(conf)
    parts.append("\n".join(f"- [{one.title}](#{_anchor(one.title)}): {_contents(one)}" for one in sections))
    for section in sections:
        parts.append(f"## {section.title}")
        if section.options:
            parts.append(_option_table(section.options))
        parts += [part for group in section.groups for part in _group_parts(group)]
    parts += ["## Old names", OLD_NAMES, _old_names()]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Reference: every group and option

This page is generated from the comments in [conf](../conf) by `make reference`. `gan-augment --help` prints the groups
and their members, `gan-augment --cfg job` every option with its value.

`group=member` chooses a member of a group, `option=value` sets an option, and with `-m` commas sweep either:
`gan-augment -m loss=hinge,relativistic labels=5,10,20`. Quote what the shell would read itself: `'seed=range(0,6)'`,
`'imbalance.classes=[cat]'`. The default of a group is in **bold**."""

OLD_NAMES = """Some options had other names. Records keep the names of their time. The report reads them under the
present names, so old and new trials pair. The command line takes only the present names. `gan` stands for every option
of that group: `gan.images_seen` is now `generator.images_seen`."""


def _contents(section: Section) -> str:
    names = [f"[`{group.name}`](#the-group-{group.name})" for group in section.groups]
    plain = dict.fromkeys(f"`{one.name.split('.')[0]}`" for one in section.options)
    return ", ".join([*names, *plain])


def _group_parts(group: Group) -> list[str]:
    """Return a group's part of the page."""
    parts = [f"### The group `{group.name}`", f"{group.comment[0].upper()}{group.comment[1:]}."]
    if group.name == "experiment":
        return [*parts, *_recipes(group)]
    names = [f"**`{one.name}`**" if one.name in group.chosen else f"`{one.name}`" for one in group.members]
    if group.shared:
        return [*parts, _arms(group, names), "Options of every arm:", _option_table(group.shared)]
    parts.append(_table(["member", ""], [[name, one.head] for name, one in zip(names, group.members, strict=True)]))
    default: Sequence[Option] = ()
    for one in group.members:
        different = [option for option in one.options if option not in default]
        if different:
            where = f" that differ from `{group.members[0].name}`" if default else ""
            parts += [f"Options of `{one.name}`{where}:", _option_table(different)]
        if group.chosen == [one.name]:
            default = one.options
    return parts


def _arms(group: Group, names: Sequence[str]) -> str:
    """Return the table of arms: what each trains on, and its row."""
    defaults = {one.name: one.default for one in group.shared}
    columns = [name for name in defaults if name != f"{group.name}.method"]
    rows = []
    for name, one in zip(names, group.members, strict=True):
        row = defaults | {option.name: option.default for option in one.options}
        rows.append([name, one.head, *("" if row[key] in ("null", "none") else f"`{row[key]}`" for key in columns)])
    heads = [key.removeprefix(f"{group.name}.") for key in columns]
    return _table(["arm", "the classifier is trained on", *heads], rows)


def _recipes(group: Group) -> list[str]:
    """Return the table of recipes."""
    rows = []
    for one in group.members:
        commands = "<br>".join(f"`{command}`" for command in one.facts["Command"])
        rows.append(
            [f"`{one.name}`", one.head, commands, *(" ".join(one.facts[name]) for name in ("Expected", "Cost"))]
        )
    return [_table(["recipe", "question", "command", "expected", "cost"], rows)]


def _option_table(options: Sequence[Option]) -> str:
    rows = [[f"`{one.name}`", f"`{one.default}`" if one.default else "", one.comment] for one in options]
    return _table(["option", "default", ""], rows)


def _old_names() -> str:
    """Return the table of names that records of earlier versions have."""
    values = {f"{name}={old}": f"{name}={new}" for name, known in VALUES.items() for old, new in known.items()}
    return _table(["then", "now"], [[f"`{old}`", f"`{new}`"] for old, new in (FACTORS | values | REPLACED).items()])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
