"""Conditional domain-adversarial training: the discriminator also sees the predictions (Long et al. 2018)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softmax

from gan_augment.data.batches import Batch
from gan_augment.losses.adaptation import domain_accuracy, domain_loss, reversal_weight, reverse_gradient
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings, discriminator
from gan_augment.networks.heads import Divided
from gan_augment.randomness import Stream, initialised
from gan_augment.settings import check_boolean, check_integer, check_number


@dataclass(frozen=True)
class CDANSettings(AdaptationSettings):
    """How CDAN is trained.

    Attributes:
        weight: Largest weight of the reversed gradient; it grows from 0 during the training.
        hidden: Units of the discriminator's two hidden layers.
        dimensions: Of the random maps of features and predictions, whose product the discriminator sees.
        entropy: Whether images with certain predictions count more (CDAN+E).

    Raises:
        ValueError: If a value is out of range.
    """

    weight: float
    hidden: int
    dimensions: int
    entropy: bool

    def __post_init__(self) -> None:
        check_number("cdan.weight", self.weight, 0, 100, open_low=True)
        check_integer("cdan.hidden", self.hidden, low=1)
        check_integer("cdan.dimensions", self.dimensions, low=1)
        check_boolean("cdan.entropy", self.entropy)

    def training(self, network: Divided, num_classes: int, **common: Any) -> "CDAN":
        """Return the training of a network."""
        return CDAN(self, network, num_classes, **common)


class CDAN(Adaptation):
    r"""As DANN, but the discriminator sees features $f$ together with the predictions $g$.

    It sees the randomised multilinear map $(R_f f) \odot (R_g g) / \sqrt{d}$ (Long et al. 2018, equation 6), and with
    entropy conditioning images count with $1 + e^{-H(g)}$ (equation 8). No gradient of the discriminator's loss flows
    through the predictions; in the authors' code it flows through these weights.
    """

    CURVES = (*Adaptation.COMMON, "loss/domain", "domain/accuracy")

    of_features: Tensor
    of_predictions: Tensor

    def __init__(self, adaptation: CDANSettings, network: Divided, num_classes: int, **common: Any) -> None:
        super().__init__(network, **common)
        self.adaptation, size = adaptation, adaptation.dimensions
        draws = Stream(self.seed, "init/maps")
        for number, (name, inputs) in enumerate(
            (("of_features", network.head.in_features), ("of_predictions", num_classes))
        ):
            self.register_buffer(name, torch.randn(inputs, size, generator=draws.at(number)))
        self.discriminator = initialised(
            lambda: discriminator(size, adaptation.hidden), self.seed, "init/discriminator"
        )

    def players(self) -> list[list[dict[str, Any]]]:
        """Return all weights, for one optimizer."""
        return [[*self.body, *self.head, {"params": [*self.discriminator.parameters()]}]]

    def play(self, optimizers: list[torch.optim.Optimizer], known: Batch, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Take a step; return the values of the curves."""
        features = self.features(known.images, pool)
        *of_classes, terms = self.supervised(*features, known.labels)
        weight = self.adaptation.weight * reversal_weight(self.progress(step))
        predictions = [softmax(logits.detach(), dim=1) for logits in of_classes]
        of_known, of_pool = (self.told(some, each, weight) for some, each in zip(features, predictions, strict=True))
        counted = (certainty(predictions[0]), certainty(predictions[1])) if self.adaptation.entropy else None
        terms["loss/domain"] = domain_loss(of_known, of_pool, counted)
        terms["domain/accuracy"] = domain_accuracy(of_known, of_pool)
        self.minimise(terms["loss/labelled"] + terms["loss/domain"], optimizers[0])
        return terms

    def told(self, features: Tensor, predictions: Tensor, weight: float) -> Tensor:
        """Return the discriminator's logits, `[B]`, from features `[B, F]` and probabilities `[B, K]`."""
        mapped = reverse_gradient(features, weight) @ self.of_features * (predictions @ self.of_predictions)
        return self.discriminator(mapped / self.adaptation.dimensions**0.5).float()[:, 0]


def certainty(predictions: Tensor) -> Tensor:
    """Return the weight of each image, 1 + e^(-entropy), from probabilities `[B, K]`.

    Example:
        >>> certainty(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([2.0000, 1.5000])
    """
    entropy = -(predictions * predictions.clamp(min=1e-12).log()).sum(dim=1)
    return 1 + entropy.neg().exp()
