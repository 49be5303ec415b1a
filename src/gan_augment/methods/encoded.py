"""A classifier on the features of an encoder, which may have learned from all images without their labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gan_augment.arm import Arm
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import Part
from gan_augment.encoders.base import TrainEncoder
from gan_augment.methods.base import MethodStage, about_classifier
from gan_augment.methods.probe import features_of, fit_head
from gan_augment.methods.supervised import MIXING, Classifier, ClassifierSettings, check_classes
from gan_augment.networks.encoded import Encoded
from gan_augment.randomness import Stream, initialised
from gan_augment.settings import build_later, check_boolean, check_integer, check_number

OF_TRAINING = ("num_steps", "batch_size", "learning_rate", "weight_decay")  # settings of a classifier but its network
AT_ONCE = 256  # images whose features are computed


@dataclass(frozen=True)
class EncodedMethod(Method):
    """How a classifier uses the features of an encoder.

    Attributes:
        network: The node of the classifier, called with the images' shape, the number of classes, and the architecture.
        finetune: Whether the encoder is trained further, with the settings of the classifier; otherwise a linear layer
            is fitted to its features, which stay.
        views: Random views of each labelled image for that layer, in arms with classical transforms.
        weight_decay: Weight of half the squared norm of that layer's weights, for features of variance 1.

    Raises:
        ValueError: If a value is out of range.
    """

    sees = "pool_images"

    network: Mapping[str, Any]
    finetune: bool
    views: int
    weight_decay: float

    def __post_init__(self) -> None:
        build_later(self.network, "encoded.network", Encoded)
        check_boolean("encoded.finetune", self.finetune)
        check_integer("encoded.views", self.views, low=1, high=1000)
        check_number("encoded.weight_decay", self.weight_decay, 0, 1000, open_low=True)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings for a stage's key: without those of the linear layer, if it is not fitted."""
        return {"finetune": True} if self.finetune else asdict(self)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "TrainEncoded":
        """Plan the stage that trains the classifier in an arm, after that of the encoder.

        Raises:
            ValueError: If the classifier, the extra or the transform are such that this is not supported.
        """
        classifier = plan.config.part("classifier", Method) if self.finetune else None
        if classifier is not None and type(classifier) is not ClassifierSettings:
            raise ValueError(
                "encoded.finetune=True trains the encoder as classifier=cnn is trained, in place of a network of "
                "classifier: use classifier=cnn, or another with num_steps that is not pretrained"
            )
        if not isinstance(extra, NoExtra) or arm.transform in MIXING:
            raise ValueError(
                f"augmentation.method={arm.method} with augmentation.extra={extra.name} and "
                f"augmentation.transform={arm.transform}: a classifier on the features of an encoder has no further "
                "images and mixes none: use extra=none and transform=none or classical"
            )
        encoder = TrainEncoder.plan(plan)
        if (encoder.pool is not None) != (arm.sees == "pool_images"):
            raise ValueError(
                f"augmentation.sees={arm.sees} with an encoder of type {type(encoder.encoder).__name__}: one that "
                "learns sees the pool, others do not: use augmentation=bigan or another arm with an encoder of its own"
            )
        if classifier is not None:
            classifier = replace(classifier, network={**self.network, "architecture": encoder.architecture})
        return TrainEncoded.plan(plan, arm.transform, arm=arm, encoder=encoder, encoded=self, classifier=classifier)


@dataclass(frozen=True)
class UntrainedMethod(EncodedMethod):
    """The same with an encoder that learns nothing, so that no image of the pool is seen."""

    sees = "labelled"


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainEncoded(MethodStage):
    """Trains a classifier that begins with an encoder.

    Attributes:
        arm: How labelled images are transformed.
        encoder: The stage of the encoder.
        classifier: How the whole network is trained, with that network; None if the encoder stays as it is.
    """

    name, version = "encoded", 1
    together = False

    arm: Arm
    encoder: TrainEncoder
    encoded: EncodedMethod
    classifier: ClassifierSettings | None

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with those of the classifier only if it is trained."""
        of_training = ("encoded.finetune", *(f"classifier.{name}" for name in OF_TRAINING))
        return (*super().all_reads, *(("encoded",) if self.classifier is None else of_training))

    def check(self) -> None:
        """Check that there are classes to tell apart."""
        check_classes(self.labelled)

    def alone(self) -> "TrainEncoded":
        """Return the stage: it costs as much with an encoder that has not learned."""
        return self

    @property
    def about(self) -> dict[str, Any]:
        """What `TrainedClassifier.load` needs to know."""
        node = {**self.encoded.network, "architecture": self.encoder.architecture}
        settings = asdict(self.encoded) if self.classifier is None else asdict(self.classifier)
        return about_classifier({"batch_size": AT_ONCE, **settings, "network": node}, self.labelled, self.decoding)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the classifier and write its weights."""
        labelled, shape = self.labelled, self.labelled.shape
        build = partial(build_later(self.encoded.network, "encoded.network", Encoded), shape, labelled.num_classes)
        network = initialised(partial(build, architecture=self.encoder.architecture), self.seed)
        if "encoder" in made:  # a rehearsal has none
            network.body.load_state_dict(self.encoder.load(made["encoder"]).state_dict())
        if self.classifier is not None:
            settings = self.classifier
            system = Classifier(network, settings, self.transform, None, self.seed)
            self.fit(system, [Part(labelled, settings.batch_size, "order")], settings.num_steps, self.about, folder)
            return
        network.eval().to(self.hardware.device)
        views = 1 if self.transform is None else self.encoded.views
        draws = Stream(self.seed, "views", self.hardware.device)
        features = features_of(labelled, network, AT_ONCE, views, self.transform, draws)
        weights = torch.full((len(features),), 1 / len(features))
        labels = labelled.labels.repeat(views)
        fit_head(network.cpu().head, features, features, labels, weights, self.encoded.weight_decay)
        save_weights(folder / FILE, self.about, classifier=network)
