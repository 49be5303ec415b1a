"""The measure `counterfactuals`: how an image would have to look for the classifier to answer otherwise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.drawing import draw_rows
from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageSet, from_float, to_float
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.inversion import fit, invert
from gan_augment.networks.conditioning import LabelBehind
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section

MOST = 16  # images of each kind: wrong ones, and right ones of the most confused pair of classes
FITS = 0.9  # correlation of an image with its inversion, below which it is refused
SHARES = 20  # steps from one class to the other
PGD_STEPS = 20
SHOWN = 8  # rows of the picture
COLUMNS_IN_WORDS = "image, inverted, first flip,\nwhole change, attack"
KINDS = {"wrong": "a wrong answer becomes the right one", "right": "a right answer becomes the usual wrong one"}
COLUMNS = {
    "gan.counterfactuals.tried": "images",
    "gan.counterfactuals.inverted": "inverted",
    "gan.counterfactuals.fit": "fit",
    "gan.counterfactuals.valid": "share that flips",
    "gan.counterfactuals.change": "mean change of a pixel",
    "gan.counterfactuals.distance": "distance to the class",
    "gan.counterfactuals.pgd_valid": "attack: share that flips",
    "gan.counterfactuals.pgd_distance": "attack: distance to the class",
}
EXPLAINED = (
    "How would an image have to look for the classifier to answer otherwise? A validation image is inverted: the "
    "latent vector is found whose image is nearest to it, and images with a correlation below .9 are left out. Then "
    "the label of the generator goes from the class that the classifier names to the other one, up to the first image "
    "at which the answer flips. The distance to the class is that to the nearest training image of the other class, "
    "relative to the usual distance of such images from each other. As a control, an attack changes each inverted "
    "image as much, in the direction that the classifier is most sensitive to (PGD): it flips answers too, but "
    "explains nothing."
)


@dataclass(frozen=True, eq=False)
class Case:
    """Validation images that are to be answered otherwise.

    Attributes:
        images: The images, float32 `[N, C, H, W]` in [-1, 1].
        before, after: The classes that the classifier names, and that it is to name, int64 `[N]`.
        kinds: A key of `KINDS` for each.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    kinds: Sequence[str]


@dataclass(frozen=True)
class Counterfactuals(GeneratorMeasure):
    """Counterfactual images from a GAN (Chang et al. 2019; Dash et al. 2022), next to an attack of the same size.

    It applies to generators that show a class by an embedding of its label, without clusters.

    `counterfactuals`: `tried` and `inverted`, numbers of images; `fit`, the mean correlation of all with their
    inversions; of those that are inverted, `valid`, the share for which the answer flips on the way, `change`, the mean
    absolute change of a pixel up to there, in [0, 1], and `distance`, to the nearest training image of the other class,
    relative to the median distance of a training image of that class from the nearest other one; and for the attack
    `pgd_valid` and `pgd_distance`. `counterfactuals.png` shows some.
    """

    def find(self, finished: Finished) -> Findings:
        """Invert validation images and change their class."""
        gan, classifier = finished.stages.get("gan"), finished.classifier
        if gan is None or classifier is None or finished.synthetic.shape.is_point:
            return Findings()
        generator = finished.generator
        if not isinstance(generator.network, LabelBehind) or generator.clusters > 1:
            why = "counterfactuals are refused: the generator has no embedding of a single label for each class"
            return Findings(warnings=(why,))
        case = choose(classifier.probabilities(finished.split.validation).argmax(dim=1), finished.split.validation)
        if not len(case.images):
            return Findings({"gan": {"counterfactuals": {"tried": 0}}})
        walk = change_class(generator, classifier, case)
        metrics = {"tried": len(case.images), "inverted": len(walk.kept), "fit": float(walk.fits.mean())}
        if not len(walk.kept):
            why = "counterfactuals: no validation image could be inverted; the generator does not reach them"
            return Findings({"gan": {"counterfactuals": metrics}}, (why,))
        metrics["valid"] = len(walk.valid) / len(walk.kept)
        said, picture = [], None
        if len(walk.valid):
            start, changed, wanted = walk.path[0][walk.valid], walk.flipped, case.after[walk.valid]
            attacked = attack(classifier, start, wanted, (changed - start).flatten(1).norm(dim=1))
            changes = (changed - start).abs().flatten(1).mean(dim=1) / 2
            metrics["change"] = float(changes.mean())
            metrics["distance"] = distance_to_class(changed, wanted, finished.split.training)
            metrics["pgd_valid"] = float((_answers(classifier, attacked) == wanted).double().mean())
            metrics["pgd_distance"] = distance_to_class(attacked, wanted, finished.split.training)
            said = in_words(case, walk.valid.tolist(), changes, generator.class_names)
            rows = torch.stack([case.images[walk.valid], start, changed, walk.path[-1][walk.valid], attacked], dim=1)
            names = [generator.class_names[label] for label in wanted.tolist()][:SHOWN]
            picture = "counterfactuals.png"
            pixels = from_float(rows[:SHOWN].flatten(0, 1), torch.uint8)
            draw_rows(pixels, rows.shape[1], names, COLUMNS_IN_WORDS, finished.folder / picture)
        section = Section(EXPLAINED, COLUMNS, tuple(said), picture)
        return Findings({"gan": {"counterfactuals": metrics}}, sections={"Counterfactuals": section})


@dataclass(frozen=True, eq=False)
class Walk:
    """The way of N inverted images from one class to another, in S steps; all on the CPU.

    Attributes:
        path: The images, float32 `[S + 1, N, C, H, W]` in [-1, 1]; the first ones are the inverted images.
        answers: The classes that the classifier names, int64 `[S + 1, N]`.
        fits: The correlations of the inverted images with the images, float32 `[N]`.
        kept: Which images are inverted well and answered like the image itself, int64.
        valid: Which of these are answered as wanted somewhere on the way, int64 `[V]`.
        flipped: For these, the first image that is, float32 `[V, C, H, W]`.
    """

    path: Tensor
    answers: Tensor
    fits: Tensor
    kept: Tensor
    valid: Tensor
    flipped: Tensor


@torch.no_grad()
def change_class(generator: Generator, classifier: TrainedClassifier, case: Case) -> Walk:
    """Invert images and lead the generator's label from one class to the other."""
    network = generator.network
    assert isinstance(network, LabelBehind)
    device = next(network.parameters()).device
    images, before, after = (one.to(device) for one in (case.images, case.before, case.after))
    with torch.enable_grad():
        latents = invert(network, images, before, generator.latent_dim, Stream(0, "counterfactuals").at(0))
    steps = [network.between(latents, before, after, step / SHARES) for step in range(SHARES + 1)]
    path = torch.stack(steps).clamp(-1, 1).cpu()
    answers = torch.stack([_answers(classifier, some) for some in path])
    fits = fit(path[0], case.images)
    flips = answers == case.after
    kept = ((fits >= FITS) & (answers[0] == case.before)).nonzero()[:, 0]
    valid = kept[flips.any(dim=0)[kept]]
    return Walk(path, answers, fits, kept, valid, path[flips.int().argmax(dim=0)[valid], valid])


def _answers(classifier: TrainedClassifier, images: Tensor) -> Tensor:
    """Return the classes that a classifier names for images in [-1, 1], int64 `[N]` on the CPU."""
    with torch.no_grad():
        return classifier.network(images.to(classifier.device)).argmax(dim=1).cpu()


def choose(predicted: Tensor, validation: ImageSet) -> Case:
    """Choose wrong validation images, to be answered right, and right ones of the pair of classes most often confused.

    Predictions are int64 `[N]`.
    """
    labels = validation.labels
    wrong = (predicted != labels).nonzero()[:, 0]
    confused = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(1)
    right = torch.empty(0, dtype=torch.int64)
    for (label, other), _ in confused:
        right = ((labels == label) & (predicted == label)).nonzero()[:, 0][:MOST]
        instead = torch.full_like(right, other)
    some = wrong[:MOST]
    chosen = torch.cat([some, right])
    after = torch.cat([labels[some], instead]) if len(right) else labels[some]
    kinds = ["wrong"] * len(some) + ["right"] * len(right)
    return Case(to_float(validation.images[chosen]), predicted[chosen], after, kinds)


def attack(classifier: TrainedClassifier, images: Tensor, wanted: Tensor, size: Tensor) -> Tensor:
    """Change images `[N, C, H, W]` towards classes `[N]` by at most a Euclidean size `[N]` (Madry et al. 2018)."""
    images, wanted, most = (one.to(classifier.device) for one in (images, wanted, size[:, None]))
    found = images.clone()
    for _ in range(PGD_STEPS):
        found.requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(classifier.network(found), wanted, reduction="sum"), [found])
        with torch.no_grad():
            down = slope.flatten(1) / slope.flatten(1).norm(dim=1, keepdim=True).clamp_min(1e-12)
            change = (found - images).flatten(1) - 2.5 * most / PGD_STEPS * down
            change = change * (most / change.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
            found = (images + change.view_as(images)).clamp(-1, 1)
    return found.detach().cpu()


def distance_to_class(images: Tensor, labels: Tensor, training: ImageSet) -> float:
    """Return the mean distance of images to the nearest training image of their labels, in units of such images.

    The unit is the median distance of a training image of the class from the nearest other one.
    """
    distances = []
    for label in labels.unique().tolist():
        real = to_float(training.images[training.members(label)[:1000]]).flatten(1)
        between = torch.cdist(real, real).fill_diagonal_(torch.inf).amin(dim=1)
        unit = between.median() if len(real) > 1 else torch.ones(())
        own = images[labels == label].flatten(1).cpu()
        distances.append(torch.cdist(own, real).amin(dim=1) / unit.clamp_min(1e-9))
    return float(torch.cat(distances).mean())


def in_words(case: Case, valid: Sequence[int], changes: Tensor, class_names: Sequence[str]) -> list[str]:
    """Return a sentence for each kind and pair of classes: how much its images had to change."""
    groups: dict[tuple[str, int, int], list[float]] = {}
    for number, change in zip(valid, changes.tolist(), strict=True):
        key = case.kinds[number], int(case.before[number]), int(case.after[number])
        groups.setdefault(key, []).append(change)
    return [
        f"{KINDS[kind]}: {class_names[before]} to {class_names[after]}, {len(some)} image{'s' * (len(some) > 1)}, "
        f"pixels changed by {100 * sum(some) / len(some):.1f} % of their range"
        for (kind, before, after), some in groups.items()
    ]
