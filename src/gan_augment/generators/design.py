"""The design of a GAN: one member of each of its configuration groups, checked to fit together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from gan_augment.augmentation.discriminator import Adaptive, DiffAugment
from gan_augment.data.image_set import ImageShape
from gan_augment.generators.base import check_length, count_steps
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.losses.diversity import DiversityHinge
from gan_augment.losses.penalties import Penalties
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.conditioning import Concat, Conditioning, PerClass
from gan_augment.settings import check_betas, check_boolean, check_integer, check_number
from gan_augment.stages import later


@dataclass(frozen=True)
class GANSettings:
    """How a GAN is trained.

    Attributes:
        images_seen: Real images that the discriminator sees in all, repeats counted; None if only `seconds` end the
            training.
        batch_size: Real images per step, and as many generated ones.
        discriminator_steps: Discriminator steps per generator step.
        reuse_fakes: Whether the generator learns from the images of the discriminator's last step, as in PyTorch's
            DCGAN tutorial, which is less work; otherwise new ones are generated.
        generator_learning_rate: Of its Adam.
        discriminator_learning_rate: Of its Adam.
        betas: Of both Adams.
        decay: Whether both learning rates fall to 0 along a half cosine; otherwise they are constant.
        ema_half_life: Half-life of the generator's running average, in images.
        ema_ramp_up: The half-life is at most this share of the images seen so far, so that the average forgets the
            random start.
        seconds: After how many seconds the training ends; None for no limit.

    Raises:
        ValueError: If a value is out of range.
    """

    images_seen: int | None
    batch_size: int
    discriminator_steps: int
    reuse_fakes: bool
    generator_learning_rate: float
    discriminator_learning_rate: float
    betas: tuple[float, float]
    decay: bool
    ema_half_life: int
    ema_ramp_up: float
    seconds: float | None = later()

    def __post_init__(self) -> None:
        for name in ("batch_size", "discriminator_steps", "ema_half_life"):
            check_integer(f"generator.{name}", getattr(self, name), low=1)
        # At least one generator step.
        check_length(self.images_seen, self.seconds, self.decay, self.batch_size * self.discriminator_steps)
        for name in ("generator_learning_rate", "discriminator_learning_rate", "ema_ramp_up"):
            check_number(f"generator.{name}", getattr(self, name), 0, 1, open_low=True)
        check_boolean("generator.reuse_fakes", self.reuse_fakes)
        check_betas("generator.betas", self.betas)

    @property
    def num_steps(self) -> int:
        """Discriminator steps in all, if no clock ends them before."""
        return count_steps(self.images_seen, self.batch_size)


@dataclass(frozen=True, eq=False)
class GANDesign:
    """The parts of a GAN.

    Attributes:
        augmentation: Of the discriminator's images, real and generated.
        nodes: The configuration nodes of the parts above except the settings, for checkpoints and keys.
    """

    architecture: Architecture
    conditioning: Conditioning
    loss: AdversarialLoss
    penalties: Penalties
    augmentation: DiffAugment
    settings: GANSettings
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """The design as plain values, for keys and checkpoints."""
        known = {one.name: (one.metadata, getattr(self.settings, one.name)) for one in fields(self.settings)}
        kept = {
            name: value
            for name, (about, value) in known.items()
            if "implied" not in about and not ("later" in about and value is None)
        }
        return {**self.nodes, "gan": kept}

    def generator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1]."""
        return self.conditioning.generator(self.architecture, shape, num_classes)

    def discriminator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (features of images, labels `[B]`) -> logits `[B]` or `[B, judgements]`, high where real."""
        return self.conditioning.discriminator(self.architecture, shape, num_classes)

    def diversity_hinge(self) -> DiversityHinge | None:
        """Return the diversity hinge of the generator, if it has a weight."""
        group = self.augmentation.group if self.augmentation.is_on else self.settings.batch_size
        weight, maps = self.penalties.diversity, self.architecture.num_maps
        return DiversityHinge(weight, group, maps) if weight else None

    def check(self, shape: ImageShape, num_classes: int) -> None:
        """Raise a ValueError unless the architecture can make such images and the parts fit together."""
        self.architecture.check(shape)
        of, clip, slope = self.architecture, self.loss.weight_clip, self.penalties.gradient_penalty
        diversity = self.penalties.diversity
        several = self.settings.batch_size > 1 and (num_classes == 1 or not isinstance(self.conditioning, PerClass))
        refused = {
            "discriminator_augmentation changes pictures, but these are points: leave it none": (
                shape.is_point and self.augmentation.is_on
            ),
            "conditioning: one GAN a class, or the label as a further channel, needs the image itself, but this "
            "discriminator sees frozen features: use conditioning=projection or none": (
                bool(of.num_maps) and isinstance(self.conditioning, Concat | PerClass)
            ),
            "penalty: batch norm in the discriminator makes each logit depend on the whole batch, so no image has a "
            "gradient of its own; use architecture.batch_norm=false, or penalty=none": (
                of.batch_norm and self.penalties.are_on
            ),
            "architecture.batch_norm=True: batch norm undoes what spectral norm bounds: set "
            "architecture.spectral_norm=false, or batch_norm=false": of.batch_norm and of.spectral_norm,
            "architecture.generator_batch_norm=True: batch norm needs more than one image, but there may be just one "
            "with generator.batch_size=1, or of a class with conditioning=per_class: use "
            "architecture.generator_batch_norm=false, or other values of these": of.generator_batch_norm
            and not several,
            f"penalty.diversity={diversity}: it is measured in frozen features: use architecture=projected, or "
            "penalty=none": diversity and not of.num_maps,
            f"penalty.diversity={diversity}: it compares images with one augmentation, but here each has its own: use "
            "discriminator_augmentation=grouped or none, or set its group to 8": (
                diversity and self.augmentation.is_on and self.augmentation.group == 1
            ),
            "discriminator_augmentation=ada asks how many real images have a logit above 0, which means nothing with "
            "this loss: use loss=non_saturating, hinge or least_squares, or discriminator_augmentation=diffaugment": (
                isinstance(self.augmentation, Adaptive) and not self.loss.zero_divides
            ),
            f"loss.weight_clip={clip}: spectral norm scales clipped weights up again; use "
            "architecture.spectral_norm=false, or loss.weight_clip=null": of.spectral_norm and clip,
            f"penalty.gradient_penalty={slope}: spectral norm keeps the slope below 1, its target; use "
            "architecture.spectral_norm=false, or penalty.gradient_penalty=0.0": of.spectral_norm and slope,
        }
        for message, is_refused in refused.items():
            if is_refused:
                raise ValueError(message)
