"""Backbones: networks whose features others use, mostly pretrained ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Module = TypeVar("Module", bound=nn.Module)
DOWNLOADS = ContextVar("downloads", default=True)


class Backbone(nn.Module, ABC):
    """A network whose features others use: images `[B, C, H, W]` in [-1, 1] with 1 or 3 channels -> features.

    Attributes:
        channels: Channels of the feature maps by their strides, such as `{4: 24, 8: 40}`.
        num_features: Number of pooled features.
        origin: One sentence on the source of pretrained weights; None if they are drawn at random.
    """

    channels: Mapping[int, int]
    num_features: int
    origin: str | None

    @abstractmethod
    def maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Return feature maps `[B, channels[s], ceil(H / s), ceil(W / s)]` at ascending strides s.

        Nothing beyond the last one is computed.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features `[B, num_features]`."""


def freeze(module: Module) -> Module:
    """Fix a module's weights and keep it in evaluation mode; return the module itself.

    Parameters become buffers outside its `state_dict`, so optimizers and checkpoints skip them, while `.to(device)`
    still moves them. Gradients flow through the module to its input.
    """
    module.eval()
    for part in module.modules():
        part.__dict__["train"] = MethodType(_stay, part)
        for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            delattr(part, name)
            part.register_buffer(name, tensor.detach(), persistent=False)
        if isinstance(part, _NormBase):
            part.track_running_stats = False  # else loading a state without such a count would make one up
    return module


@contextmanager
def without_downloads() -> Iterator[None]:
    """Let networks that are built in this context load weights only from files on this machine."""
    token = DOWNLOADS.set(False)
    try:
        yield
    finally:
        DOWNLOADS.reset(token)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of `train` in a frozen module."""
    return module
