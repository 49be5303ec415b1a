"""Test the measure `usable` on known images: fresh real ones are good, and noise, copies and blurred ones are bad.

    python benchmarks/usable.py data=digits "data=mnist paths.data_dir=FOLDER" [--images 200] [--draws 10]

Each argument is a data set, in the words of gan-augment's command line. Only its training images are used: a judge
learns from a third of them, and each draw takes two samples from the others, one as validation images. The other one
is shown to the measure as it is, and made worse in several ways. Printed are how often the answer is no, and medians.
With `measures=[usable]` in a data set's words there is no judge.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur
from trainings import read

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.config import Config
from gan_augment.data.image_set import ImageSet
from gan_augment.data.loading import load_source
from gan_augment.data.split import draw_split
from gan_augment.measures.base import Finished
from gan_augment.measures.judge import Judge
from gan_augment.measures.usable import Usable, shuffled_pixels

SHOWN = ("told_apart_pixels", "told_apart_features", "agreement", "variety", "sharpness")


def kinds(real: ImageSet, random: torch.Generator) -> dict[str, Tensor]:
    """Make good and bad images from real ones, uint8 `[N, C, H, W]` each, for the same labels."""
    pixels, side = real.images[:], real.shape.size

    def copies(number: int) -> Tensor:
        first = torch.stack([real.members(label)[:number] for label in range(real.num_classes)])
        return pixels[first[real.labels, torch.randint(number, (len(real),), generator=random)]]

    def shuffled() -> Tensor:
        flat = pixels.flatten(2)
        order = torch.rand(len(flat), 1, flat.shape[2], generator=random).argsort(dim=2)
        return flat.gather(2, order.expand_as(flat)).view_as(pixels)

    def blurred(width: int) -> Tensor:
        sigma = side / width
        size = 2 * min(round(4 * sigma + 0.5), side - 1) + 1
        return gaussian_blur(pixels, [size, size], [sigma, sigma])

    return {
        "other real images": pixels,
        "each pixel of another image of the class": shuffled_pixels(real).images[:],
        "pixels in another order": shuffled(),
        "uniform noise": torch.randint(0, 256, pixels.shape, generator=random, dtype=torch.uint8),
        "one image a class": copies(1),
        "three images a class": copies(3),
        "blurred by 1/32 of the side": blurred(32),
        "blurred by 1/16 of the side": blurred(16),
    }


def train_judge(config: Config, training: ImageSet) -> TrainedClassifier | None:
    """Train the judge of a configuration on some images; None if it has none, as with `measures=[usable]`."""
    if "judge" not in config.measures:
        return None
    judge = config.measures["judge"]
    assert isinstance(judge, Judge)
    split: Any = SimpleNamespace(training=training, validation=training.subset(torch.arange(0)))
    stage = judge.stage(config, split)
    with tempfile.TemporaryDirectory() as folder:
        stage.run(Path(folder), {})
        return cast("TrainedClassifier", stage.load(Path(folder)))


def measured(judge: TrainedClassifier | None, validation: ImageSet, shown: ImageSet) -> Mapping[str, Any]:
    """Return what the measure finds out about images."""
    finished: Any = SimpleNamespace(
        synthetic=shown,
        split=SimpleNamespace(validation=validation),
        has=lambda role: role == "judge" and judge is not None,
        load=lambda role: judge,
        stages={},
    )
    return Usable().find(cast("Finished", finished)).metrics["gan"]


def answers(overrides: str, most: int, draws: int) -> tuple[int, dict[str, list[Mapping[str, Any]]]]:
    """Ask for each kind of images, in each draw; return the number of images, and the answers by kind."""
    config = read([*overrides.split(), "labels=all", "validation_per_class=0"])
    source = load_source(config.source)
    images = draw_split(source, config.settled(source).split).training
    random = torch.Generator().manual_seed(100)
    members = [images.members(label) for label in range(images.num_classes)]
    orders = [one[torch.randperm(len(one), generator=random)] for one in members]
    thirds = [len(one) // 3 for one in orders]
    judge = train_judge(config, images.subset(torch.cat([one[:n] for one, n in zip(orders, thirds, strict=True)])))
    others = [one[n:] for one, n in zip(orders, thirds, strict=True)]
    each = min(most // images.num_classes, *(len(one) // 2 for one in others))

    def samples() -> Iterator[ImageSet]:
        drawn = [one[torch.randperm(len(one), generator=random)] for one in others]
        for first in (0, each):
            yield images.subset(torch.cat([one[first : first + each] for one in drawn]))

    found: dict[str, list[Mapping[str, Any]]] = {}
    for _ in range(draws):
        validation, real = samples()
        for kind, pixels in kinds(real, random).items():
            found.setdefault(kind, []).append(measured(judge, validation, replace(real, images=pixels)))
    return each * images.num_classes, found


def line(kind: str, found: list[Mapping[str, Any]]) -> str:
    """Return one line of the table: how often the answer is no, and the medians."""
    no = sum(one["usable"] == 0 for one in found)
    middle = [
        statistics.median(known) if (known := [one[m] for one in found if one.get(m) is not None]) else None
        for m in SHOWN
    ]
    cells = [f"{number:.2f}" if number is not None else "" for number in middle]
    return " | ".join([f"| {kind}", *cells, f"no in {no} of {len(found)} |"])


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help='a data set, such as data=digits or "data=image_folder data.root=cats"')
    parser.add_argument("--images", type=int, default=200, help="most images of each kind")
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    for overrides in arguments.data:
        number, found = answers(overrides, arguments.images, arguments.draws)
        print(f"\n{overrides}: {number} images of each kind")
        print(" | ".join(["| images", *SHOWN, "usable |"]))
        for kind, those in found.items():
            print(line(kind, those), flush=True)


if __name__ == "__main__":
    main()
