"""The training of a GAN: a generator and a discriminator that train against each other."""

import copy
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.artefacts.weights import save_weights
from gan_augment.augmentation.discriminator import Adaptive
from gan_augment.data.batches import Batch
from gan_augment.data.clusters import draw_clusters
from gan_augment.data.image_set import from_float
from gan_augment.generators.design import GANDesign
from gan_augment.training import replicas
from gan_augment.training.base import Training, without_gradients

CHUNK = 256  # images sampled at a time
WATCH_EVERY = 25  # steps between two measurements for the curves, or one turn of the generator if that is longer


class GAN(Training):
    """A GAN under manual optimisation: the discriminator and the generator of a design take turns.

    Args:
        generator: (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1].
        discriminator: (features of images, labels `[B]`) -> logits `[B]` or `[B, judgements]`, high where real.
        label_counts: Real images per label, int64 `[K]`; generated labels are drawn in the same proportions. Labels are
            classes, or their clusters if the conditioning has clusters.
        seed: Seed of all draws.
        about: Metadata of its checkpoints.
        features: The frozen network through which the discriminator sees images; None for the images themselves.
    """

    TOGETHER = True
    CURVES = (
        *("loss/discriminator", "loss/generator", "output/real", "output/fake", "accuracy/real", "accuracy/fake"),
        *("gradient_norm/discriminator", "gradient_norm/generator"),
    )

    STREAMS = (
        *("discriminator", "generator", "penalty"),
        *("augmentation/real", "augmentation/fake", "augmentation/generator"),
    )

    labels: Tensor
    of_generator: Tensor
    probability: Tensor

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        design: GANDesign,
        label_counts: Tensor,
        seed: int,
        about: Mapping[str, Any] | None = None,
        features: nn.Module | None = None,
    ) -> None:
        super().__init__(seed, design.settings.num_steps, design.settings.seconds)
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.features = features or nn.Identity()
        self.diversity = design.diversity_hinge()
        self.ema = copy.deepcopy(generator).requires_grad_(False).eval()
        self.design = design
        self.loss = design.loss
        self.penalties = design.penalties
        self.settings = design.settings
        self.latent_dim = design.architecture.latent_dim
        self.knows_classes = design.conditioning.knows_classes
        self.label_counts = label_counts
        self.about = about or {}
        self.register_buffer("labels", labels_in_turns(label_counts), persistent=False)
        of_generator = torch.tensor([name.endswith("/generator") for name in self.CURVES]).float()
        self.register_buffer("of_generator", of_generator, persistent=False)
        self.register_buffer("probability", torch.zeros(()))  # of each change by an adaptive augmentation

    def images_seen(self, step: int) -> int:
        """Return how many real images the discriminator has seen after a step."""
        return (step + 1) * self.settings.batch_size

    axis = images_seen  # of all curves

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for the discriminator and one for the generator, without frozen weights."""
        betas = (self.settings.betas[0], self.settings.betas[1])
        adams: list[torch.optim.Optimizer] = []
        for network, rate in zip((self.discriminator, self.generator), self.learning_rates(0), strict=True):
            weights = [weight for weight in network.parameters() if weight.requires_grad]
            adams.append(torch.optim.Adam(weights, lr=rate, betas=betas, fused=True))
        return adams

    def learning_rates(self, step: int) -> tuple[float, float]:
        """Return the discriminator's and the generator's learning rate in a step."""
        share = (1 + math.cos(math.pi * self.progress(step))) / 2 if self.settings.decay else 1.0
        return share * self.settings.discriminator_learning_rate, share * self.settings.generator_learning_rate

    def on_fit_start(self) -> None:
        """Open the streams and start the clock."""
        super().on_fit_start()
        self._clock = time.perf_counter()

    def generate(self, purpose: str, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Generate images `[B, C, H, W]` and the labels `[B]` they are meant to show, for a player's step.

        If real and generated images are compared pairwise, the labels are those of the real images. Otherwise they are
        drawn in the same proportions, so that class frequencies alone do not tell real from generated images. The
        generator's batch norm takes its statistics from the batches of both players: their latents have the same
        distribution, so both estimate the same mean and variance.
        """
        random, batch_size = self.draws[purpose].at(step), self.settings.batch_size
        latents = torch.randn(batch_size, self.latent_dim, generator=random, device=self.device)
        labels = self.labels[torch.randint(len(self.labels), (batch_size,), generator=random, device=self.device)]
        latents, labels = batch.keep(latents), batch.keep(labels)
        if self.design.loss.pairs or self.design.penalties.are_on:
            labels = batch.labels
        return self.generator(latents, labels), labels

    @torch.no_grad()
    def sample(self, labels: Tensor, random: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return images `[N, C, H, W]` of classes `[N]` from the averaged generator, on the CPU."""
        latents = torch.randn(len(labels), self.latent_dim, generator=random)
        labels = draw_clusters(labels, self.label_counts, self.design.conditioning.clusters, random)
        pairs = zip(latents.split(CHUNK), labels.split(CHUNK), strict=True)
        made = [self.ema(some.to(self.device), shown.to(self.device)).float().nan_to_num() for some, shown in pairs]
        return torch.cat([from_float(some, dtype).cpu() for some in made])

    def augment(self, images: Tensor, whose: str, batch: Batch, step: int) -> Tensor:
        """Apply the discriminator augmentation to images at the places of a batch."""
        if not self.design.augmentation.is_on:
            return images
        random = self.draws[f"augmentation/{whose}"].at(step)
        return batch.change(images, lambda whole: self.design.augmentation(whole, random, self.probability))

    def discriminate(self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the discriminator's outputs, float32, on real and on generated images with their labels."""
        if self.design.architecture.couples_images:  # a logit depends on the rest of its batch
            return self.judge(*real)[0], self.judge(*fake)[0]
        images, labels = (torch.cat(tensors) for tensors in zip(real, fake, strict=True))
        outputs, features = self.judge(images, labels)
        if self.diversity is not None:
            self.diversity.watch([maps[: len(real[0])] for maps in features], real[1])
        on_real, on_fake = outputs.split([len(real[0]), len(fake[0])])
        return on_real, on_fake

    def judge(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        """Return the discriminator's outputs, float32, on images, and the features in which it sees them."""
        features = self.features(images)
        return self.discriminator(features, labels).float(), features

    def training_step(self, batch: Batch, step: int) -> None:
        """Train the discriminator for a step, and the generator when it is its turn."""
        discriminator_optimizer, generator_optimizer = self.optimizers_at(*self.learning_rates(step))
        judging: list[Tensor] = discriminator_optimizer.param_groups[0]["params"]  # all but frozen weights
        is_generators_turn = (step + 1) % self.settings.discriminator_steps == 0
        split = self.design.conditioning.split
        shared = None  # images of both players' steps
        if is_generators_turn and self.settings.reuse_fakes:
            shared = self.generate("generator", batch, step)

        with torch.no_grad():
            fakes, fake_labels = shared or self.generate("discriminator", batch, step)
            reals, augmented = self.augment(batch.images, "real", batch, step), self.augment(fakes, "fake", batch, step)
        judged = self.discriminate((reals, batch.labels), (augmented.detach(), fake_labels))
        on_real, of_labels = split(judged[0], batch.labels)
        on_fake, of_fake_labels = split(judged[1], fake_labels)
        discriminator_loss = self.loss.discriminator(on_real, on_fake) + of_labels
        if self.design.conditioning.tells_generated:
            discriminator_loss = discriminator_loss + of_fake_labels
        if self.penalties.are_due(step):
            discriminator_loss = discriminator_loss + self.penalty(batch, fakes, step)
        self.minimise(discriminator_loss, discriminator_optimizer)
        self.design.augmentation.adapt(self.probability, on_real)
        if self.loss.weight_clip is not None:
            with torch.no_grad():
                for weight in judging:
                    weight.clamp_(-self.loss.weight_clip, self.loss.weight_clip)

        generator_loss = None
        if is_generators_turn:
            fakes, fake_labels = shared or self.generate("generator", batch, step)
            with without_gradients(judging):
                outputs, features = self.judge(self.augment(fakes, "generator", batch, step), fake_labels)
            logits, of_labels = split(outputs, fake_labels)
            real_logits = logits.new_empty(0)
            if self.loss.pairs:
                with torch.no_grad():
                    real_logits, _ = split(self.judge(reals, batch.labels)[0], batch.labels)
            generator_loss = self.loss.generator(logits, real_logits) + of_labels
            if self.diversity is not None:
                generator_loss = generator_loss + self.diversity(features, fake_labels)
            self.minimise(generator_loss, generator_optimizer)
            self.average(step)
        with torch.no_grad():
            self._watch(step, discriminator_loss, generator_loss, on_real, on_fake)
        if (step + 1) % self.log_every_n_steps == 0:
            self._draw_curves(step)

    def penalty(self, batch: Batch, fake: Tensor, step: int) -> Tensor:
        """Return the penalty, a scalar, on slopes in the images before their augmentation, as R3GAN's authors do.

        Each image goes through the augmentation of the real image at its place.
        """

        def critic(images: Tensor) -> Tensor:
            # Uncompiled, because a compiled network cannot be differentiated twice.
            outputs = self.discriminator.forward(self.features(self.augment(images, "real", batch, step)), batch.labels)
            return self.design.conditioning.split(outputs, batch.labels)[0]

        random = self.draws["penalty"].at(step)
        mix = batch.keep(torch.rand(batch.size, generator=random, device=self.device))
        return self.penalties(critic, batch.images, fake, mix)

    def average(self, step: int) -> None:
        """Move the averaged generator towards the current one."""
        settings, seen = self.settings, self.images_seen(step)
        images = settings.batch_size * settings.discriminator_steps
        self.update_average(self.ema, self.generator, images, seen, settings.ema_half_life, settings.ema_ramp_up)

    def _watch(
        self, step: int, discriminator_loss: Tensor, generator_loss: Tensor | None, on_real: Tensor, on_fake: Tensor
    ) -> None:
        """Record whether the losses of a step are finite and, every `WATCH_EVERY` steps, values for the curves."""
        self.expect_finite(discriminator_loss if generator_loss is None else discriminator_loss + generator_loss)
        turns = self.settings.discriminator_steps
        if step // turns % max(1, WATCH_EVERY // turns):
            return
        # Halfway between the two means, because some losses do not fix the zero of the logits.
        boundary = replicas.mean((on_real.mean() + on_fake.mean()) / 2)
        accuracies = (on_real > boundary).float().mean(), (on_fake < boundary).float().mean()
        outputs = self.loss.output(on_real).mean(), self.loss.output(on_fake).mean()
        loss = norm = torch.zeros_like(discriminator_loss)
        counted: Tensor | float = 1 - self.of_generator  # no generator step yet in this turn
        if generator_loss is not None:
            loss, norm, counted = generator_loss, gradient_norm(self.generator), 1.0
        losses, norms = (discriminator_loss, loss), (gradient_norm(self.discriminator), norm)
        self.add_points(torch.stack([*losses, *outputs, *accuracies, *norms]), counted)

    def save(self, path: Path, **more: Any) -> None:
        """Write a checkpoint, with `more` added to its metadata."""
        networks = {"ema": self.ema, "generator": self.generator, "discriminator": self.discriminator}
        save_weights(path, {**self.about, **more}, **networks)

    def _draw_curves(self, step: int) -> None:
        now = time.perf_counter()
        images = self.log_every_n_steps * self.settings.batch_size
        is_adaptive = isinstance(self.design.augmentation, Adaptive)
        further = {"augmentation/probability": self.probability.item()} if is_adaptive else {}
        self.draw_curves(step, images_per_second=images / (now - self._clock), **further)
        self._clock = now


def labels_in_turns(class_counts: Tensor) -> Tensor:
    """List every label once per image of its class, int64 `[N]`, taking turns between the classes.

    Example:
        >>> labels_in_turns(torch.tensor([3, 1])).tolist()
        [0, 1, 0, 0]
    """
    labels = torch.arange(len(class_counts)).repeat_interleave(class_counts)
    turns = torch.cat([torch.arange(int(count)) for count in class_counts])
    return labels[turns.argsort(stable=True)]


def gradient_norm(network: nn.Module) -> Tensor:
    """Return the Euclidean norm of a network's gradient over all its weights, a scalar."""
    return torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])
