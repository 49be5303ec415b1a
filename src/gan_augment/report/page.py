"""The report of a study as a page with tables and figures, made only from the outcomes of its trials."""

from __future__ import annotations

import argparse
import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_augment.command import command
from gan_augment.records.received import cell, read_regular
from gan_augment.records.record import write_whole
from gan_augment.report import comparison, tables, wording
from gan_augment.report.archive import SUFFIX, write_archive
from gan_augment.report.configuration import Configuration, configurations, generators, named, pair_unit
from gan_augment.report.confusion import change_rows, confusion_rows, confusions
from gan_augment.report.contrasts import are_folds, contrasts
from gan_augment.report.curves import budget_curves, cost_curves, dose_curves, worths
from gan_augment.report.gap import gaps
from gan_augment.report.looks import note_look
from gan_augment.report.outcomes import MOST_PICTURE_BYTES
from gan_augment.report.prediction import Point, predictions
from gan_augment.report.searches import candidate_rows, searched
from gan_augment.report.trials import ACCURACY, RESULT, Study, collect, columns_of, facts
from gan_augment.report.usability import usability

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    import pandas as pd

DETECT = 1.0  # points: the gain for which the report plans studies
MAX_SAMPLES = 12


def write_report(sources: Sequence[Path | str], output: Path | str | None = None) -> Path:
    """Write `report.html`, `results.csv`, the figures and some samples of one or more studies.

    Args:
        sources: Study folders, and `.jsonl` files that keep a study; their trials are merged.
        output: Output folder; by default `report/` in the first study folder, or `<name>/report/` next to a file.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: If there are no readable trial records.
    """
    return _write(collect(sources), sources, Path(output) if output else _report_folder(Path(sources[0])))


def main(argv: Sequence[str] | None = None) -> None:
    """Run `gan-augment-report STUDY... [--output DIR] [--keep FILE] [--detect POINTS]`."""
    parser = argparse.ArgumentParser(
        prog="gan-augment-report",
        description="Compare the arms of a study: verdicts with intervals, as a page, a table and a CSV file.",
    )
    parser.add_argument(
        "studies", nargs="+", type=Path, metavar="STUDY", help="study folder or .jsonl file; several are merged"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="output folder (default: STUDY/report)")
    parser.add_argument(
        "--keep",
        type=_archive,
        metavar="FILE",
        help="keep the study in one .jsonl file, from which this report can be written without the trial folders",
    )
    parser.add_argument("--detect", type=_points, metavar="POINTS", help="print how many splits would detect this gain")
    with command(parser.prog):
        arguments = parser.parse_args(argv)
        from gan_augment.report.terminal import show_report

        study = collect(arguments.studies)
        output = arguments.output or _report_folder(arguments.studies[0])
        path = _write(study, arguments.studies, output, arguments.detect or DETECT, arguments.keep)
        show_report(study, path, arguments.detect)


def _report_folder(source: Path) -> Path:
    folder = (source.with_suffix("") if source.suffix == SUFFIX else source) / "report"
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link: name a folder with --output")
    return folder


def _archive(text: str) -> Path:
    """Read the name of a file, for argparse."""
    if (path := Path(text)).suffix != SUFFIX:
        raise argparse.ArgumentTypeError(f"{text} does not end in {SUFFIX}: use a file such as results/digits{SUFFIX}")
    return path


def _points(text: str) -> float:
    """Read a gain, such as 0.5, for argparse."""
    if not 0 < (points := float(text)) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a gain in points: use a number above 0 and at most 100")
    return points


def _write(
    study: Study, sources: Sequence[Path | str], output: Path, detect: float = DETECT, keep: Path | None = None
) -> Path:
    import pandas as pd
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from gan_augment.report import figures

    found, metrics = configurations(study), comparison.metrics_to_compare(study)
    compared = contrasts(study)
    independent = [one for one in found if pair_unit([one])[1] != "fold"]  # Student's t applies to their splits
    output.mkdir(parents=True, exist_ok=True)

    images: dict[str, bytes] = {}
    with_results = [c for c in found if len(c.with_results)]
    panels, unit = _panels(with_results, [name for baseline in study.against for name in baseline])
    tried = searched(study)
    if panels and not tried:
        images["arms"] = figures.arms_figure(panels, unit, study.part)
    if by_class := {c.title: c.per_class for c in compared if c.per_class}:
        images["classes"] = figures.classes_figure(by_class)
    best = [side for contrast in compared if contrast.of_best for side in (contrast.base, contrast.one)]
    if confused := confusions(study, [*best, *with_results]):
        images["confusion"] = figures.confusion_figure(confused)
    if curves := budget_curves(independent):
        lines = {setting: {c.arm: c.intervals for c in some} for setting, some in curves.items()}
        images["labels"] = figures.curves_figure(lines, "labels per class", f"{study.part} accuracy (points)")
    between = gaps(study, found, compared)
    if between:
        units = " or ".join(dict.fromkeys(gap.unit for gap in between))
        images["gaps"] = figures.gaps_figure({gap.title: gap.accuracies for gap in between}, units, study.part)
    if tried:
        values = {name: [one.settings[name] for one in tried] for name in tried[0].settings}
        is_full = [one.state == "complete" for one in tried]
        images["search"] = figures.search_figure([100 * one.gain for one in tried], is_full, values)
    doses = dose_curves(compared)
    for number, (dose, gains) in enumerate(doses.items(), start=1):
        images[f"dose{number}"] = figures.curves_figure({"": gains}, dose, "gain in accuracy (points)")
    if (budgets := tables.budgets_in_words(found)) and (costs := cost_curves(independent)):
        images["seconds"] = figures.curves_figure({"": costs}, "seconds of a trial", f"{study.part} accuracy (points)")
    if predicted := predictions(independent):
        points: dict[str, dict[str, list[Point]]] = {}
        for one in predicted:
            points.setdefault(one.title, {})[one.metric_in_words] = one.points
        images["prediction"] = figures.prediction_figure(points)
    for name, image in images.items():
        write_whole(image, output / f"{name}.png")

    if (output / "samples").is_symlink():
        raise ValueError(f"{output / 'samples'} is a link: remove it, or name another folder with --output")
    samples, sheets = _samples(study, found), _contact_sheets(study)
    for earlier in (output / "samples").glob("*.png") if samples else ():  # without samples the old ones stay
        earlier.unlink()
    pictures: dict[str, Path] = {}  # by trial
    for number, (arms, trial, picture) in enumerate(samples, start=1):
        (output / "samples").mkdir(exist_ok=True)
        slug = re.sub(r"[^A-Za-z0-9_.]+", "-", arms)[:80].strip("-")
        pictures[trial] = output / "samples" / f"{number:02}-{slug}.png"
        write_whole(picture, pictures[trial])
    for name, sheet in sheets.items():
        (output / "samples").mkdir(exist_ok=True)
        write_whole(sheet, output / "samples" / f"{name}.png")

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        title=study.title,
        part=study.part,
        not_usable=usability(found),
        verdicts=wording.verdicts(study, compared),
        without_new_images=wording.without_new_images(compared),
        remarks=[wording.overlap_in_words(compared), *wording.remarks(study, metrics, compared)],
        notes=wording.notes(study),
        warnings=comparison.warnings(study),
        results=wording.results_in_words(study, metrics),
        explained=list(metrics.values()),
        detect=detect,
        of_folds=are_folds(compared),
        of_best=bool(best),
        num_classes=len({name for classes in by_class.values() for name in classes}),
        doses=list(doses),
        gaps=list(tables.gap_rows(between)),
        gap_sizes=wording.gaps_in_words(between),
        gap_explained=wording.GAP,
        candidates=candidate_rows(tried),
        worths=[worth.sentence for worth in worths(independent)],
        images={name: _embedded(image) for name, image in images.items()},
        samples=[{"image": _embedded(picture), "arms": arms, "trial": trial} for arms, trial, picture in samples],
        facts=facts(study),
        sheets=list(map(_embedded, sheets.values())),
        arms=[wording.arm_row(c, metrics) for c in found],
        saw=tables.saw_rows(found),
        teachers=list(tables.teacher_rows(study, found)),
        contrasts=tables.contrast_rows(compared, detect),
        classes=tables.class_rows(by_class),
        confusions=confusion_rows(confused),
        num_confused=len(confused),
        changes=change_rows(study, found),
        calibration=[tables.calibration_row(c) for c in with_results],
        sections=list(_sections(study, found)),
        spreads=tables.spread_rows(independent),
        disagreements=list(tables.image_rows(compared)),
        generators=list(tables.generator_rows(study, found)),
        metrics=tables.metric_rows(study),
        agreements=list(tables.agreement_rows(study, found)),
        predictions=[tables.prediction_row(p) for p in predicted],
        costs=[tables.cost_row(c, study) for c in found],
        budgets=budgets,
        memory=tables.memory_rows(found, study),
        energy=tables.energy_rows(found, study),
        prices=list(tables.price_rows(compared)),
        trials=list(tables.trial_rows(study)),
    )
    records = study.trials.drop(columns=columns_of(study.trials, RESULT))
    cells = {cell(name): [cell(value) for value in records[name]] for name in records}
    table = pd.DataFrame(cells, dtype=object).to_csv(index=False, lineterminator="\n")
    write_whole(table.encode(), output / "results.csv")
    path = output / "report.html"
    write_whole(page.encode(), path)
    looks: dict[str, Any] = note_look(study, sources, compared)
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        if study.damaged:
            raise ValueError(f"{study.damaged[0]}; so {keep} is not written: repair or delete it to keep the study")
        entries = looks | ({"left_out": study.left_out} if study.left_out else {})
        kept = [output / "samples" / f"{name}.png" for name in sheets]
        launches = [launch | entries for launch in study.launches]
        write_archive(launches, list(study.outcomes.values()), pictures, keep, kept)
    return path


def _panels(with_results: list[Configuration], compared: list[str]) -> tuple[dict[str, dict[str, pd.Series]], str]:
    """Return the accuracies for the arms figure and their unit: one panel per common setting that is not compared."""
    first = with_results[0].setting if with_results else {}
    shared = [name for name in first if name not in compared and all(name in c.setting for c in with_results)]
    groups: dict[str, list[Configuration]] = {}
    for c in with_results:
        groups.setdefault(named("", {name: c.setting[name] for name in shared}), []).append(c)
    panels, units = {}, set()
    for title, group in groups.items():
        by, unit = pair_unit(group)
        units.add(unit)
        panels[title] = {c.label(known=shared): c.points([ACCURACY], by)[ACCURACY] for c in group}
    return panels, " or ".join(sorted(units))


def _samples(study: Study, found: list[Configuration]) -> list[tuple[str, str, bytes]]:
    """Return the samples of each generator's first trial that has them: the arms that share it, the trial, the PNG."""
    paths = {name: path for name, one in study.outcomes.items() if (path := one.samples) and path.exists()}
    shown = generators(found, lambda one: bool(one.trials["trial"].isin(paths).any()))
    firsts = {arms: next(trial for trial in one.trials["trial"] if trial in paths) for arms, one in shown.items()}
    samples = [*firsts.items()][:MAX_SAMPLES]
    return [(arms, trial, read_regular(paths[trial], MOST_PICTURE_BYTES)) for arms, trial in samples]


def _sections(study: Study, found: list[Configuration]) -> Iterator[dict[str, Any]]:
    """Yield what measures found: a table of means each, and sentences and a picture of the first trial with some.

    A trial with sentences comes before one with a picture alone. A section that wants it has a picture of each arm.
    """
    for title, section in study.sections.items():
        said = {name: one.record.get("sections", {}).get(title, {}) for name, one in study.outcomes.items()}
        trial = next((name for key in ("sentences", "picture") for name, one in said.items() if one.get(key)), None)
        arms = {one.label(): list(one.trials["trial"]) for one in found} if section.each_arm else {"": [trial]}
        drawn = {name: path for name, one in study.outcomes.items() if (path := one.pictures.get(title))}
        firsts = {arm: name for arm, names in arms.items() if (name := next(filter(drawn.__contains__, names), None))}
        pictures = [
            {"arm": arm, "trial": name, "image": _embedded(read_regular(drawn[name], MOST_PICTURE_BYTES))}
            for arm, name in [*firsts.items()][:MAX_SAMPLES]
        ]
        rows = tables.section_rows(section, found)
        if rows or (pictures and not section.columns):
            yield {
                "title": title,
                "explained": section.explained,
                "rows": rows,
                "trial": trial,
                "sentences": said[trial]["sentences"] if trial else [],
                "pictures": pictures,
            }


def _contact_sheets(study: Study) -> dict[str, bytes]:
    """Return the contact sheets of the images of a study's trials, by the images' fingerprints."""
    sheets = dict.fromkeys(one.sheet for one in study.outcomes.values() if one.sheet and one.sheet.exists())
    return {sheet.stem: read_regular(sheet, MOST_PICTURE_BYTES) for sheet in [*sheets][:MAX_SAMPLES]}


def _embedded(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


if __name__ == "__main__":
    main()
