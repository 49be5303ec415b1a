"""Test on real test images what `directions` and `counterfactuals` say about a classifier's weaknesses.

    python benchmarks/weaknesses.py TRIAL [--images FOLDER_OR_FILE] [--labels FILE]

Decide before you run it which lines you will read: of many numbers, some always stand out. Printed is how often the
classifier of the trial is right on the tenth of each class that has the smallest values of each number of `directions`,
on the tenth with the largest, and on the rest; then which pairs of classes it confuses, most often first. Brackets hold
95 % intervals (Wilson 1927), for other test images and the same classifier.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.split_file import read_split
from gan_augment.metrics.appearance import appearance
from gan_augment.records.record import read_record

PAIRS = 5


def share(hits: Tensor) -> str:
    """Return how many are true, in per cent with an interval."""
    number, of = int(hits.sum()), len(hits)
    low, high = binomtest(number, of).proportion_ci(method="wilson")
    return f"{100 * number / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def tenths(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which images have the smallest values of their class, and which the largest, a tenth each."""
    lowest, highest = (torch.zeros(len(labels), dtype=torch.bool) for _ in range(2))
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = members[values[members].argsort(stable=True)]
        tenth = len(order) // 10
        lowest[order[:tenth]], highest[order[len(order) - tenth :]] = True, True
    return lowest, highest


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", type=Path, help="the folder of a trial with a classifier")
    parser.add_argument("--images", help="folder or file of its images")
    parser.add_argument("--labels", help="table or file of their labels")
    arguments = parser.parse_args()
    record = read_record(arguments.trial / "record.json")
    with tempfile.TemporaryDirectory() as cache:
        split = read_split(arguments.trial, record["provenance"], arguments.images, arguments.labels, Path(cache))
    test, names = split.test, split.test.class_names
    classifier = TrainedClassifier.load(arguments.trial / "classifier.pt", torch.device("cpu"))
    answers = classifier.probabilities(test).argmax(dim=1)
    right = answers == test.labels
    print(f"right on {share(right)} of {len(test)} test images")
    print("| number | smallest tenth of each class | largest tenth | the rest |")
    for name, values in appearance(test.images[:]).items():
        lowest, highest = tenths(values, test.labels)
        print(f"| {name} | {share(right[lowest])} | {share(right[highest])} | {share(right[~(lowest | highest)])} |")
    print("| class | answer | share of the class |")
    counts = Counter(zip(test.labels[~right].tolist(), answers[~right].tolist(), strict=True))
    for (label, answer), _ in counts.most_common(PAIRS):
        print(f"| {names[label]} | {names[answer]} | {share(answers[test.labels == label] == answer)} |")


if __name__ == "__main__":
    main()
