"""The measure `restoration`: how close restored images are to the originals, and whether they show their class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gan_augment.artefacts.drawing import draw_rows
from gan_augment.artefacts.front import Front
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet, changed
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.measures.judging import JudgeSettings, features_of
from gan_augment.measures.translation import COLUMNS, mean_changes, with_labels
from gan_augment.methods.front import TrainBehindFront
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section
from gan_augment.stages import Stage

PICTURE = "restored.png"
AT_ONCE = 1000  # images
WINDOW = 11  # pixels a side, of the Gaussian window of SSIM (Wang et al. 2004)
WHY_NO_JUDGE = (
    "the measure restoration has no judge: it needs a labelled image of every class in the pool. Training does not use "
    "these labels"
)


@dataclass(frozen=True)
class RestorationMeasure(JudgeSettings, Measure):
    """What became of the images that a classifier sees behind a front, by a judge of full resolution.

    The judge learned from the labels of the pool; it only measures. `restoration`, over the images that evaluate the
    classifier: `psnr` in dB over all of their pixels, None if none differs; `ssim`, mean structural similarity, None
    for images of less than 11 pixels a side; `consistency`, the mean absolute difference of pixels between a restored
    image, made small once more, and the small image that it was made from, as a share of their range.

    By the judge, None without one: `judge_accuracy` on the originals, `bicubic_accuracy` on the small images enlarged
    by bicubic interpolation, `restored_accuracy`; `hallucinated`, the share of images that it classifies correctly as
    they were and after bicubic interpolation, but not when restored; `recovered`, correctly as they were and when
    restored, but not after bicubic interpolation. It has learned from sharp images alone, to which blurred ones are
    strange: part of what is recovered is sharpness.
    """

    where = "measures.restoration"

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan the judge, for trials with a front."""
        if not isinstance(stages.get("classifier"), TrainBehindFront):
            return None
        known = with_labels(split.pool)
        if not known.class_counts.all():
            return {}
        return {"native_judge": self.judge(plan.config, known, known.subset(torch.arange(0)))}

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Say that a pool without labels has no judge."""
        applies = isinstance(stages.get("classifier"), TrainBehindFront)
        return (WHY_NO_JUDGE,) if applies and not with_labels(split.pool).class_counts.all() else ()

    def find(self, finished: Finished) -> Findings:
        """Restore the images that evaluate the classifier, and measure what became of them."""
        images, classifier = finished.measured, finished.classifier
        assert classifier is not None
        assert classifier.front is not None
        degrading = classifier.front.degrading
        fronts = Front(degrading, "repeat"), Front(degrading, "bicubic"), classifier.front
        small, bicubic, restored = (changed(images, front.change) for front in fronts)
        again = changed(restored, degrading.repeated)
        names = ("judge_accuracy", "bicubic_accuracy", "restored_accuracy", "hallucinated", "recovered")
        metrics: dict[str, Any] = {
            **closeness(restored, images),
            "consistency": float(mean_changes(again, small).mean()),
            **dict.fromkeys(names),
        }
        warnings: tuple[str, ...] = ()
        random = torch.randperm(len(images), generator=Stream(0, "restored").at(0))
        chosen, title = random[: 2 * COLUMNS], "at random"
        if finished.has("native_judge"):
            judge = finished.load("native_judge")
            right = [features_of(judge, some).predicted == images.labels for some in (images, bicubic, restored)]
            lost, won = right[0] & right[1] & ~right[2], right[0] & ~right[1] & right[2]
            metrics |= {name: float(one.double().mean()) for name, one in zip(names, (*right, lost, won), strict=True)}
            own = judge.probabilities(restored).gather(1, images.labels[:, None])[:, 0]
            chosen = torch.cat([own.argsort(stable=True)[:COLUMNS], random[:COLUMNS]])
            title = f"the {COLUMNS} with the lowest probability of their class, then {COLUMNS} at random"
        elif "native_judge" in finished.stages:
            warnings = ("The judge's training diverged: whether restored images show their class is not measured",)
        rows = torch.cat([one.images[chosen] for one in (images, small, bicubic, restored)])
        draw_rows(rows, len(chosen), ("original", "small", "bicubic", "restored"), title, finished.folder / PICTURE)
        return Findings({"restoration": metrics}, warnings, sections={"Restored images": section(metrics)})


def closeness(restored: ImageSet, images: ImageSet) -> dict[str, float | None]:
    """Return PSNR in dB over all pixels, and mean SSIM; None for SSIM where images are smaller than its window."""
    squares, similarities = 0.0, []
    has_window = min(images.shape.height, images.shape.width) >= WINDOW
    for chunk in torch.arange(len(images)).split(AT_ONCE):
        made, real = (some.images[chunk].float() for some in (restored, images))
        squares += float((made - real).square().double().sum())
        if has_window:
            similarities.append(structural_similarity_index_measure(made, real, data_range=255.0, reduction="none"))
    error = squares / images.images[:1].numel() / len(images)
    return {
        "psnr": 10 * math.log10(255**2 / error) if error else None,
        "ssim": float(torch.cat([torch.atleast_1d(one) for one in similarities]).mean()) if has_window else None,
    }


def section(metrics: Mapping[str, Any]) -> Section:
    """Return the section of the report."""
    said: tuple[str, ...] = ()
    if metrics["hallucinated"] is not None:
        lost, won = 100 * metrics["hallucinated"], 100 * metrics["recovered"]
        said = (
            f"Of the images that the judge classifies correctly in full resolution, {lost:.1f} % of all are also right "
            f"after bicubic interpolation but wrong when restored, and {won:.1f} % the reverse.",
        )
    return Section(
        "Images lost resolution, and what stands before the classifier brought them back to their size. PSNR and SSIM "
        "compare them with the originals. A restored image that is made small again should be the small image that it "
        "was made from: consistency is the mean difference of pixels, as a share of their range. A judge that learned "
        "from labels of the pool in full resolution, and takes part in no training, says whether they show their "
        "class. It has learned from sharp images alone, to which blurred ones are strange: part of what is recovered "
        "is sharpness.",
        {
            "restoration.psnr": "PSNR (dB)",
            "restoration.ssim": "SSIM",
            "restoration.consistency": "consistency",
            "restoration.judge_accuracy": "judge right on originals",
            "restoration.bicubic_accuracy": "after bicubic",
            "restoration.restored_accuracy": "as restored",
            "restoration.hallucinated": "hallucinated",
            "restoration.recovered": "recovered",
        },
        said,
        PICTURE,
        each_arm=True,
    )
