"""A probe: a linear classifier on the features of a frozen backbone (Alain and Bengio 2017; Kornblith et al. 2019)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_augment.arm import Arm
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.image_set import ImageSet, ImageShape, to_float
from gan_augment.methods.base import MethodStage, about_classifier
from gan_augment.methods.supervised import MIXING, check_classes, network_origin
from gan_augment.networks.encoded import Encoded
from gan_augment.networks.transfer import Transfer
from gan_augment.randomness import Stream
from gan_augment.settings import build, build_later, check_integer, check_number
from gan_augment.stages import DivergedError, Stage, made_from
from gan_augment.training.rehearsal import rehearse_share

FILE_OF_FEATURES = "features.npy"
MOST_STEPS, LARGEST_SLOPE = 1000, 1e-5  # of L-BFGS, and the slope of the loss at which it ends


@dataclass(frozen=True)
class ProbeSettings(Method):
    """How a probe is fitted.

    Attributes:
        network: The node of a `Transfer`, called with the images' shape and the number of classes.
        views: Random views of each labelled image, in arms with classical transforms.
        weight_decay: Weight of half the squared norm of the weights, for features of variance 1.
        batch_size: Images at a time, while their features are computed.

    Raises:
        ValueError: If a value is out of range.
    """

    network: Mapping[str, Any]
    views: int
    weight_decay: float
    batch_size: int

    def __post_init__(self) -> None:
        check_integer("classifier.views", self.views, low=1, high=1000)
        check_number("classifier.weight_decay", self.weight_decay, 0, 1000, open_low=True)
        check_integer("classifier.batch_size", self.batch_size, low=1)
        build_later(self.network, "classifier.network", Transfer)

    def build(self, shape: ImageShape, num_classes: int) -> Transfer:
        """Build the network: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`."""
        return build_later(self.network, "classifier.network", Transfer)(shape, num_classes)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "Probe":
        """Plan the stage that fits the probe in an arm, after those that compute features."""
        classical = plan.config.classical if arm.transform == "classical" else None
        features = Features(
            images=plan.views.labelled,
            network=self.network,
            classical=classical,
            views=1 if classical is None else self.views,
            batch_size=self.batch_size,
            extra=NoExtra(),
            seed=0 if classical is None else plan.config.seeds.classifier,  # without transforms nothing is drawn
            hardware=plan.config.hardware,
        )
        of_extra = None if isinstance(extra, NoExtra) else replace(features, extra=extra)
        fields = {"arm": arm, "extra": extra, "classifier": self, "features": features, "extra_features": of_extra}
        return Probe.plan(plan, arm.transform, **fields)


@dataclass(frozen=True, eq=False, kw_only=True)
class Features(Stage):
    """Computes the features of images, or of random views of them.

    Attributes:
        views: Views of each image.
        extra: The source of other images, whose features are computed in their place. They have as many views as keep
            the proportion of the two numbers.
    """

    name, version = "features", 1
    reads = ("classifier.network", "classifier.views", "classifier.batch_size")

    images: ImageSet
    network: Mapping[str, Any]
    classical: Mapping[str, Any] | None
    views: int
    batch_size: int  # views are drawn for a batch at a time
    extra: Extra

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Write the features."""
        images, views, stream = self.images, self.views, "views"
        extra = self.extra.images(images, made, self.seed)
        if extra is not None:
            views = 1 if self.classical is None else -(-views * len(images) // len(extra))
            images, stream = extra, "views/extra"
        network = build_later(self.network, "classifier.network", Transfer)(self.images.shape, self.images.num_classes)
        transform = None if self.classical is None else build(self.classical, "data.classical", ClassicalTransform)
        draws = Stream(self.seed, stream, self.hardware.device)
        network.to(self.hardware.device)
        some = images.subset(torch.arange(min(self.batch_size, len(images))))
        share = views * len(images) / len(some)
        rehearse_share(lambda: features_of(some, network, self.batch_size, 1, transform, draws), share)
        found = features_of(images, network, self.batch_size, views, transform, draws)
        np.save(folder / FILE_OF_FEATURES, found.half().numpy(), allow_pickle=False)

    def load(self, folder: Path) -> Tensor:
        """Read the features, float32 `[V x N, F]`: those of all images in one view after the other."""
        return torch.from_numpy(np.load(folder / FILE_OF_FEATURES, allow_pickle=False)).float()


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe(MethodStage):
    """Fits a probe in one arm.

    Attributes:
        arm: How labelled and extra images are weighted and transformed.
        extra: The source of further images.
        features, extra_features: Of the labelled and of the further images; None without such.
    """

    name, version = "probe", 2
    reads = (*MethodStage.reads, "classifier")

    arm: Arm
    extra: Extra
    classifier: ProbeSettings
    features: Features
    extra_features: Features | None = made_from()

    @property
    def origin(self) -> str | None:
        """The origin of the backbone's weights, if they are pretrained."""
        return network_origin(json.dumps(self.classifier.network), self.labelled.shape, self.labelled.num_classes)

    def check(self) -> None:
        """Check that the network can take the images, and that fixed features suffice for the arm."""
        check_classes(self.labelled)
        network_origin(json.dumps(self.classifier.network), self.labelled.shape, self.labelled.num_classes)
        if self.arm.transform in MIXING or self.extra.name == "left_out":
            row = f"augmentation.transform={self.arm.transform} and augmentation.extra={self.extra.name}"
            raise ValueError(
                f"{row}: classifier=probe has neither batches to leave images out of nor mixed images, only features "
                "that are computed once: leave this arm out, or use classifier=finetuned"
            )
        self.extra.check(self.labelled, num_extra=self.classifier.batch_size, batch_size=self.classifier.batch_size)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Fit the probe and write its weights."""
        settings, labelled, share = self.classifier, self.labelled, self.arm.share or 0.0
        network = settings.build(labelled.shape, labelled.num_classes)
        features = self.features.load(made["features"])
        labels = labelled.labels.repeat(self.features.views)
        like = features
        weights = torch.full((len(labels),), 1 / len(labels))
        extra = self.extra.images(labelled, made, self.seed)
        if extra is not None and self.extra_features is not None:
            others = self.extra_features.load(made["extra_features"])
            views = len(others) // len(extra)
            counts = extra.class_counts if self.extra.balanced else torch.ones(extra.num_classes)
            of_others = (1 / counts)[extra.labels].repeat(views)
            features, labels = torch.cat([features, others]), torch.cat([labels, extra.labels.repeat(views)])
            weights = torch.cat([(1 - share) * weights, share * of_others / of_others.sum()])
        fit_head(network.head, like, features, labels, weights, settings.weight_decay)
        save_weights(folder / FILE, about_classifier(asdict(settings), labelled, self.decoding), classifier=network)


@torch.no_grad()
def features_of(
    images: ImageSet,
    network: Transfer | Encoded,
    batch_size: int,
    views: int,
    transform: ClassicalTransform | None,
    draws: Stream,
) -> Tensor:
    """Return a network's features of `views` random views of each image, `[V x N, F]`, on the CPU."""
    found = []
    for chunk in torch.arange(views * len(images)).split(batch_size):
        pixels = to_float(images.images[chunk % len(images)].to(network.head.weight.device))
        if transform is not None:
            pixels = transform(pixels, draws.at(int(chunk[0])))
        found.append(network.features(pixels).cpu())
    return torch.cat(found)


def fit_head(
    head: nn.Linear, like: Tensor, features: Tensor, labels: Tensor, weights: Tensor, weight_decay: float
) -> None:
    """Fit a layer that takes raw features as `fit_linear` does, in units in which those of `like` have variance 1."""
    mean = like.mean(dim=0)
    std = (like - mean).square().mean().sqrt()  # one for all: with few images, that of one feature is noise
    if not std > 1e-6 * like.square().mean().sqrt():  # but for rounding, or not finite
        raise DivergedError("all labelled images have the same features")
    fit = fit_linear((features - mean) / std, labels, weights, head.out_features, weight_decay)
    with torch.no_grad():
        head.weight.copy_(fit.weight / std)
        head.bias.copy_(fit.bias - fit.weight @ mean / std)


def fit_linear(features: Tensor, labels: Tensor, weights: Tensor, num_classes: int, weight_decay: float) -> nn.Linear:
    r"""Fit a multinomial logistic regression with L-BFGS, from weights of 0.

    It minimises $\sum_i w_i \cdot \text{cross-entropy}_i + \frac{\lambda}{2} \lVert W \rVert^2$.

    Args:
        features: `[N, F]`.
        labels: `[N]`.
        weights: The weight $w$ of each, `[N]`.
        num_classes: Number of outputs.
        weight_decay: $\lambda$; the biases are free.
    """
    layer = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=MOST_STEPS, tolerance_grad=LARGEST_SLOPE, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        entropies = cross_entropy(layer(features), labels, reduction="none")
        found = weights @ entropies + weight_decay / 2 * layer.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return layer.requires_grad_(False)
