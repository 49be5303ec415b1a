"""Synthetic sets: labelled images to exact quotas, each traceable to generator, seed and label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageSet, ImageShape, to_uint8
from gan_augment.networks.weights import load_weights
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer, settings_from
from gan_augment.stages import Stage
from gan_augment.systems.design import GANDesign
from gan_augment.systems.hardware import Hardware

VERSION = 1  # raise it when the same seed makes other images

IMAGES = "images.npz"
BATCH_SIZE = 256


@dataclass(frozen=True)
class SynthesisSettings:
    """How a synthetic set is made.

    Attributes:
        per_class: Images a class.
    """

    per_class: int

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_integer("synthesis.per_class", self.per_class, low=1)


def latents(seed: int, indices: Sequence[int], latent_dim: int) -> Tensor:
    """Return the latent vectors `[N, latent_dim]` of some images of a synthetic set.

    Each is drawn for itself, so image i can be made again without the others.

    Args:
        seed: The seed of the synthetic set.
        indices: Where the images stand in the set.
        latent_dim: Length of a latent vector.
    """
    stream = Stream(seed, "synthesis")
    return torch.stack([torch.randn(latent_dim, generator=stream.at(index)) for index in indices])


@torch.no_grad()
def synthesise(
    generator: nn.Module, latent_dim: int, num_classes: int, per_class: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Make exactly `per_class` images of each class.

    Args:
        generator: (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1].
        latent_dim: Length of a latent vector.
        num_classes: Number of classes.
        per_class: Images a class.
        seed: Decides the latents.

    Returns:
        Images, uint8 `[N, C, H, W]`, and labels, int64 `[N]`, class after class.
    """
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    device = next(generator.parameters()).device
    images = []
    for indices in torch.arange(len(labels)).split(BATCH_SIZE):
        drawn = latents(seed, indices.tolist(), latent_dim)
        images.append(to_uint8(generator(drawn.to(device), labels[indices].to(device)).float()).cpu())
    return torch.cat(images), labels


def synthesis_stage(
    gan: Stage,
    images: ImageSet,
    design: Mapping[str, Mapping[str, Any]],
    synthesis: Mapping[str, Any],
    seed: int,
    hardware: Hardware,
) -> Stage:
    """Lay out the stage that samples a trained GAN.

    Args:
        gan: The stage that trains it.
        images: A set with the shape and the classes it is trained for.
        design: The configuration nodes of its parts, as it is trained with.
        synthesis: Configuration node of the `SynthesisSettings`.
        seed: Decides the latents.
        hardware: Where to compute.

    Raises:
        ValueError: If a setting is out of range.
    """
    settings = settings_from(SynthesisSettings, "synthesis", synthesis)
    return Stage(
        name="synthesis",
        version=VERSION,
        settings={**synthesis, **hardware.identity},
        inputs={"gan": gan},
        seed=seed,
        compute=partial(
            write_synthetic, images.shape, images.num_classes, GANDesign.read(design), settings, seed, hardware.device
        ),
    )


def write_synthetic(
    shape: ImageShape,
    num_classes: int,
    design: GANDesign,
    settings: SynthesisSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    gan: Path,
) -> None:
    """Sample the averaged generator in a GAN's stage folder, and write the set into a folder."""
    generator = load_weights(gan, "ema", design.generator(shape, num_classes)).to(device)
    images, labels = synthesise(generator, design.architecture.latent_dim, num_classes, settings.per_class, seed)
    np.savez(folder / IMAGES, images=images.numpy(), labels=labels.numpy())


def read_synthetic(folder: Path, class_names: Sequence[str]) -> ImageSet:
    """Read the synthetic set in a stage's folder."""
    with np.load(folder / IMAGES, allow_pickle=False) as stored:
        return ImageSet(torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"]), class_names)
