"""What the metrics of a generator say: direction, range and source. A report explains them without torch."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a metric says.

    Attributes:
        name: Its key in the results.
        better: Which of two values is the better one.
        low: The smallest value it can have.
        high: The largest.
        meaning: A sentence, with the value that real images would have.
        source: Authors and year.
    """

    name: str
    better: Literal["lower", "higher"]
    low: float
    high: float
    meaning: str
    source: str

    @property
    def range(self) -> str:
        """The range in words."""
        if math.isinf(self.high):
            return "any number" if math.isinf(self.low) else f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


GENERATOR_METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "judge_frechet_distance",
            "lower",
            0,
            math.inf,
            "How far mean and covariance of the judge's features are from those of real images; of other real images 0 "
            "where they are many, more where they are few.",
            "Heusel et al. 2017",
        ),
        Metric(
            "judge_kernel_distance",
            "lower",
            -math.inf,
            math.inf,
            "How far the distribution of the judge's features is from that of real images; of other real images "
            "0 on average, however few, so a value can be negative.",
            "Binkowski et al. 2018",
        ),
        Metric(
            "precision",
            "higher",
            0,
            1,
            "Share of the generated images that lie among the real ones; of other real images .7 to 1.",
            "Kynkaanniemi et al. 2019",
        ),
        Metric(
            "recall",
            "higher",
            0,
            1,
            "Share of the real images that lie among the generated ones; of other real images .7 to 1.",
            "Kynkaanniemi et al. 2019",
        ),
        Metric(
            "density",
            "higher",
            0,
            math.inf,
            "How densely real images lie around the generated ones; of other real images 1 on average.",
            "Naeem et al. 2020",
        ),
        Metric(
            "coverage",
            "higher",
            0,
            1,
            "Share of the real images with a generated one close by; of other real images .97.",
            "Naeem et al. 2020",
        ),
        Metric(
            "label_agreement",
            "higher",
            0,
            1,
            "Share of the generated images that the judge sees as what they are meant to show; of real images the "
            "judge's accuracy.",
            "Odena et al. 2017",
        ),
        Metric(
            "gan_test",
            "higher",
            0,
            1,
            "Accuracy on generated images of the classifier that learned from the same labelled images as the GAN; "
            "of real images its accuracy on new ones.",
            "Shmelkov et al. 2018",
        ),
        Metric(
            "cas_validation",
            "higher",
            0,
            1,
            "Accuracy on real validation images of a classifier that learned from generated ones alone; of real "
            "images that of one that learned from as many real ones.",
            "Ravuri and Vinyals 2019",
        ),
        Metric(
            "diversity",
            "higher",
            0,
            math.inf,
            "How much a class's generated images differ from each other, pixel by pixel, over how much its labelled "
            "ones do; of real images 1.",
            "Odena et al. 2017, with another distance",
        ),
        Metric(
            "frechet_inception_distance",
            "lower",
            0,
            math.inf,
            "FID: the Frechet distance in the features of Inception; of real images 0, and more the fewer they are.",
            "Heusel et al. 2017",
        ),
        Metric(
            "kernel_inception_distance",
            "lower",
            -math.inf,
            math.inf,
            "KID: the kernel distance in the features of Inception; of real images 0 on average.",
            "Binkowski et al. 2018",
        ),
    )
}
