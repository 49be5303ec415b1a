"""The measure `calibration`: whether a classifier is right as often as its probabilities say."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from gan_augment.measures.base import Finished, Measure
from gan_augment.metrics.calibration import Calibration, bins, calibration, cooled, fit_temperature
from gan_augment.metrics.classification import NUM_BINS, nll
from gan_augment.records.findings import Findings, Section

FEWEST = 20  # validation images: with fewer, the temperature is mostly chance
PICTURE = "reliability.png"
SECTION = Section(
    "Is a classifier right as often as it says? Its confidence is the probability of the class that it names. The "
    "calibration error is the mean distance between confidence and accuracy, over images of similar confidence; next "
    "to it stands what a calibrated classifier would show on as many images, by chance alone. Over-confidence is the "
    "mean confidence less the accuracy. Dividing the logits by a temperature, which is fitted on the validation "
    "images, repairs much of it without another training; above 1 it takes confidence away.",
    {
        "calibration.ece": "calibration error",
        "calibration.ece_by_chance": "by chance",
        "calibration.overconfidence": "over-confidence",
        "calibration.temperature": "temperature",
        "calibration.ece_cooled": "calibration error with temperature",
    },
    picture=PICTURE,
)


@dataclass(frozen=True)
class ClassifierCalibration(Measure):
    """The calibration of a classifier on the images that evaluate it.

    `calibration`: `ece`, `ece_by_chance` and `overconfidence` as in `metrics/calibration.py`, with the bounds
    `ece_low`, `ece_high`, `overconfidence_low` and `overconfidence_high`; `calibrated`, which is 1 less `ece`, so that
    higher is better; `temperature`, fitted on `temperature_of` validation images, and with it `ece_cooled` and
    `nll_cooled`, None with fewer than 20 validation images, or while test stays closed. `reliability.png` is the
    reliability diagram.
    """

    needs = "classifier"

    def find(self, finished: Finished) -> Findings:
        """Measure the classifier on the test images, or on the validation images while test stays closed."""
        assert finished.classifier is not None
        images, validation = finished.measured, finished.split.validation
        probabilities = finished.classifier.probabilities(images)
        groups = finished.split.test_groups if finished.part == "test" else None
        found = calibration(probabilities, images.labels, groups)
        _draw(probabilities, images.labels, found, finished.folder / PICTURE)
        metrics: dict[str, float | None] = {
            "ece": found.ece,
            "ece_by_chance": found.ece_by_chance,
            "overconfidence": found.overconfidence,
            "calibrated": 1 - found.ece,
            "temperature": None,
            "temperature_of": len(validation),
            "ece_cooled": None,
            "nll_cooled": None,
        }
        for name, bounds in {"ece": found.ece_interval, "overconfidence": found.overconfidence_interval}.items():
            metrics[f"{name}_low"], metrics[f"{name}_high"] = bounds
        warnings: tuple[str, ...] = ()
        if len(validation) >= FEWEST:
            temperature = fit_temperature(finished.classifier.probabilities(validation), validation.labels)
            metrics["temperature"] = temperature
            if finished.part == "test":  # on the images that fitted it, a temperature looks too good
                after = cooled(probabilities, temperature)
                error = multiclass_calibration_error(after, images.labels, after.shape[1], n_bins=NUM_BINS)
                metrics |= {"ece_cooled": float(error), "nll_cooled": nll(after, images.labels)}
        else:
            warnings = (f"calibration has no temperature: it needs {FEWEST} validation images, of {len(validation)}",)
        compared = {"calibration.calibrated": "calibration (1 less the calibration error)"}
        return Findings({"calibration": metrics}, warnings, compared, {"Calibration": SECTION})


def _draw(probabilities: Tensor, labels: Tensor, found: Calibration, path: Path) -> None:
    """Draw the accuracy over the confidence, by bins; the area of a dot is its share of the images."""
    confidence, accuracy, number = bins(probabilities, labels).T.tolist()
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999", linewidth=1)
    axes.scatter(
        confidence, accuracy, [600 * one / sum(number) + 6 for one in number], color="#0072b2", alpha=0.8, clip_on=False
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.set_title(f"calibration error {found.ece:.3f}, by chance {found.ece_by_chance:.3f}", fontsize=9)
    figure.savefig(path, dpi=150, metadata={"Software": None})
