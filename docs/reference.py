"""Build docs/reference.md from the comments in conf/."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from gan_augment.options import Group, Option, Section, read_sections
from gan_augment.records.aliases import FACTORS, VALUES

ROOT = Path(__file__).parents[1]
FACT = re.compile(r"(Command|Expected|Cost): +")  # a line of a recipe's head
# Old settings without a direct successor, and what to write now.
REPLACED = {
    "label_fraction=0.1": "labels=10%",
    "judge=none": "measures=[pseudo_labels,diversity,leak,modes,pictures]",
    "conditioning=pseudo_label": "conditioning=none synthesis=confident",
    "loss=relativistic_points": "loss=relativistic generator.betas=[0.5,0.99] and the penalty of the next line",
    "penalty=r1_r2_points": "penalty=r1_r2 penalty.r1=0.02 penalty.r2=0.02 penalty.interval=4",
}
INTRODUCTION = """# Reference: every group and option

This page is generated from the comments in [conf](../conf) by `make reference`. `gan-augment --help` prints the groups
and their members, `gan-augment --cfg job` every option with its value.

`group=member` chooses a member of a group, `option=value` sets an option, and with `-m` commas sweep either:
`gan-augment -m loss=hinge,relativistic labels=5,10,20`. Quote what the shell would read itself: `'seed=range(0,6)'`,
`'imbalance.classes=[cat]'`. The default of a group is in **bold**."""

OLD_NAMES = """Some options had other names. Records keep the names of their time. The report reads them under the
present names, so old and new trials pair. The command line takes only the present names. `gan` stands for every option
of that group: `gan.images_seen` is now `generator.images_seen`."""


def main() -> None:
    """Write the page."""
    path = ROOT / "docs" / "reference.md"
    path.write_text(page(ROOT / "conf"), encoding="utf-8")
    print(path.relative_to(ROOT))


def page(conf: Path) -> str:
    """Return the reference as Markdown."""
    parts = [INTRODUCTION]
    sections = read_sections(conf)
    parts.append("\n".join(f"- [{one.title}](#{_anchor(one.title)}): {_contents(one)}" for one in sections))
    for section in sections:
        parts.append(f"## {section.title}")
        if section.options:
            parts.append(_option_table(section.options))
        parts += [part for group in section.groups for part in _group_parts(conf, group)]
    parts += ["## Old names", OLD_NAMES, _old_names()]
    return "\n\n".join(parts) + "\n"


def _contents(section: Section) -> str:
    names = [f"[`{group.name}`](#the-group-{group.name})" for group in section.groups]
    plain = dict.fromkeys(f"`{one.name.split('.')[0]}`" for one in section.options)
    return ", ".join([*names, *plain])


def _group_parts(conf: Path, group: Group) -> list[str]:
    """Return a group's part of the page."""
    parts = [f"### The group `{group.name}`", f"{group.comment[0].upper()}{group.comment[1:]}."]
    if group.name == "experiment":
        return [*parts, *_recipes(group)]
    names = [f"**`{one.name}`**" if one.name in group.chosen else f"`{one.name}`" for one in group.members]
    if group.shared:
        return [*parts, _arms(conf, group, names), "Options of every arm:", _option_table(group.shared)]
    parts.append(
        _table(
            ["member", ""], [[name, divide_head(one.head)[0]] for name, one in zip(names, group.members, strict=True)]
        )
    )
    default: Sequence[Option] = ()
    for one in group.members:
        different = [option for option in one.options if option not in default]
        if different:
            where = f" that differ from `{group.members[0].name}`" if default else ""
            parts += [f"Options of `{one.name}`{where}:", _option_table(different)]
        if group.chosen == [one.name]:
            default = one.options
    return parts


def _arms(conf: Path, group: Group, names: Sequence[str]) -> str:
    """Return the table of arms: what each trains on, and its row, which may build on that of another arm."""
    heads = [one.name.removeprefix(f"{group.name}.") for one in group.shared]
    heads.remove("method")
    rows = []
    with initialize_config_dir(str(conf)):
        for name, one in zip(names, group.members, strict=True):
            row = compose("config", overrides=[f"{group.name}={one.name}"])[group.name]
            values = ("" if row[head] in (None, "none") else f"`{row[head]}`" for head in heads)
            rows.append([name, divide_head(one.head)[0], *values])
    return _table(["arm", "the classifier is trained on", *heads], rows)


def _recipes(group: Group) -> list[str]:
    """Return the table of recipes."""
    rows = []
    for one in group.members:
        text, facts = divide_head(one.head)
        commands = "<br>".join(f"`{command}`" for command in facts["Command"])
        rows.append([f"`{one.name}`", text, commands, *(" ".join(facts[name]) for name in ("Expected", "Cost"))])
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


def divide_head(lines: Sequence[str]) -> tuple[str, Mapping[str, Sequence[str]]]:
    """Divide a head into its text and its facts: `Command`, `Expected` and `Cost` of a recipe, the lines of each."""
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


if __name__ == "__main__":
    main()
