"""The front of a classifier: it makes images small and then as large as they were, before the classifier sees them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import check_choice

RESTORE = ("repeat", "bicubic", "translator")
AT_ONCE = 1000  # images


@dataclass(frozen=True, eq=False)
class Front:
    """What stands before a classifier.

    Attributes:
        degrading: How images lose resolution.
        restore: How they get their size back: `repeat`, each pixel several times; `bicubic` interpolation; or
            `translator`, which goes on from there.
        translator: Restores images that bicubic interpolation has enlarged; None without one.
    """

    degrading: Degrading
    restore: str
    translator: TrainedTranslator | None = None

    @classmethod
    def read(cls, about: Mapping[str, Any], checkpoint: Path, device: torch.device) -> "Front":
        """Read a front from the checkpoint of its classifier, whose metadata describe it."""
        check_choice("front.restore", about["restore"], RESTORE)
        translator = None
        if about["restore"] == "translator":
            translator = TrainedTranslator.build(about["translator"], checkpoint, "front", device)
        return cls(Degrading(about["scale"], about["kernel"]), about["restore"], translator)

    @property
    def about(self) -> dict[str, Any]:
        """The metadata that `read` needs."""
        translator = {} if self.translator is None else {"translator": dict(self.translator.about)}
        return {**asdict(self.degrading), "restore": self.restore, **translator}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that `read` needs, by name."""
        return {} if self.translator is None else {"front": self.translator.network}

    def apply(self, images: ImageSet) -> ImageSet:
        """Return the images as the classifier sees them: of the same size, with their labels."""
        enlarge = self.degrading.repeated if self.restore == "repeat" else self.degrading.bicubic
        enlarged = changed(images, enlarge)
        return enlarged if self.translator is None else self.translator.translate(enlarged)


def changed(images: ImageSet, change: Any) -> ImageSet:
    """Return an image set whose pixels, uint8 `[B, C, H, W]`, some function has changed, some images at a time."""
    made: list[Tensor] = [change(images.images[chunk]) for chunk in torch.arange(len(images)).split(AT_ONCE)]
    return replace(images, images=torch.cat(made))
