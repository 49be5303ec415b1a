"""The measure `translation`: whether translated images kept their classes, and how close they are to the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from gan_augment.artefacts.drawing import draw_rows
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.data.split import Split
from gan_augment.generators.translation import TrainTranslator
from gan_augment.measures.base import Finished, Measure
from gan_augment.measures.judging import JudgeSettings, features_of, share_right
from gan_augment.metrics.fidelity import fewest_images, kernel_distance
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section
from gan_augment.records.received import printable
from gan_augment.stages import Stage

PICTURE = "translations.png"
COLUMNS = 8  # of the worst images in the picture, and as many at random
UNCHANGED = 0.02  # mean absolute change of pixels, as a share of their range, up to which an image counts as unchanged
MOST_FLIPS = 3  # pairs of classes in a sentence
WHY_NO_JUDGE = (
    "the measure translation does not apply: it needs a labelled image of every class in the pool. Training does not "
    "use these labels"
)


@dataclass(frozen=True)
class TranslationMeasure(JudgeSettings, Measure):
    """What a translator did to the labelled images, by a judge that learned from the labels of the pool.

    The judge only measures: no training sees it or these labels. `translation`: `label_agreement`, the share of
    translated images that the judge sees as they are labelled; `flips`, their counts by label (row) and by what the
    judge sees; `judge_accuracy` on the test images, None while test stays closed; `unchanged`, the share of images
    whose pixels changed by at most 2 % of their range on average; `kernel_distance_before` and `kernel_distance`, of
    labelled and of translated images to the pool in the judge's features, None for too few images.
    """

    where = "measures.translation"

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan the judge of the pool, for trials with a translator."""
        known = with_labels(split.pool)
        if not self.applies(stages) or not known.class_counts.all():
            return None
        judge = self.judge(plan.config, known, known.subset(torch.arange(0)))
        return {"target_judge": judge}

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Say that a pool without labels has no judge."""
        lacks = self.applies(stages) and not with_labels(split.pool).class_counts.all()
        return (WHY_NO_JUDGE,) if lacks else ()

    def applies(self, stages: Mapping[str, Stage]) -> bool:
        """Whether a trial translates images into the look of the pool."""
        translator = stages.get("translator")
        return isinstance(translator, TrainTranslator) and translator.settings.examples in ("domains", "pairs")

    def find(self, finished: Finished) -> Findings:
        """Translate the labelled images, and measure what became of them."""
        if not finished.has("target_judge"):
            return Findings(warnings=("The judge's training diverged: the translation is not measured",))
        split, judge = finished.split, finished.load("target_judge")
        labelled, pool = split.labelled, with_labels(split.pool)
        made = finished.load("translator").translate(labelled)
        before, after, wanted = (features_of(judge, some) for some in (labelled, made, pool))
        changes = mean_changes(labelled, made)
        metrics: dict[str, Any] = {
            "label_agreement": share_right(after.predicted, made.labels),
            "flips": multiclass_confusion_matrix(after.predicted, made.labels, made.num_classes).tolist(),
            "judge_accuracy": None,
            "unchanged": float((changes <= UNCHANGED).double().mean()),
            "kernel_distance_before": distance(wanted.features, before.features),
            "kernel_distance": distance(wanted.features, after.features),
        }
        if finished.part == "test":
            metrics["judge_accuracy"] = share_right(features_of(judge, split.test).predicted, split.test.labels)
        own = judge.probabilities(made).gather(1, made.labels[:, None])[:, 0]
        random = torch.randperm(len(made), generator=Stream(0, "translations").at(0))
        chosen = torch.cat([own.argsort(stable=True)[:COLUMNS], random[:COLUMNS]])
        nearest = torch.cdist(after.features[chosen], wanted.features).argmin(dim=1)
        rows = torch.cat([labelled.images[chosen], made.images[chosen], pool.images[nearest]])
        number, names = len(chosen) // 2, ("original", "translated", "nearest real")
        title = f"the {number} with the lowest probability of their class, then {number} at random"
        draw_rows(rows, len(chosen), names, title, finished.folder / PICTURE)
        return Findings({"translation": metrics}, sections={"Translation": section(metrics, made.class_names)})


def with_labels(images: ImageSet) -> ImageSet:
    """Return the images that have a label."""
    return images.subset((images.labels >= 0).nonzero()[:, 0])


def distance(wanted: Tensor, features: Tensor) -> float | None:
    """Return the kernel distance of features `[N, F]` and `[M, F]`; None for too few images, or without finite ones."""
    fewest = fewest_images(wanted.shape[1])["judge_kernel_distance"]
    is_known = min(len(wanted), len(features)) >= fewest and bool(wanted.isfinite().all() & features.isfinite().all())
    return kernel_distance(wanted, features) if is_known else None


def mean_changes(images: ImageSet, others: ImageSet) -> Tensor:
    """Return the mean absolute difference of each two images, as a share of the range of pixels, `[N]`."""
    pairs = (some.split(1000) for some in (torch.arange(len(images)), torch.arange(len(others))))
    changes = [(images.images[a].float() - others.images[b].float()).abs() for a, b in zip(*pairs, strict=True)]
    return torch.cat([change.flatten(1).mean(dim=1) for change in changes]) / 255


def section(metrics: Mapping[str, Any], class_names: Sequence[str]) -> Section:
    """Return the section of the report."""
    lost, right = 100 * (1 - metrics["label_agreement"]), metrics["judge_accuracy"]
    said = f"{lost:.1f} % of the translated images changed their class"
    said += "." if right is None else f"; the judge itself is wrong on {100 * (1 - right):.1f} % of the test images."
    flips = torch.tensor(metrics["flips"]).fill_diagonal_(0)
    order = flips.flatten().argsort(descending=True, stable=True)[:MOST_FLIPS].tolist()
    pairs = [(one // len(flips), one % len(flips)) for one in order if flips.flatten()[one]]
    named = [f"{printable(class_names[a])} to {printable(class_names[b])} ({int(flips[a, b])})" for a, b in pairs]
    sentences = (said, f"Most often: {', '.join(named)}.") if named else (said,)
    return Section(
        "The labelled images were translated into the look of the target. A judge that learned from labels of the "
        "target, and takes part in no training, says whether they still show their classes. The kernel distance "
        "compares them with the pool in the judge's features: 0 on average for images of the same kind, with the same "
        "frequencies of classes. Unchanged images changed by at most 2 % of the range of pixels.",
        {
            "translation.label_agreement": "kept their class",
            "translation.judge_accuracy": "judge right on test",
            "translation.unchanged": "unchanged",
            "translation.kernel_distance_before": "kernel distance before",
            "translation.kernel_distance": "after",
        },
        sentences,
        PICTURE,
        each_arm=True,
    )
