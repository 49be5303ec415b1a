"""The GAN: a generator and a discriminator that train against each other."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from gan_augment.callbacks.samples import SampleGrid
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import ImageSet
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.weights import save_weights
from gan_augment.randomness import Stream, initialised
from gan_augment.settings import build, check_integer, check_number, settings_from
from gan_augment.stages import Stage
from gan_augment.systems.hardware import Hardware

VERSION = 2  # raise it when the mathematics of the training changes


@dataclass(frozen=True)
class GANSettings:
    """How a GAN is trained.

    Attributes:
        images_seen: Real images that the discriminator sees in all, repeats counted.
        batch_size: Real images a step, and as many generated ones.
        discriminator_steps: Discriminator steps a generator step.
        generator_learning_rate: Of Adam.
        discriminator_learning_rate: Of Adam.
        betas: Of both Adams.
        ema_half_life: Half-life of the generator's running average, in images.
        ema_ramp_up: The half-life is at most this share of the images seen so far, so that the average
            forgets the random start.
    """

    images_seen: int
    batch_size: int
    discriminator_steps: int
    generator_learning_rate: float
    discriminator_learning_rate: float
    betas: tuple[float, float]
    ema_half_life: int
    ema_ramp_up: float

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_integer("gan.batch_size", self.batch_size, low=1)
        check_integer("gan.discriminator_steps", self.discriminator_steps, low=1)
        # At least one generator step.
        check_integer("gan.images_seen", self.images_seen, low=self.batch_size * self.discriminator_steps)
        check_number("gan.generator_learning_rate", self.generator_learning_rate, 0, 1, open_low=True)
        check_number("gan.discriminator_learning_rate", self.discriminator_learning_rate, 0, 1, open_low=True)
        if not isinstance(self.betas, list | tuple) or len(self.betas) != 2:
            raise ValueError(f"gan.betas={self.betas}: use a list of two numbers")
        for beta in self.betas:
            check_number("gan.betas", beta, 0, 0.99999)
        check_integer("gan.ema_half_life", self.ema_half_life, low=1)
        check_number("gan.ema_ramp_up", self.ema_ramp_up, 0, 1, open_low=True)

    @property
    def num_steps(self) -> int:
        """Discriminator steps in all."""
        return self.images_seen // self.batch_size


class GAN(L.LightningModule):
    """A conditional GAN under manual optimisation: discriminator and generator take turns.

    Args:
        generator: (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1].
        discriminator: (images `[B, C, H, W]`, labels `[B]`) -> logits `[B]`.
        loss: What both minimise.
        settings: How they are trained.
        latent_dim: Length of a latent vector.
        class_counts: Real images a class, int64 `[K]`; generated labels are drawn in the same proportions.
        seed: Decides latents and labels of the generated images.
        log_every_n_steps: Steps between two points of the curves.
    """

    CURVES = ("loss/discriminator", "loss/generator", "output/real", "output/fake")

    finite: Tensor
    labels: Tensor
    sums: Tensor

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        settings: GANSettings,
        latent_dim: int,
        class_counts: Tensor,
        seed: int,
        log_every_n_steps: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.ema = copy.deepcopy(generator).requires_grad_(False).eval()
        self.loss = loss
        self.settings = settings
        self.latent_dim = latent_dim
        self.num_classes = len(class_counts)
        self.seed = seed
        self.log_every_n_steps = min(log_every_n_steps, settings.num_steps)
        self.register_buffer("finite", torch.tensor(True))
        self.register_buffer("labels", labels_in_turns(class_counts), persistent=False)
        self.register_buffer("sums", torch.zeros(len(self.CURVES)), persistent=False)

    def images_seen(self, step: int) -> int:
        """Return how many real images the discriminator has seen after a step: the axis of all curves."""
        return (step + 1) * self.settings.batch_size

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for the discriminator and one for the generator."""
        betas = (self.settings.betas[0], self.settings.betas[1])
        return [
            torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True)
            for network, rate in (
                (self.discriminator, self.settings.discriminator_learning_rate),
                (self.generator, self.settings.generator_learning_rate),
            )
        ]

    def on_fit_start(self) -> None:
        """Open the streams on the device."""
        self._draws = {name: Stream(self.seed, name, self.device) for name in ("discriminator", "generator")}
        self._clock = time.perf_counter()

    def generate(self, purpose: str, step: int) -> tuple[Tensor, Tensor]:
        """Make one batch of images.

        Labels are drawn as often as the real ones come: a class that is rarer among the real images than among the
        generated ones would give the latter away, whatever they show. The generator's batch norm takes its statistics
        from the batches of both players: their latents are drawn alike, so both estimate the same mean and variance.

        Args:
            purpose: Whose step it is for: `discriminator` or `generator`.
            step: The training step.

        Returns:
            Images `[B, C, H, W]` and the labels `[B]` they are meant to show.
        """
        random, batch_size = self._draws[purpose].at(step), self.settings.batch_size
        latents = torch.randn(batch_size, self.latent_dim, generator=random, device=self.device)
        labels = self.labels[torch.randint(len(self.labels), (batch_size,), generator=random, device=self.device)]
        return self.generator(latents, labels), labels

    def training_step(self, batch: Batch, step: int) -> None:
        """Let the discriminator take a step, and the generator when it is its turn."""
        discriminator_optimizer, generator_optimizer = cast("list[LightningOptimizer]", self.optimizers())

        with self.toggled_optimizer(discriminator_optimizer):
            with torch.no_grad():
                fakes, fake_labels = self.generate("discriminator", step)
            logits = self.discriminator(torch.cat([batch.images, fakes]), torch.cat([batch.labels, fake_labels]))
            real, fake = logits.float().split([len(batch.images), len(fakes)])
            discriminator_loss = self.loss.discriminator(real, fake)
            discriminator_optimizer.zero_grad()
            self.manual_backward(discriminator_loss)
            discriminator_optimizer.step()

        generator_loss = torch.zeros_like(discriminator_loss)
        if (step + 1) % self.settings.discriminator_steps == 0:
            with self.toggled_optimizer(generator_optimizer):
                fakes, fake_labels = self.generate("generator", step)
                generator_loss = self.loss.generator(self.discriminator(fakes, fake_labels).float())
                generator_optimizer.zero_grad()
                self.manual_backward(generator_loss)
                generator_optimizer.step()
            self.update_average(step)

        with torch.no_grad():
            outputs = self.loss.output(real).mean(), self.loss.output(fake).mean()
            seen = torch.stack([discriminator_loss, generator_loss * self.settings.discriminator_steps, *outputs])
            self.finite &= seen.isfinite().all()
            self.sums += seen
        if (step + 1) % self.log_every_n_steps == 0:
            self._draw_curves(step)

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Move the averaged generator towards the current one.

        After n images the average keeps 2^(-n / half-life) of what it was. Weights are averaged; the
        statistics of batch norm are averages already and are copied.
        """
        seen = self.images_seen(step)
        images = self.settings.batch_size * self.settings.discriminator_steps
        half_life = min(self.settings.ema_half_life, self.settings.ema_ramp_up * seen)
        kept = 0.5 ** (images / half_life)
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), 1 - kept)
        for average, current in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
            average.copy_(current)

    def _draw_curves(self, step: int) -> None:
        now = time.perf_counter()
        means = (self.sums / self.log_every_n_steps).tolist()
        speed = self.log_every_n_steps * self.settings.batch_size / (now - self._clock)
        assert self.logger is not None
        self.logger.log_metrics(
            dict(zip(self.CURVES, means, strict=True)) | {"images_per_second": speed}, step=self.images_seen(step)
        )
        self.sums.zero_()
        self._clock = now


def labels_in_turns(class_counts: Tensor) -> Tensor:
    """List every label as often as its class has images, int64 `[N]`: the classes in turns, as long as they last.

    Example:
        >>> labels_in_turns(torch.tensor([3, 1])).tolist()
        [0, 1, 0, 0]
    """
    labels = torch.arange(len(class_counts)).repeat_interleave(class_counts)
    turns = torch.cat([torch.arange(int(count)) for count in class_counts])
    return labels[turns.argsort(stable=True)]


def gan_stage(
    labelled: ImageSet,
    architecture: Mapping[str, Any],
    loss: Mapping[str, Any],
    gan: Mapping[str, Any],
    seed: int,
    hardware: Hardware,
) -> Stage:
    """Lay out the stage that trains a GAN.

    Args:
        labelled: The images it learns from.
        architecture: Configuration node of an `Architecture`.
        loss: Configuration node of an `AdversarialLoss`.
        gan: Configuration node of the `GANSettings`.
        seed: The seed of all its streams.
        hardware: Where it is trained.

    Raises:
        ValueError: If a setting is out of range, or the architecture cannot make such images.
    """
    networks = build(architecture)
    networks.check(labelled.shape)
    return Stage(
        name="gan",
        version=VERSION,
        settings={"architecture": architecture, "loss": loss, "gan": gan, **hardware.identity},
        inputs={"labelled": labelled.fingerprint},
        seed=seed,
        compute=partial(
            train_gan, labelled, networks, build(loss), settings_from(GANSettings, "gan", gan), seed, hardware
        ),
    )


def train_gan(
    labelled: ImageSet,
    architecture: Architecture,
    loss: AdversarialLoss,
    settings: GANSettings,
    seed: int,
    hardware: Hardware,
    folder: Path,
) -> None:
    """Train a GAN and leave its weights in a stage's folder.

    Args:
        labelled: The images it learns from.
        architecture: Makes generator and discriminator.
        loss: What both minimise.
        settings: How they are trained.
        seed: The seed of all its streams.
        hardware: Where it is trained.
        folder: Where to write.

    Raises:
        DivergedError: If a loss or a weight stops being finite.
    """
    shape, num_classes = labelled.shape, labelled.num_classes
    system = GAN(
        initialised(lambda: architecture.generator(shape, num_classes), seed, "init/generator"),
        initialised(lambda: architecture.discriminator(shape, num_classes), seed, "init/discriminator"),
        loss,
        settings,
        architecture.latent_dim,
        labelled.class_counts,
        seed,
    )
    data = ImageBatches([Part(labelled, settings.batch_size, "order")], settings.num_steps, seed)
    hardware.fit(system, data, folder, callbacks=(SampleGrid(seed),))
    save_weights(folder, ema=system.ema, generator=system.generator, discriminator=system.discriminator)
