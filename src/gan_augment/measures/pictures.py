"""The measure `pictures`: samples, interpolations between latents and classes, and the nearest training images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan_augment.artefacts.drawing import MOST_CLASSES, NUM_COLUMNS, draw_rows, draw_side_by_side
from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageSet
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.records.findings import Findings

CHUNK = 2**23  # numbers at a time: 32 MiB
SEED = 0  # of the latents: the same for every generator


@dataclass(frozen=True)
class Pictures(GeneratorMeasure):
    """Draws `samples.png` and, for pictures, `interpolation.png`, `nearest.png` and `class_walk.png`."""

    def find(self, finished: Finished) -> Findings:
        """Draw into the trial's folder."""
        folder, synthetic = finished.folder, finished.synthetic
        draw_side_by_side(finished.real, synthetic, folder / "samples.png")
        if not finished.real.shape.is_point:
            seen, gan = finished.split.labelled, finished.stages.get("gan")
            pool = None if gan is None else gan.image_sets.get("pool")
            draw_nearest(synthetic, seen if pool is None else seen.joined(pool), folder / "nearest.png")
            if gan is None:
                return Findings()
            draw_interpolation(finished.generator, folder / "interpolation.png")
            if finished.generator.knows_classes:
                draw_class_walk(finished.generator, folder / "class_walk.png")
        return Findings()


def draw_interpolation(generator: Generator, path: Path) -> None:
    """Go from one latent vector to another along a great circle (White 2016), one row per class."""
    names, drawn = generator.class_names[:MOST_CLASSES], []
    for label in range(len(names)):
        (start, shown), (end, _) = (generator.draw(label, number, SEED) for number in (0, 1))
        drawn += [(slerp(start, end, float(share)), shown) for share in torch.linspace(0, 1, NUM_COLUMNS)]
    latents, labels = map(torch.stack, zip(*drawn, strict=True))
    draw_rows(generator.show(latents, labels), NUM_COLUMNS, names, "from one latent to another", path)


def draw_class_walk(generator: Generator, path: Path) -> None:
    """Draw one latent vector per row through all classes."""
    num_classes, drawn = min(len(generator.class_names), MOST_CLASSES), []
    for number in range(NUM_COLUMNS):
        row = [generator.draw(label, number, SEED) for label in range(num_classes)]
        drawn += [(row[0][0], shown) for _, shown in row]
    latents, labels = map(torch.stack, zip(*drawn, strict=True))
    draw_rows(generator.show(latents, labels), num_classes, (), "the same latent in every class, a row a latent", path)


def draw_nearest(synthetic: ImageSet, real: ImageSet, path: Path) -> None:
    """Draw generated images next to their nearest real ones, one row per class with enough images."""
    number, classes = NUM_COLUMNS // 2, enumerate(synthetic.class_names[:MOST_CLASSES])
    firsts = {name: synthetic.members(label)[:number] for label, name in classes}
    rows = {name: first for name, first in firsts.items() if len(first) == number}
    if rows:
        images = synthetic.images[torch.cat([*rows.values()])]
        pairs = torch.stack([images, real.images[nearest(images, real)]], dim=1).flatten(0, 1)
        draw_rows(pairs, NUM_COLUMNS, [*rows], "generated, and right of it the nearest that training saw", path)


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Go a share of the way, in [0, 1], from one vector `[D]` to another along their great circle (Shoemake 1985).

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
        tensor([0.7071, 0.7071])
    """
    angle = torch.arccos(torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1))
    if angle < 1e-4:  # where the formula divides by 0
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def nearest(images: Tensor, among: ImageSet) -> Tensor:
    """Return the index of the image nearest to each of `[N, C, H, W]`, pixel by pixel, int64 `[N]`.

    The images to search may be in a file.
    """
    pixels = images.flatten(1).float()
    # Filled in place: small results kept between the chunks would fragment the memory, so that no later chunk could
    # take the place of an earlier one.
    distances = torch.empty(len(images), len(among))
    for chunk in torch.arange(len(among)).split(max(1, CHUNK // pixels.shape[1])):
        distances[:, chunk] = torch.cdist(pixels, among.images[chunk].flatten(1).float())
    return distances.argmin(dim=1)
