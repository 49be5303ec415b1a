"""The base of the stages of all methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import FILE
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import build
from gan_augment.stages import Stage

NUM_VALIDATIONS = 10  # over the whole training


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodStage(Stage):
    """A stage that trains a classifier.

    Attributes:
        labelled: The labelled images it learns from.
        validation: Images to evaluate during training; they change no weight.
        classical: The node of its transforms; None for none.
    """

    reads: ClassVar[tuple[str, ...]] = ("augmentation", "open_test", "seeds.classifier")

    labelled: ImageSet
    validation: ImageSet
    classical: Mapping[str, Any] | None

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with that of the transforms only if it has some."""
        return (*super().all_reads, *(("data.classical",) if self.classical is not None else ()))

    @property
    def transform(self) -> ClassicalTransform | None:
        """The transform of every training image; None for none."""
        return None if self.classical is None else build(self.classical, "data.classical", ClassicalTransform)

    def load(self, folder: Path) -> TrainedClassifier:
        """Read the classifier."""
        return TrainedClassifier.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the classifier's weights."""
        return folder / FILE


def steps_between_validations(validation: ImageSet, num_steps: int) -> int | None:
    """Return the steps between two passes over the validation images; None without such images."""
    return max(1, num_steps // NUM_VALIDATIONS) if len(validation) else None


def log_validation(system: L.LightningModule, logits: Tensor, labels: Tensor) -> None:
    """Log a classifier's loss and accuracy on a batch of validation images.

    Args:
        system: Where to log.
        logits: Float32 `[B, K]`.
        labels: `[B]`.
    """
    accuracy = multiclass_accuracy(logits, labels, logits.shape[1], average="micro")
    system.log("validation/loss", cross_entropy(logits, labels), batch_size=len(logits))
    system.log("validation/accuracy", accuracy, batch_size=len(logits))
