"""Generators of one network, which learn without an adversary: their settings, training and stage."""

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.augmentation.classical import NUM_CHANGES, ClassicalTransform
from gan_augment.config import Config
from gan_augment.contracts import GeneratorSettings, Plan
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import ImageSet, ImageShape, from_float
from gan_augment.generators.base import TrainGenerator, check_length, count_steps
from gan_augment.generators.samples import SampleGrid
from gan_augment.networks.generative import GenerativeNetwork
from gan_augment.randomness import initialised
from gan_augment.settings import build, build_later, check_integer, check_number
from gan_augment.stages import Stage
from gan_augment.training.base import Training

CHUNK = 256  # images sampled at a time


@dataclass(frozen=True)
class SingleSettings(GeneratorSettings, ABC):
    """How a generator of one network is trained.

    Attributes:
        kind: The stage that trains it.
        of: The class of its network.
        trains: The training of the network.
        network: The node of the network, called with the images' shape and the number of classes.
        images_seen: Images that it sees in all, repeats counted; None if only `seconds` end the training.
        batch_size: Images per step.
        learning_rate: Of Adam.
        decay: Whether the learning rate falls to 0 along a half cosine; otherwise it is constant.
        ema_half_life: Half-life of the network's running average, which makes the images, in images.
        ema_ramp_up: The half-life is at most this share of the images seen so far.
        transformed: Share of the images that the classical transforms of the data change. Their parameters are a
            further condition of the network, so it generates images without any (Karras et al. 2022, section 5).
        seconds: After how many seconds the training ends; None for no limit.

    Raises:
        ValueError: If a value is out of range.
    """

    kind: ClassVar[type["TrainSingle"]]
    of: ClassVar[type[GenerativeNetwork]]
    trains: ClassVar[type["SingleTraining"]]

    network: Mapping[str, Any]
    images_seen: int | None
    batch_size: int
    learning_rate: float
    decay: bool
    ema_half_life: int
    ema_ramp_up: float
    transformed: float
    seconds: float | None

    def __post_init__(self) -> None:
        for name in ("batch_size", "ema_half_life"):
            check_integer(f"generator.{name}", getattr(self, name), low=1)
        check_length(self.images_seen, self.seconds, self.decay, self.batch_size)
        for name in ("learning_rate", "ema_ramp_up"):
            check_number(f"generator.{name}", getattr(self, name), 0, 1, open_low=True)
        check_number("generator.transformed", self.transformed, 0, 1)
        build_later(self.network, "generator.network", self.of)

    @property
    def num_steps(self) -> int:
        """Steps in all, if no clock ends them before."""
        return count_steps(self.images_seen, self.batch_size)

    @property
    def node(self) -> dict[str, Any]:
        """The node of the network, with all that its weights depend on."""
        return {**self.network, "num_changes": NUM_CHANGES if self.transformed else 0}

    def build(self, shape: ImageShape, num_classes: int) -> GenerativeNetwork:
        """Build the network; raise a ValueError if it cannot make such images."""
        return build_later(self.node, "generator.network", self.of)(shape, num_classes)

    def knows_classes(self, config: Config) -> bool:
        """Its network always takes the label."""
        return True

    def stage(self, plan: Plan, labelled: ImageSet, pseudo_labels: Stage | None) -> "TrainSingle":
        """Plan the stage that trains the network."""
        config = plan.config
        return self.kind(
            labelled=labelled,
            generator=self,
            classical=config.classical if self.transformed else None,
            pool=plan.pool,
            pseudo_labels=pseudo_labels,
            watch=plan.watch,
            seed=config.seeds.gan,
            hardware=config.hardware,
        )


class SingleTraining(Training):
    """The training of one network and its running average, under manual optimisation.

    Args:
        network: Latents and labels -> images.
        settings: How it is trained.
        transform: The transforms of `settings.transformed`; None for none.
        about: Metadata of its checkpoints.
    """

    CURVES: ClassVar[tuple[str, ...]] = ("loss/generator",)
    STREAMS: ClassVar[tuple[str, ...]] = ("noise", "transform")
    knows_classes = True

    def __init__(
        self,
        network: Any,
        settings: SingleSettings,
        transform: ClassicalTransform | None,
        seed: int,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(seed, settings.num_steps, settings.seconds)
        self.automatic_optimization = False
        self.network = network
        self.ema = copy.deepcopy(network).requires_grad_(False).eval()
        self.settings, self.transform, self.about = settings, transform, about or {}

    def images_seen(self, step: int) -> int:
        """Return how many images it has seen after a step."""
        return (step + 1) * self.settings.batch_size

    axis = images_seen  # of all curves

    @abstractmethod
    def terms(self, images: Tensor, labels: Tensor, changes: Tensor | None, step: int) -> dict[str, Tensor]:
        """Return the values of the curves; `loss/generator` is minimised.

        Args:
            images: `[B, C, H, W]` in [-1, 1].
            labels: Their classes, `[B]`.
            changes: How they were transformed, `[B, NUM_CHANGES]`; None if none is.
            step: The number of the step.
        """

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate, fused=True)

    def on_fit_start(self) -> None:
        """Open the streams and start the clock."""
        super().on_fit_start()
        self._clock = time.perf_counter()

    def training_step(self, batch: Batch, step: int) -> None:
        """Train the network for a step."""
        settings, images, changes = self.settings, batch.images, None
        decay = (1 + math.cos(math.pi * self.progress(step))) / 2 if settings.decay else 1.0
        (optimizer,) = self.optimizers_at(decay * settings.learning_rate)
        if self.transform is not None:
            images, changes = self.transform.some(images, settings.transformed, self.draws["transform"].at(step))
        terms = self.terms(images, batch.labels, changes, step)
        self.minimise(terms["loss/generator"], optimizer)
        seen = self.images_seen(step)
        self.update_average(
            self.ema, self.network, settings.batch_size, seen, settings.ema_half_life, settings.ema_ramp_up
        )
        points = torch.stack([terms[name].detach() for name in self.CURVES])
        self.expect_finite(points)
        self.add_points(points)
        if (step + 1) % self.log_every_n_steps == 0:
            now, number = time.perf_counter(), self.log_every_n_steps * settings.batch_size
            self.draw_curves(step, images_per_second=number / (now - self._clock))
            self._clock = now

    @torch.no_grad()
    def sample(self, labels: Tensor, random: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return images `[N, C, H, W]` of classes `[N]` from the averaged network, on the CPU."""
        latents = torch.randn(len(labels), self.ema.latent_dim, generator=random)
        pairs = zip(latents.split(CHUNK), labels.split(CHUNK), strict=True)
        made = [self.ema(some.to(self.device), shown.to(self.device)).float().nan_to_num() for some, shown in pairs]
        return torch.cat([from_float(some, dtype).cpu() for some in made])

    def save(self, path: Path, **more: Any) -> None:
        """Write a checkpoint, with `more` added to its metadata."""
        save_weights(path, {**self.about, **more}, ema=self.ema, network=self.network)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSingle(TrainGenerator):
    """Trains a generator of one network.

    Attributes:
        generator: How it is trained.
        classical: The node of its transforms; None for none.
    """

    reads = ("generator", "seeds.gan")
    together = False

    generator: SingleSettings
    classical: Mapping[str, Any] | None

    @property
    def all_reads(self) -> tuple[str, ...]:
        """The configuration nodes that decide its fields, with that of the transforms only if it has some."""
        return (*super().all_reads, *(("data.classical",) if self.classical is not None else ()))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything the output depends on, with the watch among the settings."""
        found = super().identity
        return found | {"settings": found["settings"] | self.watched}

    def check(self) -> None:
        """Check that the network can make such images, and the watch."""
        self.start()
        if self.generator.transformed and self.classical is None:
            share = self.generator.transformed
            raise ValueError(f"generator.transformed={share}, but these data have no transforms: use 0")
        if self.watch is not None:
            self.watch.check(knows_classes=True)

    def start(self) -> GenerativeNetwork:
        """Return the network with its first weights."""
        images = self.labelled
        return initialised(lambda: self.generator.build(images.shape, images.num_classes), self.seed, "init/generator")

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the network and write its weights and the last point of each curve."""
        settings, seen = self.generator, self.seen(made)
        design = {"network": settings.node, "generator": asdict(settings)}
        about = {"kind": "generator", **self.about(design, seen)}
        transform = None if self.classical is None else build(self.classical, "data.classical", ClassicalTransform)
        system = settings.trains(self.start(), settings, transform, self.seed, about)
        data = ImageBatches([Part(seen, settings.batch_size, "order")], settings.num_steps, self.seed)
        watching = () if self.watch is None else (self.watch.callback(made, self.seed, folder),)
        self.hardware.fit(system, data, folder, callbacks=(SampleGrid(seen, self.seed), *watching))
        images_seen = system.num_steps * settings.batch_size
        system.keep_last_points(folder, images_seen)
        system.save(folder / FILE, images_seen=images_seen)
