"""The report of a study as a page with tables and figures, from trial folders and from nothing else."""

from __future__ import annotations

import argparse
import base64
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gan_augment.study.comparison import (
    METRICS,
    Configuration,
    configurations,
    metrics_to_compare,
    named,
    pair_unit,
    warnings,
)
from gan_augment.study.contrasts import FEW_IMAGES, Contrast, contrasts
from gan_augment.study.factors import NULL
from gan_augment.study.generator_metrics import GENERATOR_METRICS
from gan_augment.study.prediction import Point, Prediction, predictions
from gan_augment.study.record import write_whole
from gan_augment.study.statistics import Interval, in_words
from gan_augment.study.trials import (
    ACCURACY,
    GAN_METRICS,
    IMBALANCE,
    LABELLED_IMAGES,
    LABELLED_RATIO,
    NUM_IMAGES,
    RESULT,
    SEEDS,
    SPLIT,
    VERSIONS,
    Study,
    collect,
    columns_of,
    values_of,
)
from gan_augment.study.wording import (
    SECONDS,
    arm_row,
    in_seconds,
    mean_cost,
    notes,
    pairs_in_words,
    remarks,
    results_in_words,
    verdicts,
)

if TYPE_CHECKING:  # the heavy imports wait until there is something to compute, so that `--help` answers at once
    import pandas as pd

LAST_STAGES = ("classifier", "total")
DETECT = 1.0  # points, a gain that is worth planning for
NEW_IMAGES, BOOTSTRAP = MAY_BE_EMPTY = "95 %, new images", "bootstrap"  # columns
MAX_SAMPLES = 12
MAX_CLASSES = 100  # of the table; all are in results.csv
MAX_NAMED = 20  # rare classes
REAL_METRICS = f"{GAN_METRICS}real."
IMAGES_SEEN = "factors.gan.images_seen"


def write_report(folders: Sequence[Path | str], output: Path | str | None = None) -> Path:
    """Write `report.html`, `results.csv`, the figures and some samples of one or more study folders.

    Args:
        folders: Study folders; their trials are merged.
        output: Where to write; `report/` in the first folder by default.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: If the folders hold no readable trial records.
    """
    return _write(collect(folders), Path(output) if output else Path(folders[0]) / "report")


def main(argv: Sequence[str] | None = None) -> None:
    """Run `gan-augment-report FOLDER... [--output DIR] [--detect POINTS]`.

    Args:
        argv: Arguments, those of the command line by default.
    """
    parser = argparse.ArgumentParser(
        prog="gan-augment-report",
        description="Compare the arms of a study: verdicts with intervals, as a page, a table and a CSV file.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="study folder; several are merged")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: FOLDER/report)")
    parser.add_argument("--detect", type=_points, metavar="POINTS", help="say how many splits would detect this gain")
    arguments = parser.parse_args(argv)
    try:
        study = collect(arguments.folders)
        path = _write(study, arguments.output or arguments.folders[0] / "report", arguments.detect or DETECT)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(1)
    from rich.console import Console

    from gan_augment.study.terminal import print_report

    print_report(study, Console(), path, arguments.detect)


def _points(text: str) -> float:
    """Read a gain, such as 0.5; argparse says what is wrong with another."""
    if not 0 < (points := float(text)) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a gain in points: give a number above 0, at most 100")
    return points


def _write(study: Study, output: Path, detect: float = DETECT) -> Path:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from gan_augment.study import figures

    found, metrics = configurations(study), metrics_to_compare(study)
    compared = contrasts(study)
    output.mkdir(parents=True, exist_ok=True)

    images: dict[str, bytes] = {}
    panels, unit = _panels([c for c in found if len(c.judged)], [name for name, _ in study.against])
    if panels:
        images["arms"] = figures.arms_figure(panels, unit, study.part)
    by_class = {c.title: c.per_class for c in compared if c.per_class}
    class_rows = _class_rows(by_class)
    if by_class:
        images["classes"] = figures.classes_figure(by_class)
    predicted = predictions(found)
    if predicted:
        points: dict[str, dict[str, list[Point]]] = {}
        for one in predicted:
            points.setdefault(one.title, {})[one.metric_in_words] = one.points
        images["prediction"] = figures.prediction_figure(points)
    for name, image in images.items():
        write_whole(image, output / f"{name}.png")

    samples = _samples(study, found)
    for earlier in (output / "samples").glob("*.png"):
        earlier.unlink()
    for number, sample in enumerate(samples, start=1):
        (output / "samples").mkdir(exist_ok=True)
        write_whole(sample.picture, output / "samples" / f"{number:02}-{sample.slug}.png")

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        title=study.title,
        verdicts=verdicts(study, compared),
        results=results_in_words(study, metrics),
        part=study.part,
        remarks=remarks(study, metrics, compared),
        explained=[METRICS[metric] for metric in metrics],
        arms=[arm_row(c, metrics) for c in found],
        generators=_generator_rows(study, found),
        metrics=_metric_rows(study),
        contrasts=_contrast_rows(compared, detect),
        few_images=FEW_IMAGES,
        detect=detect,
        images={name: _embedded(image) for name, image in images.items()},
        predictions=[_prediction_row(p) for p in predicted],
        facts=_facts(study),
        saw=[_saw_row(c) for c in found],
        warnings=warnings(study),
        notes=notes(study),
        classes=class_rows,
        num_classes=len({name for classes in by_class.values() for name in classes}),
        samples=[{"image": _embedded(one.picture), "arm": one.arm, "trial": one.trial} for one in samples],
        costs=[_cost_row(c, study) for c in found],
        trials=[_trial_row({str(k): v for k, v in row.items()}) for row in study.trials.to_dict("records")],
    )
    records = study.trials.drop(columns=columns_of(study.trials, RESULT))
    write_whole(records.to_csv(index=False, lineterminator="\n").encode(), output / "results.csv")
    path = output / "report.html"
    write_whole(page.encode(), path)
    return path


def _panels(judged: list[Configuration], compared: list[str]) -> tuple[dict[str, dict[str, pd.Series]], str]:
    """Accuracies for the arms figure, a panel a setting that all have and none is compared by, and their unit."""
    first = judged[0].setting if judged else {}
    shared = [name for name in first if name not in compared and all(name in c.setting for c in judged)]
    groups: dict[str, list[Configuration]] = {}
    for c in judged:
        groups.setdefault(named("", {name: c.setting[name] for name in shared}), []).append(c)
    units = sorted({pair_unit(group)[1] for group in groups.values()})
    panels = {
        title: {c.label(said=shared): c.points([ACCURACY], pair_unit(group)[0])[ACCURACY] for c in group}
        for title, group in groups.items()
    }
    return panels, " or ".join(units)


def _contrast_rows(compared: list[Contrast], detect: float) -> list[dict[str, str]]:
    rows = [_contrast_row(contrast, detect) for contrast in compared]
    empty = {name for name in MAY_BE_EMPTY if all(row[name] == "-" for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def _contrast_row(contrast: Contrast, detect: float) -> dict[str, str]:
    mean, bounds = in_words(contrast.interval)
    new = in_words(contrast.new_images)[1] if contrast.new_images else ""
    bootstrap, p = contrast.bootstrap, contrast.sign_flip_p
    return {
        "contrast": contrast.title,
        "difference (points)": mean or "-",
        f"95 %, these {contrast.part} images": bounds or "-",
        NEW_IMAGES: new or "-",
        BOOTSTRAP: in_words(bootstrap)[1] if bootstrap else "-",
        "sign-flip p": f"{p:.2g}" if p == p else "-",
        "pairs": str(contrast.estimate.num_pairs),
        f"pairs for {detect:g}": pairs_in_words(contrast.pairs_to_detect(detect)),
        "verdict": contrast.sentence,
    }


def _prediction_row(prediction: Prediction) -> dict[str, str]:
    mean, bounds = in_words(prediction.interval, decimals=2)
    n, left_out = prediction.interval.num_pairs, prediction.left_out
    return {
        "arm against base": prediction.title,
        "metric": prediction.metric_in_words,
        "mean rank correlation": mean or "-",
        "95 % interval": bounds or "-",
        "over": f"{n} {prediction.unit}{'s' * (n != 1)}" + (f", {left_out} left out" if left_out else ""),
        "in words": prediction.sentence,
    }


def _class_rows(by_class: dict[str, dict[str, Interval]]) -> list[dict[str, str]]:
    def cell(interval: Interval | None) -> str:
        mean, bounds = in_words(interval) if interval else ("-", "")
        return f"{mean} ({bounds})" if bounds else mean

    largest: dict[str, float] = {}
    for classes in by_class.values():
        for name, interval in classes.items():
            largest[name] = max(largest.get(name, 0.0), abs(interval.mean))
    kept = set(sorted(largest, key=lambda name: -largest[name])[:MAX_CLASSES])
    return [
        {"class": name, **{title: cell(classes.get(name)) for title, classes in by_class.items()}}
        for name in largest
        if name in kept
    ]


def _generator_rows(study: Study, found: list[Configuration]) -> list[dict[str, str]]:
    """The mean of each metric of the generators, a row a configuration; and of as many real images, where known."""
    columns = [c for c in columns_of(study.trials, GAN_METRICS) if "." not in c.removeprefix(GAN_METRICS)]

    def row(name: str, metrics: pd.DataFrame) -> dict[str, str]:
        means = metrics.astype(float).mean()
        written = {c.removeprefix(GAN_METRICS): means[c] for c in columns}
        return {"arm": name, **{c: f"{mean:.4g}" if mean == mean else "-" for c, mean in written.items()}}

    rows = [row(c.label(), c.trials[columns]) for c in found if c.trials[columns].notna().any(axis=None)]
    real = study.trials.reindex(columns=[c.replace(GAN_METRICS, REAL_METRICS, 1) for c in columns])
    if real.notna().any(axis=None):
        rows.append(row("real training images", real.set_axis(columns, axis="columns")))
    return rows


def _metric_rows(study: Study) -> list[dict[str, str]]:
    """What the metrics of the generators mean."""
    shown = {column.removeprefix(GAN_METRICS) for column in columns_of(study.trials, GAN_METRICS)}
    return [
        {
            "metric": metric.name,
            "better": metric.better,
            "range": metric.range,
            "what it says": metric.meaning,
            "source": metric.source,
        }
        for metric in GENERATOR_METRICS.values()
        if metric.name in shown
    ]


def _saw_row(configuration: Configuration) -> dict[str, str]:
    columns = {"labelled": "labelled images", "pool_images": "pool images", "pool_labels": "pool labels"}
    columns["validation"] = "validation images"
    seen = {what: values_of(configuration.ended, f"saw.{name}") for name, what in columns.items()}
    return {"arm": configuration.label(), **{what: ", ".join(values) or "-" for what, values in seen.items()}}


def _cost_row(configuration: Configuration, study: Study) -> dict[str, str]:
    trials = configuration.trials
    stages = dict.fromkeys(c.removeprefix(SECONDS).rsplit(".", 1)[0] for c in columns_of(study.trials, SECONDS))
    peak = trials.get("costs.peak_memory_mib")
    return {
        "arm": configuration.label(),
        **{
            f"{stage} (s)": in_seconds(mean_cost(trials, stage))
            for stage in sorted(stages, key=lambda s: LAST_STAGES.index(s) if s in LAST_STAGES else -1)
        },
        **_speed(configuration.ended),
        "peak memory (MiB)": f"{peak.dropna().max():.0f}" if peak is not None and peak.notna().any() else "-",
    }


def _speed(trials: pd.DataFrame) -> dict[str, str]:
    """How many real images a second a GAN's discriminator saw; nothing where no trial says how many it saw."""
    if IMAGES_SEEN not in trials:
        return {}
    seen, seconds = trials[IMAGES_SEEN].astype(float).mean(), mean_cost(trials, "gan")
    return {"GAN images/s": f"{seen / seconds:.0f}" if seconds and seen == seen else "-"}


def _trial_row(row: dict[str, Any]) -> dict[str, str]:
    seeds = {k.removeprefix(SEEDS): v for k, v in row.items() if k.startswith(SEEDS) and v == v and v is not None}
    distinct = {str(seed) for seed in seeds.values()}
    accuracy = row[ACCURACY]
    return {
        "trial": row["trial"],
        "status": str(row["status"]),
        "seeds": ", ".join(distinct) if len(distinct) < 2 else ", ".join(f"{k} {v}" for k, v in seeds.items()),
        "accuracy (points)": f"{100 * accuracy:.1f}" if accuracy is not None and accuracy == accuracy else "-",
        "error": str(row["error"]) if row["error"] and row["error"] == row["error"] else "",
    }


def _facts(study: Study) -> dict[str, str]:
    """What was compared, one line each."""
    trials = study.trials
    numbers, fractions = (
        [value for value in values_of(trials, f"factors.{name}") if value != NULL]
        for name in ("labels_per_class", "label_fraction")
    )
    versions = {c.removeprefix(VERSIONS): values_of(trials, c) for c in columns_of(trials, VERSIONS)}
    facts = {
        "data": values_of(trials, "factors.data"),
        "labels per class": [*numbers, *(f"{100 * float(fraction):g} % of each class" for fraction in fractions)],
        "labelled images": _amounts(trials, LABELLED_IMAGES, LABELLED_RATIO) if LABELLED_RATIO in trials else [],
        "rare classes": _rare_classes(study),
        f"{study.part} images": _amounts(trials, NUM_IMAGES, IMBALANCE),
        "splits": [value[:8] for value in values_of(trials, SPLIT)],
        "classifier": values_of(trials, "factors.classifier"),
        "versions": [f"{name} {' or '.join(values)}" for name, values in versions.items() if values],
        "commit": [value[:12] for value in values_of(trials, "provenance.commit")],
        "device": values_of(trials, "costs.device"),
        "threads": values_of(trials, "costs.threads"),
        "command": study.commands,
    }
    return {name: ", ".join(values) for name, values in facts.items() if values}


def _amounts(trials: pd.DataFrame, images: str, ratio: str) -> list[str]:
    """Numbers of images, and how unequal the classes are, as far as the records say it."""
    numbers = values_of(trials, images)
    ratios = [f"{round(float(value), 2):g}" for value in values_of(trials, ratio)]
    if not ratios:
        return numbers
    times = " to ".join(dict.fromkeys([ratios[0], ratios[-1]]))
    spread = "all classes equal" if times == "1" else f"the largest class has {times} times as many as the smallest"
    return [f"{', '.join(numbers)} ({spread})"]


def _rare_classes(study: Study) -> list[str]:
    """Name the rare classes, and say if they differ between trials."""
    names = list(dict.fromkeys(name for names in study.rare_classes for name in names))
    listed = ", ".join(names[:MAX_NAMED])
    listed += f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    listed += " (not the same in all trials)" if len(study.rare_classes) > 1 else ""
    return [listed] if names else []


class Sample(NamedTuple):
    """Real beside synthetic images of one configuration, as PNG, and the trial that they are from."""

    picture: bytes
    arm: str
    trial: str

    @property
    def slug(self) -> str:
        """The configuration's name as part of the name of a file."""
        return re.sub(r"[^A-Za-z0-9_.]+", "-", self.arm)[:80].strip("-")


def _samples(study: Study, found: list[Configuration]) -> list[Sample]:
    """Return the samples of the first trial of each configuration that has them."""
    samples = []
    for configuration in found:
        paths = [study.folders[name] / "samples.png" for name in configuration.trials["trial"]]
        path = next((path for path in paths if path.exists()), None)
        if path:
            samples.append(Sample(path.read_bytes(), configuration.label(), path.parent.name))
    return samples[:MAX_SAMPLES]


def _embedded(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
