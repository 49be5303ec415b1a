"""The design of an image translation: its networks and losses, and the weights of what an image must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import Any

from gan_augment.data.image_set import ImageShape
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.networks.translator import PatchDiscriminator, Translator
from gan_augment.settings import build, build_later, check_betas, check_boolean, check_integer, check_number

WEIGHTS = ("patch_nce", "cycle", "identity", "task", "l1")
WITHOUT_PAIRS = ("cycle", "identity", "task", "match_prior")  # settings that pairs have no use for


@dataclass(frozen=True)
class TranslationSettings:
    """How images are translated, and what they must keep, by weights of terms that add to the adversarial loss.

    Attributes:
        translator: The node of the translating network.
        discriminator: The node of the discriminator of each domain.
        loss: The node of the adversarial loss.
        patch_nce: Weight of the contrast of patches (CUT).
        cycle: Weight of the L1 distance of an image that was translated there and back (CycleGAN). Above 0, a second
            translator with a discriminator of its own learns the way back.
        identity: Weight of what keeps images of the pool as they are when they are translated: a contrast of patches,
            or with `patch_nce=0` the L1 distance, which then also keeps labelled images on the way back.
        task: Weight of the cross-entropy of a teacher that learned from the labelled images, on their translations.
        l1: Weight of the L1 distance to what the image should become (Pix2Pix). Above 0, the translator learns from
            pairs, images of both domains that show the same.
        conditional: Whether the discriminator also sees the image that was translated, which needs pairs.
        match_prior: Whether classes are drawn as often as the teacher sees them in the pool.
        images_seen: Labelled images seen in the training; as many of the pool are.
        batch_size: Images of each domain per step.
        learning_rate: Of Adam; constant for half of the training, then down to 0.
        betas: Betas of Adam.
        ema_half_life: Half-life of the averaged translator, in images seen.

    Raises:
        ValueError: If a value is out of range.
    """

    translator: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    loss: Mapping[str, Any]
    patch_nce: float
    cycle: float
    identity: float
    task: float
    l1: float
    conditional: bool
    match_prior: bool
    images_seen: int
    batch_size: int
    learning_rate: float
    betas: Sequence[float]
    ema_half_life: int
    where: InitVar[str] = "translation"

    def __post_init__(self, where: str) -> None:
        for name in WEIGHTS:
            check_number(f"{where}.{name}", getattr(self, name), 0, 1000)
        for name in ("match_prior", "conditional"):
            check_boolean(f"{where}.{name}", getattr(self, name))
        if self.conditional and not self.l1:
            raise ValueError(f"{where}.conditional=true needs pairs, and {where}.l1=0 uses none: set one above 0")
        if self.l1 and (unused := [name for name in WITHOUT_PAIRS if getattr(self, name)]):
            raise ValueError(
                f"{where}.l1={self.l1} learns from pairs, which show what an image should become: leave "
                f"{' and '.join(f'{where}.{name}' for name in unused)} at 0 or false"
            )
        check_integer(f"{where}.batch_size", self.batch_size, low=1)
        check_integer(f"{where}.images_seen", self.images_seen, low=self.batch_size)
        check_number(f"{where}.learning_rate", self.learning_rate, 0, 1, open_low=True)
        check_betas(f"{where}.betas", self.betas)
        check_integer(f"{where}.ema_half_life", self.ema_half_life, low=1)
        build_later(self.translator, f"{where}.translator", Translator)
        build_later(self.discriminator, f"{where}.discriminator", PatchDiscriminator)
        if self.adversarial.pairs or self.adversarial.weight_clip is not None:
            raise ValueError(
                f"{where}.loss={type(self.adversarial).__name__} compares pairs of images or clips weights, which "
                "translators do not support: use LeastSquares, NonSaturating, Hinge or Minimax"
            )

    @property
    def num_steps(self) -> int:
        """The number of steps."""
        return self.images_seen // self.batch_size

    @property
    def is_paired(self) -> bool:
        """Whether the translator learns from pairs."""
        return self.l1 > 0

    @property
    def needs_teacher(self) -> bool:
        """Whether a classifier that learned from the labelled images takes part."""
        return self.task > 0 or self.match_prior

    @property
    def adversarial(self) -> AdversarialLoss:
        """The adversarial loss."""
        return build(self.loss, "translation.loss", AdversarialLoss)

    def build_translator(self, shape: ImageShape) -> Translator:
        """Build a translator of images of this shape."""
        return build_later(self.translator, "translation.translator", Translator)(shape)

    def build_discriminator(self, shape: ImageShape) -> PatchDiscriminator:
        """Build a discriminator of images of this shape, and if it is conditional of the images they were made from."""
        if self.conditional:
            shape = replace(shape, channels=2 * shape.channels)
        return build_later(self.discriminator, "translation.discriminator", PatchDiscriminator)(shape)
