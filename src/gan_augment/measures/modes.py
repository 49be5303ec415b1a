"""The measure `modes`: which modes of a known density the generator found."""

from dataclasses import dataclass

import torch

from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.modes import mode_metrics
from gan_augment.records.findings import Findings


@dataclass(frozen=True)
class FoundModes(GeneratorMeasure):
    """The metrics of `mode_metrics`, and a warning of modes without a sample."""

    def find(self, finished: Finished) -> Findings:
        """Compare generated points with the density of the real ones, if it is known."""
        synthetic, modes = finished.synthetic, finished.modes
        if modes is None:
            return Findings()
        metrics = mode_metrics(synthetic.images[torch.arange(len(synthetic))].flatten(1), modes)
        dropped = len(modes.centres) - metrics["modes_found"]
        warning = f"{finished.why_alike}: {dropped} of {len(modes.centres)} modes have no sample near them"
        return Findings({"gan": metrics}, (warning,) if dropped else ())
