"""Test the copy audit on generators that copy a known share of what they have seen, and on honest ones.

    python benchmarks/copies.py data=digits "data=mnist paths.data_dir=FOLDER" [--seen 50 500] [--repeats 200]

Each argument is a data set, in the words of gan-augment's command line; only its training images are used. Printed is
in which share of the repeats each generator was called a copier, how many of its images were called copies, and the
medians of two scores that are used for this: AuthPct (Alaa et al. 2022), the percentage of generated images that are
not closer to a seen image than that one is to another, and C_T (Meehan et al. 2020), below -3 if the generated images
are closer to seen images than the decoys are. Below the table: how often the smallest share that the audit claims to
detect was found, planted anew.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import avg_pool2d
from trainings import read

from gan_augment.data.image_set import ImageSet
from gan_augment.data.loading import load_source
from gan_augment.data.split import draw_split
from gan_augment.metrics.copies import GAIN, NOISE, Auditor, disturbed

GENERATED = 1000
HONEST = ("fresh real images", "half-way to the class mean", "blurred", "collapsed to 20 images, noisy")
CHANGES = {  # of copies
    "": {"shift": 0, "gain": 0, "noise": 0},
    ", shifted": {"shift": 1, "gain": 0, "noise": 0},
    ", other contrast": {"shift": 0, "gain": GAIN, "noise": 0},
    ", noisy": {"shift": 0, "gain": 0, "noise": NOISE},
    ", shifted, other contrast and noisy": {},
}


def honest(fresh: ImageSet, means: Tensor, random: torch.Generator) -> Iterator[Tensor]:
    """Make the images of honest generators, uint8 `[M, C, H, W]` each, from real ones and the mean of each class."""
    pixels = fresh.images[:]
    yield pixels
    yield (pixels.float() + means[fresh.labels]).div(2).to(torch.uint8)
    yield avg_pool2d(pixels.float(), 3, stride=1, padding=1, count_include_pad=False).to(torch.uint8)
    yield disturbed(pixels[torch.randint(20, (len(pixels),), generator=random)], random)


class Scores:
    """AuthPct and C_T of generated images, in pixels; seen images and decoys are uint8 `[N, C, H, W]`."""

    def __init__(self, seen: Tensor, decoys: Tensor) -> None:
        self.seen = seen.flatten(1).float()
        self.among = torch.cdist(self.seen, self.seen).fill_diagonal_(torch.inf).amin(dim=1)
        self.of_decoys = torch.cdist(decoys.flatten(1).float(), self.seen).amin(dim=1)

    def of(self, made: Tensor) -> tuple[float, float]:
        """Return both of generated images, uint8 `[M, C, H, W]`."""
        near = torch.cdist(made.flatten(1).float(), self.seen).min(dim=1)
        authentic = 100 * float((self.among[near.indices] < near.values).double().mean())
        m, n = len(near.values), len(self.of_decoys)
        u = mannwhitneyu(near.values, self.of_decoys, alternative="less").statistic
        return authentic, float((u - (m * n / 2 - 0.5)) / (m * n * (m + n + 1) / 12) ** 0.5)


IMAGES: list[ImageSet] = []  # of a worker process


def prepare(overrides: str) -> None:
    """Load the images of a worker process."""
    torch.set_num_threads(1)
    config = read([*overrides.split(), "labels=all", "validation_per_class=0"])
    source = load_source(config.source)
    IMAGES.append(draw_split(source, config.settled(source).split).training)


def repeat(num_seen: int, number: int) -> tuple[dict[str, tuple[float, float, float]], bool | None]:
    """Audit each generator once, on the images of this process.

    Returns:
        By generator, the share of images that are called copies, AuthPct and C_T; and whether the smallest share that
        the audit claims to detect was detected; None if it claims none.
    """
    (images,) = IMAGES
    random, per_class = torch.Generator().manual_seed(number), num_seen // images.num_classes
    parts: list[list[Tensor]] = [[], [], []]
    for label in range(images.num_classes):
        members = images.members(label)
        members = members[torch.randperm(len(members), generator=random)]
        for part, some in zip(parts, members.tensor_split([per_class, 2 * per_class]), strict=True):
            part.append(some)
    seen, decoys, fresh = (images.subset(torch.cat(part)) for part in parts)
    fresh = fresh.subset(torch.randint(len(fresh), (GENERATED,), generator=random))
    means = torch.stack(
        [images.images[images.members(label)].float().mean(dim=0) for label in range(images.num_classes)]
    )
    there, away = seen.images[:], decoys.images[:]
    auditor, scores = Auditor(there, away, torch.cat([seen.labels, decoys.labels]), number), Scores(there, away)
    found = {}

    def note(name: str, share: float, made: Tensor) -> None:
        found[name] = share, *scores.of(made)

    made = dict(zip(HONEST, honest(fresh, means, random), strict=True))
    real = made[HONEST[0]]
    attached = auditor.attach(real)
    for name, pixels in made.items():
        of_these = attached if pixels is real else auditor.attach(pixels)
        note(name, float(auditor.copies(of_these).double().mean()), pixels)

    def planted(share: float, **change: float) -> tuple[Tensor, Tensor]:
        count = round(share * GENERATED)
        copies = disturbed(there[torch.randint(len(there), (count,), generator=random)], random, **change)
        places = torch.arange(count)
        return auditor.copies(attached.replaced(places, auditor.attach(copies))), torch.cat([copies, real[count:]])

    for share in (0.01, 0.02, 0.05, 1):
        for words, change in CHANGES.items():
            if share == 0.02 or words in ("", [*CHANGES][-1]):
                is_copy, pixels = planted(share, **change)
                note(f"{100 * share:.0f} % copies{words}", float(is_copy.double().mean()), pixels)
    limit = auditor.audit(real).detection_limit
    return found, None if limit is None else bool(planted(limit)[0].any())


def main() -> None:
    """Print a table for each data set and number of seen images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help='a data set, such as data=digits or "data=mnist paths.data_dir=DATA"')
    parser.add_argument("--seen", type=int, nargs="+", default=[50, 500], help="images that the generator has seen")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    for overrides in arguments.data:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), prepare, (overrides,)) as workers:
            numbers = range(100, 100 + arguments.repeats)
            found = {seen: list(workers.map(partial(repeat, seen), numbers)) for seen in arguments.seen}
        for num_seen, repeats in found.items():
            print(f"\n{overrides}, {num_seen} seen images and as many decoys, {arguments.repeats} repeats")
            print("| generator | called a copier | images called copies | AuthPct | C_T |")
            for name in repeats[0][0]:
                shares, authentic, tests = zip(*(found[name] for found, _ in repeats), strict=True)
                called = statistics.mean(share > 0 for share in shares)
                middle = (statistics.median(one) for one in (authentic, tests))
                cells = f"{called:.3f}", f"{100 * statistics.mean(shares):.2f} %", *(f"{one:.1f}" for one in middle)
                print(" | ".join([f"| {name}", *cells]) + " |")
            claims = [claim for _, claim in repeats if claim is not None]
            print(f"claims to detect a share: {len(claims)} of {len(repeats)}, true in {sum(claims)}", flush=True)


if __name__ == "__main__":
    main()
