"""The semi-supervised GAN: its discriminator is the classifier and also learns from unlabelled images."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_augment.arm import Arm
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import Batch, Part, ShuffledIndices
from gan_augment.data.image_set import ImageSet, ImageShape, to_float
from gan_augment.losses.semi_supervised import (
    conditional_entropy,
    fake_loss,
    feature_matching,
    pull_away,
    real_loss,
    virtual_adversarial,
)
from gan_augment.methods.base import MethodStage, about_classifier, log_validation
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.classifying import ClassifyingDiscriminator, initialise_from_data
from gan_augment.randomness import initialised, seed_global, stream_seed
from gan_augment.settings import build, check_betas, check_integer, check_number, check_type, errors_of
from gan_augment.training.base import Training

FOR_START = 500  # pool images over which the layers' outputs are normalised at the start


@dataclass(frozen=True)
class SemiSupervisedSettings(Method):
    """How a semi-supervised GAN is trained.

    Attributes:
        network: The node of the discriminator, called with the images' shape and the number of classes.
        generator: The node of the generator's architecture.
        num_steps: Steps of the discriminator.
        discriminator_steps: Discriminator steps per generator step.
        batch_size: Pool images per step, and as many generated ones.
        labelled_batch_size: Labelled images per step.
        learning_rate: Of both Adams, for the first half of the training; then it falls linearly to 0.
        betas: Of both Adams.
        ema_half_life: Half-life of the discriminator's running average, which is the classifier, in pool images.
        ema_ramp_up: The half-life is at most this share of the images seen so far.
        entropy: Weight of the conditional entropy.
        virtual_adversarial: Weight of the virtual adversarial loss; its target is the running average's prediction for
            the untransformed image.
        radius: Radius of that loss, as a root mean square change of pixels, whose range is 2.
        pull_away: Weight of the generator's pull-away term.

    Raises:
        ValueError: If a value is out of range.
    """

    sees = "pool_images"

    network: Mapping[str, Any]
    generator: Mapping[str, Any]
    num_steps: int
    discriminator_steps: int
    batch_size: int
    labelled_batch_size: int
    learning_rate: float
    betas: tuple[float, float]
    ema_half_life: int
    ema_ramp_up: float
    entropy: float
    virtual_adversarial: float
    radius: float
    pull_away: float

    def __post_init__(self) -> None:
        lows = {"discriminator_steps": 1, "num_steps": self.discriminator_steps, "batch_size": 2}
        lows |= {"labelled_batch_size": 1, "ema_half_life": 1}
        for name, low in lows.items():
            check_integer(f"semi_supervised.{name}", getattr(self, name), low)
        for name, high in {"learning_rate": 1, "ema_ramp_up": 1, "radius": 100}.items():
            check_number(f"semi_supervised.{name}", getattr(self, name), 0, high, open_low=True)
        for name in ("entropy", "virtual_adversarial", "pull_away"):
            check_number(f"semi_supervised.{name}", getattr(self, name), 0, 100)
        check_betas("semi_supervised.betas", self.betas)
        build(self.network, "semi_supervised.network", partial)
        assert self.architecture is not None  # its settings are checked

    @cached_property
    def architecture(self) -> Architecture:
        """The generator's; raises a ValueError if the node is no architecture, or a setting is out of range."""
        with errors_of("semi_supervised.generator"):
            return build(self.generator, "semi_supervised.generator", Architecture)

    def discriminator(self, shape: ImageShape, num_classes: int) -> ClassifyingDiscriminator:
        """Build the discriminator: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`."""
        network = build(self.network, "semi_supervised.network", partial)(shape, num_classes)
        use = "one of gan_augment.networks.classifying"
        return check_type("semi_supervised.network", network, ClassifyingDiscriminator, use)

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "SemiSupervisedStage":
        """Plan the stage that trains the GAN; raise a ValueError if it cannot learn from all that the arm has."""
        if not isinstance(extra, NoExtra) or arm.transform not in ("none", "classical") or arm.teacher is not None:
            raise ValueError(
                "augmentation.method=semi_supervised learns only from labelled images and images of the pool: "
                "use sees=pool_images, extra=none, share=null, teacher=null and transform=none or classical"
            )
        return SemiSupervisedStage.plan(plan, arm.transform, pool=plan.views.pool, semi_supervised=self)


class SemiSupervised(Training):
    """A discriminator and a generator that matches its features, under manual optimisation.

    Args:
        network: The discriminator: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.
        generator: Latents `[B, latent_dim]` -> images `[B, C, H, W]` in [-1, 1].
        transform: Applied to every real image; None for none.
    """

    CURVES = (
        *("loss/labelled", "loss/pool", "loss/fake", "loss/generator", "loss/entropy", "loss/virtual_adversarial"),
        *("loss/pull_away", "pool/confidence", "output/pool", "output/fake"),
    )
    STREAMS = ("transform", "discriminator", "generator", "virtual_adversarial")

    def __init__(
        self,
        network: ClassifyingDiscriminator,
        generator: nn.Module,
        settings: SemiSupervisedSettings,
        transform: ClassicalTransform | None,
        seed: int,
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.network, self.generator = network, generator
        self.ema = copy.deepcopy(network).requires_grad_(False).eval()
        self.settings, self.transform = settings, transform

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for the discriminator and one for the generator."""
        rate, betas = self.learning_rate(0), (self.settings.betas[0], self.settings.betas[1])
        players = self.network, self.generator
        return [torch.optim.Adam(player.parameters(), lr=rate, betas=betas, fused=True) for player in players]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate in a step: constant for half of the training, then falling to 0."""
        return self.settings.learning_rate * min(1.0, 2 * (1 - step / self.settings.num_steps))

    def generate(self, purpose: str, step: int) -> Tensor:
        """Generate one batch of images `[B, C, H, W]` for a player's step."""
        size = self.settings.batch_size, self.settings.architecture.latent_dim
        return self.generator(torch.randn(size, generator=self.draws[purpose].at(step), device=self.device))

    def training_step(self, batch: Batch, step: int) -> None:
        """Train the discriminator for a step, and the generator when it is its turn."""
        settings, rate = self.settings, self.learning_rate(step)
        of_discriminator, of_generator = self.optimizers_at(rate, rate)
        seed_global(stream_seed(self.seed, "noise", step), self.device)  # the discriminator's layers draw from it
        views = batch
        if self.transform is not None:
            views = batch._replace(images=self.transform(batch.images, self.draws["transform"].at(step)))
        terms = dict.fromkeys(self.CURVES, views.images.new_zeros(()))
        terms |= self._discriminator_step(of_discriminator, batch, views, step)
        terms |= self._generator_step(of_generator, views.pool.images, step)
        images, seen = settings.batch_size, (step + 1) * settings.batch_size
        self.update_average(self.ema, self.network, images, seen, settings.ema_half_life, settings.ema_ramp_up)
        points = torch.stack([term.detach() for term in terms.values()])
        self.expect_finite(points)
        self.add_points(points)
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)

    def _discriminator_step(
        self, optimizer: torch.optim.Optimizer, batch: Batch, views: Batch, step: int
    ) -> dict[str, Tensor]:
        """Return the values of this step's curves."""
        settings, labels, pool = self.settings, batch.labelled.labels, batch.pool.images
        with torch.no_grad():
            fakes = self.generate("discriminator", step)
        # No layer couples images, so all take one forward pass.
        sizes = [len(labels), len(pool), len(fakes)]
        on_labelled, on_pool, on_fake = self.network(torch.cat([views.images, fakes])).float().split(sizes)
        terms = {"loss/labelled": cross_entropy(on_labelled, labels)}
        terms |= {"loss/pool": real_loss(on_pool), "loss/fake": fake_loss(on_fake)}
        loss = terms["loss/labelled"] + (terms["loss/pool"] + terms["loss/fake"]) / 2
        if settings.entropy:
            terms["loss/entropy"] = conditional_entropy(on_pool)
            loss = loss + settings.entropy * terms["loss/entropy"]
        if settings.virtual_adversarial:
            with torch.no_grad():
                target = self.ema(pool).float()  # the average is more accurate (Tarvainen and Valpola 2017)
            random = self.draws["virtual_adversarial"].at(step)
            smooth = virtual_adversarial(self.network, views.pool.images, target, settings.radius, random)
            terms["loss/virtual_adversarial"] = smooth
            loss = loss + settings.virtual_adversarial * smooth
        self.minimise(loss, optimizer)
        with torch.no_grad():
            terms["pool/confidence"] = on_pool.softmax(dim=1).amax(dim=1).mean()
            for name, logits in (("output/pool", on_pool), ("output/fake", on_fake)):
                terms[name] = logits.logsumexp(dim=1).sigmoid().mean()
        return terms

    def _generator_step(self, optimizer: torch.optim.Optimizer, pool: Tensor, step: int) -> dict[str, Tensor]:
        """Return the values of this step's curves; none if it is not the generator's turn."""
        turns, weight = self.settings.discriminator_steps, self.settings.pull_away
        if (step + 1) % turns:
            return {}
        self.network.requires_grad_(False)  # the gradients of its weights are not used
        fakes = self.generate("generator", step)
        features = self.network.body(torch.cat([pool, fakes])).float()
        on_pool, on_fake = features.split([len(pool), len(fakes)])
        matching = feature_matching(on_pool, on_fake)
        away = pull_away(on_fake) if weight else matching.new_zeros(())
        self.minimise(matching + weight * away, optimizer)
        self.network.requires_grad_(True)
        return {"loss/generator": turns * matching, "loss/pull_away": turns * away}  # no step in the others

    def validation_step(self, batch: Batch, step: int) -> None:
        """Log loss and accuracy of the averaged discriminator on the validation images."""
        log_validation(self, self.ema(batch.images).float(), batch.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class SemiSupervisedStage(MethodStage):
    """Trains a semi-supervised GAN on labelled images and the pool, and writes a classifier."""

    name, version = "semi_supervised", 1
    reads = (*MethodStage.reads, "semi_supervised")

    pool: ImageSet
    semi_supervised: SemiSupervisedSettings

    def check(self) -> None:
        """Check that the networks can take the images."""
        with errors_of("semi_supervised.generator"):
            self.semi_supervised.architecture.check(self.labelled.shape)
        self.semi_supervised.discriminator(self.labelled.shape, self.labelled.num_classes)
        assert not (self.pool.labels >= 0).any(), "views provide the pool without its labels"

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the GAN and write its averaged discriminator as a classifier."""
        settings, seed, labelled, pool = self.semi_supervised, self.seed, self.labelled, self.pool
        shape, architecture = labelled.shape, settings.architecture
        network = initialised(lambda: settings.discriminator(shape, labelled.num_classes), seed)
        first = ShuffledIndices(len(pool), seed, "init/data").between(0, min(FOR_START, len(pool)))
        initialise_from_data(network, to_float(pool.images[first]))
        generator = initialised(lambda: architecture.generator(shape, architecture.latent_dim), seed, "init/generator")
        system = SemiSupervised(network, generator, settings, self.transform, seed)
        parts = [Part(labelled, settings.labelled_batch_size, "order"), Part(pool, settings.batch_size, "order/pool")]
        self.fit(system, parts, settings.num_steps, settings.batch_size, folder)
        about = about_classifier({"network": settings.network, "batch_size": settings.batch_size}, labelled)
        about |= {"generator": settings.generator, "pool_images": len(pool)}
        save_weights(folder / FILE, about, classifier=system.ema, generator=generator)
