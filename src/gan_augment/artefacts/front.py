"""The front of a classifier: it makes images small and then as large as they were, before the classifier sees them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.image_set import ImageShape
from gan_augment.settings import check_choice

RESTORE = ("repeat", "bicubic", "translator")


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
    def read(cls, about: Mapping[str, Any], checkpoint: Path, shape: ImageShape, device: torch.device) -> "Front":
        """Read a front from the checkpoint of its classifier, whose metadata describe it.

        Raises:
            ValueError: If they do not, or it does not fit images of this shape.
        """
        if missing := [name for name in ("scale", "kernel", "restore") if name not in about]:
            raise ValueError(f"its front lacks {', '.join(missing)}")
        check_choice("front.restore", about["restore"], RESTORE)
        degrading = Degrading(about["scale"], about["kernel"])
        degrading.check(shape)
        translator = None
        if about["restore"] == "translator":
            translator = TrainedTranslator.build(about.get("translator", {}), checkpoint, "front", device)
            if translator.shape != shape:
                raise ValueError(f"its front takes images of {translator.shape.words}, it takes {shape.words}")
        return cls(degrading, about["restore"], translator)

    @property
    def about(self) -> dict[str, Any]:
        """The metadata that `read` needs."""
        translator = {} if self.translator is None else {"translator": dict(self.translator.about)}
        return {**asdict(self.degrading), "restore": self.restore, **translator}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that `read` needs, by name."""
        return {} if self.translator is None else {"front": self.translator.network}

    def change(self, images: Tensor) -> Tensor:
        """Return images, uint8 `[B, C, H, W]`, as the classifier sees them: of the same size."""
        if self.restore == "repeat":
            return self.degrading.repeated(images)
        enlarged = self.degrading.bicubic(images)
        return enlarged if self.translator is None else self.translator.change(enlarged)
