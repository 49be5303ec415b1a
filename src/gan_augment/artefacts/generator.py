"""A trained generator: images by number, bit for bit the same every time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_augment.artefacts.weights import ABOUT, BEST, FILE, file_hash, load_weights, read_about, reason_of
from gan_augment.data.clusters import draw_clusters
from gan_augment.data.image_set import ImageShape, from_float
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.conditioning import Conditioning
from gan_augment.networks.generative import GenerativeNetwork
from gan_augment.randomness import stream_seed
from gan_augment.records.shape import check_shape
from gan_augment.settings import class_from

BLOCK = 64  # images at a time
KINDS = ("gan", "generator")  # of checkpoints: of a GAN, or of a generator of one network
# What a checkpoint must hold.
NEEDED = ("shape", "class_names", "class_counts", "label_counts", "design", "trained_on", "images_seen")


class Latents(NamedTuple):
    """How the numbers of a latent vector are drawn: from a normal distribution around 0.

    Attributes:
        scale: Its standard deviation, 1 in training. Above 1 images are more diverse and less typical.
        truncation: Largest absolute value of a number, above 0 (Brock et al. 2019): small values make images more
            typical and less diverse; None for no bound.
    """

    scale: float = 1.0
    truncation: float | None = None

    def draw(self, length: int, random: torch.Generator) -> Tensor:
        """Return a latent vector `[length]`."""
        if self.truncation is None:
            return self.scale * torch.randn(length, generator=random)
        bounds = {"a": -self.truncation, "b": self.truncation}
        return nn.init.trunc_normal_(torch.empty(length), std=self.scale, generator=random, **bounds)


AS_IN_TRAINING = Latents()


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator, the running average of its training, from its checkpoint.

    The latent vector and the cluster of an image depend only on (seed, label, number). Rounding depends on the batch
    size, so images are always computed in blocks of 64 with one label and consecutive numbers: an image has the same
    bits alone as among thousands, on one kind of device, with equal threads and versions.

    Attributes:
        network: (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1]; frozen. Its labels are
            classes or their clusters.
        dtype: Type of its images: uint8, or float32 for points.
        class_names: K names; only one if it knows no classes.
        knows_classes: Whether it can make images of a given class.
        clusters: Number of clusters per class.
        label_counts: Labelled images per class or, if there are clusters, per cluster, int64.
        about, hash: The metadata of the checkpoint, and the hash of its file, 16 hexadecimal digits.
    """

    network: nn.Module
    latent_dim: int
    shape: ImageShape
    dtype: torch.dtype
    class_names: Sequence[str]
    knows_classes: bool
    clusters: int
    label_counts: Tensor
    about: Mapping[str, Any]
    hash: str

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> "Generator":
        """Read a generator.

        Raises:
            ValueError: If the file is not a checkpoint of a generator, has another schema, or is damaged.
        """
        about = read_about(checkpoint, KINDS, NEEDED)
        try:
            check_shape(about, ABOUT)
            shape, class_names, label_counts = ImageShape(*about["shape"]), about["class_names"], about["label_counts"]
            num_classes = len(class_names)
            parts = described(about["design"], shape, num_classes)
            clusters = parts.clusters
            if len(about["class_counts"]) != num_classes or len(label_counts) != num_classes * clusters:
                raise ValueError(f"{len(label_counts)} counts for {num_classes} classes")
            if not sum(about["class_counts"]) or (
                clusters > 1 and not torch.tensor(label_counts).view(-1, clusters).any(dim=1).all()
            ):
                raise ValueError("a class without images")
        except Exception as error:  # a damaged description can break a constructor in any way
            raise ValueError(f"{checkpoint} does not describe a generator: {reason_of(error)}") from error
        return cls(
            load_weights(checkpoint, "ema", parts.network).to(device),
            parts.latent_dim,
            shape,
            torch.float32 if shape.is_point else torch.uint8,
            class_names,
            parts.knows_classes,
            clusters,
            torch.tensor(label_counts),
            about,
            file_hash(checkpoint),
        )

    def images(self, label: int, numbers: Tensor, seed: int, latents: Latents = AS_IN_TRAINING) -> Tensor:
        """Make the images `[N, C, H, W]` of a label in [0, K) with some numbers, int64 `[N]`, on the CPU."""
        blocks, which = (numbers // BLOCK).unique(return_inverse=True)
        made = []
        for block in blocks.tolist():
            whole = range(block * BLOCK, (block + 1) * BLOCK)
            vectors, labels = zip(*(self.draw(label, number, seed, latents) for number in whole), strict=True)
            made.append(self.show(torch.stack(vectors), torch.stack(labels)))
        return torch.cat(made)[which * BLOCK + numbers % BLOCK]

    @torch.no_grad()
    def show(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return the images `[N, C, H, W]` of latent vectors `[N, latent_dim]` and the network's labels `[N]`."""
        device = next(self.network.parameters()).device
        return from_float(self.network(latents.to(device), labels.to(device)).float(), self.dtype).cpu()

    def draw(self, label: int, number: int, seed: int, latents: Latents = AS_IN_TRAINING) -> tuple[Tensor, Tensor]:
        """Return the latent vector `[latent_dim]` of an image, and the label that the network takes, a scalar.

        The label is the class, or one of its clusters, drawn in the proportions of the labelled images.
        """
        random = torch.Generator().manual_seed(latent_seed(seed, label, number))
        latent = latents.draw(self.latent_dim, random)
        return latent, draw_clusters(torch.tensor([label]), self.label_counts, self.clusters, random)[0]


class Described(NamedTuple):
    """The network that a checkpoint describes, without weights, and what is to be known about it."""

    network: nn.Module
    latent_dim: int
    knows_classes: bool
    clusters: int


def described(design: Mapping[str, Any], shape: ImageShape, num_classes: int) -> Described:
    """Build the network of a design; raise an error of any kind if it does not describe one."""
    if "network" in design:
        make_network, settings = class_from(design["network"], GenerativeNetwork)
        with torch.device("meta"):
            network = make_network(shape, num_classes, **settings)
        return Described(network, network.latent_dim, knows_classes=True, clusters=1)
    make, settings = class_from(design.get("architecture"), Architecture)
    architecture = make(**settings)
    architecture.check(shape)
    make_conditioning, settings = class_from(design.get("conditioning"), Conditioning)
    conditioning = make_conditioning(**settings)
    with torch.device("meta"):
        body = conditioning.generator(architecture, shape, num_classes)
    return Described(body, architecture.latent_dim, conditioning.knows_classes, conditioning.clusters)


def latent_seed(seed: int, label: int, number: int) -> int:
    """Return the random seed of an image's latent vector."""
    return stream_seed(seed, f"synthesis/{label}", number)


def chosen_checkpoint(folder: Path) -> Path:
    """Return the checkpoint that makes the images of a generator's stage: the best one if it was kept, or the last."""
    best = folder / BEST
    return best if best.exists() else folder / FILE


def find_checkpoint(option: str, named: str) -> Path:
    """Find the checkpoint of a generator or a translator by its trial, its stage or its file, as an option names it.

    Raises:
        ValueError: If there is none.
    """
    where, path = f"{option}={named}", Path(named).expanduser()
    if not path.exists():
        raise ValueError(f"{where}: not found: name the folder of a trial or gan stage, or a checkpoint")
    if not path.is_dir():
        return path
    is_trial = (path / "record.json").exists()
    checkpoint = path / "gan.pt" if is_trial else chosen_checkpoint(path)
    if is_trial and (path / "translator.pt").exists():
        checkpoint = path / "translator.pt"
    if checkpoint.is_symlink() and not checkpoint.exists():  # earlier versions linked to the store
        raise ValueError(
            f"{where}: {checkpoint.name} is a link to {checkpoint.readlink()}, which is not there: copy the trial "
            "again and let the copy follow links, as with cp -rL"
        )
    if not checkpoint.exists():
        what = "this trial has no generator" if is_trial else "there is no trial and no stage of a GAN"
        raise ValueError(f"{where}: {what}: name another folder, or a checkpoint")
    return checkpoint
