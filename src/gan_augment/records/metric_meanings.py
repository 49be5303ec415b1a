"""What the metrics of a generator mean: direction, range and source. A report explains them without torch."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """The meaning of a metric.

    Attributes:
        name: Its key in the results.
        better: Whether lower or higher values are better.
        low: The smallest possible value.
        high: The largest possible value.
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
            "Distance of the mean and covariance of the judge's features from those of real images. Other real images "
            "have 0 if there are many, more if there are few.",
            "Heusel et al. 2017",
        ),
        Metric(
            "judge_kernel_distance",
            "lower",
            -math.inf,
            math.inf,
            "Distance of the distribution of the judge's features from that of real images. Other real images have 0 "
            "on average in any number, so a value can be negative.",
            "Binkowski et al. 2018",
        ),
        Metric(
            "precision",
            "higher",
            0,
            1,
            "Share of the generated images that lie among the real ones. Other real images have .7 to 1.",
            "Kynkaanniemi et al. 2019",
        ),
        Metric(
            "recall",
            "higher",
            0,
            1,
            "Share of the real images that lie among the generated ones. Other real images have .7 to 1.",
            "Kynkaanniemi et al. 2019",
        ),
        Metric(
            "density",
            "higher",
            0,
            math.inf,
            "How densely real images lie around the generated ones. Other real images have 1 on average.",
            "Naeem et al. 2020",
        ),
        Metric(
            "coverage",
            "higher",
            0,
            1,
            "Share of the real images with a generated one close by. Other real images have .97 on average.",
            "Naeem et al. 2020",
        ),
        Metric(
            "label_agreement",
            "higher",
            0,
            1,
            "Share of the generated images in which the judge sees the class that they are meant to show. Real images "
            "have the judge's accuracy.",
            "Odena et al. 2017",
        ),
        Metric(
            "gan_test",
            "higher",
            0,
            1,
            "Accuracy on generated images of the classifier that learned from the same labelled images as the GAN. "
            "Real images have its accuracy on new ones.",
            "Shmelkov et al. 2018",
        ),
        Metric(
            "cas_validation",
            "higher",
            0,
            1,
            "Accuracy on real validation images of a classifier that learned only from generated ones. Real images "
            "have the accuracy of a classifier that learned from as many of them.",
            "Ravuri and Vinyals 2019",
        ),
        Metric(
            "diversity",
            "higher",
            0,
            math.inf,
            "How much a class's generated images differ from each other, pixel by pixel, relative to its labelled "
            "ones. Real images have 1.",
            "Odena et al. 2017, with another distance",
        ),
        Metric(
            "frechet_inception_distance",
            "lower",
            0,
            math.inf,
            "FID: the Frechet distance in the features of Inception. Real images have 0, and more the fewer they are.",
            "Heusel et al. 2017",
        ),
        Metric(
            "kernel_inception_distance",
            "lower",
            -math.inf,
            math.inf,
            "KID: the kernel distance in the features of Inception. Real images have 0 on average.",
            "Binkowski et al. 2018",
        ),
    )
}
