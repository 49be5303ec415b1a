"""The measure `usable`: whether generated images are good enough for a comparison to say something about GANs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageSet
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.measures.judging import features_of, share_right
from gan_augment.metrics.diversity import class_diversity
from gan_augment.metrics.sharpness import laplacian_variance
from gan_augment.metrics.two_sample import told_apart
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings
from gan_augment.records.usability import FEWEST, FEWEST_BY_PIXELS, in_words, lowest, reasons
from gan_augment.stages import Stage

MOST = 1000  # images of each kind: 4 million distances take a tenth of a second on one core


@dataclass(frozen=True)
class Usable(GeneratorMeasure):
    """Whether the synthetic images of a trial are usable, by validation images, which their generator has not seen.

    `usable` is 1 or 0, None with too few validation or synthetic images: 29, or 59 without a judge;
    `records/usability.py` has the thresholds. The other metrics are its reasons:

    - `told_apart_pixels` and `told_apart_features`: the larger of the two shares of `told_apart`, in [0, 1], with
      equally many images of each class. The last space of `spaces` decides: `told_apart`, of `told_apart_of` images.
    - `agreement`: share of `agreement_of` synthetic images whose label the judge predicts; `majority`, what it would be
      if the judge always named the largest class. Not for images without classes, and only if the judge is better
      than that on the validation images.
    - `variety`: the mean over the classes of the synthetic images' diversity, relative to the validation images'; and
      `variety_of_noise`, that of the validation images after shuffling each pixel between the images of a class.
    - `sharpness`: the mean variance of the Laplacian of the synthetic images, relative to the validation images'.
    """

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Say before anything trains that there are too few validation images."""
        applies = "synthesis" in stages and not split.validation.shape.is_point
        return _too_few(split.validation, "judge" in stages) if applies else ()

    def find(self, finished: Finished) -> Findings:
        """Measure pictures; for points there is the measure of modes."""
        made, seen = finished.synthetic, finished.split.validation
        if made.shape.is_point:
            return Findings()
        real = seen if made.num_classes > 1 else seen.as_one_class()
        counts = real.class_counts.minimum(made.class_counts)
        number = min(int(counts.sum()), MOST)
        fewest = FEWEST if finished.has("judge") else FEWEST_BY_PIXELS
        if number < fewest:
            of_synthetic = (
                f"usable is refused: it needs {fewest} synthetic images of the validation images' classes, and has "
                f"{number}; make more of each class"
            )
            return Findings({"gan": {"usable": None}}, _too_few(seen, finished.has("judge")) or (of_synthetic,))
        metrics: dict[str, float | None] = {}
        pair = _drawn(real, counts, number), _drawn(made, counts, number)
        for name, there, here in self.spaces(finished, *pair):
            metrics[f"told_apart_{name}"] = metrics["told_apart"] = max(told_apart(there, here))
        metrics["told_apart_of"] = number
        if made.num_classes > 1 and finished.has("judge"):
            agreement, of, majority = _agreement(finished.load("judge"), real)
            if lowest(agreement, of) > majority:
                found = _agreement(finished.load("judge"), made)
                metrics |= dict(zip(("agreement", "agreement_of", "majority"), found, strict=True))
        there, noise = class_diversity(real), class_diversity(shuffled_pixels(_drawn(real, real.class_counts, MOST)))
        for name, one in {"variety": class_diversity(made), "variety_of_noise": noise}.items():
            ratio = float((one / there)[there > 0].nanmean())
            metrics[name] = ratio if ratio == ratio else None
        sharp, sharpness = (float(laplacian_variance(one.images[:]).mean()) for one in pair)
        metrics["sharpness"] = sharpness / sharp if sharp else None
        why = reasons(metrics)
        warnings = (in_words("The generator's images", why, "gan" in finished.stages),) if why else ()
        return Findings({"gan": metrics | {"usable": float(not why)}}, warnings)

    def spaces(self, finished: Finished, *pair: ImageSet) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield, by name, the spaces in which real and synthetic images are compared, `[N, F]` each; the last decides.

        No space may be one that the generator has met in its training.
        """
        real, made = pair
        yield "pixels", real.images[torch.arange(len(real))], made.images[torch.arange(len(made))]
        if finished.has("judge"):
            judge = finished.load("judge")
            yield "features", features_of(judge, real).features, features_of(judge, made).features


def shuffled_pixels(images: ImageSet) -> ImageSet:
    """Return noise like these images: each pixel is shuffled between the images of a class, so it keeps its values."""
    pixels = images.images[torch.arange(len(images))].flatten(1).clone()
    for label in range(images.num_classes):
        own = images.members(label)
        random = Stream(0, "usable/noise").at(label)
        order = torch.rand(len(own), pixels.shape[1], generator=random).argsort(dim=0)
        pixels[own] = pixels[own].gather(0, order)
    return ImageSet(pixels.view(len(images), *images.images.shape[1:]), images.labels, images.class_names)


def _too_few(validation: ImageSet, has_judge: bool) -> tuple[str, ...]:
    """Return, in a sentence, what to do about too few validation images; nothing if there are enough."""
    fewest = FEWEST if has_judge else FEWEST_BY_PIXELS
    if len(validation) >= fewest:
        return ()
    return (
        f"usable is refused: it needs {fewest} validation images, and there are {len(validation)}; set "
        f"validation_per_class={-(-fewest // validation.num_classes)} or more, or add to those that you set apart",
    )


def _agreement(judge: TrainedClassifier, images: ImageSet) -> tuple[float, int, float]:
    """Return the share of images whose label a judge predicts, their number, and the share of the largest class."""
    some = _drawn(images, images.class_counts, MOST)
    outputs = features_of(judge, some)
    return share_right(outputs.predicted, outputs.labels), len(some), int(some.class_counts.max()) / len(some)


def _drawn(images: ImageSet, counts: Tensor, most: int) -> ImageSet:
    """Draw so many images of each class, int64 `[K]`, and of these at most so many, always the same ones."""
    stream = Stream(0, "usable")
    kept = []
    for label, count in enumerate(counts.tolist()):
        own = images.members(label)
        kept.append(own[torch.randperm(len(own), generator=stream.at(label))][:count])
    drawn = torch.cat(kept)
    return images.subset(drawn[torch.randperm(len(drawn), generator=stream.at(len(counts)))][:most])
