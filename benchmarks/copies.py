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
from functools import cache
from itertools import product
from itertools import repeat as again
from multiprocessing import get_context

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import avg_pool2d
from trainings import read

from gan_augment.data.image_set import ImageSet
from gan_augment.data.loading import load_source
from gan_augment.data.split import draw_split
from gan_augment.metrics.copies import GAIN, NOISE, PLANTED, Auditor, disturbed

GENERATED = 1000
HONEST = ("fresh real images", "half-way to the class mean", "blurred", "collapsed to 20 images, noisy")
CHANGES = {  # of copies
    "": {"shift": 0, "gain": 0, "noise": 0},
    ", shifted": {"shift": 1, "gain": 0, "noise": 0},
    ", other contrast": {"shift": 0, "gain": GAIN, "noise": 0},
    ", noisy": {"shift": 0, "gain": 0, "noise": NOISE},
    (ALL_CHANGES := ", shifted, other contrast and noisy"): {},
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
        self.of_decoys, _ = self.near(decoys)

    def near(self, made: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance of generated images, uint8 `[M, C, H, W]`, to the nearest seen image, and which it is."""
        near = torch.cdist(made.flatten(1).float(), self.seen).min(dim=1)
        return near.values, near.indices

    def of(self, distances: Tensor, nearest: Tensor) -> tuple[float, float]:
        """Return both scores of images that are so near to seen ones."""
        authentic = 100 * float((self.among[nearest] < distances).double().mean())
        m, n = len(distances), len(self.of_decoys)
        u = mannwhitneyu(distances, self.of_decoys, alternative="less").statistic
        return authentic, float((u - (m * n / 2 - 0.5)) / (m * n * (m + n + 1) / 12) ** 0.5)


@cache
def load(overrides: str) -> tuple[ImageSet, Tensor]:
    """Load the training images of a set, and the mean of each class, once in each process."""
    torch.set_num_threads(1)
    config = read([*overrides.split(), "labels=all", "validation_per_class=0"])
    source = load_source(config.source)
    images = draw_split(source, config.settled(source).split).training
    members = map(images.members, range(images.num_classes))
    return images, torch.stack([images.images[some].float().mean(dim=0) for some in members])


def audit_all(overrides: str, num_seen: int, seed: int) -> tuple[dict[str, tuple[float, float, float]], bool | None]:
    """Audit each generator once, on images of a set.

    Returns:
        By generator, the share of images that are called copies, AuthPct and C_T; and whether the smallest share that
        the audit claims to detect was detected; None if it claims none.
    """
    images, means = load(overrides)
    random, per_class = torch.Generator().manual_seed(seed), num_seen // images.num_classes
    parts: list[list[Tensor]] = [[], [], []]
    for label in range(images.num_classes):
        members = images.members(label)
        members = members[torch.randperm(len(members), generator=random)]
        for part, some in zip(parts, members.tensor_split([per_class, 2 * per_class]), strict=True):
            part.append(some)
    seen_at, decoys_at, rest = map(torch.cat, parts)
    seen, decoys = images.subset(seen_at), images.subset(decoys_at)
    fresh = images.subset(rest[torch.randint(len(rest), (GENERATED,), generator=random)])
    auditor, there = Auditor.of(seen, decoys, seed), seen.images[:]
    scores = Scores(there, decoys.images[:])
    made = [*honest(fresh, means, random)]
    (real, *_), (of_real, *_) = attached, near = [*map(auditor.attach, made)], [*map(scores.near, made)]
    found = {
        name: (float(auditor.copies(some).double().mean()), *scores.of(*near_some))
        for name, some, near_some in zip(HONEST, attached, near, strict=True)
    }

    def planted(share: float, **change: float) -> tuple[Tensor, Tensor]:
        count = round(share * GENERATED)
        copies = disturbed(there[torch.randint(len(there), (count,), generator=random)], random, **change)
        return auditor.copies(real.replaced(torch.arange(count), auditor.attach(copies))), copies

    for share, words in [*product(PLANTED, CHANGES), (1, ALL_CHANGES)]:
        is_copy, copies = planted(share, **CHANGES[words])
        of_copies = zip(scores.near(copies), of_real, strict=True)
        mixed = (torch.cat([new, old[len(copies) :]]) for new, old in of_copies)
        found[f"{100 * share:.0f} % copies{words}"] = float(is_copy.double().mean()), *scores.of(*mixed)
    limit = auditor.detection_limit(real)
    return found, None if limit is None else bool(planted(limit)[0].any())


def main() -> None:
    """Print a table for each data set and number of seen images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help='a data set, such as data=digits or "data=mnist paths.data_dir=DATA"')
    parser.add_argument("--seen", type=int, nargs="+", default=[50, 500], help="images that the generator has seen")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    seeds = range(100, 100 + arguments.repeats)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as workers:
        asked = [*product(arguments.data, arguments.seen)]
        audits = [workers.map(audit_all, again(data), again(seen), seeds) for data, seen in asked]
        for (overrides, num_seen), repeats in zip(asked, map(list, audits), strict=True):
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
