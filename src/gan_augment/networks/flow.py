"""The network of flow matching: a velocity at every point between noise and images, and the way along it."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import doublings, halvings
from gan_augment.networks.generative import OF_POINTS, GenerativeNetwork, check_pictures
from gan_augment.settings import check_choice, check_integer, check_number

FREQUENCIES = 32  # of a time, from one turn over all times up to `FASTEST`
FASTEST = 256.0
SOLVERS = ("euler", "heun")


class FlowNetwork(GenerativeNetwork):
    """Noise `[B, C x H x W]` goes to an image along a velocity that a U-Net gives (Lipman et al. 2023).

    Time goes from 0, noise, to 1, image, in equal steps: Euler's or Heun's (Karras et al. 2022, algorithm 1, whose last
    step is Euler's; here all are Heun's, since velocities are finite at the end).

    Args:
        shape: Shape of the images, at least 8x8 pixels; they need not be square.
        channels: Feature maps at full size; each halving doubles them, up to 8 times.
        solver: `euler`, or `heun` with two evaluations a step.
        steps: Steps from noise to image.
        guidance: Weight of the velocity with a label against that without: 1 takes it alone; above 1, images are more
            typical of their class and less diverse (Ho and Salimans 2022).
        num_changes: Numbers that tell how a training image was transformed; 0 in each means not at all.
    """

    def __init__(
        self,
        shape: ImageShape,
        num_classes: int,
        channels: int = 16,
        solver: str = "heun",
        steps: int = 10,
        guidance: float = 1.0,
        num_changes: int = 0,
    ) -> None:
        super().__init__()
        check_pictures("generator=flow", shape, OF_POINTS)
        check_integer("generator.network.channels", channels, low=4)
        check_choice("generator.network.solver", solver, SOLVERS)
        check_integer("generator.network.steps", steps, low=1)
        check_number("generator.network.guidance", guidance, 0, 100)
        self.shape, self.num_classes = shape, num_classes
        self.solver, self.steps, self.guidance = solver, steps, guidance
        self.latent_dim = shape.channels * shape.height * shape.width
        features = 8 * channels
        self.of_time = nn.Sequential(nn.Linear(2 * FREQUENCIES, features), nn.SiLU(), nn.Linear(features, features))
        self.of_label = nn.Embedding(num_classes + 1, features)  # the last one: without a label
        self.of_changes = nn.Linear(num_changes, features, bias=False) if num_changes else None
        levels = len(halvings(max(shape.height, shape.width), smallest=7))
        widths = doublings(channels, levels)
        self.start = nn.Conv2d(shape.channels, channels, 3, padding=1)
        self.down = nn.ModuleList(_Block(width, width, features) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(one, two, 3, 2, 1) for one, two in pairwise(widths))
        self.middle = nn.ModuleList(_Block(widths[-1], widths[-1], features) for _ in range(2))
        self.up = nn.ModuleList(_Block(one + two, one, features) for one, two in [*pairwise(widths)][::-1])
        last = nn.Conv2d(channels, shape.channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.end = nn.Sequential(_norm(channels), nn.SiLU(), last)

    def velocity(self, images: Tensor, times: Tensor, labels: Tensor, changes: Tensor | None = None) -> Tensor:
        """Return the velocity `[B, C, H, W]` of images at times `[B]` in [0, 1].

        Labels `[B]` are classes, or `num_classes` for none; `changes` are `[B, num_changes]`.
        """
        features = self.of_time(_waves(times)) + self.of_label(labels)
        if self.of_changes is not None and changes is not None:
            features = features + self.of_changes(changes)
        features, maps, kept = silu(features), self.start(images), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            maps = block(maps, features)
            kept.append(maps)
            maps = shrink(maps)
        for block in self.middle:
            maps = block(maps, features)
        for block in self.up:
            skip = kept.pop()
            maps = block(torch.cat([interpolate(maps, skip.shape[-2:]), skip], dim=1), features)
        return self.end(maps)

    def guided(self, images: Tensor, time: float, labels: Tensor) -> Tensor:
        """Return the velocity at one time, with guidance."""
        times = images.new_full((len(images),), time)
        known = self.velocity(images, times, labels)
        if self.guidance == 1:
            return known
        return torch.lerp(self.velocity(images, times, torch.full_like(labels, self.num_classes)), known, self.guidance)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Go from noise to images."""
        images, step = latents.view(-1, self.shape.channels, self.shape.height, self.shape.width), 1 / self.steps
        for number in range(self.steps):
            first = self.guided(images, number * step, labels)
            if self.solver == "heun":
                first = (first + self.guided(images + step * first, (number + 1) * step, labels)) / 2
            images = images + step * first
        return images.clamp(-1, 1)


class _Block(nn.Module):
    """A residual block whose second half is scaled and shifted by features of time and label (FiLM)."""

    def __init__(self, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.film = nn.Linear(features, 2 * outputs)
        self.norm = _norm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps: Tensor, features: Tensor) -> Tensor:
        """Map feature maps `[B, C, H, W]` and features `[B, F]` to feature maps."""
        scale, shift = self.film(features)[..., None, None].chunk(2, dim=1)
        return self.shortcut(maps) + self.second(silu(self.norm(self.first(maps)) * (1 + scale) + shift))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(4, channels), channels)


def _waves(times: Tensor) -> Tensor:
    """Return sines and cosines of times `[B]`, `[B, 2 x FREQUENCIES]`."""
    frequencies = torch.logspace(0, math.log10(FASTEST), FREQUENCIES, device=times.device)
    angles = 2 * math.pi * times[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
