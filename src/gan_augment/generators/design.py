"""The design of a GAN: one member of each of its configuration groups, checked to fit together."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.data.image_set import ImageShape
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.losses.penalties import Penalties
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.conditioning import Conditioning
from gan_augment.settings import check_betas, check_boolean, check_integer, check_number


@dataclass(frozen=True)
class GANSettings:
    """How a GAN is trained.

    Attributes:
        images_seen: Real images that the discriminator sees in all, repeats counted.
        batch_size: Real images per step, and as many generated ones.
        discriminator_steps: Discriminator steps per generator step.
        reuse_fakes: Whether the generator learns from the images of the discriminator's last step, as in PyTorch's
            DCGAN tutorial, which is less work; otherwise new ones are generated.
        generator_learning_rate: Of Adam.
        discriminator_learning_rate: Of Adam.
        betas: Of both Adams.
        decay: Whether both learning rates fall to 0 along a half cosine; otherwise they are constant.
        ema_half_life: Half-life of the generator's running average, in images.
        ema_ramp_up: The half-life is at most this share of the images seen so far, so that the average forgets the
            random start.
    """

    images_seen: int
    batch_size: int
    discriminator_steps: int
    reuse_fakes: bool
    generator_learning_rate: float
    discriminator_learning_rate: float
    betas: tuple[float, float]
    decay: bool
    ema_half_life: int
    ema_ramp_up: float

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_integer("generator.batch_size", self.batch_size, low=1)
        check_integer("generator.discriminator_steps", self.discriminator_steps, low=1)
        # At least one generator step.
        check_integer("generator.images_seen", self.images_seen, low=self.batch_size * self.discriminator_steps)
        check_number("generator.generator_learning_rate", self.generator_learning_rate, 0, 1, open_low=True)
        check_number("generator.discriminator_learning_rate", self.discriminator_learning_rate, 0, 1, open_low=True)
        check_betas("generator.betas", self.betas)
        check_boolean("generator.reuse_fakes", self.reuse_fakes)
        check_boolean("generator.decay", self.decay)
        check_integer("generator.ema_half_life", self.ema_half_life, low=1)
        check_number("generator.ema_ramp_up", self.ema_ramp_up, 0, 1, open_low=True)

    @property
    def num_steps(self) -> int:
        """Discriminator steps in all."""
        return self.images_seen // self.batch_size


@dataclass(frozen=True, eq=False)
class GANDesign:
    """The parts of a GAN.

    Attributes:
        architecture: Bodies of generator and discriminator.
        conditioning: How labels reach them.
        loss: The losses of both.
        penalties: Gradient penalties of the discriminator.
        augmentation: Augmentation of the discriminator's images, real and generated.
        settings: How both are trained.
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
        return {**self.nodes, "gan": asdict(self.settings)}

    def generator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (latents `[B, latent_dim]`, labels `[B]`) -> images `[B, C, H, W]` in [-1, 1]."""
        return self.conditioning.generator(self.architecture, shape, num_classes)

    def discriminator(self, shape: ImageShape, num_classes: int) -> nn.Module:
        """Return (images `[B, C, H, W]` in [-1, 1], labels `[B]`) -> logits `[B]`, high where real."""
        return self.conditioning.discriminator(self.architecture, shape, num_classes)

    def check(self, shape: ImageShape, num_classes: int) -> None:
        """Check that the architecture can make such images and that the parts fit together.

        Raises:
            ValueError: If not.
        """
        self.architecture.check(shape)
        if shape.is_point and self.augmentation.is_on:
            raise ValueError("discriminator_augmentation changes pictures, but these are points: leave it none")
        self.penalties.check(self.discriminator(shape, num_classes))

    @property
    def compares(self) -> bool:
        """Whether real and generated images are compared pairwise and so need the same labels."""
        return self.loss.pairs or self.penalties.are_on
