"""The skeleton of domain adaptation: a classifier that learns from labelled images and from the pool of another domain.

Each method is a file of this folder, with its settings and its training, and a file of `conf/augmentation/`. The
classifier's own settings decide the network, the steps, the batch and the learning rate. So a method takes as many
steps as the arm `none` and sees as many labelled images; it sees as many images of the pool too.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_augment.arm import Arm
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import Batch, Part
from gan_augment.data.image_set import ImageSet
from gan_augment.losses.semi_supervised import conditional_entropy
from gan_augment.methods.base import ClassifierTraining, MethodStage, about_classifier, log_validation
from gan_augment.methods.supervised import MIXING, ClassifierSettings, check_classes, network_origin
from gan_augment.networks.heads import Divided
from gan_augment.networks.statistics import batch_norms, statistics_kept
from gan_augment.randomness import initialised, seed_global, stream_seed
from gan_augment.stages import Stage, made_from


class AdaptationSettings(Method, ABC):
    """How a method adapts a classifier: a node of its own."""

    sees = "pool_images"
    needs_source: ClassVar[bool] = False  # whether it goes on from the classifier of the arm without the pool

    @abstractmethod
    def training(self, network: Divided, num_classes: int, **common: Any) -> "Adaptation":
        """Return the training of a network; `common` are the other arguments of `Adaptation`."""

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "AdaptationStage":
        """Plan the stage that trains the classifier in an arm."""
        classifier = plan.config.part("classifier", Method)
        if not isinstance(classifier, ClassifierSettings):
            raise ValueError(
                f"augmentation.method={arm.method} changes the features of a classifier, but those of this one are "
                "fixed: use classifier=cnn or classifier=finetuned"
            )
        if arm.transform in MIXING:
            raise ValueError(
                f"augmentation.transform={arm.transform} mixes images and their labels, and the pool has none: use "
                "transform=none or classical"
            )
        source = None
        if self.needs_source:
            source = plan.method(Arm("labelled", "none", None, arm.transform, "classifier"), NoExtra())
        fields = {"arm": arm, "extra": extra, "pool": plan.views.pool, "classifier": classifier, "adaptation": self}
        return AdaptationStage.plan(plan, arm.transform, **fields, source=source)


class Adaptation(ClassifierTraining):
    """A classifier that learns from two domains, under manual optimisation, with AdamW at a rate that decays to 0.

    A batch holds labelled images, those that the arm mixes in, then images of the pool.

    Args:
        network: The classifier, in two parts.
        settings: Its own settings.
        transform: Applied to every training image; None for none.

    Attributes:
        COMMON: Curves of every method.
    """

    COMMON: ClassVar[tuple[str, ...]] = ("loss/labelled", "pool/entropy")
    CURVES: ClassVar[tuple[str, ...]] = COMMON
    STREAMS: ClassVar[tuple[str, ...]] = ("transform",)

    def __init__(
        self, network: Divided, settings: ClassifierSettings, transform: ClassicalTransform | None, seed: int
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.network, self.settings, self.transform = network, settings, transform
        self._has_statistics = bool(batch_norms(network))

    @abstractmethod
    def players(self) -> list[list[dict[str, Any]]]:
        """Return the weights of each optimizer, in groups; one without a learning rate has the common one."""

    @abstractmethod
    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step of the optimizers, with images with labels and `[B, C, H, W]` of the pool.

        Return the values of the curves.
        """

    def classifier(self) -> nn.Module:
        """Return a copy of the classifier in one piece."""
        return self.network.whole()

    def logits(self, images: Tensor) -> Tensor:
        """Return the classifier's logits `[B, K]`."""
        return self.network(images)

    @property
    def body(self) -> list[dict[str, Any]]:
        """The weights of the features, in groups."""
        return self.settings.parameters(self.network.body)

    @property
    def head(self) -> list[dict[str, Any]]:
        """The weights of the last layer."""
        return [{"params": [*self.network.head.parameters()]}]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return AdamW for the weights of each player."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        players = [[{"lr": rate, **group} for group in groups] for groups in self.players()]
        groups = [[{**group, "initial_lr": group["lr"]} for group in one] for one in players]
        return [torch.optim.AdamW(one, lr=rate, weight_decay=decay, fused=True) for one in groups]

    def training_step(self, batch: Batch, step: int) -> None:
        """Train every player for a step."""
        decay = (1 + math.cos(math.pi * self.progress(step))) / 2
        optimizers = self.optimizers_at(*[self.settings.learning_rate] * len(self.players()))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * decay
        images = batch.images
        if self.transform is not None:
            images = self.transform(images, self.draws["transform"].at(step))
        seed_global(stream_seed(self.seed, "dropout", step), self.device)  # networks draw from it
        terms = dict.fromkeys(self.CURVES, images.new_zeros(()))
        changed = batch._replace(images=images)
        terms |= self.play(optimizers, changed.known, changed.pool.images, step)
        points = torch.stack([term.detach().float() for term in terms.values()])
        self.expect_finite(points)
        self.add_points(points)
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)

    def features(self, known: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of images with labels and of images of the pool, float32 `[B, F]` each.

        Batch norm takes each domain's own statistics. It keeps those of the pool, which the classifier is for.
        """
        body = self.network.body
        if not self._has_statistics:
            both = body(torch.cat([known, pool])).float()
            return both[: len(known)], both[len(known) :]
        with statistics_kept(body):
            first = body(known).float()
        return first, body(pool).float()

    def supervised(self, known: Tensor, pool: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return logits of both domains, `[B, K]`, from their features, and the values of the common curves."""
        logits, of_pool = self.network.head(known).float(), self.network.head(pool).float()
        terms = {"loss/labelled": cross_entropy(logits, labels), "pool/entropy": conditional_entropy(of_pool.detach())}
        return logits, of_pool, terms

    def validation_step(self, batch: Batch, step: int) -> None:
        """Log loss and accuracy on the validation images, which are of the first domain.

        With batch norm they are normalised by the statistics of the pool, so they look worse than they are.
        """
        log_validation(self, self.logits(batch.images).float(), batch.labels)


def discriminator(num_features: int, hidden: int) -> nn.Sequential:
    """Return a network that tells domains apart: features `[B, F]` -> logits `[B, 1]`, with two hidden layers."""
    return nn.Sequential(
        nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptationStage(MethodStage):
    """Trains a classifier on labelled images of one domain and, without labels, on images of another.

    Attributes:
        arm: How batches are mixed and images transformed; its method is a node of the configuration.
        extra: The source of further images with labels.
        source: The stage of the classifier that it goes on from; None to start with random weights.
    """

    name, version = "adaptation", 1
    together = False
    reads = (*MethodStage.reads, "classifier")

    arm: Arm
    extra: Extra
    pool: ImageSet
    classifier: ClassifierSettings
    adaptation: AdaptationSettings
    source: Stage | None = made_from()

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with that of the method."""
        return (*super().all_reads, self.arm.method)

    @property
    def origin(self) -> str | None:
        """The origin of the network's weights, if they are pretrained."""
        return network_origin(json.dumps(self.classifier.network), self.labelled.shape, self.labelled.num_classes)

    def check(self) -> None:
        """Check that the network can take the images, and has features."""
        check_classes(self.labelled)
        self.start()
        self.extra.check(self.labelled, self.num_extra, self.classifier.batch_size)
        assert not (self.pool.labels >= 0).any(), "views provide the pool without its labels"

    @property
    def num_extra(self) -> int:
        """The number of images of a batch, without those of the pool, that come from the extra set."""
        return round((self.arm.share or 0) * self.classifier.batch_size)

    def start(self) -> Divided:
        """Return the network, in two parts, with its first weights: those of the arm `none`."""
        shape, num_classes = self.labelled.shape, self.labelled.num_classes
        return Divided(initialised(lambda: self.classifier.build(shape, num_classes), self.seed))

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train, and write the classifier."""
        settings, network = self.classifier, self.start()
        if self.source is not None:
            network = Divided(self.source.load(made["source"]).network.train().requires_grad_(True))
        common = {"settings": settings, "transform": self.transform, "seed": self.seed}
        system = self.adaptation.training(network, self.labelled.num_classes, **common)
        parts = self.known_parts(self.extra, settings.batch_size, self.num_extra, made)
        parts.append(Part(self.pool, settings.batch_size, "order/pool"))
        about = about_classifier(asdict(settings), self.labelled, self.decoding) | {"pool_images": len(self.pool)}
        self.fit(system, parts, settings.num_steps, about, folder)
