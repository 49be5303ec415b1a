"""Findings: what stages and measures add to a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """What a report says of a measure: a table with the means of some metrics for each configuration, and a picture.

    Attributes:
        explained: What the metrics mean, in a few sentences.
        columns: The dotted name of a metric -> the heading of its column, such as `calibration.temperature` ->
            `temperature`; empty for a section without a table.
        sentences: What was found in this trial. The report shows those of the first trial that has some.
        picture: The name of a PNG in the trial's folder, which is shown with them; None for none.
        each_arm: Whether the report shows the picture of the first trial of every arm that has one, to compare them.
    """

    explained: str
    columns: Mapping[str, str]
    sentences: tuple[str, ...] = ()
    picture: str | None = None
    each_arm: bool = False


@dataclass(frozen=True)
class Findings:
    """Metrics, which of them a report compares, and warnings of what went wrong.

    Attributes:
        metrics: Nested by name, as they stand in the record.
        warnings: A sentence each.
        compared: Results that a report compares like accuracy: the dotted name of a metric -> its words, such as
            `robustness.corruption` -> `accuracy under corruption`. Each is a fraction in [0, 1], and higher is better.
        sections: Sections of a report, by their titles.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    compared: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)

    def __or__(self, other: "Findings") -> "Findings":
        """Return these findings and then others; metrics of one name are put together."""
        return Findings(
            _joined(self.metrics, other.metrics),
            (*self.warnings, *other.warnings),
            {**self.compared, **other.compared},
            {**self.sections, **other.sections},
        )


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _joined(one[name], value) for name, value in other.items() if isinstance(one.get(name), Mapping)}
    return {**one, **other, **both}
