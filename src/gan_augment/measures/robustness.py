"""The measure `robustness`: how accurate a classifier stays on corrupted images and under attacks on their pixels."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, conv2d, cross_entropy, grid_sample, pad

from gan_augment.contracts import Plan
from gan_augment.data.image_set import to_float
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.methods.front import TrainBehindFront
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings
from gan_augment.settings import check_choice, check_integer
from gan_augment.stages import Stage

GREY = 0.5  # of the pixel range
LEVELS = 255  # radii are in 255ths of the pixel range
PGD_REACH = 2.5  # steps times their size, in radii (Madry et al. 2018): enough to cross the ball and to turn round


# Each corruption changes pixels `[B, C, H, W]` in [0, 1], the range that its result may leave, by a strength and, where
# it is random, by draws `[B, ...]`.


def add_noise(pixels: Tensor, std: float, normals: Tensor) -> Tensor:
    r"""Add Gaussian noise: $p + \sigma n$, $\sigma$ in units of the pixel range (Hendrycks and Dietterich 2019)."""
    return pixels + std * normals


def blur(pixels: Tensor, share: float) -> Tensor:
    """Blur with a Gaussian, sampled at whole pixels; edges are repeated (Hendrycks and Dietterich 2019).

    Its standard deviation is a share of the shorter side, above 0.
    """
    channels, std = pixels.shape[1], share * min(pixels.shape[2:])
    reach = math.ceil(3 * std)
    weights = torch.arange(-reach, reach + 1, device=pixels.device).div(std).square().div(-2).exp()
    kernel = (weights / weights.sum()).expand(channels, 1, 1, -1)
    padded = pad(pixels, (reach, reach, reach, reach), mode="replicate")
    return conv2d(conv2d(padded, kernel, groups=channels), kernel.transpose(2, 3), groups=channels)


def brighten(pixels: Tensor, amount: float) -> Tensor:
    """Add an amount $b$ to every pixel: $p + b$ (Hendrycks and Dietterich 2019, who add it to the value in HSV)."""
    return pixels + amount


def lower_contrast(pixels: Tensor, factor: float) -> Tensor:
    """Move every pixel towards the mean of its image and channel: $m + c (p - m)$ (Hendrycks and Dietterich 2019).

    The factor $c$ is in [0, 1]; 1 changes nothing.
    """
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return mean + factor * (pixels - mean)


def shift(pixels: Tensor, share: float, draws: Tensor) -> Tensor:
    """Move each image by a share of its shorter side, bilinear, black outside (Mu and Gilmer 2019, translate).

    `draws` `[B, 1]` in [0, 1) give the directions: 0 is to the right, a quarter downwards.
    """
    height, width = pixels.shape[2:]
    distance, angle = share * min(height, width), 2 * math.pi * draws[:, 0]
    across, down = distance * angle.cos(), distance * angle.sin()
    one, none = torch.ones_like(angle), torch.zeros_like(angle)
    return _warp(pixels, [[one, none, -2 * across / width], [none, one, -2 * down / height]])


def rotate(pixels: Tensor, degrees: float, draws: Tensor) -> Tensor:
    """Rotate each image about its centre, bilinear, black outside (Mu and Gilmer 2019, rotate).

    `draws` `[B, 1]` in [0, 1) turn counterclockwise below a half, else clockwise.
    """
    height, width = pixels.shape[2:]
    angle = math.radians(degrees) * (1 - 2 * (draws[:, 0] >= 0.5).float())
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Coordinates go from -1 to 1 along both sides: of images that are not square they have two units.
    return _warp(pixels, [[cos, -sin * height / width, none], [sin * width / height, cos, none]])


def occlude(pixels: Tensor, share: float, draws: Tensor) -> Tensor:
    """Cover a square inside each image in grey (DeVries and Taylor 2017).

    Its side is a share of the shorter side, rounded to whole pixels, at least 1. Its place is drawn, `[B, 2]` in
    [0, 1), from the top and from the left.
    """
    height, width = pixels.shape[2:]
    side = max(1, math.floor(share * min(height, width) + 0.5))

    def covered(length: int, draw: Tensor) -> Tensor:
        first, position = (draw * (length - side + 1)).floor()[:, None], torch.arange(length, device=draw.device)
        return (position >= first) & (position < first + side)

    rows, columns = covered(height, draws[:, 0]), covered(width, draws[:, 1])
    return pixels.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], GREY)


def _warp(pixels: Tensor, rows: list[list[Tensor]]) -> Tensor:
    """Sample images at affine maps from output to input coordinates, 2 rows of 3 numbers `[B]`; 0 is black."""
    maps = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    return grid_sample(pixels, affine_grid(maps, list(pixels.shape), align_corners=False), align_corners=False)


@dataclass(frozen=True)
class Corruption:
    """A corruption of images.

    Attributes:
        change: Pixels, a strength and, where it is random, draws -> pixels.
        strengths: Those of the severities 1, 2 and 3.
        draw: The distribution of its draws; None for no draws.
        num_draws: Draws for each image; None for one per channel and pixel.
    """

    change: Callable[..., Tensor]
    strengths: tuple[float, float, float]
    draw: Callable[..., Tensor] | None = None
    num_draws: int | None = None


# The strengths of noise, brightness and contrast are the first three of ImageNet-C. Those about size are relative to
# the image, so that they mean the same for 8x8 digits and for photographs of 224x224.
CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": Corruption(add_noise, (0.08, 0.12, 0.18), torch.randn),  # of the pixel range
    "blur": Corruption(blur, (0.04, 0.07, 0.10)),  # of the shorter side
    "brightness": Corruption(brighten, (0.1, 0.2, 0.3)),  # of the pixel range
    "contrast": Corruption(lower_contrast, (0.4, 0.3, 0.2)),  # of the contrast is left
    "shift": Corruption(shift, (0.05, 0.10, 0.15), torch.rand, 1),  # of the shorter side
    "rotation": Corruption(rotate, (10, 20, 30), torch.rand, 1),  # degrees
    "occlusion": Corruption(occlude, (0.25, 0.375, 0.5), torch.rand, 2),  # of the shorter side
}


def drawn(draw: Callable[..., Tensor], size: Sequence[int], numbers: Tensor, stream: Stream) -> Tensor:
    """Draw `[B, *size]` for images by their numbers, on the CPU, so that neither batches nor the device matter."""
    return torch.stack([draw(size, generator=stream.at(number)) for number in numbers.tolist()])


def corrupted(images: Tensor, numbers: Tensor, name: str, severity: int, seed: int) -> Tensor:
    """Corrupt images `[B, C, H, W]` in [-1, 1] with a severity of 1, 2 or 3.

    The draws depend only on the seed, the corruption, its severity and the numbers of the images in their set, `[B]`.
    """
    one, draws = CORRUPTIONS[name], []
    if one.draw is not None:
        size = images.shape[1:] if one.num_draws is None else (one.num_draws,)
        stream = Stream(seed, f"robustness/{name}/{severity}")
        draws = [drawn(one.draw, size, numbers, stream).to(images.device)]
    return one.change((images + 1) / 2, one.strengths[severity - 1], *draws).clamp(0, 1) * 2 - 1


# The attacks know the network, images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`. Their radius $r$ is how far a pixel
# may move, as a share of the pixel range; $y$ are the true labels, int64 `[B]`.


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, radius: float) -> Tensor:
    r"""Attack with the fast gradient sign method (Goodfellow et al. 2015).

    $x' = x + r\,\mathrm{sign}\,\nabla_x \ell(f(x), y)$, with the cross-entropy $\ell$, clipped to the pixel range.
    """
    return (images + 2 * radius * _ascent(network, images, labels)).clamp(-1, 1)


def pgd(network: nn.Module, images: Tensor, labels: Tensor, radius: float, steps: int, draws: Tensor) -> Tensor:
    r"""Attack by projected gradient descent from a random start, in the maximum norm (Madry et al. 2018).

    $x_{t+1} = \Pi(x_t + s\,\mathrm{sign}\,\nabla_x \ell(f(x_t), y))$, with steps of $s = 2.5\,r / \mathrm{steps}$.
    $\Pi$ projects on the images whose pixels lie within $r$ of those of $x$ and within the pixel range. The draws,
    `[B, C, H, W]` in [0, 1], choose where in the ball to start.
    """
    low, high = (images - 2 * radius).clamp_min(-1), (images + 2 * radius).clamp_max(1)
    found = (images + 2 * radius * (2 * draws - 1)).clamp(low, high)
    for _ in range(steps):
        found = (found + 2 * PGD_REACH * radius / steps * _ascent(network, found, labels)).clamp(low, high)
    return found


def _ascent(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the loss's gradient in the pixels: -1, 0 or 1."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        # The sum: the gradient of an image then does not depend on the number of images in its batch.
        loss = cross_entropy(network(images), labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0].sign()


@dataclass(frozen=True)
class Robustness(Measure):
    """The accuracy on corrupted images and under attacks, on the images that the classifier is measured on.

    Attributes:
        seed: Decides the draws: the same for every trial.
        severities: Of each corruption, from 1 to 3.
        corruptions: Names of `CORRUPTIONS`; none of them for no corruption.
        radii: How far attacks may move a pixel, in 255ths of its range; none for no attack.
        pgd_steps: Steps of projected gradient descent.

    Raises:
        ValueError: If a value is out of range or named twice, or there is nothing to measure.
    """

    seed: int
    severities: Sequence[int]
    corruptions: Sequence[str]
    radii: Sequence[int]
    pgd_steps: int

    def __post_init__(self) -> None:
        check_integer("measures.robustness.seed", self.seed, low=0)
        check_integer("measures.robustness.pgd_steps", self.pgd_steps, low=1)
        _check_each("severities", self.severities, lambda name, value: check_integer(name, value, 1, 3))
        _check_each("corruptions", self.corruptions, lambda name, value: check_choice(name, value, CORRUPTIONS))
        _check_each("radii", self.radii, lambda name, value: check_integer(name, value, 1, LEVELS))
        if not (self.corruptions or self.radii):
            raise ValueError("measures.robustness has no corruptions and no radii: name some, or leave the measure out")
        if self.corruptions and not self.severities:
            raise ValueError("measures.robustness.severities=[]: name at least one of 1, 2, 3, or use corruptions=[]")

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Apply where there is a classifier of pictures, without a front, through which attacks have no gradient."""
        applies = "classifier" in stages and not isinstance(stages["classifier"], TrainBehindFront)
        return {} if applies and not split.labelled.shape.is_point else None

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Say that a front has no gradient."""
        behind = isinstance(stages.get("classifier"), TrainBehindFront)
        return (
            ("the measure robustness does not apply to a classifier of images that lose resolution",) if behind else ()
        )

    def find(self, finished: Finished) -> Findings:
        """Count right answers to changed images.

        Returns:
            Accuracies in [0, 1] under `robustness`: `clean`; of each corruption, such as `noise`, those at its
            severities, `noise_1` and so on, and their mean, `noise`; `corruption`, the mean over all corruptions and
            severities; `fgsm_3_of_255` and `pgd_3_of_255` for each radius; and `attack`, the mean over all of these.
        """
        classifier, images = finished.classifier, finished.measured
        right: Counter[str] = Counter()
        assert classifier is not None, "it applies only to trials with a classifier"
        for numbers in torch.arange(len(images)).split(classifier.batch_size):
            clean = to_float(images.images[numbers].to(classifier.device))
            labels = images.labels[numbers].to(classifier.device)
            for name, changed in self._changed(classifier.network, clean, labels, numbers):
                with torch.no_grad():
                    predicted = classifier.network(changed).argmax(dim=1)
                right[name] += int((predicted == labels).sum())
        metrics: dict[str, Any] = {name: number / len(images) for name, number in right.items()}
        compared = {}
        if self.corruptions:
            for name in self.corruptions:
                metrics[name] = _mean(metrics[f"{name}_{severity}"] for severity in self.severities)
            metrics["corruption"] = _mean(metrics[name] for name in self.corruptions)
            compared["robustness.corruption"] = "accuracy under corruption"
        if self.radii:
            attacks = (f"{attack}_{radius}_of_{LEVELS}" for attack in ("fgsm", "pgd") for radius in self.radii)
            metrics["attack"] = _mean(metrics[name] for name in attacks)
            compared["robustness.attack"] = "accuracy under attack"
        return Findings({"robustness": metrics}, compared=compared)

    def _changed(
        self, network: nn.Module, clean: Tensor, labels: Tensor, numbers: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the images as they are, corrupted and attacked, each with the name of its metric."""
        yield "clean", clean
        for name in self.corruptions:
            for severity in self.severities:
                yield f"{name}_{severity}", corrupted(clean, numbers, name, severity, self.seed)
        for radius in self.radii:
            share = radius / LEVELS
            yield f"fgsm_{radius}_of_{LEVELS}", fgsm(network, clean, labels, share)
            starts = drawn(torch.rand, clean.shape[1:], numbers, Stream(self.seed, f"robustness/pgd/{radius}"))
            attacked = pgd(network, clean, labels, share, self.pgd_steps, starts.to(clean.device))
            yield f"pgd_{radius}_of_{LEVELS}", attacked


def _check_each(name: str, values: Any, check: Callable[[str, Any], None]) -> None:
    """Raise unless a setting is a list of different values that each pass a check."""
    name = f"measures.robustness.{name}"
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name}={values}: use a list")
    for value in values:
        check(name, value)
    if len(set(values)) < len(values):
        raise ValueError(f"{name}={list(values)}: name each value once")


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
