"""What a generative network is that learns without an adversary: latents and labels become images, exactly."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from gan_augment.data.image_set import ImageShape

FEWEST_PIXELS = 8  # a side
OF_POINTS = "use generator=gan with architecture=points"


class GenerativeNetwork(nn.Module, ABC):
    """Latents `[B, latent_dim]`, labels `[B]` -> images `[B, C, H, W]` in [-1, 1].

    All numbers that an image depends on are in its latent vector, which is standard normal, and its label.

    Attributes:
        latent_dim: Length of a latent vector.
    """

    latent_dim: int

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Compile the parts, which trainings call by other ways than `forward`."""
        for part in self.children():
            for layer in part if isinstance(part, nn.ModuleList) else [part]:
                layer.compile(*arguments, **settings)

    @abstractmethod
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Make images."""


def check_pictures(name: str, shape: ImageShape, advice: str = "use another arm") -> None:
    """Raise a ValueError, with advice, for points; and one for images of less than 8 pixels a side."""
    if shape.is_point:
        raise ValueError(f"{name} is for pictures, and these are points: {advice}")
    if min(shape.height, shape.width) < FEWEST_PIXELS:
        raise ValueError(
            f"{name} needs images of at least {FEWEST_PIXELS}x{FEWEST_PIXELS} pixels, not {shape.height}x{shape.width}"
        )
