"""docs/reference.md: built from the comments in conf/, and current."""

import re
import runpy

from gan_augment.app import CONF
from gan_augment.records.aliases import FACTORS, VALUES

PAGE = CONF.parent / "docs" / "reference.md"
BUILD = runpy.run_path(str(PAGE.with_suffix(".py")))
page = BUILD["page"]


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(CONF), "run `make reference`"


def test_every_old_name_has_a_row():
    rows = page(CONF).partition("## Old names")[2]
    old = [*FACTORS, *(f"{name}={value}" for name, known in VALUES.items() for value in known)]
    assert [name for name in old if f"| `{name}` |" not in rows] == []


def test_links_within_the_page_lead_somewhere():
    text = page(CONF)
    anchors = {
        title.strip().lower().replace("`", "").replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    links = re.findall(r"\]\(#(.*?)\)", text)
    assert len(links) > 15
    assert set(links) <= anchors


def test_every_recipe_states_question_command_expected_result_and_cost():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (`gan-augment.*`) \| (.+) \| (.+) \|$", page(CONF), re.M)
    assert {name for name, *_ in rows} == {path.stem for path in (CONF / "experiment").glob("*.yaml")}


def test_a_head_is_divided_into_its_text_and_its_facts():
    lines = [
        "What it is.",
        "And more.",
        "Command:   gan-augment a=1",
        "b=2",
        "gan-augment-report x",
        "Cost:      a minute",
    ]
    facts = {"Command": ["gan-augment a=1 b=2", "gan-augment-report x"], "Cost": ["a minute"]}
    assert BUILD["divide_head"](lines) == ("What it is. And more.", facts)
