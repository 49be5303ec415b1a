"""Supervised learning: a classifier trained on labelled images and the arm's extra images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms.v2 import CutMix, MixUp

from gan_augment.arm import Arm
from gan_augment.artefacts.front import Front
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, Plan
from gan_augment.data.batches import Batch, Part
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.methods.base import ClassifierStage, ClassifierTraining, MethodStage, about_classifier, log_validation
from gan_augment.networks.transfer import Transfer
from gan_augment.randomness import initialised, seed_global, stream_seed
from gan_augment.settings import build_later, check_integer, check_number
from gan_augment.training import replicas
from gan_augment.training.base import LOG_EVERY
from gan_augment.training.replicas import SharingError

# Zhang et al. 2018, Yun et al. 2019. Each image is mixed with the previous one of the batch, real ones with real ones.
MIXING = {"mixup": MixUp, "cutmix": CutMix}


@dataclass(frozen=True)
class ClassifierSettings(Method):
    """How the classifier is trained.

    Attributes:
        network: The node of the network, called with the images' shape and the number of classes.
        num_steps: Optimizer steps; the same for every arm.
        batch_size: Images per step, real and extra ones together.
        learning_rate: Initial rate of AdamW; it decays to 0 along a half cosine.
        weight_decay: Of AdamW.
        where: The name of these settings in the configuration.

    Raises:
        ValueError: If a value is out of range.
    """

    network: Mapping[str, Any]
    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    where: InitVar[str] = "classifier"

    def __post_init__(self, where: str) -> None:
        check_integer(f"{where}.num_steps", self.num_steps, low=1)
        check_integer(f"{where}.batch_size", self.batch_size, low=1)
        check_number(f"{where}.learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_number(f"{where}.weight_decay", self.weight_decay, 0, 1)
        build_later(self.network, f"{where}.network", nn.Module)

    def build(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Build the network: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`."""
        return build_later(self.network, "classifier.network", nn.Module)(shape, num_classes)

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the network's weights in groups; one without a learning rate has the common one."""
        return [{"params": [*network.parameters()]}]

    def num_extra(self, share: float) -> int:
        """Return how many further images it takes in all, with this share in a batch."""
        return self.num_steps * round(share * self.batch_size)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "Supervised":
        """Plan the stage that trains the classifier in an arm."""
        return Supervised.plan(plan, arm.transform, arm=arm, extra=extra, classifier=self)


@dataclass(frozen=True)
class FinetunedSettings(ClassifierSettings):
    """How a `Transfer` is trained, the backbone included.

    Attributes:
        backbone_rate: Learning rate of the backbone's weights, as a share of `learning_rate`.
    """

    backbone_rate: float = 1.0

    def __post_init__(self, where: str) -> None:
        super().__post_init__(where)
        check_number(f"{where}.backbone_rate", self.backbone_rate, 0, 1, open_low=True)
        build_later(self.network, f"{where}.network", Transfer)

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the weights of the linear layer and those of the backbone."""
        assert isinstance(network, Transfer)
        rate = self.backbone_rate * self.learning_rate
        return [*super().parameters(network.head), {"params": [*network.backbone.parameters()], "lr": rate}]


@dataclass(frozen=True, eq=False, kw_only=True)
class Supervised(MethodStage):
    """Trains the classifier in one arm.

    Attributes:
        arm: How batches are mixed and images transformed.
        extra: The source of further images in a batch.
    """

    name, version = "classifier", 2
    reads = (*MethodStage.reads, "classifier")

    arm: Arm
    extra: Extra
    classifier: ClassifierSettings

    @property
    def num_extra(self) -> int:
        """The number of images of a batch that come from the extra set, or are left out."""
        return round((self.arm.share or 0) * self.classifier.batch_size)

    @property
    def origin(self) -> str | None:
        """The origin of the network's weights, if they are pretrained."""
        return network_origin(json.dumps(self.classifier.network), self.labelled.shape, self.labelled.num_classes)

    def check(self) -> None:
        """Check that the network can take the images, and that the arm differs from every other."""
        batch_size = self.classifier.batch_size
        check_classes(self.labelled)
        network_origin(json.dumps(self.classifier.network), self.labelled.shape, self.labelled.num_classes)
        if self.arm.share is not None and self.num_extra == 0:
            raise ValueError(
                f"augmentation.share={self.arm.share} of classifier.batch_size={batch_size} rounds to no image: use a "
                "larger share"
            )
        self.extra.check(self.labelled, self.num_extra, batch_size)
        if self.hardware.processes > 1 and self.arm.transform in MIXING:
            raise SharingError("mixup and cutmix mix the images of a batch: train on one device")
        self.check_sharing(self.classifier, self.labelled, batch_size - self.num_extra, self.num_extra)
        if self.arm.transform in MIXING and batch_size == 1:
            raise ValueError(
                f"augmentation.transform={self.arm.transform} mixes images, but classifier.batch_size=1: use more"
            )

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the classifier and write its weights."""
        self.train(folder, made)

    def train(self, folder: Path, made: Mapping[str, Path], front: Front | None = None) -> None:
        """Train the classifier and write its weights, with those of the front that has changed all images."""
        settings, labelled = self.classifier, self.labelled
        parts = self.known_parts(self.extra, settings.batch_size, self.num_extra, made)
        mixing = None
        if self.arm.transform in MIXING:  # shares are uniform in [0, 1]
            mixing = MIXING[self.arm.transform](alpha=1.0, num_classes=labelled.num_classes)
        train_classifier(self, parts, labelled, settings, folder, mixing, front)


class Classifier(ClassifierTraining):
    """Cross-entropy, AdamW, a fixed number of steps under a decaying rate; the last weights are kept.

    Args:
        network: Images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.
        transform: Applied to every training image; None for none.
        mixing: (Images `[B, C, H, W]`, labels `[B]`) -> mixed images and probabilities `[B, K]`; None to mix nothing.
    """

    TOGETHER = True
    STREAMS = ("transform",)

    def __init__(
        self,
        network: nn.Module,
        settings: ClassifierSettings,
        transform: ClassicalTransform | None,
        mixing: MixUp | CutMix | None,
        seed: int,
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.network, self.settings = network, settings
        self.transform, self.mixing = transform, mixing

    def classifier(self) -> nn.Module:
        """Return the network."""
        return self.network

    def groups(self) -> list[dict[str, Any]]:
        """Return the weights to train, in groups; one without a learning rate has the common one."""
        return self.settings.parameters(self.network)

    def configure_optimizers(self) -> Any:
        """Return AdamW, with a half cosine down to 0 over the steps."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        optimizer = torch.optim.AdamW(self.groups(), lr=rate, weight_decay=decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.settings.num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, step: int) -> Tensor:
        """Return the loss on one batch."""
        images, targets = batch.images, batch.labels
        if self.transform is not None:
            random, transform = self.draws["transform"].at(step), self.transform
            images = batch.change(images, lambda whole: transform(whole, random))
        if self.mixing is not None:
            seed_global(stream_seed(self.seed, "mixing", step), self.device)  # torchvision draws from the global stream
            images, targets = self.mixing(images, targets)
        seed_global(stream_seed(self.seed, "dropout", step), self.device)  # as do networks
        loss = cross_entropy(self.network(images).float(), targets)
        self.expect_finite(loss)
        if (step + 1) % LOG_EVERY == 0:  # Lightning draws every 50th too
            self.log("train/loss", replicas.mean(loss.detach()))
        return loss

    def validation_step(self, batch: Batch, step: int) -> None:
        """Log loss and accuracy on the validation images."""
        log_validation(self, self.network(batch.images).float(), batch.labels)


def train_classifier(
    stage: ClassifierStage,
    parts: Sequence[Part],
    labelled: ImageSet,
    settings: ClassifierSettings,
    folder: Path,
    mixing: MixUp | CutMix | None = None,
    front: Front | None = None,
) -> None:
    """Train a classifier on batches of these parts and write its weights into a stage's folder, with those of a front.

    The labelled images decide its shape and classes; the stage its validation images, transform, seed and hardware.
    """
    network = initialised(lambda: settings.build(labelled.shape, labelled.num_classes), stage.seed)
    system = Classifier(network, settings, stage.transform, mixing, stage.seed)
    about, networks = about_classifier(asdict(settings), labelled, stage.decoding), {}
    if front is not None:
        about, networks = {**about, "front": front.about}, front.networks
    stage.fit(system, parts, settings.num_steps, about, folder, **networks)


def check_classes(labelled: ImageSet) -> None:
    """Raise a ValueError if there is only one class."""
    if labelled.num_classes < 2:
        raise ValueError(
            f"these images have one class, {labelled.class_names[0]!r}, but a classifier needs two: add a class, or "
            "train the generator alone with classifier=none"
        )


@lru_cache
def network_origin(node: str, shape: ImageShape, num_classes: int) -> str | None:
    """Build a network to check that it takes such images; return the origin of its weights, None for random ones."""
    network = build_later(json.loads(node), "classifier.network", nn.Module)(shape, num_classes)
    return getattr(network, "origin", None)
