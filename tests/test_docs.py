"""README, CONTRIBUTING and docs/: links lead somewhere, and the front door is short."""

import io
import re

import pytest
from rich.console import Console

from gan_augment.app import CONF
from gan_augment.report.terminal import print_report
from gan_augment.report.trials import collect

ROOT = CONF.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page):
    """The anchors of a page's titles, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not link.startswith("https://") and (not target.exists() or (anchor and anchor not in anchors(target))):
            lost.append(link)
    assert lost == []


def test_the_readme_starts_with_a_command_and_has_no_long_lines():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "make demo" in "\n".join(lines[:15])
    assert any(line.startswith("make test ") for line in lines)
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 120] == []


def test_the_readme_shows_what_the_demo_printed():
    printed = io.StringIO()
    print_report(collect([ROOT / "results" / "digits.jsonl"]), Console(file=printed, width=110))
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert " ".join(printed.getvalue().partition("note:")[0].split()) in readme
