"""Sampling: labelled images from a trained generator, to exact quotas."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import AS_IN_TRAINING, BLOCK, Generator, Latents
from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import abridged
from gan_augment.generators.refusing import AuditedAgainst, without_copies
from gan_augment.metrics.copies import Auditor
from gan_augment.records.findings import Findings
from gan_augment.settings import check_boolean, check_choice, check_integer, check_number
from gan_augment.stages import Stage, implied, made_from, merged

QUOTAS = ("balanced", "proportional", "top_up")
SELECTIONS = ("all", "confident", "diverse")
MOST_NAMED = 10  # classes in an error
TIMES = 3  # candidates for each of the images that are chosen because they differ
MAX_CANDIDATES = 50  # images the teacher evaluates at most for each image of the set


@dataclass(frozen=True)
class SynthesisSettings:
    """How a synthetic set is made.

    Attributes:
        per_class: Images per class; for a generator that knows no classes, images in all.
        quotas: `balanced`, as many of each class; `proportional`, the same total in the proportions of the labelled
            images; or `top_up`, what the labelled images of each class lack to that number.
        latent_scale: Standard deviation of a latent's numbers, above 0.
        truncation: Largest absolute value of a latent's numbers, above 0; None for no bound.
        selection: `all`; `confident`, only images whose label the teacher is confident of; or `diverse`, of three times
            as many images of each class those that differ most in the teacher's features.
        threshold: Smallest probability of the label for a confident teacher, in [0, 1); None without a teacher.
        refuse_copies: Whether to draw other images in place of copies of training images.
        redraw: Whether there are as many images, in place of `per_class`, as the classifier takes, so that it sees none
            twice (dataset recycling of GaFi, Lampis et al. 2023).
        generators: Generators that share the images equally; they differ in their seed.

    Raises:
        ValueError: If a value is out of range, or there is a threshold without a teacher, or the reverse.
    """

    per_class: int
    quotas: str
    latent_scale: float
    truncation: float | None
    selection: str
    threshold: float | None
    refuse_copies: bool = False
    redraw: bool = False
    generators: int = 1

    def __post_init__(self) -> None:
        for name in ("refuse_copies", "redraw"):
            check_boolean(f"synthesis.{name}", getattr(self, name))
        check_integer("synthesis.generators", self.generators, low=1, high=100)
        check_integer("synthesis.per_class", self.per_class, low=1)
        check_choice("synthesis.quotas", self.quotas, QUOTAS)
        if self.quotas == "top_up" and (self.redraw or self.generators > 1):
            raise ValueError(
                "synthesis.quotas=top_up makes what a class lacks, once, by one generator: use redraw=false and "
                "generators=1, or other quotas"
            )
        if self.per_class < self.generators and not self.redraw:
            raise ValueError(
                f"synthesis.per_class={self.per_class} is less than synthesis.generators={self.generators}: each "
                "generator makes images of each class"
            )
        check_number("synthesis.latent_scale", self.latent_scale, 0, 10, open_low=True)
        if self.truncation is not None:
            check_number("synthesis.truncation", self.truncation, 0, 10, open_low=True)
        check_choice("synthesis.selection", self.selection, SELECTIONS)
        if self.refuse_copies and self.selection == "diverse":
            raise ValueError(
                "synthesis.refuse_copies=true draws images until enough are left, but selection=diverse chooses all at "
                "once: use one of them"
            )
        if self.selection == "confident":
            if self.threshold is None:
                raise ValueError(
                    "synthesis.selection=confident, but no threshold: set synthesis.threshold, such as 0.9"
                )
            check_number("synthesis.threshold", self.threshold, 0, 0.9999)
        elif self.threshold is not None:
            raise ValueError(
                f"synthesis.threshold={self.threshold}, but synthesis.selection={self.selection} has none: leave it "
                "null, or set synthesis.selection=confident"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """The settings for a stage's key, which holds the images and stages that the others ask for."""
        asking = ("refuse_copies", "redraw", "generators")
        return {name: value for name, value in vars(self).items() if name not in asking}

    def divided(self) -> list[Self]:
        """Return the settings of each generator's part of the images."""
        number = self.generators
        parts = [self.per_class // number + (place < self.per_class % number) for place in range(number)]
        return [replace(self, per_class=part, generators=1) for part in parts]

    @property
    def latents(self) -> Latents:
        """How latent vectors are drawn."""
        return Latents(self.latent_scale, self.truncation)

    @property
    def asks_teacher(self) -> bool:
        """Whether a teacher selects the images."""
        return self.selection != "all"

    def count(self, class_counts: Tensor) -> Tensor:
        """Return how many images of each class to make, from the labelled ones per class, both int64 `[K]`.

        Raises:
            ValueError: If there are none to make.

        Example:
            >>> counts = torch.tensor([1, 3])
            >>> [SynthesisSettings(4, kind, 1.0, None, "all", None).count(counts).tolist() for kind in QUOTAS]
            [[4, 4], [2, 6], [3, 1]]
        """
        if self.quotas == "balanced":
            return torch.full_like(class_counts, self.per_class)
        if self.quotas == "top_up":
            if not (wanted := (self.per_class - class_counts).clamp_min(0)).any():
                raise ValueError(
                    f"synthesis.quotas=top_up to synthesis.per_class={self.per_class}, but every class has as many "
                    "labelled images already: use a larger number"
                )
            return wanted
        total = self.per_class * len(class_counts)
        exact = total * class_counts.double() / class_counts.sum()
        wanted = exact.floor().long()
        left = total - int(wanted.sum())
        wanted[(wanted - exact).argsort(stable=True)[:left]] += 1  # the classes that lost most by rounding
        return wanted


def synthesize(
    generator: Generator,
    settings: SynthesisSettings,
    class_counts: Tensor,
    seed: int,
    teacher: TrainedClassifier | None = None,
    auditor: Auditor | None = None,
) -> SyntheticSet:
    """Make a synthetic set; `class_counts` are the labelled images per class, int64 `[K]`.

    A teacher, if the settings need one, also labels the images of a generator that knows no classes (Lee 2013,
    pseudo-labels). With an auditor the set is without copies of training images.

    Raises:
        ValueError: If the teacher knows other classes, a class still lacks images after 50 times as many candidates, or
            too many are copies.
    """
    if teacher is not None and generator.knows_classes and [*teacher.class_names] != [*generator.class_names]:
        raise ValueError(
            f"the teacher knows the classes {', '.join(teacher.class_names[:MOST_NAMED])}, the generator "
            f"{', '.join(generator.class_names[:MOST_NAMED])}: use one trained on the same classes"
        )

    def make(wanted: Tensor) -> SyntheticSet:
        if teacher is None:
            images = first_images(generator, wanted, seed, settings.latents)
            numbers = torch.cat([torch.arange(count) for count in wanted.tolist()])
            return SyntheticSet(images, numbers, torch.full((len(images),), math.nan), len(images))
        if settings.selection == "diverse":
            return diverse_images(generator, wanted, settings.latents, seed, teacher)
        return selected_images(generator, wanted, settings, seed, teacher)

    wanted = settings.count(class_counts)
    return make(wanted) if auditor is None else without_copies(make, wanted, auditor)


def selected_images(
    generator: Generator, wanted: Tensor, settings: SynthesisSettings, seed: int, teacher: TrainedClassifier
) -> SyntheticSet:
    """Select the first `wanted` images of each class, int64 `[K]`, that the teacher is confident of."""
    rows = wanted.diag() if generator.knows_classes else wanted[None]  # for each label of the generator
    parts = [_select(generator, label, row, settings, seed, teacher) for label, row in enumerate(rows) if row.any()]
    pixels, labels, found, confidence = (torch.cat([part[column] for part, _ in parts]) for column in range(4))
    order = labels.argsort(stable=True)
    taken = ImageSet(pixels[order], labels[order], teacher.class_names)
    return SyntheticSet(taken, found[order], confidence[order], sum(candidates for _, candidates in parts))


def diverse_images(
    generator: Generator, wanted: Tensor, latents: Latents, seed: int, teacher: TrainedClassifier
) -> SyntheticSet:
    """Choose, of three times as many images of each class, those that differ most; `wanted` are int64 `[K]`.

    The first image, then always the one that is farthest from all chosen ones in the teacher's features (k-center
    greedy, Sener and Savarese 2018).

    Raises:
        ValueError: If the generator knows no classes.
    """
    if not generator.knows_classes:
        raise ValueError("selection=diverse chooses images of each class, and this generator knows none: use confident")
    candidates = first_images(generator, TIMES * wanted, seed, latents)
    places, numbers = [], []
    for label, count in enumerate(wanted.tolist()):
        members = candidates.members(label)
        if count:
            found = farthest_first(teacher.features(candidates, members), count)
            places.append(members[found])
            numbers.append(found)
    taken, unknown = torch.cat(places), torch.full((int(wanted.sum()),), math.nan)
    return SyntheticSet(candidates.subset(taken), torch.cat(numbers), unknown, len(candidates))


def farthest_first(features: Tensor, count: int) -> Tensor:
    """Choose `count` of features `[N, F]`, each farthest from those before; return their places in order, int64.

    Example:
        >>> farthest_first(torch.tensor([[0.0], [1.0], [9.0], [4.0]]), 3).tolist()
        [0, 2, 3]
        >>> farthest_first(torch.zeros(3, 1), 3).tolist()
        [0, 1, 2]
    """
    chosen, distances = [0], torch.cdist(features, features[:1])[:, 0]
    while len(chosen) < count:
        distances[chosen] = -1.0  # features may coincide
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, torch.cdist(features, features[chosen[-1] : chosen[-1] + 1])[:, 0])
    return torch.tensor(chosen).sort().values


def first_images(generator: Generator, wanted: Tensor, seed: int, latents: Latents = AS_IN_TRAINING) -> ImageSet:
    """Make the first `wanted` images of each class, int64 `[K]`."""
    counts = enumerate(wanted.tolist())
    made = [generator.images(label, torch.arange(count), seed, latents) for label, count in counts if count]
    labels = torch.arange(len(wanted)).repeat_interleave(wanted)
    return ImageSet(torch.cat(made), labels, generator.class_names)


def _select(
    generator: Generator, label: int, wanted: Tensor, settings: SynthesisSettings, seed: int, teacher: TrainedClassifier
) -> tuple[tuple[Tensor, ...], int]:
    """Select the first images of a generator's label that the teacher is confident of, `wanted` `[K]` per class.

    Return pixels, the teacher's labels, numbers and the teacher's confidence; and the number of candidates.
    """
    missing, at_once = wanted.clone(), math.ceil(int(wanted.sum()) / BLOCK) * BLOCK  # whole blocks
    assert settings.threshold is not None
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, MAX_CANDIDATES * at_once, at_once):
        numbers = torch.arange(start, start + at_once)
        pixels = generator.images(label, numbers, seed, settings.latents)
        nothing = torch.full((at_once,), -1)
        confidence, seen = teacher.probabilities(ImageSet(pixels, nothing, teacher.class_names)).max(dim=1)
        sure = confidence >= settings.threshold
        first = [(sure & (seen == one)).nonzero()[:, 0][:count] for one, count in enumerate(missing.tolist())]
        taken = torch.cat(first)
        found.append((pixels[taken], seen[taken], numbers[taken], confidence[taken]))
        missing -= seen[taken].bincount(minlength=len(missing))
        if not missing.any():
            return tuple(torch.cat(tensors) for tensors in zip(*found, strict=True)), start + at_once
    short = [repr(name) for name, lacks in zip(teacher.class_names, missing.tolist(), strict=True) if lacks]
    raise ValueError(
        f"the teacher selects too few of {MAX_CANDIDATES * at_once} generated images for class "
        f"{abridged(short, most=MOST_NAMED)}; lower "
        f"synthesis.threshold={settings.threshold} or synthesis.per_class={settings.per_class}, or take "
        "synthesis.selection=all or conditioning=per_class"
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class SyntheticStage(Stage):
    """A stage that leaves a synthetic set.

    Attributes:
        like: The labelled images that quotas refer to and measures compare with; it has the synthetic ones' classes.
    """

    like: ImageSet = implied()


@dataclass(frozen=True, eq=False, kw_only=True)
class Synthesis(SyntheticStage):
    """Samples a trained generator.

    Attributes:
        images: Images to make of each class.
        teacher: The stage that trains the selecting classifier; None for no selection.
        audited: The images by which copies are found and refused; None to keep them.
        others: The stage of a set, by another generator, that is added to this one's; None for none.
    """

    name, version = "synthesis", 2
    reads = ("synthesis", "seeds.synthesis")

    gan: Stage
    settings: SynthesisSettings = merged()
    images: list[int]
    teacher: Stage | None = made_from()
    audited: AuditedAgainst | None = made_from()
    others: SyntheticStage | None = made_from()

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Sample the generator and write the set, with that of the others."""
        generator = self.gan.load(made["gan"])
        teacher = None if self.teacher is None else self.teacher.load(made["teacher"])
        auditor = None if self.audited is None else self.audited.auditor()
        found = synthesize(generator, self.settings, self.like.class_counts, self.seed, teacher, auditor)
        if self.others is not None:
            found = found.joined(self.others.load(made["others"]))
        found.write(folder)

    def load(self, folder: Path) -> SyntheticSet:
        """Read the set."""
        return SyntheticSet.read(folder, self.like.class_names)

    def findings(self, folder: Path) -> Findings:
        """Return how many images were refused as copies, and the smallest share that would have been found."""
        if (refused := self.load(folder).refused) is None:
            return Findings()
        said = (
            [f"{refused.copies:,} generated images were refused as copies of training images"] if refused.copies else []
        )
        if refused.detection_limit is None:
            said.append("5 % of the synthetic images could still be copies: there are too few decoys to find them")
        return Findings({"gan": {"refused": asdict(refused)}}, tuple(said))
