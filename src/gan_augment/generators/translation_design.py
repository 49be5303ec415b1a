"""The design of an image translation: its networks and losses, and the weights of what an image must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, replace
from typing import Any

from gan_augment.data.image_set import ImageShape
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.networks.translator import PatchDiscriminator, Translator
from gan_augment.settings import (
    build,
    build_later,
    check_betas,
    check_boolean,
    check_choice,
    check_integer,
    check_number,
)

WEIGHTS = ("patch_nce", "cycle", "identity_mapping", "task", "style", "l1")
# What it learns from, and settings for which this has no use.
UNUSED = {
    "domains": ("l1", "conditional"),
    "pairs": ("cycle", "identity_mapping", "task", "style", "match_prior", "class_conditional"),
    "class_mates": ("cycle", "identity_mapping", "task", "style", "match_prior", "class_conditional"),
    "low_resolution": ("cycle", "identity_mapping", "style", "match_prior", "class_conditional"),
}


@dataclass(frozen=True)
class TranslationSettings:
    """How images are translated, and what they must keep, by weights of terms that add to the adversarial loss.

    Attributes:
        examples: What it learns from: `domains`, the labelled images and those of the pool; `pairs`, an image of each
            domain that show the same thing; `class_mates`, two labelled images of one class; or `low_resolution`, an
            image of the pool and its copy in low resolution.
        translator: The node of the translating network.
        discriminator: The node of the discriminator of each domain.
        loss: The node of the adversarial loss.
        adversarial: Weight of the adversarial loss; 0 for none, where it is known what an image should become.
        patch_nce: Weight of the contrast of patches (CUT).
        cycle: Weight of the L1 distance of an image that was translated there and back (CycleGAN). Above 0, a second
            translator with a discriminator of its own learns the way back.
        identity_mapping: Weight of what keeps images of the pool as they are when they are translated: a contrast of
            patches, or with `patch_nce=0` the L1 distance, which then also keeps labelled images on the way back.
        task: Weight of the cross-entropy of a teacher, which learned from the labelled images, on translations. Targets
            are the labels or, where there are none, its predictions for what the image should become.
        style: Weight of the distance of statistics to those of an image of the pool, whose style it should have.
        l1: Weight of the L1 distance to what the image should become (Pix2Pix).
        conditional: Whether the discriminator also sees the image that was translated.
        match_prior: Whether classes are drawn as often as the teacher sees them in the pool.
        class_conditional: Whether discriminators also receive the class of an image: its label, or in the pool the one
            that the teacher predicts.
        images_seen: Images translated in the training, and as many real ones seen; 0 keeps the translator of `start`.
        batch_size: Images of each domain per step.
        learning_rate: Of the translators' Adam; constant for half of the training, then down to 0.
        discriminator_learning_rate: Of the discriminators' Adam, likewise.
        betas: Betas of both Adams.
        ema_half_life: Half-life of the averaged translator, in images seen.
        teacher: The method that trains the teacher: `classifier`, from the labelled images alone, or one that also sees
            the pool.
        start: Whose weights the translator starts from: the folder of a trial, or a checkpoint; None for random ones.
            Discriminators, heads and the way back start from random ones.

    Raises:
        ValueError: If a value is out of range.
    """

    examples: str
    translator: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    loss: Mapping[str, Any]
    adversarial: float
    patch_nce: float
    cycle: float
    identity_mapping: float
    task: float
    style: float
    l1: float
    conditional: bool
    match_prior: bool
    class_conditional: bool
    images_seen: int
    batch_size: int
    learning_rate: float
    discriminator_learning_rate: float
    betas: Sequence[float]
    ema_half_life: int
    teacher: str = "classifier"
    start: str | None = None
    where: InitVar[str] = "translation"

    def __post_init__(self, where: str) -> None:
        for name in ("adversarial", *WEIGHTS):
            check_number(f"{where}.{name}", getattr(self, name), 0, 1000)
        for name in ("match_prior", "class_conditional", "conditional"):
            check_boolean(f"{where}.{name}", getattr(self, name))
        check_choice(f"{where}.examples", self.examples, UNUSED)
        unused = [name for name in UNUSED[self.examples] if getattr(self, name)]
        if unused:
            raise ValueError(
                f"{where}.examples={self.examples} has no use for {' and '.join(f'{where}.{one}' for one in unused)}: "
                "set 0 or false"
            )
        if self.examples in ("pairs", "low_resolution") and self.translator.get("latents"):
            raise ValueError(f"{where}.examples={self.examples}: an image has one translation, so set latents=0")
        if not (self.adversarial or self.l1):
            way = "l1 or adversarial" if "l1" not in UNUSED[self.examples] else "adversarial"
            raise ValueError(f"{where}: no weight says what an image should become: set {way} above 0")
        if self.class_conditional and not self.match_prior:
            raise ValueError(
                f"{where}.class_conditional=true needs {where}.match_prior=true: otherwise the frequencies of classes "
                "tell translations from images of the pool"
            )
        check_integer(f"{where}.batch_size", self.batch_size, low=1)
        if self.start is None or self.images_seen:  # a trained translator may stay as it is
            check_integer(f"{where}.images_seen", self.images_seen, low=self.batch_size)
        for name in ("learning_rate", "discriminator_learning_rate"):
            check_number(f"{where}.{name}", getattr(self, name), 0, 1, open_low=True)
        check_betas(f"{where}.betas", self.betas)
        if self.patch_nce and self.translator.get("latents"):
            raise ValueError(
                f"{where}.patch_nce={self.patch_nce} compares patches of images without latent numbers: use 0"
            )
        styled = bool(self.translator.get("styled"))
        if styled != bool(self.style):
            raise ValueError(
                f"{where}.style={self.style} with {where}.translator.styled={str(styled).lower()}: both or neither; "
                "translation=style sets both"
            )
        if styled and self.cycle:
            raise ValueError(f"{where}.cycle={self.cycle}: on its way back an image has no style, use 0")
        check_integer(f"{where}.ema_half_life", self.ema_half_life, low=1)
        build_later(self.translator, f"{where}.translator", Translator)
        build_later(self.discriminator, f"{where}.discriminator", PatchDiscriminator)
        if self.adversarial_loss.pairs or self.adversarial_loss.weight_clip is not None:
            raise ValueError(
                f"{where}.loss={type(self.adversarial_loss).__name__} compares pairs of images or clips weights, which "
                "translators do not support: use LeastSquares, NonSaturating, Hinge or Minimax"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Its part of a stage's key: the teacher and what it starts from count by their content."""
        return {name: value for name, value in asdict(self).items() if name not in ("start", "teacher")}

    @property
    def num_steps(self) -> int:
        """The number of steps."""
        return self.images_seen // self.batch_size

    @property
    def is_paired(self) -> bool:
        """Whether each example is an image and one that it may become."""
        return self.examples != "domains"

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher takes part."""
        return self.num_steps > 0 and (self.task > 0 or self.match_prior or self.class_conditional)

    @property
    def adversarial_loss(self) -> AdversarialLoss:
        """The adversarial loss."""
        return build(self.loss, "translation.loss", AdversarialLoss)

    def build_translator(self, shape: ImageShape) -> Translator:
        """Build a translator of images of this shape."""
        return build_later(self.translator, "translation.translator", Translator)(shape)

    def build_discriminator(self, shape: ImageShape, num_classes: int = 0) -> PatchDiscriminator:
        """Build a discriminator of images of this shape, and of what else it sees as further channels.

        If it is conditional, these are the originals; if it is class-conditional, a plane for each class.
        """
        further = shape.channels * self.conditional + num_classes * self.class_conditional
        seen = replace(shape, channels=shape.channels + further)
        return build_later(self.discriminator, "translation.discriminator", PatchDiscriminator)(seen)
