"""Image translation: a generator whose latents are images. Labelled images get the look of the pool."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss

from gan_augment.arm import Arm
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.artefacts.weights import FILE, save_weights
from gan_augment.contracts import NoExtra, Plan
from gan_augment.data.batches import Batch, ImageBatches, Part
from gan_augment.data.image_set import ImageSet, ImageShape, from_float, to_float
from gan_augment.generators.gan_training import set_requires_grad
from gan_augment.generators.samples import SampleGrid
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.losses.content import patch_nce
from gan_augment.networks.translator import PatchDiscriminator, PatchHeads, Translator, check_size
from gan_augment.randomness import Stream, initialised
from gan_augment.records.findings import Findings
from gan_augment.settings import build, build_later, check_betas, check_boolean, check_integer, check_number
from gan_augment.stages import Stage, made_from
from gan_augment.training.base import Training, last_points

PATCHES = 64  # most patches of an image that are compared, at each stage of the translator
CHUNK = 256  # images shown at a time
REPEATS = 4  # of an image on average where classes are drawn as often as in the pool
WEIGHTS = ("patch_nce", "cycle", "identity", "task")


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
        check_boolean(f"{where}.match_prior", self.match_prior)
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
        """Build a discriminator of images of this shape."""
        return build_later(self.discriminator, "translation.discriminator", PatchDiscriminator)(shape)

    def stage(self, plan: Plan) -> "TrainTranslator":
        """Plan the stage that learns to translate labelled images into the look of the pool."""
        teacher = None
        if self.needs_teacher:
            if plan.config.parts["classifier"] is None:
                raise ValueError(
                    "classifier=none, but this arm translates images for a classifier: choose one, such as "
                    "classifier=cnn"
                )
            teacher = plan.method(Arm("labelled", "none", None, "classical", "classifier"), NoExtra())
        return TrainTranslator(
            labelled=plan.views.labelled,
            pool=plan.views.pool,
            settings=self,
            teacher=teacher,
            seed=plan.config.seeds.gan,
            hardware=plan.config.hardware,
        )


class Domain(nn.Module):
    """What translates into a domain: the translator, the discriminator of its images, and heads for patches.

    Args:
        settings: The settings of the translation.
        shape: The shape of the images.
    """

    def __init__(self, settings: TranslationSettings, shape: ImageShape) -> None:
        super().__init__()
        self.translator = settings.build_translator(shape)
        self.discriminator = settings.build_discriminator(shape)
        self.heads = PatchHeads(self.translator.widths) if settings.patch_nce else None

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Compile the networks, which are called by themselves."""
        for network in self.children():
            network.compile(*arguments, **settings)

    def forward(self, images: Tensor) -> Tensor:
        """Translate images into the domain."""
        return self.translator(images)


class Translation(Training):
    """Translators under manual optimisation: of labelled images into the look of the pool, and back if asked.

    Args:
        target: Translates into the look of the pool.
        source: Translates back; None without a cycle.
        teacher: Images -> logits `[B, K]`, frozen; None without one.
        labelled: The images whose translations are shown during training.
    """

    CURVES = (
        *("loss/discriminator", "loss/adversarial"),
        *(f"content/{name}" for name in WEIGHTS),
    )
    STREAMS = ("patches",)

    def __init__(
        self,
        target: Domain,
        source: Domain | None,
        teacher: nn.Module | None,
        settings: TranslationSettings,
        labelled: ImageSet,
        seed: int,
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.target, self.source, self.settings = target, source, settings
        self.average = copy.deepcopy(target.translator).requires_grad_(False).eval()
        self.loss = settings.adversarial
        self.teacher = teacher
        self._labelled = labelled

    def images_seen(self, step: int) -> int:
        """Return how many labelled images were translated after a step."""
        return (step + 1) * self.settings.batch_size

    axis = images_seen  # of all curves

    @property
    def domains(self) -> list[Domain]:
        """The domains into which images are translated."""
        return [self.target] if self.source is None else [self.target, self.source]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for the discriminators, and one for translators and heads."""
        judging = [weight for one in self.domains for weight in one.discriminator.parameters()]
        judges = {*judging}
        making = [weight for one in self.domains for weight in one.parameters() if weight not in judges]
        betas = (self.settings.betas[0], self.settings.betas[1])
        return [
            torch.optim.Adam(weights, lr=self.settings.learning_rate, betas=betas, fused=True)
            for weights in (judging, making)
        ]

    @torch.no_grad()
    def sample(self, labels: Tensor, random: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return translations `[N, C, H, W]` of labelled images of classes `[N]`, on the CPU."""
        chosen = torch.empty_like(labels)
        for label in labels.unique().tolist():
            members, places = self._labelled.members(label), (labels == label).nonzero()[:, 0]
            chosen[places] = members[torch.arange(len(places)) % len(members)]
        some = (to_float(self._labelled.images[part].to(self.device)) for part in chosen.split(CHUNK))
        return torch.cat([from_float(self.average(images).float(), dtype).cpu() for images in some])

    def training_step(self, batch: Batch, step: int) -> None:
        """Train the discriminators for a step, then the translators."""
        settings = self.settings
        rate = settings.learning_rate * min(1.0, 2 - 2 * step / settings.num_steps)
        of_discriminators, of_translators = self.optimizers_at(rate, rate)
        known, pool = batch.labelled, batch.pool.images
        maps = self.target.translator.maps(known.images)
        there = self.target.translator.finish(maps, known.images)
        pairs = [(self.target, pool, there)]
        if self.source is not None:
            pairs.append((self.source, known.images, self.source(pool)))

        judged = torch.zeros((), device=self.device)
        for domain, real, made in pairs:
            logits = domain.discriminator(torch.cat([real, made.detach()])).float()
            judged = judged + self.loss.discriminator(*(part.flatten() for part in logits.split(len(real))))
        self.minimise(judged, of_discriminators)

        judging: list[Tensor] = of_discriminators.param_groups[0]["params"]
        set_requires_grad(judging, False)  # the gradients of these weights are not used
        nothing = judged.new_empty(0)
        fooled = [self.loss.generator(one.discriminator(made).float().flatten(), nothing) for one, _, made in pairs]
        terms = self.content(known, pool, maps, [made for *_, made in pairs], step)
        weighted = [getattr(settings, name) * term for name, term in terms.items()]
        loss = torch.stack([*fooled, *weighted]).sum()
        self.minimise(loss, of_translators)
        set_requires_grad(judging, True)
        self.update_average(
            self.average,
            self.target.translator,
            settings.batch_size,
            self.images_seen(step),
            settings.ema_half_life,
            ramp_up=0.05,
        )
        self.expect_finite(judged + loss)
        self.add_points(torch.stack([judged, torch.stack(fooled).sum(), *terms.values()]).detach())
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)

    def content(
        self, known: Batch, pool: Tensor, maps: list[Tensor], made: list[Tensor], step: int
    ) -> dict[str, Tensor]:
        """Return the terms that tie translations to their originals, by the names of their weights; 0 if unused.

        `maps` are the feature maps of the labelled images in the translator. `made` has their translations and, if
        there is a way back, those of the images of the pool.
        """
        settings, target, source = self.settings, self.target, self.source
        terms = dict.fromkeys(WEIGHTS, known.images.new_zeros(()))
        if settings.patch_nce:
            terms["patch_nce"] = self.contrast(maps, made[0], step)
        if source is not None:
            terms["cycle"] = l1_loss(source(made[0]), known.images) + l1_loss(target(made[1]), pool)
        if settings.identity and settings.patch_nce:
            of_pool = target.translator.maps(pool)
            terms["identity"] = self.contrast(of_pool, target.translator.finish(of_pool, pool), step)
        elif settings.identity:
            terms["identity"] = l1_loss(target(pool), pool)
            if source is not None:
                terms["identity"] = terms["identity"] + l1_loss(source(known.images), known.images)
        if settings.task:
            assert self.teacher is not None
            terms["task"] = cross_entropy(self.teacher(made[0].float()).float(), known.labels)
        return terms

    def contrast(self, maps: list[Tensor], made: Tensor, step: int) -> Tensor:
        """Return the contrast of patches of translated images with those of the originals, whose maps are given."""
        random, places = self.draws["patches"].at(step), []
        for one in maps:
            number = one.shape[-2] * one.shape[-1]
            places.append(torch.randperm(number, generator=random, device=self.device)[:PATCHES])
        assert self.target.heads is not None
        vectors = (self.target.heads(some, places) for some in (self.target.translator.maps(made), maps))
        pairs = list(zip(*vectors, strict=True))
        with torch.autocast(self.device.type, enabled=False):  # similarities need more bits than bf16 has
            return torch.stack([patch_nce(output, original) for output, original in pairs]).mean()


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainTranslator(Stage):
    """Trains a translator of labelled images into the look of the pool.

    Attributes:
        labelled: The images to translate.
        pool: The images whose look they get.
        teacher: The stage of a classifier that learned from the labelled images; None if nothing asks it.
    """

    name, version = "translator", 1
    reads = ("translation", "seeds.gan")

    labelled: ImageSet
    pool: ImageSet
    settings: TranslationSettings
    teacher: Stage | None = made_from()

    def check(self) -> None:
        """Check that the networks can take the images."""
        check_size("translation", self.labelled.shape)
        self.settings.build_translator(self.labelled.shape)
        self.settings.build_discriminator(self.labelled.shape)
        assert not (self.pool.labels >= 0).any(), "views provide the pool without its labels"

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train, and write the translator."""
        settings, seed, shape = self.settings, self.seed, self.labelled.shape
        labelled, teacher = self.labelled, None
        if self.teacher is not None:
            teacher = self.teacher.load(made["teacher"])
            if settings.match_prior:
                prior = teacher.probabilities(self.pool).double().mean(dim=0)
                labelled = with_prior(labelled, prior, Stream(seed, "prior").at(0))
        target = initialised(lambda: Domain(settings, shape), seed, "init/target")
        source = initialised(lambda: Domain(settings, shape), seed, "init/source") if settings.cycle else None
        network = teacher.network if teacher is not None and settings.task else None
        system = Translation(target, source, network, settings, self.labelled, seed)
        parts = [Part(labelled, settings.batch_size, "order"), Part(self.pool, settings.batch_size, "order/pool")]
        self.hardware.fit(
            system,
            ImageBatches(parts, settings.num_steps, seed),
            folder,
            callbacks=(SampleGrid(self.labelled, seed, with_diversity=False),),
        )
        system.keep_last_points(folder)
        about = {
            "kind": "translator",
            "translator": {**settings.translator},
            "shape": [*astuple(shape)],
            "class_names": [*self.labelled.class_names],
            "trained_on": self.labelled.fingerprint,
            "images_seen": settings.num_steps * settings.batch_size,
            "pool_images": len(self.pool),
            "seed": seed,
        }
        save_weights(folder / FILE, about, average=system.average)

    def alone(self) -> "TrainTranslator":
        """Return the stage without its teacher, whose part of the time is small."""
        return replace(self, teacher=None, settings=replace(self.settings, task=0.0, match_prior=False))

    def load(self, folder: Path) -> TrainedTranslator:
        """Read the translator."""
        return TrainedTranslator.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the translator's weights."""
        return folder / FILE

    def findings(self, folder: Path) -> Findings:
        """Return the last point of each curve, such as `content_cycle`, the distance after there and back."""
        return Findings({"translation": {"training": last_points(folder)}})


def with_prior(images: ImageSet, prior: Tensor, random: torch.Generator) -> ImageSet:
    """Draw from images so that classes are as frequent as in `prior`, `[K]`: `REPEATS` times as many in all.

    Images of a class are drawn equally often, give or take one, and every class that has images at least once.

    Example:
        >>> images = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ["a", "b"])
        >>> with_prior(images, torch.tensor([0.75, 0.25]), torch.Generator()).class_counts.tolist()
        [12, 4]
    """
    present = images.class_counts > 0
    shares = prior.double() * present
    chosen = []
    for label in present.nonzero()[:, 0].tolist():
        members = images.members(label)
        members = members[torch.randperm(len(members), generator=random)]
        wanted = max(1, round(REPEATS * len(images) * float(shares[label] / shares.sum())))
        chosen.append(members[torch.arange(wanted) % len(members)])
    return images.subset(torch.cat(chosen))
