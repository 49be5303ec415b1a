"""What all encoders share: their settings, training and stage.

An encoder turns an image into features. Its network is the discriminator of an `architecture`, without its head, so all
encoders of an architecture have the same size.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gan_augment.artefacts.encoder import load_encoder
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.contracts import Plan
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import HASH_BYTES, ImageSet, ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor
from gan_augment.networks.encoded import effective, encoder_architecture, encoder_of
from gan_augment.randomness import initialised
from gan_augment.records.findings import Findings
from gan_augment.settings import check_betas, check_integer, check_number
from gan_augment.stages import Stage, implied
from gan_augment.training.base import CURVES_END, Training, last_points

NODE = "architecture"  # the configuration node of the networks


class EncoderSettings:
    """How an encoder comes by its weights: a configuration node.

    Attributes:
        of_pixels: Whether the features are the pixels themselves.
    """

    of_pixels: ClassVar[bool] = False

    @property
    def identity(self) -> dict[str, Any]:
        """The settings for a stage's key, with the class, which may be of a plugin."""
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}"}


@dataclass(frozen=True)
class LearnedEncoder(EncoderSettings):
    """How an encoder learns.

    Attributes:
        trains: Its training.
        codes: Length of the code.
        images_seen: Images that it sees in all, repeats counted.
        batch_size: Images per step.
        learning_rate: Of every Adam: constant for half of the training, then down to 0.
        betas: Of every Adam.

    Raises:
        ValueError: If a value is out of range.
    """

    trains: ClassVar[type["EncoderTraining"]]

    codes: int
    images_seen: int
    batch_size: int
    learning_rate: float
    betas: tuple[float, float]

    def __post_init__(self) -> None:
        check_integer("encoder.codes", self.codes, low=1)
        check_integer("encoder.batch_size", self.batch_size, low=2)
        check_integer("encoder.images_seen", self.images_seen, low=self.batch_size)
        check_number("encoder.learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_betas("encoder.betas", self.betas)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings for a stage's key."""
        return super().identity | asdict(self)

    @property
    def num_steps(self) -> int:
        """Steps in all."""
        return self.images_seen // self.batch_size


class EncoderTraining(Training):
    """The training of an encoder, and of the networks that teach it, under manual optimisation.

    Args:
        body: Images -> features, with its first weights.
        settings: How it learns.
        architecture: Makes the other networks that take part.
        shape: Of the images.
    """

    STREAMS: ClassVar[tuple[str, ...]] = ("latents",)

    def __init__(
        self, body: FeatureExtractor, settings: Any, architecture: Architecture, shape: ImageShape, seed: int
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.body, self.settings = body, settings
        self.build(architecture, shape)

    @abstractmethod
    def build(self, architecture: Architecture, shape: ImageShape) -> None:
        """Make the other networks, as attributes."""

    def images_seen(self, step: int) -> int:
        """Return how many images it has seen after a step."""
        return (step + 1) * self.settings.batch_size

    axis = images_seen  # of all curves

    @abstractmethod
    def players(self) -> list[list[nn.Module]]:
        """Return the networks of each optimizer."""

    @abstractmethod
    def play(self, optimizers: list[torch.optim.Optimizer], images: Tensor, step: int) -> list[Tensor]:
        """Take a step of the optimizers with images `[B, C, H, W]` in [-1, 1]; return the values of the curves."""

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return an Adam for each player."""
        betas = (self.settings.betas[0], self.settings.betas[1])
        weights = [[weight for network in one for weight in network.parameters()] for one in self.players()]
        return [torch.optim.Adam(one, lr=self.settings.learning_rate, betas=betas, fused=True) for one in weights]

    def training_step(self, batch: Batch, step: int) -> None:
        """Train every player for a step."""
        rate = min(1.0, 2 - 2 * step / self.num_steps) * self.settings.learning_rate
        optimizers = self.optimizers_at(*[rate] * len(self.players()))
        points = torch.stack([one.detach().float() for one in self.play(optimizers, batch.images, step)])
        self.expect_finite(points)
        self.add_points(points)
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainEncoder(Stage):
    """Trains an encoder on all images that an arm may see, without their labels; or leaves it as it is.

    Attributes:
        images: The images, each once, in an order that does not tell which of them are labelled: so trials with more
            or fewer labels for the same images share an encoder.
        pool: Those of the images that are not labelled, for the record; None for an encoder that learns nothing.
        encoder: How it learns.
        architecture: The node of the networks; None for the pixels themselves.
    """

    name, version = "encoder", 1
    reads = ("encoder",)
    together = False

    images: ImageSet
    pool: ImageSet | None = implied(default=None)
    encoder: EncoderSettings
    architecture: Mapping[str, Any] | None

    @classmethod
    def plan(cls, plan: Plan) -> "TrainEncoder":
        """Plan the stage."""
        config, images = plan.config, plan.views.labelled.as_one_class()
        encoder = config.part("encoder", EncoderSettings)
        pool = plan.views.pool if isinstance(encoder, LearnedEncoder) else None
        return cls(
            images=images if pool is None else without_order(images.joined(pool.as_one_class())),
            pool=pool,
            encoder=encoder,
            architecture=None if encoder.of_pixels else effective(config.settings[NODE]),
            seed=0 if encoder.of_pixels else config.seeds.gan,
            hardware=config.hardware,
        )

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields."""
        return (*super().all_reads, *(() if self.architecture is None else (NODE, "seeds.gan")))

    def check(self) -> None:
        """Check that there is such an encoder of these images."""
        self.start()

    def start(self) -> FeatureExtractor:
        """Return the network with its first weights."""
        return initialised(lambda: encoder_of(self.images.shape, self.architecture), self.seed, "init/encoder")

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the network, and write its weights and the last point of each curve."""
        body, settings, shape = self.start(), self.encoder, self.images.shape
        if isinstance(settings, LearnedEncoder):
            assert self.architecture is not None
            architecture = encoder_architecture(self.architecture, shape)
            train = partial(settings.trains, body, settings, architecture, shape, self.seed)
            system = initialised(train, self.seed, "init/teachers")
            part = Part(self.images, settings.batch_size, "order")
            self.hardware.fit(system, ImageBatches([part], system.num_steps, self.seed), folder)
            system.keep_last_points(folder)
        about = {"kind": "encoder", "shape": [*astuple(shape)], "architecture": self.architecture}
        save_weights(folder / FILE, about, encoder=body)

    def load(self, folder: Path) -> nn.Module:
        """Read the network: images -> features, frozen."""
        return load_encoder(self.checkpoint(folder), self.start())

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of its weights."""
        return folder / FILE

    def findings(self, folder: Path) -> Findings:
        """Return the last point of each curve, if it learned."""
        return Findings({"encoder": {"training": last_points(folder)}} if (folder / CURVES_END).exists() else {})


def without_order(images: ImageSet) -> ImageSet:
    """Return the same images, each once, in the order of their hashes."""
    hashes = np.ascontiguousarray(images.hashes).view(f"V{HASH_BYTES}").ravel()
    _, first = np.unique(hashes, return_index=True)
    return images.subset(torch.from_numpy(first))
