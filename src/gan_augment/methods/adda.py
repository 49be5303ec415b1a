"""Adversarial discriminative adaptation: features of the pool that look like those of the labelled images.

Tzeng et al. 2017.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.batches import Batch
from gan_augment.losses.adaptation import domain_accuracy, domain_loss
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings, discriminator
from gan_augment.networks.heads import Divided
from gan_augment.randomness import initialised
from gan_augment.settings import check_integer, check_number


@dataclass(frozen=True)
class ADDASettings(AdaptationSettings):
    """How ADDA is trained.

    Attributes:
        learning_rate: Of the features and of the discriminator, as a share of the classifier's.
        hidden: Units of the discriminator's two hidden layers.

    Raises:
        ValueError: If a value is out of range.
    """

    needs_source = True

    learning_rate: float
    hidden: int

    def __post_init__(self) -> None:
        check_number("adda.learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_integer("adda.hidden", self.hidden, low=1)

    def training(self, network: Divided, num_classes: int, **common: Any) -> "ADDA":
        """Return the training of a network."""
        return ADDA(self, network, **common)


class ADDA(Adaptation):
    """The classifier of the arm without the pool keeps its last layer; its features change for the pool.

    A discriminator tells the first features of labelled images from the new ones of the pool, and these learn to look
    like the first, as a generator does: with inverted labels (Tzeng et al. 2017, equation 9).
    """

    CURVES = (*Adaptation.COMMON, "loss/domain", "domain/accuracy", "loss/features")

    def __init__(self, adaptation: ADDASettings, network: Divided, **common: Any) -> None:
        super().__init__(network, **common)
        self.adaptation = adaptation
        self.first = copy.deepcopy(network.body).requires_grad_(False).eval()
        num_features = network.head.in_features
        self.discriminator = initialised(
            lambda: discriminator(num_features, adaptation.hidden), self.seed, "init/discriminator"
        )

    def players(self) -> list[list[dict[str, Any]]]:
        """Return the weights of the features, and those of the discriminator."""
        rate = self.adaptation.learning_rate * self.settings.learning_rate
        share = self.adaptation.learning_rate
        body = [{**group, "lr": share * group.get("lr", self.settings.learning_rate)} for group in self.body]
        return [body, [{"params": [*self.discriminator.parameters()], "lr": rate}]]

    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step; return the values of the curves."""
        of_features, of_discriminator = optimizers
        with torch.no_grad():
            fixed = self.first(known.images).float()
        moved = self.network.body(pool).float()
        _, _, terms = self.supervised(fixed, moved.detach(), known.labels)
        logits = [self.discriminator(some).float()[:, 0] for some in (fixed, moved.detach())]
        terms |= {"loss/domain": domain_loss(*logits), "domain/accuracy": domain_accuracy(*logits)}
        self.minimise(terms["loss/domain"], of_discriminator)
        inverted = self.discriminator(moved).float()[:, 0]
        terms["loss/features"] = torch.nn.functional.softplus(-inverted).mean()
        self.minimise(terms["loss/features"], of_features)
        return terms
