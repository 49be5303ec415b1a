"""The bases of stages that train a classifier."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Plan
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet
from gan_augment.settings import build
from gan_augment.stages import Stage, implied, later
from gan_augment.training.base import Training
from gan_augment.training.replicas import check_network, check_shares

DECODING = ("fit", "white", "background")  # settings of data: size and colours are those of the images
NUM_VALIDATIONS = 10  # over the whole training
LOOKS = "looks"  # in a stage's folder: the classifier at some steps of its training, as <step>.pt


def decoding_of(node: Mapping[str, Any], domain: str) -> dict[str, Any]:
    """Return how the files of a data node are read; of two domains that of `from` or `to`, of others the inner node."""
    for inner in ("of", domain):
        if "fit" not in node and isinstance(node.get(inner), Mapping):
            return decoding_of(node[inner], domain)
    return {name: node.get(name) for name in DECODING}


class ClassifierTraining(Training):
    """A training of a classifier."""

    @abstractmethod
    def classifier(self) -> nn.Module:
        """Return the classifier as it is now: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierStage(Stage):
    """A stage that trains a classifier.

    Attributes:
        validation: Images to evaluate during training; they change no weight.
        classical: The node of its transforms; None for none.
        decoding: How the files of its images were read, for later ones; None if it reads no more.
        looks: At how many steps of its training the classifier is kept, the last one included; None for the last alone.
    """

    validation: ImageSet
    classical: Mapping[str, Any] | None
    decoding: Mapping[str, Any] | None = implied(default=None)
    looks: int | None = later()

    @property
    def transform(self) -> ClassicalTransform | None:
        """The transform of every training image; None for none."""
        return None if self.classical is None else build(self.classical, "data.classical", ClassicalTransform)

    def fit(
        self,
        system: ClassifierTraining,
        parts: Sequence[Part],
        num_steps: int,
        about: Mapping[str, Any],
        folder: Path,
        **further: nn.Module,
    ) -> None:
        """Train a system on batches of these parts, and write its classifier, with further networks of the system.

        `about` is what `about_classifier` returns.
        """
        data = ImageBatches(parts, num_steps, self.seed, self.validation, about["classifier"]["batch_size"])
        every = max(1, num_steps // NUM_VALIDATIONS) if len(self.validation) else None
        looks = () if self.looks is None else (Looks(folder / LOOKS, num_steps, self.looks, about),)
        self.hardware.fit(system, data, folder, validate_every=every, callbacks=looks)
        save_weights(folder / FILE, about, classifier=system.classifier(), **further)

    def check_sharing(self, settings: Any, images: ImageSet, *sizes: int) -> None:
        """Check that the processes of the hardware can share batches with parts of these sizes, and the network.

        `settings` build the network for such images.

        Raises:
            SharingError: If they cannot.
        """
        if self.hardware.processes > 1:
            check_shares(sizes, self.hardware.processes)
            check_network(settings.build(images.shape, images.num_classes))

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
            decoding=decoding_of(plan.config.source, "to"),
            looks=None if plan.views.domains is None else NUM_VALIDATIONS,
            seed=plan.config.seeds.classifier,
            hardware=plan.config.hardware,
            **fields,
        )

    def known_parts(self, extra: Extra, number: int, num_extra: int, made: Mapping[str, Path]) -> list[Part]:
        """Return the parts of a batch that have labels: `number` images, of which `num_extra` are further ones.

        Without images of the extra, the batch is smaller.
        """
        parts = [Part(self.labelled, number - num_extra, "order")]
        images = extra.images(self.labelled, made, self.seed)
        if images is not None:
            parts.append(Part(images, num_extra, "order/extra", balanced=extra.balanced))
        return [part for part in parts if part.num_per_batch]

    @property
    def is_revised(self) -> bool:
        """Whether it rotates images that are not square, which was a shear."""
        shape, transform = self.labelled.shape, self.transform
        return transform is not None and transform.rotation > 0 and shape.height != shape.width

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with that of the transforms only if it has some."""
        return (*super().all_reads, *(("data.classical",) if self.classical is not None else ()))


class Looks(Callback):
    """Keeps the classifier at equal distances of its training, as a checkpoint that `about` describes."""

    def __init__(self, folder: Path, num_steps: int, number: int, about: Mapping[str, Any]) -> None:
        self._folder, self._about = folder, about
        self._steps = {math.ceil(num_steps * one / number) for one in range(1, number + 1)}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the folder."""
        self._folder.mkdir(exist_ok=True)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the classifier when it is time."""
        if batch_idx + 1 in self._steps:
            path = self._folder / f"{batch_idx + 1}.pt"
            save_weights(path, {**self._about, "step": batch_idx + 1}, classifier=pl_module.classifier())


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
