"""Classifiers in two parts: the last linear layer, and all before it, whose output are the features."""

import copy
from typing import Any

from torch import Tensor, nn


def head_name(network: nn.Module) -> str:
    """Return the name of a classifier's last linear layer, such as `layers.9`.

    Raises:
        ValueError: If it has none.

    Example:
        >>> head_name(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        '3'
    """
    names = [name for name, layer in network.named_modules() if name and isinstance(layer, nn.Linear)]
    if not names:
        raise ValueError(f"{type(network).__name__} has no linear layer at its end, so it has no features")
    return names[-1]


class Divided(nn.Module):
    """A classifier in two parts: images `[B, C, H, W]` -> features `[B, F]` -> logits `[B, K]`.

    Args:
        network: The classifier. It is changed: it becomes the first part, without its last linear layer.

    Attributes:
        body: Images -> features.
        head: Features -> logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._name = head_name(network)
        head = network.get_submodule(self._name)
        assert isinstance(head, nn.Linear)
        network.set_submodule(self._name, nn.Identity())
        self.body, self.head = network, head

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.head(self.body(images))

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Compile both parts: trainings call them one by one."""
        self.body.compile(*arguments, **settings)
        self.head.compile(*arguments, **settings)

    def whole(self) -> nn.Module:
        """Return a copy of the classifier as it was before it was divided, with the weights that it has now."""
        network = copy.deepcopy(self.body)
        network.set_submodule(self._name, copy.deepcopy(self.head))
        return network
