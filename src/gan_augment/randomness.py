"""Streams: every random draw is a function of (seed, stream name, step), and of nothing else.

So a draw does not depend on earlier draws: a resumed stage equals an uninterrupted one, arms of one seed share what
they should share, and the number of workers does not matter.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

Module = TypeVar("Module", bound=torch.nn.Module)


def stream_seed(seed: int, stream: str, step: int = 0) -> int:
    """Hash the user's seed, the name of a stream, such as `order`, and a step into a generator's seed in [0, 2**63).

    Example:
        >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1) != stream_seed(0, "latent", 1)
        True
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Stream:
    """A stream of random draws on a device, from the user's seed; the name says what they are for."""

    def __init__(self, seed: int, name: str, device: torch.device | str = "cpu") -> None:
        self.seed, self.name = seed, name
        self._generator = torch.Generator(device)

    def at(self, step: int) -> torch.Generator:
        """Return the stream's generator, positioned at a step: the number of a draw."""
        return self._generator.manual_seed(stream_seed(self.seed, self.name, step))


def initialised(build: Callable[[], Module], seed: int, stream: str = "init") -> Module:
    """Build a module with weights that depend only on seed and stream; the global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, stream))
        return build()


def seed_global(seed: int, device: torch.device) -> None:
    """Seed the global stream of a device, from which networks and torchvision draw.

    For the CPU this seeds only its generator: `torch.manual_seed` also records its caller for a GPU that may never be
    used, which takes longer than a small layer.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
