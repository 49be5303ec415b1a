"""The report of a study in the terminal."""

from __future__ import annotations

import textwrap
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gan_augment.command import output
from gan_augment.report.comparison import metrics_to_compare, warnings
from gan_augment.report.configuration import configurations
from gan_augment.report.contrasts import contrasts
from gan_augment.report.trials import Study
from gan_augment.report.usability import usability
from gan_augment.report.wording import arm_row, notes, plans, remarks, results_in_words, verdicts, without_new_images

if TYPE_CHECKING:
    from rich.console import Console

MAX_METRICS = 3  # in the table: with more, 80 columns would have no room for the names of arms


def show_report(study: Study, path: Path, detect: float | None = None) -> None:
    """Print the report to standard output; raise an OSError if that cannot be written."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise  # Rich would end the program

    with output():
        print_report(study, Screen(), path, detect)


def print_report(study: Study, console: Console, path: Path | None = None, detect: float | None = None) -> None:
    """Print the arms, the verdicts, how many splits would detect a gain of `detect` points, and the page's path."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    found, metrics = configurations(study), metrics_to_compare(study)
    for line in usability(found):
        console.print(f"{line}\n", markup=False, highlight=False)
    title = escape(f"{study.title}: {results_in_words(study, metrics)} (points) and seconds per trial")
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
    results = dict(islice(metrics.items(), MAX_METRICS))
    rows = [{heading: value for heading, value in arm_row(c, results).items() if heading != "trials"} for c in found]
    for heading in rows[0]:
        first = heading == "arm"
        narrow = textwrap.fill(heading, 8, break_long_words=False)  # for 80 columns
        table.add_column(narrow, justify="left" if first else "right", overflow="fold", no_wrap=not first)
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    console.print(table)
    console.print()
    compared = contrasts(study)
    lines = verdicts(study, compared) + (plans(compared, detect) if detect else [])
    lines += without_new_images(compared) + remarks(study, metrics, compared)
    lines += [f"warning: {warning}" for warning in warnings(study)] + [f"note: {note}" for note in notes(study)]
    for line in lines:
        console.print(line, markup=False, highlight=False)
    if path:
        console.print(f"\nreport: {path}", markup=False, highlight=False, soft_wrap=True)
