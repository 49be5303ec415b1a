"""Studies of quick learners on images whose true difference is known, for calibration.py and peeking.py.

A person has 300 images of four classes to train on. Each split labels some of them, classifiers learn from these, and
all are tested on the same images. The classifiers of many splits are computed at once.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.tree import DecisionTreeClassifier

from gan_augment.report.statistics import estimate

NUM_CLASSES, NUM_FEATURES = 4, 6
NUM_TRAINING, NUM_TEST = 20_000, 40_000  # images that exist to train on, and to test on
OWN = 300  # images that the person of a study has to train on
OF_A_PERSON = 50  # studies whose images to train on are the same


class Images(NamedTuple):
    """Features `[..., N, 6]` and classes `[..., N]`."""

    features: np.ndarray
    classes: np.ndarray

    @classmethod
    def draw(cls, classes: np.ndarray, random: np.random.Generator, groups: np.ndarray | None = None) -> "Images":
        """Draw images of classes `[N]`, each normal; the features of a class differ in scale.

        Half of the variance of the features is common to images of one of the groups, numbers `[N]`. A single image has
        the same distribution with groups and without.
        """
        shape = np.random.default_rng(0)
        centres = 1.1 * shape.normal(size=(NUM_CLASSES, NUM_FEATURES))
        scales = np.exp(0.5 * shape.normal(size=(NUM_CLASSES, NUM_FEATURES)))
        noise = random.normal(size=(len(classes), NUM_FEATURES))
        if groups is not None:
            noise = (noise + random.normal(size=noise.shape)[groups]) / np.sqrt(2)
        return cls((centres[classes] + scales[classes] * noise).astype(np.float32), classes)

    def take(self, numbers: np.ndarray) -> "Images":
        """Return the images of these numbers, of any shape."""
        return Images(self.features[numbers], self.classes[numbers])


def _draw_all(size: int, seed: int) -> Images:
    random = np.random.default_rng(seed)
    return Images.draw(random.integers(NUM_CLASSES, size=size), random)


TRAINING, TEST = _draw_all(NUM_TRAINING, 1), _draw_all(NUM_TEST, 2)
BY_CLASS = [np.flatnonzero(TRAINING.classes == label) for label in range(NUM_CLASSES)]


def own_images(random: np.random.Generator) -> np.ndarray:
    """Draw the images that a person has to train on, `[4, 75]`, class by class."""
    return np.stack([random.choice(members, OWN // NUM_CLASSES, replace=False) for members in BY_CLASS])


def draw_splits(own: np.ndarray, share: float, num_splits: int, random: np.random.Generator) -> np.ndarray:
    """Draw the labelled images of splits `[S, n]`, as `data/split.py` does: the first of a permutation of a class."""
    orders = random.permuted(np.broadcast_to(own, (num_splits, *own.shape)), axis=2)
    return orders[:, :, : round(share * own.shape[1])].reshape(num_splits, -1)


def discriminant(labelled: Images, tested: Images, shrinkage: float) -> np.ndarray:
    """Answer with linear discriminant analysis whose covariance is shrunk towards a sphere, as scikit-learn's is.

    Args:
        labelled: Images `[S, n]` of the splits.
        tested: Images `[m]` that all splits are tested on, or `[S, m]`.
        shrinkage: From 0, the covariance within the classes, to 1, the sphere.

    Returns:
        Whether the classifier of a split is right on an image `[S, m]`.
    """
    features, classes = labelled
    member = (classes[..., None] == np.arange(NUM_CLASSES)).astype(features.dtype)
    counts, num_images = member.sum(axis=1), features.shape[1]
    means = member.transpose(0, 2, 1) @ features / counts[..., None]
    within = features - np.take_along_axis(means, classes[..., None], axis=1)
    covariance = within.transpose(0, 2, 1) @ within / num_images
    sphere = np.trace(covariance, axis1=1, axis2=2)[:, None, None] / NUM_FEATURES * np.eye(NUM_FEATURES)
    weights = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * sphere, means.transpose(0, 2, 1))
    offsets = np.log(counts / num_images) - (means * weights.transpose(0, 2, 1)).sum(axis=2) / 2
    scores = weights.transpose(0, 2, 1).astype(np.float32) @ np.swapaxes(tested.features, -1, -2)
    scores += offsets[..., None].astype(np.float32)
    own = np.broadcast_to(np.expand_dims(tested.classes, -2), (len(scores), 1, scores.shape[2]))
    return np.take_along_axis(scores, own, axis=1)[:, 0] == scores.max(axis=1)


def with_copies(labelled: Images, tested: Images, random: np.random.Generator) -> np.ndarray:
    """Train on labelled images and noisy copies of them: as with synthetic images, training adds noise of its own."""
    noisy = labelled.features + random.standard_normal(labelled.features.shape, np.float32)
    both = Images(np.concatenate([labelled.features, noisy], axis=1), np.tile(labelled.classes, 2))
    return discriminant(both, tested, 0.1)


def without(labelled: Images, tested: Images, random: np.random.Generator) -> np.ndarray:
    """Train on the labelled images alone, with more shrinkage."""
    return discriminant(labelled, tested, 0.9)


def tree(labelled: Images, tested: Images, random: np.random.Generator) -> np.ndarray:
    """Train a tree, which changes much with the images and with its random choice of features."""
    answers = np.empty(tested.classes.shape)
    with config_context(assume_finite=True, skip_parameter_validation=True):  # a third of the time
        for split, (features, classes) in enumerate(zip(*labelled, strict=True)):
            learner = DecisionTreeClassifier(max_features=2, random_state=int(random.integers(2**31)))
            learner.fit(features, classes, check_input=False)
            answers[split] = learner.predict(tested.features[split], check_input=False)
    return answers == tested.classes


Learner = Callable[[Images, Images, np.random.Generator], np.ndarray]
# Trainings of a split, and pairs of them. There is nothing to find between two trainings of the same learner.
TRAININGS: dict[str, Learner] = {"copies": with_copies, "copies again": with_copies, "plain": without}
PAIRS = {"different": ("copies", "plain"), "same": ("copies", "copies again")}
TRAININGS_IN_FOLDS = TRAININGS | {"tree": tree, "tree again": tree}
PAIRS_IN_FOLDS = PAIRS | {"unstable": ("tree", "plain"), "same, unstable": ("tree", "tree again")}


def differences(
    labelled: Images, tested: Images, random: np.random.Generator, in_folds: bool = False
) -> dict[str, np.ndarray]:
    """Train and test the classifiers of several splits.

    Returns:
        The points by which the first of a pair is right more often than the second, `[S, m]`, for each pair.
    """
    trainings, pairs = (TRAININGS_IN_FOLDS, PAIRS_IN_FOLDS) if in_folds else (TRAININGS, PAIRS)
    right = {name: train(labelled, tested, random).astype(float) for name, train in trainings.items()}
    return {pair: 100 * (right[one] - right[base]) for pair, (one, base) in pairs.items()}


def speaks_beyond(share: float, num_splits: int, noise: float = np.nan) -> bool:
    """Whether the verdict of such a study speaks for other images, or only for other choices among the person's own."""
    return estimate(np.zeros(num_splits), overlap=share, noise=noise).beyond_these_labels


Rates = dict[tuple, dict[str, float]]  # cell -> pair -> share of the studies


class Counted:
    """Counts the studies whose intervals contain the truth.

    The truth for a study is the mean difference of all other studies it is the same for, or 0 for a pair without one.
    """

    def __init__(self) -> None:
        self.studies: dict[str, list[tuple[int, float, Mapping]]] = {}

    def add(self, pair: str, same_truth: int, mean: float, bounds: Mapping) -> None:
        """Add a study: the number that those with the same truth share, its mean difference, and bounds by cell."""
        self.studies.setdefault(pair, []).append((same_truth, mean, bounds))

    def rates(self) -> Rates:
        """Return cell -> pair -> share of the studies whose bounds hold, nan where studies lack bounds."""
        found: Rates = {}
        for pair, studies in self.studies.items():
            same, means = np.array([one for one, _, _ in studies]), np.array([mean for _, mean, _ in studies])
            others = np.maximum(np.bincount(same)[same] - 1, 1)
            truth = (np.bincount(same, means)[same] - means) / others * (not pair.startswith("same"))
            for cell in studies[0][2]:
                low, high = np.array([bounds[cell] for _, _, bounds in studies]).T
                holds = (low <= truth) & (truth <= high)
                found.setdefault(cell, {})[pair] = np.nan if np.isnan(low).any() else float(holds.mean())
        return found


def print_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table."""
    header = list(header)
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(map(str, cells))} |")


def percents(rates: Mapping[str, float]) -> str:
    """Return the rates of a cell, for each pair."""
    if np.isnan(list(rates.values())).any():
        return "no interval"
    return ", ".join(f"{100 * rate:.1f}" for rate in rates.values()) + " %"
