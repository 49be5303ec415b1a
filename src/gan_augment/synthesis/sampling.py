"""Synthetic sets: labelled images to exact quotas, each traceable to generator, seed and label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_augment.data.image_set import ImageSet, from_float
from gan_augment.networks.weights import load_weights
from gan_augment.randomness import Stream
from gan_augment.settings import check_integer, settings_from
from gan_augment.stages import Stage
from gan_augment.systems.design import GANDesign
from gan_augment.systems.hardware import Hardware

VERSION = 1  # raise it when the same seed makes other images

IMAGES = "images.npz"
BATCH_SIZE = 256
MOST_NAMED = 10  # classes in an error
MAX_CANDIDATES = 50  # that a teacher looks at, for every image that is asked for


@dataclass(frozen=True)
class SynthesisSettings:
    """How a synthetic set is made.

    Attributes:
        per_class: Images a class; of conditioning=none, which knows no classes, images in all.
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
def generate(
    generator: nn.Module, latent_dim: int, labels: Tensor, first: int, seed: int, dtype: torch.dtype = torch.uint8
) -> Tensor:
    """Make images of given labels.

    Args:
        generator: (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1].
        latent_dim: Length of a latent vector.
        labels: int64 `[N]`.
        first: The number of the first one's latent vector; the others follow.
        seed: Decides the latents.
        dtype: What the images are made of: uint8, or floats as they come.

    Returns:
        Images `[N, C, H, W]`, on the CPU.
    """
    device, images = next(generator.parameters()).device, []
    for indices in torch.arange(len(labels)).split(BATCH_SIZE):
        drawn = latents(seed, (first + indices).tolist(), latent_dim)
        images.append(from_float(generator(drawn.to(device), labels[indices].to(device)).float(), dtype).cpu())
    return torch.cat(images)


@dataclass(frozen=True)
class Teacher:
    """A classifier that says what the images of an unconditional generator show (Lee 2013, pseudo-labels).

    Attributes:
        stage: The stage that trains it, on labelled images.
        says: (the stage's folder, images) -> probabilities `[N, K]`.
        class_names: K names.
        threshold: Probability of its class from which on an image is taken.
    """

    stage: Stage
    says: Callable[[Path, ImageSet], Tensor]
    class_names: Sequence[str]
    threshold: float

    def choose(self, make: Callable[[int, int], Tensor], folder: Path, per_class: int) -> tuple[Tensor, Tensor, Tensor]:
        """Take the first `per_class` images of each class that the teacher is sure of.

        Args:
            make: (number of the first candidate, number of candidates) -> images `[n, C, H, W]`.
            folder: The teacher's stage folder.
            per_class: Images a class.

        Returns:
            Images `[N, C, H, W]`, labels and the numbers of the candidates, int64 `[N]`; class after class.

        Raises:
            ValueError: If after 50 times as many candidates as images are asked for a class still lacks some.
        """
        num_images, num_classes = per_class * len(self.class_names), len(self.class_names)
        missing = torch.full((num_classes,), per_class)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for start in range(0, MAX_CANDIDATES * num_images, num_images):
            images = make(start, num_images)
            anything = ImageSet(images, torch.full((num_images,), -1), self.class_names)
            sureness, labels = self.says(folder, anything).max(dim=1)
            sure = sureness >= self.threshold
            first = [(sure & (labels == label)).nonzero().squeeze(1)[: missing[label]] for label in range(num_classes)]
            taken = torch.cat(first)
            found.append((images[taken], labels[taken], start + taken))
            missing -= labels[taken].bincount(minlength=num_classes)
            if not missing.any():
                break
        else:
            short = [name for name, lacks in zip(self.class_names, missing.tolist(), strict=True) if lacks]
            raise ValueError(
                f"of {MAX_CANDIDATES * num_images} generated images the teacher takes fewer than {per_class} for class "
                f"{', '.join(map(repr, short[:MOST_NAMED]))}{', ...' if len(short) > MOST_NAMED else ''}; lower "
                f"conditioning.threshold={self.threshold} or synthesis.per_class, or take conditioning=per_class"
            )
        images, labels, numbers = (torch.cat(tensors) for tensors in zip(*found, strict=True))
        order = labels.argsort(stable=True)
        return images[order], labels[order], numbers[order]


def synthesis_stage(
    gan: Stage,
    images: ImageSet,
    design: Mapping[str, Mapping[str, Any]],
    synthesis: Mapping[str, Any],
    seed: int,
    hardware: Hardware,
    teacher: Teacher | None = None,
) -> Stage:
    """Lay out the stage that samples a trained GAN.

    Args:
        gan: The stage that trains it.
        images: A set with the shape and the classes it is trained for.
        design: The configuration nodes of its parts, as it is trained with.
        synthesis: Configuration node of the `SynthesisSettings`.
        seed: Decides the latents.
        hardware: Where to compute.
        teacher: Who labels the images of a generator that knows no classes; None keeps the generator's own.

    Raises:
        ValueError: If a setting is out of range.
    """
    settings = settings_from(SynthesisSettings, "synthesis", synthesis)
    inputs, chosen = {"gan": gan}, {}
    if teacher is not None:
        inputs, chosen = {"gan": gan, "teacher": teacher.stage}, {"threshold": teacher.threshold}
    return Stage(
        name="synthesis",
        version=VERSION,
        settings={**synthesis, **chosen, **hardware.identity},
        inputs=inputs,
        seed=seed,
        compute=partial(write_synthetic, images, GANDesign.read(design), settings, seed, hardware.device, teacher),
    )


def write_synthetic(
    real: ImageSet,
    design: GANDesign,
    settings: SynthesisSettings,
    seed: int,
    device: torch.device,
    labels_by: Teacher | None,
    folder: Path,
    gan: Path,
    teacher: Path | None = None,
) -> None:
    """Sample the averaged generator in a GAN's stage folder, and write the set into a folder.

    Each image's number is that of its latent vector: with the seed it names the image.
    """
    network = load_weights(gan, "ema", design.generator(real.shape, real.num_classes)).to(device)

    def make(labels: Tensor, first: int = 0) -> Tensor:
        return generate(network, design.architecture.latent_dim, labels, first, seed, real.dtype)

    if labels_by is None:
        labels = torch.arange(real.num_classes).repeat_interleave(settings.per_class)
        images, numbers = make(labels), torch.arange(len(labels))
    else:
        assert teacher is not None
        images, labels, numbers = labels_by.choose(
            lambda first, number: make(torch.zeros(number, dtype=torch.int64), first), teacher, settings.per_class
        )
    np.savez(folder / IMAGES, images=images.numpy(), labels=labels.numpy(), numbers=numbers.numpy())


def read_synthetic(folder: Path, class_names: Sequence[str]) -> ImageSet:
    """Read the synthetic set in a stage's folder."""
    with np.load(folder / IMAGES, allow_pickle=False) as stored:
        return ImageSet(torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"]), class_names)
