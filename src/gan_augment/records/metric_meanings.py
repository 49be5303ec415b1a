"""What the metrics of a generator mean: direction, range and source. A report explains them without torch."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """The meaning of a metric, by default of a share that should be high."""

    meaning: str  # a sentence, with the value that real images would have
    source: str  # authors and year
    better: Literal["lower", "higher"] = "higher"
    low: float = 0  # the smallest possible value
    high: float = 1  # the largest possible value

    @property
    def range(self) -> str:
        """The range in words."""
        if math.isinf(self.high):
            return "any number" if math.isinf(self.low) else f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


GENERATOR_METRICS = {  # by their keys in the results
    "judge_frechet_distance": Metric(
        "Distance of the mean and covariance of the judge's features from those of real images. Other real images "
        "have 0 if there are many, more if there are few.",
        "Heusel et al. 2017",
        better="lower",
        high=math.inf,
    ),
    "judge_kernel_distance": Metric(
        "Distance of the distribution of the judge's features from that of real images. Other real images have 0 "
        "on average in any number, so a value can be negative.",
        "Binkowski et al. 2018",
        better="lower",
        low=-math.inf,
        high=math.inf,
    ),
    "precision": Metric(
        "Share of the generated images that lie among the real ones. Other real images have .7 to 1.",
        "Kynkaanniemi et al. 2019",
    ),
    "recall": Metric(
        "Share of the real images that lie among the generated ones. Other real images have .7 to 1.",
        "Kynkaanniemi et al. 2019",
    ),
    "density": Metric(
        "How densely real images lie around the generated ones. Other real images have 1 on average.",
        "Naeem et al. 2020",
        high=math.inf,
    ),
    "coverage": Metric(
        "Share of the real images with a generated one close by. Other real images have .97 on average.",
        "Naeem et al. 2020",
    ),
    "label_agreement": Metric(
        "Share of the generated images in which the judge sees the class that they are meant to show. Real images "
        "have the judge's accuracy.",
        "Odena et al. 2017",
    ),
    "gan_test": Metric(
        "Accuracy on generated images of the classifier that learned from the same labelled images as the GAN. "
        "Real images have its accuracy on new ones.",
        "Shmelkov et al. 2018",
    ),
    "cas_validation": Metric(
        "Accuracy on real validation images of a classifier that learned only from generated ones. Real images "
        "have the accuracy of a classifier that learned from as many of them.",
        "Ravuri and Vinyals 2019",
    ),
    "diversity": Metric(
        "How much a class's generated images, shrunk to about 8 pixels a side, differ from each other, relative to its "
        "labelled ones. Real images have 1.",
        "Odena et al. 2017, with another distance",
        high=math.inf,
    ),
    "told_apart": Metric(
        "Share of the real or of the generated images, the larger one, whose nearest neighbour is of their own kind. "
        "Other real images have .5, and up to .8 if there are only 30.",
        "Lopez-Paz and Oquab 2017, Xu et al. 2018",
        better="lower",
    ),
    "variety": Metric(
        "Diversity of the synthetic images of a class, relative to its validation images. Real images have 1, noise "
        "has variety_of_noise.",
        "as diversity",
        high=math.inf,
    ),
    "frechet_inception_distance": Metric(
        "FID: the Frechet distance in the features of Inception. Real images have 0, and more the fewer they are.",
        "Heusel et al. 2017",
        better="lower",
        high=math.inf,
    ),
    "kernel_inception_distance": Metric(
        "KID: the kernel distance in the features of Inception. Real images have 0 on average.",
        "Binkowski et al. 2018",
        better="lower",
        low=-math.inf,
        high=math.inf,
    ),
}
