"""Does the interval hold if the images of a folder belong together? Studies of made-up patients, with a known truth.

    python benchmarks/patients.py [--studies 200] [--jobs 2]

Each study is a folder of 300 images of 60 patients, whose images are alike. It is read and split as by gan-augment,
once with data.group_by and once without; two scikit-learn classifiers learn from the labelled images of each split. The
command prints how often the interval of the verdict contains the mean difference on new patients.
"""

import argparse
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from gan_augment.data.loading import load_source
from gan_augment.data.split import SplitSettings, draw_split
from gan_augment.report.statistics import estimate, image_variance

CLASSES = ("healthy", "ill")
NUM_PATIENTS, NUM_EACH, SIDE = 60, 5, 4  # patients of a folder, images of each, pixels of a side
LABELS, SPLITS = 10, 6  # labelled images of each class, and splits of a study
SETTINGS = {
    "_target_": "gan_augment.data.image_folder.image_folder",
    **{"table": None, "image_size": SIDE, "fit": "stretch", "channels": 1, "white": None},
    **dict.fromkeys(("skip_broken", "follow_links", "allow_synthetic"), False),
}


class Held(NamedTuple):
    """Whether the interval for new images contains the truth, how wide it is, and the notes about the images."""

    holds: bool
    width: float
    notes: tuple[str, ...]


def draw_patients(num_patients: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of patients of both classes in turn, uint8 `[P, 5, 4, 4]`, and the classes `[P]`.

    Most of the variance of an image is common to all images of its patient.
    """
    centres = np.random.default_rng(0).normal(size=(2, 1, SIDE, SIDE))
    classes = np.arange(num_patients) % 2
    of_patient, noise = (random.normal(size=(num_patients, number, SIDE, SIDE)) for number in (1, NUM_EACH))
    return (128 + 16 * centres[classes] + 24 * of_patient + 12 * noise).clip(0, 255).astype(np.uint8), classes


def write_folder(root: Path, random: np.random.Generator) -> None:
    """Write the images of patients, such as `ill/patient07_3.png`."""
    for patient, (images, label) in enumerate(zip(*draw_patients(NUM_PATIENTS, random), strict=True)):
        (root / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(root / CLASSES[label] / f"patient{patient:02}_{number}.png")


def differences(trained: np.ndarray, labels: np.ndarray, tested: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the points by which one classifier is right more often than the other on tested images, `[m]`."""
    features, images = (some.reshape(len(some), -1) / 255 for some in (trained, tested))
    learners = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5), KNeighborsClassifier(1)
    one, base = (learner.fit(features, labels).predict(images) == classes for learner in learners)
    return 100.0 * (one.astype(float) - base)


@cache
def truth(draws: int = 4000) -> float:
    """Return the mean difference on new patients, over labelled images of other ones."""
    random, found = np.random.default_rng(1), []
    for _ in range(draws):
        learned, tested = (draw_patients(number, random) for number in (2 * LABELS // NUM_EACH, 100))
        images = [(some.reshape(-1, SIDE, SIDE), classes.repeat(NUM_EACH)) for some, classes in (learned, tested)]
        found.append(differences(*images[0], *images[1]).mean())
    return float(np.mean(found))


def examine(root: Path, group_by: str | None, target: float) -> Held:
    """Read and split a folder, and compare the classifiers as the report does."""
    node: dict[str, Any] = {**SETTINGS, "root": str(root), "group_by": group_by, "cache": str(root.with_name("cache"))}
    source = load_source(node)
    splits = [draw_split(source, SplitSettings(seed, LABELS)) for seed in range(SPLITS)]
    sets = ((split.labelled, split.test) for split in splits)
    x = np.stack([differences(*(part.numpy() for one in two for part in (one.images, one.labels))) for two in sets])
    groups = splits[0].test_groups
    variance = image_variance(x, groups=None if groups is None else groups.numpy())
    found = estimate(x.mean(axis=1), variance, splits[0].overlap)
    assert found.beyond_these_labels
    _, low, high, _ = found.interval()
    return Held(low <= target <= high, high - low, tuple(source.notes))


def study(number: int, target: float) -> tuple[Held, Held]:
    """Make a folder, and examine it with the groups told and without."""
    with TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        write_folder(root, np.random.default_rng([2, number]))
        return examine(root, r"patient\d+", target), examine(root, None, target)


def lines(found: list[tuple[Held, Held]]) -> Iterator[str]:
    """Describe the studies."""
    for name, some in zip(("with group_by", "without"), zip(*found, strict=True), strict=True):
        noted = sum(any("look as if" in note for note in one.notes) for one in some)
        rate, width = (np.mean([one.holds for one in some]), np.median([one.width for one in some]))
        held = f"{100 * rate:.1f} % of {len(some)} intervals hold, median width {width:.1f} points"
        yield f"{name}: {held}; {noted} studies have a note"


def main() -> None:
    """Make the studies and print how often their intervals hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first study, which seeds it")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    start, target = time.perf_counter(), truth()
    numbers = range(arguments.first, arguments.first + arguments.studies)
    found = Parallel(n_jobs=arguments.jobs)(delayed(study)(number, target) for number in numbers)
    print(f"truth: {target:.2f} points", *lines(found), f"{time.perf_counter() - start:.0f} seconds", sep="\n")


if __name__ == "__main__":
    main()
