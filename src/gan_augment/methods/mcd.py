"""Maximum classifier discrepancy: two classifiers find images on which features must change (Saito et al. 2018)."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_augment.data.batches import Batch
from gan_augment.losses.adaptation import discrepancy
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings
from gan_augment.networks.heads import Divided
from gan_augment.randomness import initialised
from gan_augment.settings import check_integer, check_number


@dataclass(frozen=True)
class MCDSettings(AdaptationSettings):
    """How MCD is trained.

    Attributes:
        weight: Weight of the discrepancy.
        generator_steps: Steps of the features for each step of the classifiers.

    Raises:
        ValueError: If a value is out of range.
    """

    weight: float
    generator_steps: int

    def __post_init__(self) -> None:
        check_number("mcd.weight", self.weight, 0, 100, open_low=True)
        check_integer("mcd.generator_steps", self.generator_steps, low=1)

    def training(self, network: Divided, num_classes: int, **common: Any) -> "MCD":
        """Return the training of a network."""
        return MCD(self, network, **common)


class MCD(Adaptation):
    """Three steps of training in each of its own (Saito et al. 2018, section 3.3), with two last layers.

    A: all learn from labelled images. B: the last layers also learn to disagree on the pool. C: the features learn to
    make them agree. The classifier has the mean of both layers' logits.
    """

    CURVES = (*Adaptation.COMMON, "pool/discrepancy")

    def __init__(self, adaptation: MCDSettings, network: Divided, **common: Any) -> None:
        super().__init__(network, **common)
        self.adaptation, head = adaptation, network.head
        self.second = initialised(
            lambda: torch.nn.Linear(head.in_features, head.out_features), self.seed, "init/second_head"
        )

    def players(self) -> list[list[dict[str, Any]]]:
        """Return the weights of the features, and those of both last layers."""
        return [self.body, [*self.head, {"params": [*self.second.parameters()]}]]

    def classifier(self) -> torch.nn.Module:
        """Return a copy of the classifier in one piece, with the mean of both last layers."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for weight, other in zip(network.head.parameters(), self.second.parameters(), strict=True):
                weight.lerp_(other, 0.5)
        return network.whole()

    def logits(self, images: Tensor) -> Tensor:
        """Return the mean of both last layers' logits, `[B, K]`."""
        features = self.network.body(images)
        return (self.network.head(features) + self.second(features)) / 2

    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step; return the values of the curves."""
        of_features, of_heads = optimizers
        weight = self.adaptation.weight
        features, of_pool = self.features(known.images, pool)
        _, _, terms = self.supervised(features, of_pool, known.labels)
        of_heads.zero_grad()
        self.minimise(terms["loss/labelled"] + cross_entropy(self.second(features).float(), known.labels), of_features)
        of_heads.step()

        with torch.no_grad():
            features, of_pool = self.features(known.images, pool)
        losses = [cross_entropy(head(features).float(), known.labels) for head in (self.network.head, self.second)]
        terms["pool/discrepancy"] = self.disagreement(of_pool)
        self.minimise(losses[0] + losses[1] - weight * terms["pool/discrepancy"], of_heads)

        for _ in range(self.adaptation.generator_steps):
            self.minimise(weight * self.disagreement(self.network.body(pool).float()), of_features)
        return terms

    def disagreement(self, features: Tensor) -> Tensor:
        """Return the discrepancy of both last layers on features `[B, F]`."""
        return discrepancy(self.network.head(features).float(), self.second(features).float())
