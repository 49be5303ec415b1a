"""Weights on disk: tensors and nothing else, so that reading a file runs no code from it."""

from pathlib import Path

import torch
from torch import nn

FILE = "weights.pt"


def save_weights(folder: Path, **networks: nn.Module) -> None:
    """Write the weights of named networks into a stage's folder."""
    torch.save({name: network.cpu().state_dict() for name, network in networks.items()}, folder / FILE)


def load_weights(folder: Path, name: str, network: nn.Module) -> nn.Module:
    """Fill a network with the weights stored under a name; return it frozen, in evaluation mode."""
    network.load_state_dict(torch.load(folder / FILE, weights_only=True)[name])
    return network.eval().requires_grad_(False)
