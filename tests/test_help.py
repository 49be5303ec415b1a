"""`gan-augment --help`: every group and option, under the heads of the configuration."""

import subprocess
import sys

import pytest

from gan_augment.app import CONF
from gan_augment.options import help_text, read_member, read_sections

TITLES = ["Images", "Generator", "Method", "Measures", "Where it runs", "Study"]
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")


@pytest.fixture(scope="module")
def sections():
    return {section.title: section for section in read_sections(CONF)}


def test_the_command_prints_the_groups_and_imports_no_torch():
    code = (
        "import sys; from gan_augment.app import main; sys.argv = ['gan-augment', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert help_text(CONF) in out
    assert "default: $GAN_AUGMENT_DATA, or data" in " ".join(out.split())
    assert out.splitlines()[-1] == "0 False"


def test_the_heads_come_in_their_order(sections):
    assert list(sections) == TITLES
    lines = help_text(CONF).splitlines()
    assert [line for line in lines if line and line[0] != " "] == [title.upper() for title in TITLES]


def test_every_group_stands_under_one_head_with_all_its_members(sections):
    groups = [group for section in sections.values() for group in section.groups]
    assert sorted(group.name for group in groups) == GROUPS
    for group in groups:
        files = {path.stem for path in (CONF / group.name).glob("*.yaml")} - {"row"}
        assert {member.name for member in group.members} == files
        assert set(group.chosen) <= files
    assert [group.name for group in sections["Images"].groups] == ["data"]
    of_method = ["translation", "encoder", "augmentation", "classifier", "semi_supervised"]
    assert [group.name for group in sections["Method"].groups] == of_method
    assert sections["Generator"].groups[-1].name == "backbone"  # chosen inside members of other groups


def test_every_option_of_the_main_file_stands_under_one_head(sections):
    names = [one.name for section in sections.values() for one in section.options]
    expected = {one.name for one in read_member(CONF / "config.yaml", "").options} - {"measures"}
    assert len(names) == len(expected)
    assert set(names) == expected


def test_every_member_and_every_option_says_what_it_is(sections):
    for section in sections.values():
        members = [member for group in section.groups for member in group.members]
        assert [member.name for member in members if not member.summary] == []
        options = [*section.options, *(one for group in section.groups for one in group.shared)]
        for group in section.groups:
            if group.name != "experiment":  # a recipe holds only what differs
                options += [one for member in group.members for one in member.options]
        unsaid = [one.name for one in options if not one.comment]
        assert set(unsaid) <= {"classifier.network", "semi_supervised.network", "measures.judge.network"}


def test_a_file_is_read_with_its_package_and_comments(tmp_path):
    (tmp_path / "one.yaml").write_text(
        "# @package measures.one\n# What it is (A et al. 2020). And more,\n# on two lines.\n"
        "# Command:   gan-augment a=1\n#              b=2\n#            gan-augment-report x\n# Cost:      2 minutes\n"
        "_target_: some.thing\nplain: 3 # a number\n# A long comment\n# above.\nlong: [1, 2]\n"
        "inner: # a mapping\n  deep: ${paths.output_dir}/x # a folder\n"
    )
    member = read_member(tmp_path / "one.yaml", "measures")
    assert member.head[:2] == ["What it is (A et al. 2020). And more,", "on two lines."]
    assert member.summary == "What it is (A et al. 2020)."
    assert [(one.name, one.default, one.comment) for one in member.options] == [
        ("measures.one.plain", "3", "a number"),
        ("measures.one.long", "[1, 2]", "A long comment above."),
        ("measures.one.inner", "", "a mapping"),
        ("measures.one.inner.deep", "", "a folder"),
    ]


def test_the_default_is_marked():
    lines = help_text(CONF).splitlines()
    assert next(line for line in lines if line.split()[:1] == ["*"]).split()[1] == "digits"
    place = lines.index(
        "  augmentation: the arm: how the classifier is trained; some bring a translation or an encoder"
    )
    assert lines[place + 1].split()[:2] == ["*", "gan_classical"]
