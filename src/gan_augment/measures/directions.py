"""The measure `directions`: what a generator varies, in numbers, and where the classifier's answer changes with it."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.drawing import draw_rows
from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.metrics.appearance import UNITS, appearance
from gan_augment.networks.generative import GenerativeNetwork
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section
from gan_augment.records.record import write_whole

SEED = 0  # of the latents and of the control
LATENTS = 64  # which are moved along each direction
STEPS = (-3, -2, -1, 0, 1, 2, 3)  # standard deviations
OF_EACH = 8  # directions of each kind
CONTROLS = 20  # random directions
SAMPLED = 1024  # images whose principal components are taken
SAME = 0.9  # cosine of two directions that are taken for one
MOST_SHOWN = 8  # directions, in words and in the picture
SHOWN = 2  # latents of each direction in the picture
EXPLAINED = (
    "What does the generator vary, and where does the classifier's answer change with it? Latent vectors are moved "
    "along directions: the singular vectors of the generator's first layer (SeFa), and those along which the principal "
    "components of its images change. Of each the images are described by numbers, three standard deviations further. "
    "A direction is listed if it changes one of these, or more answers, more than any of 20 random directions. Where "
    "the answer changes, the classifier may be wrong, or the image may show another class: look at directions.png."
)
COLUMNS = {
    "gan.directions.tried": "directions tried",
    "gan.directions.listed": "listed",
    "gan.directions.flips": "largest share of changed answers",
    "gan.directions.flips_random": "of random directions",
}


@dataclass(frozen=True, eq=False)
class Effect:
    """What moving along a direction does.

    Attributes:
        changes: The mean change of each number of `appearance` over three standard deviations.
        flips: The share of the latents whose predicted class changes on the way; None without a classifier.
        pairs: How often which class became which one, most often first.
        images: The images, uint8 `[LATENTS, STEPS, C, H, W]`.
    """

    changes: Mapping[str, float]
    flips: float | None
    pairs: Sequence[tuple[tuple[int, int], int]]
    images: Tensor


@dataclass(frozen=True)
class Directions(GeneratorMeasure):
    """Directions in the latent space of a GAN that change the images, or the classifier's answer, beyond chance.

    `directions`: `tried` and `listed`, the numbers of directions; `flips`, the largest share of 64 latent vectors whose
    images change the classifier's answer along one, and `flips_random`, the largest one of 20 random directions, None
    without a classifier. `directions.csv` has the numbers of all directions, `directions.png` a strip of pictures of
    each one that is listed.
    """

    def find(self, finished: Finished) -> Findings:
        """Move latent vectors of a GAN of pictures; given images have none, those of other generators are pixels."""
        if "gan" not in finished.stages or finished.synthetic.shape.is_point:
            return Findings()
        generator, classifier = finished.generator, finished.classifier
        if isinstance(generator.network, GenerativeNetwork):
            return Findings()
        directions = {"SeFa": first_layer(generator), "images": image_components(generator)}
        tried = distinct(torch.cat([*directions.values()]))
        random = torch.randn(CONTROLS, generator.latent_dim, generator=Stream(SEED, "directions/control").at(0))
        effects = [effect(generator, one, classifier) for one in tried]
        controls = [effect(generator, one / one.norm(), classifier) for one in random]
        strongest = beyond(effects, controls)
        listed = sorted((number for number, force in enumerate(strongest) if force > 1), key=lambda n: -strongest[n])
        _write(effects, listed, finished.folder / "directions.csv", generator.class_names)
        if listed:
            shown = listed[:MOST_SHOWN]
            strips = torch.cat([effects[number].images[:SHOWN].flatten(0, 1) for number in shown])
            names = [str(1 + number) for number in shown]
            title = "directions, a row each: two latents, from -3 to 3 standard deviations"
            draw_rows(strips, SHOWN * len(STEPS), names, title, finished.folder / "directions.png")
        flips = [
            max((one.flips for one in some if one.flips is not None), default=None) for some in (effects, controls)
        ]
        metrics = {"tried": len(tried), "listed": len(listed), "flips": flips[0], "flips_random": flips[1]}
        said = [in_words(1 + n, effects[n], controls, generator.class_names) for n in listed[:MOST_SHOWN]]
        section = Section(EXPLAINED, COLUMNS, tuple(said), "directions.png" if listed else None)
        return Findings({"gan": {"directions": metrics}}, sections={"Directions": section})


def first_layer(generator: Generator) -> Tensor:
    """Return the directions that change the output of the generator's first layer most, `[OF_EACH, latent_dim]`.

    These are the eigenvectors of A'A, where A are the weights of that layer for the latent vector (SeFa: Shen and Zhou
    2021). The columns of A are differences of outputs, so the layer may be of any kind. Classes are taken together.
    """
    network, length = generator.network, generator.latent_dim
    device = next(network.parameters()).device
    latents = torch.cat([torch.zeros(1, length), torch.eye(length)])
    outputs: list[Tensor] = []
    layers = [one for one in network.modules() if isinstance(one, nn.Linear | nn.ConvTranspose2d | nn.Conv2d)]
    hooks = [one.register_forward_hook(lambda module, inputs, output: outputs.append(output)) for one in layers]
    try:
        gram = torch.zeros(length, length, dtype=torch.float64)
        for label in range(len(generator.class_names)):
            outputs.clear()
            shown = generator.draw(label, 0, SEED)[1].expand(len(latents))
            with torch.no_grad():
                network(latents.to(device), shown.to(device))
            flat = [output.flatten(1).double().cpu() for output in outputs]
            # An embedding of clusters has a layer too, which does not see the latent vector.
            weights = next(moved for one in flat if (moved := one[1:] - one[:1]).any())
            gram += weights @ weights.T
    finally:
        for hook in hooks:
            hook.remove()
    return torch.linalg.eigh(gram).eigenvectors.T.flip(0)[:OF_EACH].float()


def image_components(generator: Generator) -> Tensor:
    """Return the directions along which the principal components of the images change, `[OF_EACH, latent_dim]`.

    The components are those of images of all classes around the means of their classes. Each is predicted from the
    latent vector by least squares; the direction is that of the slope (as GANSpace does it: Härkönen et al. 2020).
    """
    num_classes = len(generator.class_names)
    pairs = [generator.draw(number % num_classes, number // num_classes, SEED) for number in range(SAMPLED)]
    latents, shown = (torch.stack(one) for one in zip(*pairs, strict=True))
    images = torch.cat([generator.show(*some) for some in zip(latents.split(64), shown.split(64), strict=True)])
    pixels = images.flatten(1).float() / 255
    for label in range(num_classes):
        pixels[label::num_classes] -= pixels[label::num_classes].mean(dim=0)
    number = min(OF_EACH, *pixels.shape)
    scores = torch.linalg.svd(pixels.double(), full_matrices=False).U[:, :number]
    slopes = torch.linalg.lstsq(latents.double(), scores).solution.T
    return (slopes / slopes.norm(dim=1, keepdim=True).clamp_min(1e-12)).float()


def distinct(directions: Tensor) -> Tensor:
    """Keep, of directions `[N, D]` of length 1, those that differ from all before them, whatever their sign.

    Example:
        >>> distinct(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    kept: list[Tensor] = []
    for one in directions:
        if one.norm() > SAME and all(abs(float(one @ other)) < SAME for other in kept):
            kept.append(one)
    return torch.stack(kept)


def effect(generator: Generator, direction: Tensor, classifier: TrainedClassifier | None) -> Effect:
    """Move latent vectors along a direction `[D]` of length 1 and describe what happens."""
    num_classes = len(generator.class_names)
    pairs = [generator.draw(number % num_classes, number // num_classes, SEED) for number in range(LATENTS)]
    latents, shown = (torch.stack(one) for one in zip(*pairs, strict=True))
    images = torch.stack([generator.show(latents + step * direction, shown) for step in STEPS], dim=1)
    numbers = {name: values.view(LATENTS, -1).mean(dim=0) for name, values in appearance(images.flatten(0, 1)).items()}
    changes = {name: float(values[-1] - values[0]) / 2 for name, values in numbers.items()}
    if classifier is None:
        return Effect(changes, None, (), images)
    nothing = torch.zeros(LATENTS * len(STEPS), dtype=torch.int64)
    seen = classifier.probabilities(ImageSet(images.flatten(0, 1), nothing, classifier.class_names)).argmax(dim=1)
    seen = seen.view(LATENTS, -1)
    before = seen[:, STEPS.index(0)]
    changed = seen != before[:, None]
    pairs_of = Counter((int(before[row]), int(seen[row, column])) for row, column in changed.nonzero().tolist())
    return Effect(changes, float(changed.any(dim=1).double().mean()), pairs_of.most_common(), images)


def beyond(effects: Sequence[Effect], controls: Sequence[Effect]) -> list[float]:
    """Return how strong each direction is, relative to the strongest of the controls.

    The strength of a direction is its largest change, each number relative to the root of its mean square in the
    controls, or its share of changed answers, whichever is larger relative to the largest one of the controls.
    """
    names = list(controls[0].changes)
    there, here = (
        torch.tensor([[one.changes[name] for name in names] for one in some]) for some in (controls, effects)
    )
    spread = there.square().mean(dim=0).sqrt().clamp_min(1e-9)
    most = (there / spread).abs().max()
    found = (here / spread).abs().max(dim=1).values / most
    if all(one.flips is not None for one in controls):
        often = max(one.flips or 0 for one in controls)
        answers = torch.tensor([one.flips or 0 for one in effects]) / max(often, 1 / LATENTS)
        found = found.maximum(answers)
    return found.tolist()


def in_words(number: int, one: Effect, controls: Sequence[Effect], class_names: Sequence[str]) -> str:
    """Describe a direction: what it changes more than any control, and the classifier's answers."""
    changes = []
    for name, value in one.changes.items():
        if abs(value) > (most := max(abs(other.changes[name]) for other in controls)):
            changes.append((abs(value) / max(most, 1e-9), f"{name} {value:+.2g}{UNITS[name]}"))
    words = ", ".join(words for _, words in sorted(changes, reverse=True)) or "no number stands out"
    said = f"direction {number}: {words}"
    if one.flips is None:
        return said
    said += f"; the answer changes in {100 * one.flips:.0f} % of the images"
    if one.pairs:
        before, after = one.pairs[0][0]
        said += f", mostly {class_names[before]} to {class_names[after]}"
    return f"{said} (random directions: at most {100 * max(other.flips or 0 for other in controls):.0f} %)"


def _write(effects: Sequence[Effect], listed: Sequence[int], path: Path, class_names: Sequence[str]) -> None:
    """Write the table of all directions."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["direction", "listed", *effects[0].changes, "changed answers", "mostly from", "to"])
    for number, one in enumerate(effects):
        before, after = one.pairs[0][0] if one.pairs else (None, None)
        classes = ["" if label is None else class_names[label] for label in (before, after)]
        numbers = [f"{value:.4g}" for value in one.changes.values()]
        flips = "" if one.flips is None else f"{one.flips:.4g}"
        table.writerow([1 + number, "yes" if number in listed else "no", *numbers, flips, *classes])
    write_whole(text.getvalue().encode(), path)
