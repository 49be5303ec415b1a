"""The running statistics of batch norm."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the layers of batch norm that keep running statistics; frozen ones do not."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norm as they are, in this context."""
    layers = batch_norms(network)
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
