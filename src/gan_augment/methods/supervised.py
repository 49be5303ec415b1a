"""The classifier: the network whose accuracy is in question."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, asdict, astuple, dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision.transforms.v2 import CutMix, MixUp

from gan_augment.arm import Arm
from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.artefacts.weights import FILE, load_weights, read_about, save_weights
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import ImageSet, ImageShape, to_float, with_shuffled_labels
from gan_augment.randomness import Stream, initialised, seed_global, stream_seed
from gan_augment.settings import build, check_integer, check_names, check_number, class_from
from gan_augment.stages import Stage
from gan_augment.training.hardware import Hardware

VERSION = 2  # raise it when the mathematics of the training changes

LOG_EVERY = 50  # steps between two points of the loss's curve; Lightning draws every 50th too
NUM_LOOKS = 10  # at the validation images, over the whole training

# Zhang et al. 2018, Yun et al. 2019. Each image is mixed with the one before it in the batch, real ones with real ones.
MIXING = {"mixup": MixUp, "cutmix": CutMix}


@dataclass(frozen=True)
class ClassifierSettings:
    """How the classifier is trained.

    Attributes:
        network: Called with the images' shape and the number of classes, returns the network.
        num_steps: Optimizer steps; the same for every arm.
        batch_size: Images a step, real and extra ones together.
        learning_rate: Of AdamW, at the start; it decays to 0 along a half cosine.
        weight_decay: Of AdamW.
        where: Where these settings stand in the configuration.
    """

    network: Callable[..., nn.Module]
    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    where: InitVar[str] = "classifier"

    def __post_init__(self, where: str) -> None:
        """Refuse values out of range."""
        check_integer(f"{where}.num_steps", self.num_steps, low=1)
        check_integer(f"{where}.batch_size", self.batch_size, low=1)
        check_number(f"{where}.learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_number(f"{where}.weight_decay", self.weight_decay, 0, 1)

    def num_extra(self, arm: Arm) -> int:
        """Return how many images of a batch come from the arm's extra set, or are left out."""
        return round((arm.share or 0) * self.batch_size)


class Classifier(L.LightningModule):
    """Cross-entropy, AdamW, a fixed number of steps under a decaying rate; the last weights are kept.

    Args:
        network: Images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.
        settings: How it is trained.
        transform: Applied to every training image; None for none.
        mixing: (Images `[B, C, H, W]`, labels `[B]`) -> mixed ones, and probabilities `[B, K]`; None to mix nothing.
        seed: Decides the draws of both.
    """

    finite: Tensor

    def __init__(
        self,
        network: nn.Module,
        settings: ClassifierSettings,
        transform: ClassicalTransform | None,
        mixing: MixUp | CutMix | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.transform = transform
        self.mixing = mixing
        self.seed = seed
        self.register_buffer("finite", torch.tensor(True))

    def configure_optimizers(self) -> Any:
        """Return AdamW, and a half cosine down to 0 that is followed step by step."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.settings.num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Open the transform's stream on the device."""
        self._draws = Stream(self.seed, "transform", self.device)

    def training_step(self, batch: Batch, step: int) -> Tensor:
        """Return the loss on one batch."""
        images, targets = batch
        if self.transform is not None:
            images = self.transform(images, self._draws.at(step))
        if self.mixing is not None:
            seed_global(stream_seed(self.seed, "mixing", step), self.device)  # torchvision draws from the global stream
            images, targets = self.mixing(images, targets)
        seed_global(stream_seed(self.seed, "dropout", step), self.device)  # and so do networks
        loss = cross_entropy(self.network(images).float(), targets)
        self.finite &= loss.detach().isfinite()
        if (step + 1) % LOG_EVERY == 0:
            self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, step: int) -> None:
        """Log loss and accuracy on the validation images."""
        log_validation(self, self.network(batch.images).float(), batch.labels)


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


def classifier_stage(
    labelled: ImageSet,
    validation: ImageSet,
    synthesis: Stage | None,
    pool: ImageSet | None,
    pseudo_labels: Stage | None,
    arm: Arm,
    classical: Mapping[str, Any],
    classifier: Mapping[str, Any],
    seed: int,
    hardware: Hardware,
) -> Stage:
    """Lay out the stage that trains the classifier in one arm.

    Args:
        labelled: The real images it learns from.
        validation: Images to report on while training; they change no weight.
        synthesis: The stage that makes the synthetic set, for arms that ask for one.
        pool: Further real images, for arms that ask for them: with their labels, or without.
        pseudo_labels: The stage that labels the latter.
        arm: What is mixed into the batches, and how images are transformed.
        classical: Configuration node of the data set's `ClassicalTransform`.
        classifier: Configuration node of the `ClassifierSettings`.
        seed: The seed of all its streams, shared by the arms.
        hardware: Where it is trained.

    Raises:
        ValueError: If a setting is out of range, or the network cannot take such images.
    """
    settings = read_classifier(classifier)
    if labelled.num_classes < 2:
        raise ValueError(
            f"these images have one class, {labelled.class_names[0]!r}, but a classifier needs two: add a class, or "
            "train the generator alone with classifier=none"
        )
    _origin(json.dumps(classifier), labelled.shape, labelled.num_classes)
    _check_arm(arm, settings, labelled)
    transform = build(classical)  # also when it goes unused: its settings are checked
    if arm.transform != "classical":
        transform = None
    inputs: dict[str, Stage | str] = {"labelled": labelled.fingerprint, "validation": validation.fingerprint}
    if synthesis is not None:
        inputs["synthesis"] = synthesis
    if pool is not None:
        inputs["pool"] = pool.fingerprint
    if pseudo_labels is not None:
        inputs["pseudo_labels"] = pseudo_labels
    return Stage(
        name="classifier",
        version=VERSION,
        settings={
            # Who the teacher is, the stage of its labels says.
            "arm": {name: value for name, value in asdict(arm).items() if name != "teacher"},
            "classical": None if transform is None else classical,
            "classifier": classifier,
            **hardware.identity,
        },
        inputs=inputs,
        seed=seed,
        compute=partial(train_classifier, labelled, validation, arm, transform, classifier, seed, hardware, pool=pool),
    )


def _check_arm(arm: Arm, settings: ClassifierSettings, labelled: ImageSet) -> None:
    share = f"augmentation.share={arm.share} of classifier.batch_size={settings.batch_size}"
    if arm.extra != "none" and settings.num_extra(arm) == 0:
        raise ValueError(f"{share} is no image at all: use a larger share")
    if arm.extra == "left_out" and settings.num_extra(arm) == settings.batch_size:
        raise ValueError(f"{share} leaves no image in a batch: use a smaller share")
    counts = labelled.class_counts.unique().tolist()
    if arm.extra == "labelled" and len(counts) == 1:
        raise ValueError(
            f"augmentation.extra=labelled draws every class as often, but each has {counts[0]} labelled images: they "
            "come as often anyway; leave this arm out"
        )
    if arm.transform in MIXING and settings.batch_size == 1:
        raise ValueError(f"augmentation.transform={arm.transform} mixes images, but classifier.batch_size=1: use more")


def classifier_notes(classifier: Mapping[str, Any] | None, labelled: ImageSet) -> list[str]:
    """Say where the classifier's weights come from, if they are not drawn at random."""
    origin = None if classifier is None else _origin(json.dumps(classifier), labelled.shape, labelled.num_classes)
    return [] if origin is None else [origin]


@lru_cache
def _origin(classifier: str, shape: ImageShape, num_classes: int) -> str | None:
    """Build a network to see that it takes such images; return where its weights come from, None if from scratch."""
    network = read_classifier(json.loads(classifier)).network(shape, num_classes)
    return getattr(network, "origin", None)


def read_classifier(node: Mapping[str, Any], where: str = "classifier") -> ClassifierSettings:
    """Turn a configuration node into the `ClassifierSettings`.

    Args:
        node: The plain configuration node.
        where: Where it stands in the configuration.
    """
    check_names(where, node, [field.name for field in fields(ClassifierSettings)])
    return ClassifierSettings(**{**node, "network": build(node["network"])}, where=where)


def train_classifier(
    labelled: ImageSet,
    validation: ImageSet,
    arm: Arm,
    transform: ClassicalTransform | None,
    classifier: Mapping[str, Any],
    seed: int,
    hardware: Hardware,
    folder: Path,
    synthesis: Path | None = None,
    pool: ImageSet | None = None,
    pseudo_labels: Path | None = None,
) -> None:
    """Train a classifier in one arm and leave its weights in a stage's folder.

    Args:
        labelled: The real images it learns from.
        validation: Images to report on while training; they change no weight.
        arm: What is mixed into the batches, and whether their images are mixed.
        transform: Applied to every training image, real or not; None for none.
        classifier: Configuration node of the `ClassifierSettings`.
        seed: The seed of all its streams, shared by the arms.
        hardware: Where it is trained.
        folder: Where to write.
        synthesis: Folder of the synthetic set, for arms that ask for one.
        pool: Further real images, for arms that ask for them: with their labels, or without.
        pseudo_labels: Folder of the labels of the latter.

    Raises:
        DivergedError: If a loss or a weight stops being finite.
    """
    settings = read_classifier(classifier)
    num_extra = settings.num_extra(arm)
    extra = labelled if arm.extra == "labelled" else pool
    if pseudo_labels is not None:
        assert pool is not None
        extra = PseudoLabels.read(pseudo_labels).of(pool)
    if synthesis is not None:
        extra = SyntheticSet.read(synthesis, labelled.class_names).images
        if arm.extra == "shuffled_synthetic":
            extra = with_shuffled_labels(extra, Stream(seed, "labels").at(0))
    parts = [Part(labelled, settings.batch_size - num_extra, "order")]
    if extra is not None:
        parts.append(Part(extra, num_extra, "order/extra", balanced=arm.extra == "labelled"))
    parts = [part for part in parts if part.num_per_batch]
    data = ImageBatches(parts, settings.num_steps, seed, validation, validation_batch_size=settings.batch_size)
    network = initialised(lambda: settings.network(labelled.shape, labelled.num_classes), seed)
    mixing = None
    if arm.transform in MIXING:
        mixing = MIXING[arm.transform](alpha=1.0, num_classes=labelled.num_classes)  # shares are uniform in [0, 1]
    system = Classifier(network, settings, transform, mixing, seed)
    look_every = max(1, settings.num_steps // NUM_LOOKS) if len(validation) else None
    hardware.fit(system, data, folder, validate_every=look_every)
    about = {
        "kind": "classifier",
        "classifier": classifier,
        "shape": [*astuple(labelled.shape)],
        "class_names": [*labelled.class_names],
        "class_counts": labelled.class_counts.tolist(),
    }
    save_weights(folder / FILE, about, classifier=network)


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier from its checkpoint.

    Attributes:
        network: Images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`; frozen.
        shape: The images that it takes.
        class_names: K names.
        class_counts: Images a class that it learned from.
        batch_size: Images at a time: as many as in training, and so no more memory.
        device: Where it computes.
    """

    network: nn.Module
    shape: ImageShape
    class_names: Sequence[str]
    class_counts: Sequence[int]
    batch_size: int
    device: torch.device

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> "TrainedClassifier":
        """Read a classifier.

        Raises:
            ValueError: If the file is no checkpoint of a classifier.
        """
        about = read_about(checkpoint, "classifier", ("shape", "class_names", "class_counts", "classifier"))
        try:
            shape, class_names, node = ImageShape(*about["shape"]), about["class_names"], about["classifier"]
            make, settings = class_from(node.get("network"), nn.Module)
            network, batch_size = make(shape, len(class_names), **settings), int(node["batch_size"])
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(f"{checkpoint} does not describe a classifier: {error}") from error
        weights = load_weights(checkpoint, "classifier", network).to(device)
        return cls(weights, shape, class_names, about["class_counts"], batch_size, device)

    def probabilities(self, images: ImageSet) -> Tensor:
        """Return what it says of images: probabilities, float32 `[N, K]`, on the CPU."""
        return self.outputs(self.network, images).softmax(dim=1)

    @torch.no_grad()
    def outputs(self, part: nn.Module, images: ImageSet) -> Tensor:
        """Return what a part of the network makes of images, `[N, ...]`, on the CPU.

        Raises:
            ValueError: If it was trained on images of another shape.
        """
        if images.shape != self.shape:
            raise ValueError(f"the classifier takes {self.shape}, but these images are {images.shape}")
        chunks = torch.arange(len(images)).split(self.batch_size)
        return torch.cat([part(to_float(images.images[chunk].to(self.device))).cpu() for chunk in chunks])
