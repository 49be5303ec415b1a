"""The figures of the report as PNG. They draw given values, in points, and compute nothing."""

import io
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from gan_augment.report.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from gan_augment.report.prediction import Point

# Okabe and Ito (2008), colours that colour-blind readers can distinguish, without black and yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v")  # five, with six colours: thirty generators that look different
MAX_PANELS = 6
MOST_INSIDE = 6  # lines of curves whose legend fits into the axes
MAX_TICKS = 8  # one for each number on the axis of a curve
MOST_DIGITS = 5  # of these numbers, in characters; measured ones have more, and may lie so close that labels overlap
MAX_ROWS, MAX_COLUMNS = 3, 3  # of the figure of predictions
MAX_CLASSES = 40
MAX_NUMBERED = 12  # classes of a confusion matrix with numbers


def arms_figure(panels: Mapping[str, Mapping[str, "pd.Series"]], unit: str, part: str) -> bytes:
    """Draw accuracy by arm: one dot per pair, a thin line through the arms for each pair, and a bar at the mean.

    Args:
        panels: Title -> arm -> accuracy in points, indexed by pair. At most `MAX_PANELS` are drawn.
        unit: The unit of a dot: `split` or `training seed`.
        part: The images of the results: `test` or `validation`.
    """
    shown = list(panels.items())[:MAX_PANELS]
    heights = [len(arms) + 0.9 for _, arms in shown]
    figure = Figure(figsize=(8.6, 0.42 * sum(heights) + 0.8), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, arms) in zip(grid, shown, strict=True):
        for pair in sorted({pair for series in arms.values() for pair in series.index}, key=str):
            path = [(series[pair], row) for row, series in enumerate(arms.values()) if pair in series.index]
            axes.plot(*zip(*path, strict=True), color="#b8bec6", linewidth=0.8, zorder=1)
        names = [label.split(" (")[0] for label in arms]  # an arm keeps its colour in all its configurations
        colours = dict(zip(dict.fromkeys(names), itertools.cycle(COLOURS), strict=False))
        for row, (name, series) in enumerate(zip(names, arms.values(), strict=True)):
            axes.scatter(series, [row] * len(series), s=22, color=colours[name], alpha=0.65, linewidths=0, zorder=2)
            axes.plot([series.mean()] * 2, [row - 0.28, row + 0.28], color=colours[name], linewidth=3.5, zorder=3)
        axes.set_yticks(range(len(arms)), list(arms), parse_math=False)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        _finish(axes, title or f"{part.capitalize()} accuracy by arm")
    grid[-1].set_xlabel(f"{part} accuracy (points); a dot is one {unit}, a bar the mean{_cap('settings', panels)}")
    return _png(figure)


def gaps_figure(panels: Mapping[str, Mapping[str, Interval]], unit: str, part: str) -> bytes:
    """Draw mean accuracy by arm with 95 % intervals, between dashed lines at the floor and the ceiling.

    Args:
        panels: Title -> arm -> interval in points; the first arm is the floor, the last one the ceiling. At most
            `MAX_PANELS` are drawn.
        unit: The unit that the intervals are over, such as `split`.
        part: The images of the results: `test` or `validation`.
    """
    shown = list(panels.items())[:MAX_PANELS]
    heights = [len(arms) + 0.9 for _, arms in shown]
    figure = Figure(figsize=(8.6, 0.34 * sum(heights) + 0.8), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, arms) in zip(grid, shown, strict=True):
        rows = range(len(arms))
        means, lows, highs, _ = zip(*arms.values(), strict=True)
        colours = ["#555", *[COLOURS[0]] * (len(arms) - 2), "#555"]
        axes.hlines(rows, lows, highs, colors=colours, linewidth=1.6)
        axes.scatter(means, rows, s=24, color=colours, zorder=2)
        for end in (means[0], means[-1]):
            axes.axvline(end, color="#555", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set_yticks(rows, list(arms), parse_math=False)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        _finish(axes, title)
    bounds = f"; horizontal lines: 95 % intervals over {unit}s" if any(math.isfinite(low) for low in lows) else ""
    grid[-1].set_xlabel(f"mean {part} accuracy (points){bounds}{_cap('settings', panels)}", fontsize=9)
    return _png(figure)


def search_figure(gains: Sequence[float], full: Sequence[bool], settings: Mapping[str, Sequence[Any]]) -> bytes:
    """Draw the gain of each candidate of a search in its order with the best so far, and over each setting.

    Args:
        gains: Mean gain of each candidate in points, in its order; nan without one.
        full: Whether it was tried on all splits.
        settings: The values of each setting, one for each candidate. At most `MAX_PANELS` - 1 are drawn.
    """
    values, is_full = np.array(gains), np.array(full, dtype=bool)
    shown = {"candidate": range(1, len(gains) + 1), **dict(itertools.islice(settings.items(), MAX_PANELS - 1))}
    columns = min(len(shown), MAX_COLUMNS)
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(2.9 * columns, 2.6 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, (name, x) in zip(grid.flat, shown.items(), strict=False):
        for colour, some in (("#b8bec6", ~is_full), (COLOURS[0], is_full)):
            axes.scatter(list(itertools.compress(x, some)), values[some], s=22, color=colour)
        if name == "candidate":
            best = np.fmax.accumulate(np.where(is_full, values, np.nan))
            axes.step(x, best, where="post", color=COLOURS[1], linewidth=1.2, zorder=0)
            axes.set_ylabel("gain (points)", fontsize=9)
        elif all(isinstance(one, float) and one > 0 for one in x) and max(x) > 10 * min(x):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())  # these labels would overlap
        axes.axhline(0, color="#555", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        _finish(axes, "")
        axes.set_xlabel(name.replace(".", ".\n"), fontsize=9, parse_math=False)
    return _png(figure)


def curves_figure(panels: Mapping[str, Mapping[str, Mapping[float, Interval]]], x: str, y: str) -> bytes:
    """Draw curves of means with their 95 % intervals over a number, one panel per setting.

    Args:
        panels: Setting -> line -> number -> interval in points. At most `MAX_PANELS` are drawn.
        x: Name of the number.
        y: Name of the quantity with the interval.
    """
    shown = list(panels.items())[:MAX_PANELS]
    rows = sum(len(lines) for _, lines in shown if len(lines) > MOST_INSIDE)  # of legends below the axes
    figure = Figure(figsize=(8.6, 3.4 * len(shown) + 0.2 * rows + 0.3), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(grid, shown, strict=True):
        numbers = sorted({number for line in lines.values() for number in line})
        # Lines at the same numbers are slightly shifted, so that intervals do not hide each other.
        apart = 1.02 if len(numbers) < sum(map(len, lines.values())) else 1.0
        styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
        for place, ((name, line), (colour, marker)) in enumerate(zip(lines.items(), styles, strict=False)):
            at = [number * apart ** (place - (len(lines) - 1) / 2) for number in line]
            means, lows, highs, _ = zip(*line.values(), strict=True)
            axes.plot(at, means, color=colour, marker=marker, markersize=5, linewidth=1.4, label=name)
            axes.plot([at, at], [lows, highs], color=colour, linewidth=1)
        axes.set_xscale("log")
        if len(numbers) <= MAX_TICKS and all(len(f"{number:g}") <= MOST_DIGITS for number in numbers):
            axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        else:
            wide = numbers[-1] >= 10 * numbers[0]
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.minorticks_off()
        axes.set_ylabel(y, fontsize=9)
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)} if len(lines) > MOST_INSIDE else {}
        axes.legend(fontsize=9 if not below else 8, frameon=False, **below)
        _finish(axes, title)
        axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    grid[-1].set_xlabel(f"{x}; vertical lines: 95 % intervals{_cap('settings', panels)}", fontsize=9)
    return _png(figure)


def classes_figure(panels: Mapping[str, Mapping[str, Interval]]) -> bytes:
    """Draw the difference in every class's accuracy, one panel per contrast, with 95 % intervals where there are some.

    Args:
        panels: Contrast -> class -> interval in points. At most `MAX_PANELS` are drawn, each with the `MAX_CLASSES`
            classes with the largest differences.
    """
    shown = [(title, _largest(classes)) for title, classes in list(panels.items())[:MAX_PANELS]]
    rows, columns = (len(shown) + 1) // 2, min(2, len(shown))
    height = 0.24 * max(len(classes) for _, classes in shown) + 0.7
    figure = Figure(figsize=(8.6, rows * height + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (title, classes) in zip(grid, shown, strict=False):
        places = range(len(classes))
        means, lows, highs, _ = zip(*classes.values(), strict=True)
        axes.plot([lows, highs], [places, places], color=COLOURS[0], linewidth=1.6)
        axes.plot(means, places, "o", color=COLOURS[0], markersize=4.5)
        axes.axvline(0, color="#555", linewidth=0.9, zorder=0)
        axes.set_yticks(places, list(classes), parse_math=False)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        omitted = len(panels[title]) - len(classes)
        suffix = f"\n(the {len(classes)} largest differences of {len(panels[title])} classes)" if omitted else ""
        axes.tick_params(axis="x", labelbottom=True)
        _finish(axes, title.replace(" against ", "\nagainst ") + suffix, fontsize=9)
    for axes in grid[len(shown) :]:
        axes.remove()
    bounds = ", 95 % intervals" if any(math.isfinite(one.low) for _, found in shown for one in found.values()) else ""
    figure.supxlabel(f"difference in class accuracy (points){bounds}{_cap('contrasts', panels)}", fontsize=9)
    return _png(figure)


def confusion_figure(matrices: Mapping[str, "pd.DataFrame"]) -> bytes:
    """Draw confusion matrices, true classes in rows, one panel per arm.

    Args:
        matrices: Arm -> shares of the images of each class in per cent; nan for a class without images. Classes are
            named if there are at most `MAX_CLASSES`, and shares are written if there are at most `MAX_NUMBERED`.
    """
    rows, columns = (len(matrices) + 1) // 2, min(2, len(matrices))
    figure = Figure(figsize=(4.3 * columns, 4.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, matrix) in zip(grid, matrices.items(), strict=False):
        axes.imshow(matrix.to_numpy(), cmap="Blues", vmin=0, vmax=100)
        names = list(matrix.index) if len(matrix) <= MAX_CLASSES else []
        upright = 90 if max(map(len, names), default=0) > 3 else 0
        axes.set_xticks(range(len(names)), names, parse_math=False, rotation=upright)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        shares = np.ndenumerate(matrix) if len(matrix) <= MAX_NUMBERED else ()
        for (row, column), share in shares:
            if share >= 0.5:
                colour = "white" if share > 50 else "black"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
        axes.set_xlabel("predicted class", fontsize=8)
        axes.set_ylabel("true class", fontsize=8)
        axes.tick_params(labelsize=7, length=0)
        axes.set_title("\n".join(textwrap.wrap(title, 48)), loc="left", fontsize=9, parse_math=False)
    for axes in grid[len(matrices) :]:
        axes.remove()
    return _png(figure)


def prediction_figure(arms: Mapping[str, Mapping[str, Sequence["Point"]]]) -> bytes:
    """Draw the gain over metrics of the generator: one row per arm, one panel per metric, one thin line per split.

    Args:
        arms: Arm and base -> metric -> its points, gains in points. At most `MAX_ROWS` arms with the first
            `MAX_COLUMNS` metrics are drawn.
    """
    shown = {title: dict(list(metrics.items())[:MAX_COLUMNS]) for title, metrics in list(arms.items())[:MAX_ROWS]}
    names = list(dict.fromkeys(one.generator for row in shown.values() for dots in row.values() for one in dots))
    styles = dict(zip(names, zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False), strict=False))
    columns = max(map(len, shown.values()))
    in_a_row = max(1, 110 // (max(map(len, names)) + 6))
    height = 2.7 * len(shown) + 0.22 * -(-len(names) // in_a_row) + 0.2
    figure = Figure(figsize=(8.6, height), layout="constrained")
    grid = figure.subplots(len(shown), columns, squeeze=False, sharey="row")
    for row, (title, metrics) in zip(grid, shown.items(), strict=True):
        for axes, (metric, points) in zip(row, metrics.items(), strict=False):
            for split in dict.fromkeys(point.split for point in points):
                path = sorted((point.metric, point.gain) for point in points if point.split == split)
                axes.plot(*zip(*path, strict=True), color="#d5d9df", linewidth=0.7, zorder=1)
            for name, (colour, marker) in styles.items():
                dots = [point for point in points if point.generator == name]
                values, gains = [dot.metric for dot in dots], [dot.gain for dot in dots]
                axes.scatter(values, gains, s=22, color=colour, marker=marker, label=name, linewidths=0, zorder=2)
            axes.axhline(0, color="#555", linewidth=0.9, zorder=0)
            axes.set_xlabel(metric.replace(" (", "\n("), fontsize=9, parse_math=False)
            _finish(axes, f"Gain of {title}" if axes is row[0] else "")
        for axes in row[len(metrics) :]:
            axes.remove()
        row[0].set_ylabel("gain in accuracy (points)", fontsize=9)
    handles = grid[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower left", ncols=in_a_row, fontsize=9, frameon=False)
    return _png(figure)


def _largest(classes: Mapping[str, Interval]) -> dict[str, Interval]:
    kept = set(sorted(classes, key=lambda name: -abs(classes[name].mean))[:MAX_CLASSES])
    return {name: interval for name, interval in classes.items() if name in kept}


def _cap(what: str, panels: Mapping[str, object]) -> str:
    return f"\n(first {MAX_PANELS} of {len(panels)} {what})" if len(panels) > MAX_PANELS else ""


def _finish(axes: Axes, title: str, fontsize: int = 10) -> None:
    axes.set_title(title, loc="left", fontsize=fontsize, parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=9)
    axes.grid(axis="x", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()
