"""The bases of stages that train a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning as L
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import FILE
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Plan
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import build
from gan_augment.stages import Stage, implied
from gan_augment.training.base import Training

DECODING = ("fit", "white", "background")  # settings of data: size and colours are those of the images
NUM_VALIDATIONS = 10  # over the whole training


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierStage(Stage):
    """A stage that trains a classifier.

    Attributes:
        validation: Images to evaluate during training; they change no weight.
        classical: The node of its transforms; None for none.
        decoding: How the files of its images were read, for later ones; None if it reads no more.
    """

    validation: ImageSet
    classical: Mapping[str, Any] | None
    decoding: Mapping[str, Any] | None = implied(default=None)

    @property
    def transform(self) -> ClassicalTransform | None:
        """The transform of every training image; None for none."""
        return None if self.classical is None else build(self.classical, "data.classical", ClassicalTransform)

    def fit(self, system: Training, parts: Sequence[Part], num_steps: int, batch_size: int, folder: Path) -> None:
        """Train a system on batches of these parts; `batch_size` is that of the validation images."""
        data = ImageBatches(parts, num_steps, self.seed, self.validation, batch_size)
        every = max(1, num_steps // NUM_VALIDATIONS) if len(self.validation) else None
        self.hardware.fit(system, data, folder, validate_every=every)

    def load(self, folder: Path) -> TrainedClassifier:
        """Read the classifier."""
        return TrainedClassifier.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the classifier's weights."""
        return folder / FILE


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodStage(ClassifierStage):
    """A stage that trains a classifier on labelled images, in one arm."""

    reads: ClassVar[tuple[str, ...]] = ("augmentation", "open_test", "seeds.classifier")

    labelled: ImageSet

    @classmethod
    def plan(cls, plan: Plan, transform: str, **fields: Any) -> Self:
        """Plan the stage in an arm with this transform; `fields` are the method's own."""
        return cls(
            labelled=plan.views.labelled,
            validation=plan.views.validation,
            classical=plan.config.classical if transform == "classical" else None,
            decoding={name: plan.config.source.get(name) for name in DECODING},
            seed=plan.config.seeds.classifier,
            hardware=plan.config.hardware,
            **fields,
        )

    @property
    def is_revised(self) -> bool:
        """Whether it rotates images that are not square, which was a shear."""
        shape, transform = self.labelled.shape, self.transform
        return transform is not None and transform.rotation > 0 and shape.height != shape.width

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with that of the transforms only if it has some."""
        return (*super().all_reads, *(("data.classical",) if self.classical is not None else ()))


def about_classifier(
    settings: Mapping[str, Any], labelled: ImageSet, decoding: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what `TrainedClassifier.load` needs to know: `settings` has `network` and `batch_size`."""
    return {
        **({} if decoding is None else {"decoding": dict(decoding)}),
        "kind": "classifier",
        "classifier": settings,
        "shape": [*astuple(labelled.shape)],
        "class_names": [*labelled.class_names],
        "class_counts": labelled.class_counts.tolist(),
    }


def log_validation(system: L.LightningModule, logits: Tensor, labels: Tensor) -> None:
    """Log a classifier's loss and accuracy on validation images: float32 logits `[B, K]`, labels `[B]`."""
    accuracy = multiclass_accuracy(logits, labels, logits.shape[1], average="micro")
    system.log("validation/loss", cross_entropy(logits, labels), batch_size=len(logits))
    system.log("validation/accuracy", accuracy, batch_size=len(logits))
