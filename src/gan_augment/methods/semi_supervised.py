"""The semi-supervised GAN: its discriminator is the classifier and also learns from unlabelled images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.arm import Arm
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, Plan
from gan_augment.data.batches import Batch
from gan_augment.losses.semi_supervised import fake_loss, feature_matching, pull_away, real_loss
from gan_augment.methods.base import MethodStage
from gan_augment.methods.consistency import Consistency, ConsistencySettings, ConsistencyStage
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.classifying import ClassifyingDiscriminator
from gan_augment.randomness import initialised
from gan_augment.settings import build, check_integer, check_number, errors_of
from gan_augment.training.base import without_gradients


@dataclass(frozen=True)
class SemiSupervisedSettings(ConsistencySettings, Method):
    """How a semi-supervised GAN is trained.

    Attributes:
        generator: The node of the generator's architecture.
        discriminator_steps: Discriminator steps per generator step.
        pull_away: Weight of the generator's pull-away term.

    Raises:
        ValueError: If a value is out of range.
    """

    sees = "pool_images"

    generator: Mapping[str, Any]
    discriminator_steps: int
    pull_away: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("semi_supervised.discriminator_steps", self.discriminator_steps, low=1)
        check_integer("semi_supervised.num_steps", self.num_steps, low=self.discriminator_steps)
        check_number("semi_supervised.pull_away", self.pull_away, 0, 100)
        assert self.architecture is not None  # its settings are checked

    @cached_property
    def architecture(self) -> Architecture:
        """The generator's; raises a ValueError if the node is no architecture, or a setting is out of range."""
        with errors_of("semi_supervised.generator"):
            return build(self.generator, "semi_supervised.generator", Architecture)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "SemiSupervisedStage":
        """Plan the stage that trains the GAN; raise a ValueError if it cannot learn from all that the arm has."""
        return SemiSupervisedStage.plan_arm(plan, arm, extra, self)


class SemiSupervised(Consistency):
    """A discriminator and a generator that matches its features, under manual optimisation.

    Args:
        network: The discriminator: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.
        generator: Latents `[B, latent_dim]` -> images `[B, C, H, W]` in [-1, 1].
        transform: Applied to every real image; None for none.
    """

    CURVES = (
        *Consistency.CURVES,
        *("loss/pool", "loss/fake", "loss/generator", "loss/pull_away", "output/pool", "output/fake"),
    )
    STREAMS = (*Consistency.STREAMS, "discriminator", "generator")

    settings: SemiSupervisedSettings

    def __init__(
        self,
        network: ClassifyingDiscriminator,
        generator: nn.Module,
        settings: SemiSupervisedSettings,
        transform: ClassicalTransform | None,
        seed: int,
    ) -> None:
        super().__init__(network, settings, transform, seed)
        self.generator = generator

    @property
    def players(self) -> list[nn.Module]:
        """The discriminator and the generator."""
        return [self.network, self.generator]

    def generate(self, purpose: str, step: int) -> Tensor:
        """Generate one batch of images `[B, C, H, W]` for a player's step."""
        size = self.settings.batch_size, self.settings.architecture.latent_dim
        return self.generator(torch.randn(size, generator=self.draws[purpose].at(step), device=self.device))

    def play(self, optimizers: list[torch.optim.Optimizer], batch: Batch, views: Batch, step: int) -> dict[str, Tensor]:
        """Train the discriminator for a step, and the generator when it is its turn."""
        of_discriminator, of_generator = optimizers
        terms = self._discriminator_step(of_discriminator, batch, views, step)
        return terms | self._generator_step(of_generator, views.pool.images, step)

    def _discriminator_step(
        self, optimizer: torch.optim.Optimizer, batch: Batch, views: Batch, step: int
    ) -> dict[str, Tensor]:
        """Return the values of this step's curves."""
        with torch.no_grad():
            fakes = self.generate("discriminator", step)
        # No layer couples images, so all take one forward pass.
        logits = self.network(torch.cat([views.images, fakes])).float()
        on_real, on_fake = logits.split([len(views.images), len(fakes)])
        on_pool = on_real[len(batch.known.labels) :]
        loss, terms = self.loss_of_real(on_real, batch, views, step)
        terms |= {"loss/pool": real_loss(on_pool), "loss/fake": fake_loss(on_fake)}
        self.minimise(loss + (terms["loss/pool"] + terms["loss/fake"]) / 2, optimizer)
        with torch.no_grad():
            for name, of_images in (("output/pool", on_pool), ("output/fake", on_fake)):
                terms[name] = of_images.logsumexp(dim=1).sigmoid().mean()
        return terms

    def _generator_step(self, optimizer: torch.optim.Optimizer, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Return the values of this step's curves; none if it is not the generator's turn."""
        turns, weight = self.settings.discriminator_steps, self.settings.pull_away
        if (step + 1) % turns:
            return {}
        fakes = self.generate("generator", step)
        with without_gradients([*self.network.parameters()]):
            features = self.network.body(torch.cat([pool, fakes])).float()
        on_pool, on_fake = features.split([len(pool), len(fakes)])
        matching = feature_matching(on_pool, on_fake)
        away = pull_away(on_fake) if weight else matching.new_zeros(())
        self.minimise(matching + weight * away, optimizer)
        return {"loss/generator": turns * matching, "loss/pull_away": turns * away}  # no step in the others


@dataclass(frozen=True, eq=False, kw_only=True)
class SemiSupervisedStage(ConsistencyStage):
    """Trains a semi-supervised GAN on labelled images and the pool, and writes a classifier."""

    name, version = "semi_supervised", 1
    reads = (*MethodStage.reads, "semi_supervised")

    semi_supervised: SemiSupervisedSettings

    def check(self) -> None:
        """Check that the networks can take the images."""
        with errors_of("semi_supervised.generator"):
            self.semi_supervised.architecture.check(self.labelled.shape)
        super().check()

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the GAN and write its averaged discriminator as a classifier."""
        settings, architecture, shape = self.semi_supervised, self.semi_supervised.architecture, self.labelled.shape
        generator = initialised(
            lambda: architecture.generator(shape, architecture.latent_dim), self.seed, "init/generator"
        )
        system = SemiSupervised(self.start(), generator, settings, self.transform, self.seed)
        self.train(system, folder, made, {"generator": settings.generator}, generator=generator)
