"""Domain-adversarial training: features from which a discriminator cannot tell the domain (Ganin et al. 2016)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.batches import Batch
from gan_augment.losses.adaptation import domain_accuracy, domain_loss, reversal_weight, reverse_gradient
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings, discriminator
from gan_augment.networks.heads import Divided
from gan_augment.randomness import initialised
from gan_augment.settings import check_integer, check_number


@dataclass(frozen=True)
class DANNSettings(AdaptationSettings):
    """How DANN is trained.

    Attributes:
        weight: Largest weight of the reversed gradient; it grows from 0 during the training.
        hidden: Units of the discriminator's two hidden layers.

    Raises:
        ValueError: If a value is out of range.
    """

    weight: float
    hidden: int

    def __post_init__(self) -> None:
        check_number("dann.weight", self.weight, 0, 100, open_low=True)
        check_integer("dann.hidden", self.hidden, low=1)

    def training(self, network: Divided, num_classes: int, **common: Any) -> "DANN":
        """Return the training of a network."""
        return DANN(self, network, **common)


class DANN(Adaptation):
    r"""Minimises $L_y(F, C) + L_d(D \circ R_\lambda \circ F)$ over features, classes and discriminator at once.

    $L_y$ is the cross-entropy of labelled images, $L_d$ that of the domains, and $R_\lambda$ reverses its gradient on
    the way to the features (Ganin et al. 2016, equations 9 to 18, with the mean of both domains for $L_d$).
    """

    CURVES = (*Adaptation.COMMON, "loss/domain", "domain/accuracy")

    def __init__(self, adaptation: DANNSettings, network: Divided, **common: Any) -> None:
        super().__init__(network, **common)
        self.adaptation = adaptation
        num_features = network.head.in_features
        self.discriminator = initialised(
            lambda: discriminator(num_features, adaptation.hidden), self.seed, "init/discriminator"
        )

    def players(self) -> list[list[dict[str, Any]]]:
        """Return all weights, for one optimizer."""
        return [[*self.body, *self.head, {"params": [*self.discriminator.parameters()]}]]

    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step; return the values of the curves."""
        features = self.features(known.images, pool)
        _, _, terms = self.supervised(*features, known.labels)
        weight = self.adaptation.weight * reversal_weight(self.progress(step))
        logits = [self.discriminator(reverse_gradient(some, weight)).float()[:, 0] for some in features]
        terms |= {"loss/domain": domain_loss(*logits), "domain/accuracy": domain_accuracy(*logits)}
        self.minimise(terms["loss/labelled"] + terms["loss/domain"], optimizers[0])
        return terms
