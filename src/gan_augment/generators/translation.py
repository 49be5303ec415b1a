"""Image translation: a generator whose latents are images. They become like others of the pool, or of their class."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import find_checkpoint
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.artefacts.weights import FILE, file_hash, load_weights, save_weights
from gan_augment.augmentation.degrading import Degrading
from gan_augment.contracts import Method, Plan
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.image_set import ImageSet, ImageShape, changed
from gan_augment.generators.samples import SampleGrid
from gan_augment.generators.translation_design import TranslationSettings
from gan_augment.generators.translation_training import Domain, Translation
from gan_augment.methods.base import decoding_of
from gan_augment.networks.generative import check_pictures
from gan_augment.networks.translator import STYLES, Translator
from gan_augment.randomness import Stream, initialised
from gan_augment.records.findings import Findings
from gan_augment.settings import check_choice, errors_of
from gan_augment.stages import Bundle, Stage, implied, made_from
from gan_augment.training.base import last_points

START = "translation.start"
DEFAULTS = {name: one.default for name, one in signature(Translator).parameters.items() if one.default is not one.empty}
REPEATS = 4  # of an image on average where classes are drawn as often as in the pool
MATES, MOST_PAIRS = 20, 40_000  # other images of its class for each image, and pairs in all


@dataclass(frozen=True, eq=False)
class TranslatorStart(Bundle):
    """A trained translator, from whose weights a training starts.

    Attributes:
        start: The hash of its checkpoint.
        path: The checkpoint.
        about: Its metadata.
    """

    start: str
    path: Path = implied()
    about: Mapping[str, Any] = implied()

    @classmethod
    def read(
        cls, named: str, settings: TranslationSettings, shape: ImageShape, degrade: Mapping[str, Any] | None = None
    ) -> Self:
        """Read the translator that `translation.start` names. `degrade` says how its images lose resolution, if any.

        Raises:
            ValueError: If there is none, or its network is another than that of the settings, or what it does.
        """
        path = find_checkpoint(START, named)
        with errors_of(START):
            trained = TrainedTranslator.load(path, torch.device("cpu"))
        if trained.shape != shape:
            raise ValueError(f"{START}={named} takes images of {trained.shape.words}, but these are of {shape.words}")
        there, here = ({**DEFAULTS, **node} for node in (trained.about["translator"], settings.translator))
        there["degrade"], here["degrade"] = trained.about.get("degrade"), degrade
        if there != here:
            name = next(name for name in {**there, **here} if there.get(name) != here.get(name))
            raise ValueError(f"{START}={named} has {name}={there.get(name)}, not {here.get(name)}: use the same")
        return cls(file_hash(path), path, trained.about)

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of it, for records and checkpoints."""
        return {"hash": self.start, **{name: self.about[name] for name in ("trained_on", "images_seen")}}

    def give(self, translator: nn.Module) -> None:
        """Give a translator its weights; raise a ValueError if the file has changed."""
        if file_hash(self.path) != self.start:
            raise ValueError(f"{self.path} has changed since the launch: launch it again")
        weights = load_weights(self.path, "average", copy.deepcopy(translator))
        translator.load_state_dict(weights.state_dict())


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainTranslator(Stage):
    """Trains a translator of images, or takes a trained one.

    Attributes:
        labelled: The images to translate.
        pool: The images whose look they get; None where it learns from the labelled images alone.
        partners: In pairs, the image from which each image of the pool should be made; None without pairs.
        degrading: How images lose resolution, if it learns to restore them; None otherwise.
        teacher: The stage of a classifier that learned from the labelled images; None if no term needs it.
        start: Whose weights it starts from; None for random ones.
        decoding: How the files of its images were read, for later ones.
    """

    name, version = "translator", 2
    together = False
    reads = ("translation", "seeds.gan")

    labelled: ImageSet
    settings: TranslationSettings
    pool: ImageSet | None = made_from()
    partners: ImageSet | None = made_from()
    degrading: Degrading | None = made_from()
    teacher: Stage | None = made_from()
    start: TranslatorStart | None = made_from()
    decoding: Mapping[str, Any] | None = implied(default=None)

    @classmethod
    def plan(
        cls,
        plan: Plan,
        examples: Sequence[str],
        usual: str,
        degrading: Degrading | None = None,
        teach: Callable[[], Stage] | None = None,
    ) -> "TrainTranslator":
        """Plan the stage, and that of the teacher if it needs one.

        Args:
            plan: What is known of the trial.
            examples: What the arm lets it learn from, as `translation.examples` has it.
            usual: The usual member of the group `translation` for that.
            degrading: How images lose resolution, if it learns to restore them.
            teach: Plans the teacher; None plans that of the settings.

        Raises:
            ValueError: If the settings learn from something else, or need a classifier that is not there.
        """
        settings, teacher, arm = plan.config.part("translation", TranslationSettings), None, plan.config.arm
        if settings.examples not in examples:
            named = f"method={arm.method}" if arm.extra == "none" else f"extra={arm.extra}"
            raise ValueError(
                f"augmentation.{named} needs translation.examples={' or '.join(examples)}, not "
                f"{settings.examples}: choose another translation, such as translation={usual}"
            )
        check_choice("translation.teacher", settings.teacher, plan.config.names(Method))
        if settings.needs_teacher:
            if plan.config.parts["classifier"] is None:
                raise ValueError(
                    "classifier=none, but this translation asks a classifier whether classes are kept: choose one, or "
                    "set translation.task=0 translation.match_prior=false translation.class_conditional=false"
                )
            if teach is not None and settings.teacher != "classifier":
                raise ValueError(
                    f"translation.teacher={settings.teacher}: images in low resolution have a teacher of their own, "
                    "use classifier"
                )
            teacher = plan.taught_by(settings.teacher) if teach is None else teach()
        partners, pool, shape = None, None, plan.views.labelled.shape
        if settings.examples in ("domains", "low_resolution") and settings.num_steps:
            pool = plan.views.pool
        elif settings.examples == "pairs" and settings.num_steps:
            partners, pool = plan.views.pairs
        start, degrade = None, None if degrading is None else asdict(degrading)
        if settings.start is not None:
            start = TranslatorStart.read(str(settings.start), settings, shape, degrade)
        return cls(
            labelled=plan.views.labelled,
            pool=pool,
            settings=settings,
            partners=partners,
            degrading=degrading,
            teacher=teacher,
            start=start,
            decoding=decoding_of(plan.config.source, "from"),
            seed=plan.config.seeds.gan,
            hardware=plan.config.hardware,
        )

    def check(self) -> None:
        """Check that the networks can take the images."""
        check_pictures("translation", self.labelled.shape)
        self.settings.build_translator(self.labelled.shape)
        self.settings.build_discriminator(self.labelled.shape)
        if self.pool is not None:
            assert not (self.pool.labels >= 0).any(), "views provide the pool without its labels"
        learns = self.settings.examples == "class_mates" and self.settings.num_steps
        if learns and not (self.labelled.class_counts > 1).any():
            raise ValueError("no class has two labelled images, so an image has no class mate: use labels=2 or more")

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train, and write the translator."""
        settings, seed, shape = self.settings, self.seed, self.labelled.shape
        teacher = None if self.teacher is None else self.teacher.load(made["teacher"])
        size = shape, self.labelled.num_classes
        target = initialised(lambda: Domain(settings, *size), seed, "init/target")
        source = initialised(lambda: Domain(settings, *size), seed, "init/source") if settings.cycle else None
        if self.start is not None:
            self.start.give(target.translator)
        network = teacher.network if teacher is not None and settings.task else None
        shown = self.labelled if self.degrading is None else changed(self.labelled, self.degrading.bicubic)
        styles = None
        if settings.style and self.pool is not None:
            styles = self.pool.images[torch.arange(STYLES) % len(self.pool)]
        system = Translation(target, source, network, settings, shown, seed, self.degrading, styles)
        if settings.num_steps:
            data = ImageBatches(self.examples(teacher), settings.num_steps, seed)
            grid = SampleGrid(self.labelled, seed, with_diversity=False)
            self.hardware.fit(system, data, folder, callbacks=(grid,))
            system.keep_last_points(folder)
            system.keep_styles()
        save_weights(folder / FILE, self.about, average=system.average)

    @property
    def about(self) -> dict[str, Any]:
        """The metadata of its checkpoint: those of the translator that it starts from, if it does not train."""
        if self.start is not None and not self.settings.num_steps:
            return dict(self.start.about)
        learned = self.pool if self.degrading is not None else self.partners
        learned = self.labelled if learned is None else learned
        return {
            "kind": "translator",
            "translator": {**self.settings.translator},
            "shape": [*astuple(self.labelled.shape)],
            "class_names": [*self.labelled.class_names],
            "trained_on": learned.fingerprint,
            "images_seen": self.settings.num_steps * self.settings.batch_size,
            "pool_images": 0 if self.pool is None else len(self.pool),
            "examples": self.settings.examples,
            **({} if self.degrading is None else {"degrade": asdict(self.degrading)}),
            "seed": self.seed,
            **({} if self.decoding is None else {"decoding": dict(self.decoding)}),
            **({} if self.start is None else {"start": self.start.facts}),
        }

    def examples(self, teacher: TrainedClassifier | None) -> list[Part]:
        """Return the sets that batches draw from: both domains, or pairs of images, channel by channel."""
        settings, labelled = self.settings, self.labelled
        if not settings.is_paired:
            assert self.pool is not None
            pool = self.pool
            if settings.match_prior:
                assert teacher is not None
                seen = teacher.probabilities(pool).double()
                if settings.class_conditional:  # then the labels' own frequencies count
                    pool = replace(pool, labels=seen.argmax(dim=1))
                    seen = one_hot(pool.labels, pool.num_classes).double()
                labelled = with_prior(labelled, seen.mean(dim=0), Stream(self.seed, "prior").at(0))
            sets = {"order": labelled, "order/pool": pool}
        elif settings.examples == "pairs":
            assert self.partners is not None
            assert self.pool is not None
            sets = {"order/pairs": paired(self.partners, self.pool)}
        elif settings.examples == "low_resolution":
            assert self.pool is not None
            sets = {"order/pairs": self.pool}  # the other image of a pair is made from it
        else:
            originals, mates = class_mates(labelled, Stream(self.seed, "mates").at(0))
            sets = {"order/pairs": paired(labelled.subset(originals), labelled.subset(mates))}
        return [Part(images, settings.batch_size, stream) for stream, images in sets.items()]

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What is known of the translator that it starts from."""
        if self.start is None:
            return {}
        return {START: self.start.facts}

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the translator that it starts from."""
        if self.start is None:
            return ()
        return (
            f"the translator started from another one (checkpoint {self.start.start}): if validation or test images "
            "were among its images, results are too good",
        )

    def alone(self) -> "TrainTranslator":
        """Return the stage without its teacher, whose part of the time is small."""
        return replace(
            self, teacher=None, settings=replace(self.settings, task=0.0, match_prior=False, class_conditional=False)
        )

    def load(self, folder: Path) -> TrainedTranslator:
        """Read the translator."""
        return TrainedTranslator.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the translator's weights."""
        return folder / FILE

    def findings(self, folder: Path) -> Findings:
        """Return the last point of each curve, such as `content_cycle`, the distance after there and back."""
        return Findings({"translation": {"training": last_points(folder)}} if self.settings.num_steps else {})


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


def paired(images: ImageSet, others: ImageSet) -> ImageSet:
    """Put the channels of each other image after those of an image, without labels."""
    return replace(images, images=torch.cat([images.images[:], others.images[:]], dim=1)).without_labels()


def class_mates(images: ImageSet, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pair each image with others of its class; return the indices of both, int64 `[P]`.

    There are `MATES` of each or, of many images, fewer: about `MOST_PAIRS` pairs in all, at least one of each image.

    Example:
        >>> images = ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0]), ["a", "b"])
        >>> [one.tolist() for one in class_mates(images, torch.Generator())]
        [[0, 2], [2, 0]]
    """
    originals, mates, number = [], [], min(MATES, max(1, MOST_PAIRS // len(images)))
    for label in range(images.num_classes):
        members = images.members(label)
        for index in members.tolist():
            others = members[members != index]
            others = others[torch.randperm(len(others), generator=random)[:number]]
            originals.append(torch.full_like(others, index))
            mates.append(others)
    return torch.cat(originals), torch.cat(mates)
