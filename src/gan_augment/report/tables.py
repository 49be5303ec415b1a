"""The rows of the report's tables: dictionaries from heading to text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gan_augment.records.factors import NULL
from gan_augment.records.findings import Section
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.report.configuration import Configuration, generators, pair_unit
from gan_augment.report.contrasts import Contrast, are_folds
from gan_augment.report.gap import Gap
from gan_augment.report.prediction import Prediction
from gan_augment.report.spread import spread
from gan_augment.report.statistics import Interval
from gan_augment.report.trials import ACCURACY, GAN_METRICS, RESULT, SEEDS, Study, columns_of, values_of
from gan_augment.report.verdict import in_words
from gan_augment.report.wording import SECONDS, in_digits, in_seconds, mean_cost, pairs_in_words

if TYPE_CHECKING:  # pandas waits until there is something to compute, so that `--help` answers at once
    import pandas as pd

Row = dict[str, str]

LAST_STAGES = ("classifier", "measures", "total")
MAY_BE_EMPTY = ("95 %, new images", "95 %, at every look")  # columns of contrasts
PRETRAINED_WEIGHTS, PAIRS = "pretrained weights", "pairs"  # columns of what arms saw
MAX_CLASSES = 100  # classes in a table; results.csv has all
MAX_IMAGES = 8  # images named
MAX_CONFUSED, LEAST_CONFUSED = 3, 1  # classes named at most, and the share of images, in per cent, that each needs
PER_CLASS_OF_GAN, AGREEMENT = f"{GAN_METRICS}per_class.", ".label_agreement"
TEACHER_LABELS = "metrics.pseudo_labels."
BUDGET = "factors.generator.seconds"
SEEN, IMAGES_SEEN = "metrics.gan.training.images_seen", "factors.generator.images_seen"  # if a clock ended it; else
CALIBRATION = {"nll": "negative log-likelihood (nats)", "brier": "Brier score", "ece": "expected calibration error"}
SAW = {
    "saw.labelled": "labelled images",
    "saw.pool_images": "pool images",
    "saw.pool_labels": "pool labels",
    "saw.target_images": "target images",
    "saw.target_labels": "target labels",
    "saw.pairs": PAIRS,
    "saw.validation": "validation images",
}
OF_POOL, OF_TARGET = ("pool images", "pool labels"), ("target images", "target labels")


def contrast_rows(compared: Sequence[Contrast], detect: float) -> list[Row]:
    """Return one row per contrast, without columns that may be empty and are empty in all of them."""
    rows = [_contrast_row(contrast, detect) for contrast in compared]
    return _without_empty(rows, rows[0] if are_folds(compared) else MAY_BE_EMPTY)


def _contrast_row(contrast: Contrast, detect: float) -> Row:
    mean, bounds = in_words(contrast.interval)
    return {
        "contrast": contrast.title,
        "difference (points)": mean or "-",
        f"95 %, these {contrast.part} images": bounds or "-",
        "95 %, new images": in_words(contrast.new_images)[1] if contrast.new_images else "-",
        "95 %, at every look": in_words(contrast.at_every_look)[1] if contrast.at_every_look else "-",
        "sign-flip p": in_digits(contrast.sign_flip_p, ".2g"),
        "pairs": str(contrast.estimate.num_pairs),
        f"pairs for {detect:g}": pairs_in_words(contrast.pairs_to_detect(detect)),
        "verdict": contrast.sentence,
    }


def _without_empty(rows: list[Row], names: Iterable[str]) -> list[Row]:
    """Drop those of the named columns that are empty in all rows."""
    empty = {name for name in names if all(row[name] == "-" for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def prediction_row(prediction: Prediction) -> Row:
    """Return the row on how well a metric of the generators predicts the gain."""
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


def class_rows(by_class: dict[str, dict[str, Interval]]) -> list[Row]:
    """Return the differences in class accuracy, one column per contrast, for the classes with the largest ones."""

    def largest(name: str) -> float:
        return max(abs(classes[name].mean) for classes in by_class.values() if name in classes)

    names = list(dict.fromkeys(name for classes in by_class.values() for name in classes))
    kept = sorted(sorted(names, key=largest, reverse=True)[:MAX_CLASSES], key=names.index)
    return [{"class": name} | {title: _cell(classes.get(name)) for title, classes in by_class.items()} for name in kept]


def gap_rows(found: Sequence[Gap]) -> Iterator[Row]:
    """Yield the share of the gap that an arm closes, in per cent, in one column per metric."""
    words = {metric: c.metric_in_words for gap in found for metric, c in gap.sizes.items()}
    for gap in found:
        for arm, shares in gap.shares.items():
            cells = {name: _cell(shares.get(metric)).removeprefix("+") for metric, name in words.items()}
            pairs = dict.fromkeys(str(share.num_pairs) for share in shares.values() if share)
            yield {"arm": arm, **cells, "pairs": ", ".join(pairs) or "-"}


def _cell(interval: Interval | None) -> str:
    """Write a mean, and its bounds in brackets."""
    mean, bounds = in_words(interval) if interval else ("-", "")
    return f"{mean} ({bounds})" if bounds else mean


def generator_rows(study: Study, found: list[Configuration]) -> Iterator[Row]:
    """Yield the mean of each metric, one column per generator, and one for images that the judge learned from."""
    columns = [c for c in columns_of(study.trials, GAN_METRICS) if "." not in c.removeprefix(GAN_METRICS)]
    metrics = {name: one.trials[columns] for name, one in generators(_measured(found, columns)).items()}
    real = study.trials.reindex(columns=[c.replace(GAN_METRICS, f"{GAN_METRICS}real.", 1) for c in columns])
    if real.notna().any(axis=None):
        metrics["real images that the judge learned from"] = real.set_axis(columns, axis="columns")
    means = {name: one.astype(float).mean() for name, one in metrics.items()}
    for c in columns if means else ():
        yield {"metric": c.removeprefix(GAN_METRICS)} | {name: in_digits(m[c], ".4g") for name, m in means.items()}


def agreement_rows(study: Study, found: list[Configuration]) -> Iterator[Row]:
    """Yield the label agreement of each class in per cent and its confusions, one column per generator."""
    columns = [c for c in columns_of(study.trials, PER_CLASS_OF_GAN) if c.endswith(AGREEMENT)]
    judged = generators(_measured(found, columns))
    means = {name: 100 * one.trials[columns].astype(float).mean() for name, one in judged.items()}
    for column in columns[:MAX_CLASSES] if judged else ():
        intended = column.removeprefix(PER_CLASS_OF_GAN).removesuffix(AGREEMENT)
        shares = {name: in_digits(mean[column], ".0f") for name, mean in means.items()}
        cells = {name: share + _confusions(study, judged[name], intended) for name, share in shares.items()}
        yield {"class": intended, **cells}


def _confusions(study: Study, configuration: Configuration, intended: str) -> str:
    """Return the other classes that the judge sees in images, with shares in per cent, such as ` (8: 12, 9: 6)`."""
    seen: Counter[str] = Counter()
    for trial in configuration.trials["trial"]:
        metrics = study.outcomes[trial].record["metrics"].get("gan") or {}
        counts, classes = metrics.get("confusion_matrix") or [], metrics.get("per_class") or {}
        rows = dict(zip(classes, counts, strict=False))
        seen.update(dict(zip(classes, rows.get(intended, ()), strict=False)))
    shares = {name: 100 * number / seen.total() for name, number in seen.most_common() if name != intended and number}
    named = [f"{name}: {share:.0f}" for name, share in shares.items() if share >= LEAST_CONFUSED]
    return f" ({', '.join(named[:MAX_CONFUSED])})" if named else ""


def _measured(found: list[Configuration], columns: list[str]) -> list[Configuration]:
    return [c for c in found if c.trials[columns].notna().any(axis=None)]


def metric_rows(study: Study) -> list[Row]:
    """Return the meaning of each metric of the generators."""
    shown = set(columns_of(study.trials, GAN_METRICS))
    return [
        {"metric": name, "better": one.better, "range": one.range, "meaning": one.meaning, "source": one.source}
        for name, one in GENERATOR_METRICS.items()
        if GAN_METRICS + name in shown
    ]


def calibration_row(configuration: Configuration) -> Row:
    """Return the row on how reliable a classifier's probabilities are."""
    by, _ = pair_unit([configuration])
    means = configuration.points([RESULT + name for name in CALIBRATION], by).mean() / 100
    cells = {heading: in_digits(means[RESULT + name], ".3f") for name, heading in CALIBRATION.items()}
    return {"arm": configuration.label(), **cells}


def section_rows(section: Section, found: list[Configuration]) -> list[Row]:
    """Return the means of a section's metrics, one row per configuration that has some, or per set of generators."""
    columns = {f"metrics.{name}": heading for name, heading in section.columns.items()}
    of_generators = all(column.startswith(GAN_METRICS) for column in columns)
    measured = [c for c in found if c.trials.reindex(columns=[*columns]).notna().any(axis=None)]
    named = generators(measured) if of_generators else {one.label(): one for one in measured}
    means = {name: one.trials.reindex(columns=[*columns]).astype(float).mean() for name, one in named.items()}
    rows = [
        {"generator" if of_generators else "arm": name}
        | {heading: in_digits(mean[column], ".3g") for column, heading in columns.items()}
        for name, mean in means.items()
    ]
    return _without_empty(rows, columns.values())


def spread_rows(found: list[Configuration]) -> list[Row]:
    """Return the standard deviations from split, GAN, synthesis and classifier, one row per arm of nested studies."""
    known = {c.label(): some for c in found if (some := spread(c))}
    cells = {
        label: {name: f"{deviation:.2f} ({some.numbers[name]})" for name, deviation in some.deviations.items()}
        for label, some in known.items()
    }
    sources = dict.fromkeys(name for some in cells.values() for name in some)
    return [{"arm": label, **{name: some.get(name, "-") for name in sources}} for label, some in cells.items()]


def price_rows(compared: list[Contrast]) -> Iterator[Row]:
    """Yield the cost of a gain: extra seconds per trial, and per point if the arm is better."""
    for c in compared:
        cost, base_cost = (mean_cost(one.ended, "total") for one in (c.one, c.base))
        if c.metric == ACCURACY and cost is not None and base_cost is not None:
            more = cost - base_cost
            per_point = in_seconds(more / c.estimate.mean) if c.is_better and more > 0 else "-"
            extra = in_seconds(more) if more >= 0 else f"-{in_seconds(-more)}"
            yield {"contrast": c.title, "extra seconds per trial": extra, "seconds per point": per_point}


def image_rows(compared: list[Contrast]) -> Iterator[Row]:
    """Yield the test images that most trainings of one arm get right and most of the other get wrong."""

    def name_them(differences: pd.Series) -> str:
        named = [f"{number} ({label})" for number, label, *_ in differences.index[:MAX_IMAGES]]
        return (", ".join(named) or "-") + (f" and {more} more" if (more := len(differences) - MAX_IMAGES) > 0 else "")

    for c in compared:
        if c.metric == ACCURACY and c.by_image is not None:
            gained = c.by_image[c.by_image > 50].sort_values(ascending=False, kind="stable")
            lost = c.by_image[c.by_image < -50].sort_values(kind="stable")
            yield {
                "contrast": c.title,
                "right only with the first": str(len(gained)),
                "right only with the second": str(len(lost)),
                "images of the first": name_them(gained),
                "images of the second": name_them(lost),
            }


def saw_rows(found: list[Configuration]) -> list[Row]:
    """Return one row per arm on the images, labels and pretrained weights that its training saw."""
    rows = _without_empty([_saw_row(c) for c in found], [PRETRAINED_WEIGHTS, PAIRS])
    has_domains = [c.has_domains for c in found]
    left_out = OF_POOL if all(has_domains) else () if any(has_domains) else OF_TARGET  # the pool is of the target
    return [{heading: value for heading, value in row.items() if heading not in left_out} for row in rows]


def _saw_row(configuration: Configuration) -> Row:
    part, note = ("semi_supervised", " (not step-matched)") if configuration.has_other_method else ("classifier", "")
    columns = {**SAW, f"factors.{part}.num_steps": "steps"}
    cells = {what: ", ".join(values_of(configuration.ended, c)) or "-" for c, what in columns.items()}
    may_be_empty = {
        PAIRS: "-" if cells[PAIRS] == "0" else cells[PAIRS],
        PRETRAINED_WEIGHTS: "yes" if configuration.is_pretrained else "-",
    }
    return {"arm": configuration.label(), **cells, "steps": cells["steps"] + note, **may_be_empty}


def teacher_rows(study: Study, found: list[Configuration]) -> Iterator[Row]:
    """Yield the numbers of pool images that teachers labelled, one row per arm, and the share of right labels."""
    for c in _measured(found, columns_of(study.trials, TEACHER_LABELS)):
        means = c.ended.reindex(columns=[TEACHER_LABELS + name for name in ("images", "share", "accuracy")])
        images, share, accuracy = means.astype(float).mean()
        yield {
            "arm": c.label(),
            "teacher": ", ".join(values_of(c.ended, "factors.augmentation.teacher")),
            "images": f"{images:.0f}",
            "of the pool (%)": f"{100 * share:.1f}",
            "right (%)": in_digits(100 * accuracy, ".2f"),
        }


def cost_row(configuration: Configuration, study: Study) -> Row:
    """Return the mean cost of an arm's trials, by stage, and the real images a second of its generator, if known."""
    import pandas as pd

    trials = configuration.ended
    row = {"arm": configuration.label()}
    row |= {f"{stage} (s)": in_seconds(mean_cost(trials, stage)) for stage in _stages(study)}
    if known := [column for column in (SEEN, IMAGES_SEEN) if column in trials]:
        counts = [float(pd.to_numeric(trials[column], errors="coerce").mean()) for column in known]
        seen, seconds = next((count for count in counts if count == count), None), mean_cost(trials, "gan")
        row["generator images/s"] = in_digits(seen / seconds if seen and seconds else None, ".0f")
    return row


def budgets_in_words(found: list[Configuration]) -> str | None:
    """Say how long generators of several kinds trained and sampled, and whether they had the same time; None of one."""
    by_kind: dict[str, list[Configuration]] = {}
    for c in found:
        if mean_cost(c.ended, "gan") is not None:
            by_kind.setdefault(", ".join(values_of(c.ended, "factors.generator")), []).append(c)
    if len(by_kind) < 2:
        return None
    told = [f"{kind} {_seconds(some, 'gan')} s and {_seconds(some, 'synthesis')} s" for kind, some in by_kind.items()]
    limits = [
        {(*values_of(c.ended, BUDGET), *values_of(c.ended, IMAGES_SEEN)) for c in some} for some in by_kind.values()
    ]
    by_clock = all(len(limit) == 2 and limit[0] != NULL == limit[1] for some in limits for limit in some)
    same = by_clock and all(some == limits[0] for some in limits)
    said = "All had the same time to train" if same else "Their times to train differ"
    return f"Mean time to train each generator, and to make its images: {'; '.join(told)}. {said}."


def _seconds(some: list[Configuration], stage: str) -> str:
    known = [seconds for c in some if (seconds := mean_cost(c.ended, stage)) is not None]
    return in_seconds(sum(known) / len(known) if known else None)


def memory_rows(found: list[Configuration], study: Study) -> list[Row]:
    """Return the largest memory of each arm's trials, stage by stage, without columns that no record has."""
    stages = {stage: f"costs.memory.{stage}." for stage in _stages(study)} | {"total": "costs."}
    columns = {f"{stage} (MiB)": f"{prefix}peak_memory_mib" for stage, prefix in stages.items()}
    columns |= {f"{stage}, GPU (MiB)": f"{prefix}peak_gpu_memory_mib" for stage, prefix in stages.items()}
    rows = []
    for c in found:
        peaks = c.ended.reindex(columns=list(columns.values())).astype(float).max()
        rows.append({"arm": c.label(), **{name: in_digits(peaks[column], ".0f") for name, column in columns.items()}})
    return _without_empty(rows, columns)


def energy_rows(found: list[Configuration], study: Study) -> list[Row]:
    """Return the mean energy of each arm's stages, without columns that no record has; no rows if none has any."""
    devices = {"": "cpu_joules", ", GPU": "gpu_joules"}
    columns = {
        f"{stage}{device} (kJ)": f"costs.energy.{stage}.{counter}"
        for device, counter in devices.items()
        for stage in _stages(study)
    }
    rows = []
    for c in found:
        means = c.ended.reindex(columns=list(columns.values())).astype(float).mean() / 1000
        rows.append({"arm": c.label(), **{name: in_digits(means[column], ".2f") for name, column in columns.items()}})
    rows = _without_empty(rows, columns)
    return rows if any(len(row) > 1 for row in rows) else []


def _stages(study: Study) -> list[str]:
    """Return the stages with a recorded cost, in order; classifier, measures and total come last."""
    stages = dict.fromkeys(c.removeprefix(SECONDS).rsplit(".", 1)[0] for c in columns_of(study.trials, SECONDS))
    return sorted(stages, key=lambda stage: LAST_STAGES.index(stage) if stage in LAST_STAGES else -1)


def trial_rows(study: Study) -> Iterator[Row]:
    """Yield one row per trial, with its folder relative to the studies."""
    for record, outcome in zip(study.trials.to_dict("records"), study.outcomes.values(), strict=True):
        row = {str(column): value for column, value in record.items() if value == value and value is not None}
        seeds = {column.removeprefix(SEEDS): str(seed) for column, seed in row.items() if column.startswith(SEEDS)}
        distinct = set(seeds.values())
        yield {
            "folder": f"{outcome.study}/trials/{outcome.trial}",
            "status": str(record["status"]),
            "seeds": ", ".join(distinct if len(distinct) < 2 else (f"{k} {seed}" for k, seed in seeds.items())),
            "accuracy (points)": f"{100 * row[ACCURACY]:.1f}" if ACCURACY in row else "-",
            "error": str(row.get("error", "")),
        }
