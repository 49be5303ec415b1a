"""Consistency training: the discriminator of the semi-supervised GAN learns from real images alone, without the GAN."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_augment.arm import Arm
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.data.batches import Batch, Part, ShuffledIndices
from gan_augment.data.image_set import ImageSet, ImageShape, to_float
from gan_augment.losses.semi_supervised import conditional_entropy, virtual_adversarial
from gan_augment.methods.base import ClassifierTraining, MethodStage, about_classifier, log_validation
from gan_augment.networks.classifying import ClassifyingDiscriminator, initialise_from_data
from gan_augment.randomness import initialised, seed_global, stream_seed
from gan_augment.settings import build_later, check_betas, check_integer, check_number
from gan_augment.stages import later, made_from

FOR_START = 500  # pool images over which the layers' outputs are normalised at the start


@dataclass(frozen=True)
class ConsistencySettings:
    """The settings of a semi-supervised GAN that say how its discriminator learns from real images.

    Attributes:
        network: The node of the discriminator, called with the images' shape and the number of classes.
        num_steps: Steps of the discriminator.
        batch_size: Pool images per step, and with a GAN as many generated ones.
        labelled_batch_size: Labelled images per step.
        learning_rate: Of every Adam, for the first half of the training; then it falls linearly to 0.
        betas: Of every Adam.
        ema_half_life: Half-life of the discriminator's running average, which is the classifier, in pool images.
        ema_ramp_up: The half-life is at most this share of the images seen so far.
        entropy: Weight of the conditional entropy.
        virtual_adversarial: Weight of the virtual adversarial loss; its target is the running average's prediction for
            the untransformed image.
        radius: Radius of that loss, as a root mean square change of pixels, whose range is 2.

    Raises:
        ValueError: If a value is out of range.
    """

    network: Mapping[str, Any]
    num_steps: int
    batch_size: int
    labelled_batch_size: int
    learning_rate: float
    betas: tuple[float, float]
    ema_half_life: int
    ema_ramp_up: float
    entropy: float
    virtual_adversarial: float
    radius: float

    def __post_init__(self) -> None:
        lows = {"num_steps": 1, "batch_size": 2, "labelled_batch_size": 1, "ema_half_life": 1}
        for name, low in lows.items():
            check_integer(f"semi_supervised.{name}", getattr(self, name), low)
        for name, high in {"learning_rate": 1, "ema_ramp_up": 1, "radius": 100}.items():
            check_number(f"semi_supervised.{name}", getattr(self, name), 0, high, open_low=True)
        for name in ("entropy", "virtual_adversarial"):
            check_number(f"semi_supervised.{name}", getattr(self, name), 0, 100)
        check_betas("semi_supervised.betas", self.betas)
        build_later(self.network, "semi_supervised.network", ClassifyingDiscriminator)

    def discriminator(self, shape: ImageShape, num_classes: int) -> ClassifyingDiscriminator:
        """Build the discriminator: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`."""
        return build_later(self.network, "semi_supervised.network", ClassifyingDiscriminator)(shape, num_classes)


@dataclass(frozen=True)
class ConsistencyMethod(Method):
    """Consistency training. It has no settings of its own: those of the semi-supervised GAN apply."""

    sees = "pool_images"

    def stage(self, plan: Plan, arm: Arm, extra: Extra) -> "ConsistencyStage":
        """Plan the stage that trains the classifier; raise a ValueError if the arm has more to learn from."""
        of_gan = plan.config.part("semi_supervised", ConsistencySettings)
        settings = ConsistencySettings(**{one.name: getattr(of_gan, one.name) for one in fields(ConsistencySettings)})
        return ConsistencyStage.plan_arm(plan, arm, extra, settings)


class Consistency(ClassifierTraining):
    """A classifier that learns from labelled images and the pool, under manual optimisation.

    The loss is the cross-entropy of labelled images, plus two terms for the pool: the conditional entropy, and the
    virtual adversarial loss (Miyato et al. 2018) with the running average as target (Tarvainen and Valpola 2017).

    Args:
        network: Images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.
        transform: Applied to every real image; None for none.
    """

    CURVES: ClassVar[tuple[str, ...]] = ("loss/labelled", "loss/entropy", "loss/virtual_adversarial", "pool/confidence")
    STREAMS: ClassVar[tuple[str, ...]] = ("transform", "virtual_adversarial")

    def __init__(
        self,
        network: ClassifyingDiscriminator,
        settings: ConsistencySettings,
        transform: ClassicalTransform | None,
        seed: int,
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.network = network
        self.ema = copy.deepcopy(network).requires_grad_(False).eval()
        self.settings, self.transform = settings, transform

    def classifier(self) -> nn.Module:
        """Return the averaged network."""
        return self.ema

    @property
    def players(self) -> list[nn.Module]:
        """The networks that are trained."""
        return [self.network]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for each player."""
        rate, betas = self.learning_rate(0), (self.settings.betas[0], self.settings.betas[1])
        return [torch.optim.Adam(one.parameters(), lr=rate, betas=betas, fused=True) for one in self.players]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate in a step: constant for half of the training, then falling to 0."""
        return self.settings.learning_rate * min(1.0, 2 * (1 - step / self.settings.num_steps))

    def training_step(self, batch: Batch, step: int) -> None:
        """Train every player whose turn it is for a step."""
        settings = self.settings
        optimizers = self.optimizers_at(*[self.learning_rate(step)] * len(self.players))
        seed_global(stream_seed(self.seed, "noise", step), self.device)  # the network's layers draw from it
        views = batch
        if self.transform is not None:
            views = batch._replace(images=self.transform(batch.images, self.draws["transform"].at(step)))
        terms = dict.fromkeys(self.CURVES, views.images.new_zeros(()))
        terms |= self.play(optimizers, batch, views, step)
        images, seen = settings.batch_size, (step + 1) * settings.batch_size
        self.update_average(self.ema, self.network, images, seen, settings.ema_half_life, settings.ema_ramp_up)
        points = torch.stack([term.detach() for term in terms.values()])
        self.expect_finite(points)
        self.add_points(points)
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)

    def play(self, optimizers: list[torch.optim.Optimizer], batch: Batch, views: Batch, step: int) -> dict[str, Tensor]:
        """Take a step of the optimizers, with a batch and its transformed views; return the values of the curves."""
        loss, terms = self.loss_of_real(self.network(views.images).float(), batch, views, step)
        self.minimise(loss, optimizers[0])
        return terms

    def loss_of_real(self, logits: Tensor, batch: Batch, views: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the network's loss on real images, from the logits `[B, K]` of their views, and its curves' values."""
        settings, labels, pool = self.settings, batch.known.labels, batch.pool.images
        on_labelled, on_pool = logits.split([len(labels), len(pool)])
        loss = cross_entropy(on_labelled, labels)
        terms = {"loss/labelled": loss, "pool/confidence": on_pool.detach().softmax(dim=1).amax(dim=1).mean()}
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
        return loss, terms

    def validation_step(self, batch: Batch, step: int) -> None:
        """Log loss and accuracy of the averaged network on the validation images."""
        log_validation(self, self.ema(batch.images).float(), batch.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class ConsistencyStage(MethodStage):
    """Trains a classifier on labelled images and, without their labels, on images of the pool.

    Attributes:
        extra: The source of further images with labels; None for none.
        share: Their share of the images with labels.
    """

    name, version = "consistency", 1
    together = False
    reads = (*MethodStage.reads, *(f"semi_supervised.{one.name}" for one in fields(ConsistencySettings)))

    pool: ImageSet
    semi_supervised: ConsistencySettings
    extra: Extra | None = made_from()
    share: float | None = later()

    @classmethod
    def plan_arm(cls, plan: Plan, arm: Arm, extra: Extra, settings: ConsistencySettings) -> Self:
        """Plan the stage in an arm; raise a ValueError if it cannot learn from all that the arm has."""
        if arm.transform not in ("none", "classical") or arm.teacher is not None:
            raise ValueError(
                f"augmentation.method={arm.method} labels the images of the pool itself, and mixes none: use "
                "sees=pool_images, teacher=null and transform=none or classical"
            )
        further = {} if isinstance(extra, NoExtra) else {"extra": extra, "share": arm.share}
        return cls.plan(plan, arm.transform, pool=plan.views.pool, semi_supervised=settings, **further)

    def check(self) -> None:
        """Check that the network can take the images."""
        self.semi_supervised.discriminator(self.labelled.shape, self.labelled.num_classes)
        if self.extra is not None:
            number = self.semi_supervised.labelled_batch_size
            self.extra.check(self.labelled, self.num_extra, number)
            if not self.num_extra:
                raise ValueError(
                    f"augmentation.share={self.share} of semi_supervised.labelled_batch_size={number} rounds to no "
                    "image: use a larger share"
                )
        assert not (self.pool.labels >= 0).any(), "views provide the pool without its labels"

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the classifier and write it."""
        system = Consistency(self.start(), self.semi_supervised, self.transform, self.seed)
        self.train(system, folder, made)

    @property
    def num_extra(self) -> int:
        """The number of images of a batch that come from the extra set."""
        return round((self.share or 0) * self.semi_supervised.labelled_batch_size)

    def start(self) -> ClassifyingDiscriminator:
        """Return the network with its first weights."""
        shape, num_classes, pool = self.labelled.shape, self.labelled.num_classes, self.pool
        network = initialised(lambda: self.semi_supervised.discriminator(shape, num_classes), self.seed)
        first = ShuffledIndices(len(pool), self.seed, "init/data").between(0, min(FOR_START, len(pool)))
        initialise_from_data(network, to_float(pool.images[first]))
        return network

    def train(
        self,
        system: Consistency,
        folder: Path,
        made: Mapping[str, Path],
        about: Mapping[str, Any] | None = None,
        **further: nn.Module,
    ) -> None:
        """Train, and write the averaged network as a classifier, with further metadata and networks."""
        settings, labelled, pool = self.semi_supervised, self.labelled, self.pool
        parts = self.known_parts(self.extra or NoExtra(), settings.labelled_batch_size, self.num_extra, made)
        parts.append(Part(pool, settings.batch_size, "order/pool"))
        of_network = {"network": settings.network, "batch_size": settings.batch_size}
        known = about_classifier(of_network, labelled, self.decoding) | {"pool_images": len(pool)} | dict(about or {})
        self.fit(system, parts, settings.num_steps, known, folder, **further)
