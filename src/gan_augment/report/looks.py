"""Looks at a study: the numbers of seeds with which reports were or will be written, kept in `study.json`.

An interval for one planned number of splits does not hold if you look at the report, add seeds and look again. So a
study remembers its looks.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from gan_augment.records.record import SCHEMA, read_study, write_json
from gan_augment.report.contrasts import Contrast
from gan_augment.report.statistics import MIN_PAIRS
from gan_augment.report.trials import Study


def note_look(study: Study, sources: Sequence[Path | str], compared: Sequence[Contrast]) -> dict[str, list[int]]:
    """Write this look into the study's folder, and return the entry with all its looks, empty if there are none.

    A report with too few splits for any verdict is no look. A report on several sources does not change them: they may
    have nothing to do with each other.
    """
    looks = study.looks
    if any(contrast.estimate.num_pairs >= MIN_PAIRS for contrast in compared):
        looks = looks | {study.num_seeds}
    entry = {"looks": sorted(looks)} if looks else {}
    folder = Path(sources[0])
    if len(sources) == 1 and folder.is_dir() and looks != study.looks:
        path = folder / "study.json"
        # A folder that cannot be written takes no more seeds either; a damaged file is in the report already.
        with suppress(OSError, ValueError), FileLock(folder / ".lock"):
            content = read_study(path, folder) if path.exists() else {"schema": SCHEMA}
            entry = {"looks": sorted({*looks, *content.get("looks", [])})}  # another launch may have looked since
            write_json(content | entry, path)
    return entry
