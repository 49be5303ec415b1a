"""Information maximisation: predictions for the pool that are certain, and of all classes. It has no adversary."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_augment.data.batches import Batch
from gan_augment.losses.adaptation import marginal_entropy, reversal_weight
from gan_augment.losses.semi_supervised import conditional_entropy
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings
from gan_augment.networks.heads import Divided
from gan_augment.settings import check_number


@dataclass(frozen=True)
class InformationMaximisationSettings(AdaptationSettings):
    """How information is maximised.

    Attributes:
        weight: Largest weight of the information; it grows from 0 during the training.
        begin: Share of the training before which the classifier learns from labels alone. Where the domains differ much
            the first predictions for the pool are mostly wrong, and information makes wrong ones certain too.

    Raises:
        ValueError: If it is out of range.
    """

    weight: float
    begin: float

    def __post_init__(self) -> None:
        check_number("information_maximisation.begin", self.begin, 0, 0.99)
        check_number("information_maximisation.weight", self.weight, 0, 100, open_low=True)

    @property
    def identity(self) -> dict[str, float]:
        """The settings for a stage's key, without a beginning that stages did not have before."""
        return {"weight": self.weight} | ({"begin": self.begin} if self.begin else {})

    def training(self, network: Divided, num_classes: int, **common: Any) -> "InformationMaximisation":
        """Return the training of a network."""
        return InformationMaximisation(self, network, **common)


class InformationMaximisation(Adaptation):
    """Minimises the cross-entropy of labelled images less the information that predictions have on images of the pool.

    The information is the entropy of the mean prediction less the mean entropy of predictions (Krause et al. 2010; the
    loss of SHOT, Liang et al. 2020, equations 3 and 4, without its second phase).
    """

    CURVES = (*Adaptation.COMMON, "pool/marginal_entropy")

    def __init__(self, adaptation: InformationMaximisationSettings, network: Divided, **common: Any) -> None:
        super().__init__(network, **common)
        self.adaptation = adaptation

    def players(self) -> list[list[dict[str, Any]]]:
        """Return all weights, for one optimizer."""
        return [[*self.body, *self.head]]

    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step; return the values of the curves."""
        _, of_pool, terms = self.supervised(*self.features(known.images, pool), known.labels)
        terms["pool/marginal_entropy"] = marginal_entropy(of_pool)
        begin = self.adaptation.begin
        weight = self.adaptation.weight * reversal_weight(max(0.0, (self.progress(step) - begin) / (1 - begin)))
        loss = terms["loss/labelled"] + weight * (conditional_entropy(of_pool) - terms["pool/marginal_entropy"])
        self.minimise(loss, optimizers[0])
        return terms
