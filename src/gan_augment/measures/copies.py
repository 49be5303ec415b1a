"""The measure `copies`: whether the generator repeats its training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.drawing import NUM_COLUMNS, draw_rows
from gan_augment.data.copies import copies_of
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.measures.judging import features_of
from gan_augment.metrics.copies import FEWEST, Audit, Auditor, number_of_decoys, too_few_decoys
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section

MOST = 2000  # images of each kind: ten million distances take a second of one core
MOST_PAIRS = 16  # of copies and originals in the picture
GREY = 96
SMALL = 32  # pixels: up to this size, a copy is near to its original in pixels
SECTION = Section(
    "Does the generator repeat its training images? An image is called a copy if it is much nearer to an image that "
    "the generator has seen than to any other one, and more so than happens with decoys, real images that it has not "
    "seen. Copies are planted to find the smallest share that the audit would notice; without a number, even 5 % could "
    "be missed. The lean is the share of generated images that are nearer to a seen image than to a decoy: .5 by "
    "chance.",
    {
        "gan.copies.named": "copied training images",
        "gan.copies.share": "share of copies",
        "gan.copies.share_low": "at least",
        "gan.copies.detection_limit": "share that would be found",
        "gan.copies.lean": "lean",
        "gan.copies.decoys": "decoys",
        "gan.copies.features.named": "copied, in the judge's features",
        "gan.copies.features.detection_limit": "share that would be found there",
    },
)


@dataclass(frozen=True)
class Copies(GeneratorMeasure):
    """An audit of the synthetic images for copies of the images that their generator has seen (`metrics/copies.py`).

    Images are compared by their pixels. Colour images of more than 32 pixels are also compared in the features of the
    judge, which the generator never meets; the decoys are then training images, because the judge knows these as it
    knows the seen ones.

    The decoys are training and validation images that the generator has not seen; test images stay closed. Of given
    images it is not known what their generator has seen: they are compared with all training images, and the decoys
    are the validation images.

    `copies`: `named`, the number of seen images that were copied; `share` of the synthetic images that are copies, and
    its lower bound `share_low`; `detection_limit`, the smallest share of copies that the audit would find, None if not
    even 5 %; `lean`, the share that is nearer to seen images than to decoys, and its p value `lean_p`; and the numbers
    `seen`, `decoys` and `generated`, of those that were compared. All but `decoys` are None with fewer than 20 decoys.
    `features` has the same of the comparison in features, where it applies.
    `copies.png` shows copies and their originals.
    """

    def find(self, finished: Finished) -> Findings:
        """Audit pictures; points have nothing to copy."""
        if finished.synthetic.shape.is_point:
            return Findings()
        made, seen, decoys = map(some_of, (finished.synthetic, *seen_and_decoys(finished)))
        audited = number_of_decoys(seen, decoys)
        if audited < FEWEST:
            why = too_few_decoys("copies", audited, seen)
            return Findings({"gan": {"copies": {"named": None, "decoys": audited}}}, (why,))
        found = Auditor.of(seen, decoys).audit(made.images[:])
        metrics = _numbers(found) | {"lean": found.lean, "lean_p": found.lean_p, "seen": len(seen)}
        metrics |= {"decoys": found.decoys, "generated": len(made)}
        said, best = [in_words(found)], found
        if made.shape.channels == 3 and made.shape.size > SMALL and finished.has("judge"):
            known = decoys.subset(copies_of(finished.split.training, among=decoys))
            if number_of_decoys(seen, known) >= FEWEST:
                judge = finished.load("judge")
                audit = Auditor.of(seen, known, embed=lambda some: _features(judge, some)).audit(made.images[:])
                metrics["features"] = _numbers(audit) | {"decoys": audit.decoys}
                said.append(f"in the judge's features: {in_words(audit)}")
                best = found if found.named else audit
        if best.named:
            _draw(made.images[:], seen.images[:], best, finished.folder / "copies.png")
        return Findings({"gan": {"copies": metrics}}, tuple(said), sections={"Copies": SECTION})


def _features(judge: TrainedClassifier, images: Tensor) -> Tensor:
    """Return the judge's features of images, uint8 `[N, C, H, W]`, float32 `[N, F]`."""
    nothing = torch.zeros(len(images), dtype=torch.int64)
    return features_of(judge, ImageSet(images, nothing, judge.class_names)).features


def _numbers(found: Audit) -> dict[str, Any]:
    return {
        "named": len(found.named),
        "share": found.share,
        "share_low": found.share_low,
        "detection_limit": found.detection_limit,
    }


def in_words(found: Audit) -> str:
    """Return what an audit found, in a sentence."""
    if found.named:
        share, low = (f"{100 * one:.1f} %" for one in (found.share, found.share_low))
        return (
            f"{int(found.is_copy.sum())} of {len(found.is_copy):,} generated images ({share}, at least {low}) are "
            f"copies of {len(found.named)} training images: see copies.png"
        )
    if found.detection_limit is None:
        return "no copies of training images were found, but 5 % copies could have been missed: there are few decoys"
    return f"no copies of training images were found; {100 * found.detection_limit:.0f} % would have been"


def seen_and_decoys(finished: Finished) -> tuple[ImageSet, ImageSet]:
    """Return the images that the generator has seen, and those that it has not, each image once."""
    split, gan = finished.split, finished.stages.get("gan")
    images = split.training.joined(split.validation)
    images = images.subset(images.first_copy.unique())
    is_seen = torch.zeros(len(images), dtype=torch.bool)
    for some in [split.training] if gan is None else gan.image_sets.values():
        is_seen[copies_of(some, among=images)] = True
    return images.subset(is_seen.nonzero()[:, 0]), images.subset((~is_seen).nonzero()[:, 0])


def some_of(images: ImageSet) -> ImageSet:
    """Draw some images, always the same ones; all if they are not too many."""
    order = torch.randperm(len(images), generator=Stream(0, "copies").at(0))
    return images.subset(order[:MOST].sort().values)


def _draw(made: Tensor, seen: Tensor, found: Audit, path: Path) -> None:
    """Draw copies, and right of each its original; both are uint8 `[N, C, H, W]`."""
    pairs = {int(found.nearest[copy]): int(copy) for copy in found.is_copy.nonzero()[:, 0]}
    shown = [image for original, copy in [*pairs.items()][:MOST_PAIRS] for image in (made[copy], seen[original])]
    missing = -len(shown) % NUM_COLUMNS
    rows = torch.stack(shown + [torch.full_like(shown[0], GREY)] * missing)
    draw_rows(rows, NUM_COLUMNS, (), "copies, and right of each its original", path)
