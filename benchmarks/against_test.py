"""Compare the images of a trained generator with test images, which no measure of a trial may see.

    python benchmarks/against_test.py GENERATOR data=image_folder data.root=FOLDER [...] [--classifier TRIAL]

GENERATOR is the folder of a trial or a checkpoint; then follow the words of gan-augment's command line that describe
the data. For a final picture only: every use opens the test images. Printed are, for generated and for training images,
how often a leave-one-out nearest neighbour in pixels tells them from as many test images (the mean of both kinds, and
the larger half), their variety relative to that of the test images, and how many a classifier names as they are
labelled.
"""

import argparse
from pathlib import Path

import torch
from trainings import read

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import Generator, find_checkpoint
from gan_augment.data.image_set import ImageSet, first_of_each
from gan_augment.data.loading import load_source
from gan_augment.data.split import draw_split
from gan_augment.generators.sampling import first_images
from gan_augment.metrics.diversity import class_diversity
from gan_augment.metrics.two_sample import told_apart


def line(name: str, shown: ImageSet, test: ImageSet, classifier: TrainedClassifier | None) -> str:
    """Return a line of the table on some images, with at least as many of each class as the test has."""
    counts = test.class_counts.minimum(shown.class_counts)
    there, here = (first_of_each(images, counts).images[:] for images in (test, shown))
    halves = told_apart(there, here)
    variety = float((class_diversity(shown) / class_diversity(test)).nanmean())
    cells = [name, f"{sum(halves) / 2:.2f}", f"{max(halves):.2f}", f"{variety:.2f}"]
    if classifier is not None:
        named = classifier.probabilities(shown).argmax(dim=1) == shown.labels
        cells += [f"{100 * float(named.double().mean()):.0f} %"]
        cells += [f"{100 * float(named[shown.labels == label].double().mean()):.0f} %" for label in range(len(counts))]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator")
    parser.add_argument("data", nargs="+", help="the data, such as data=digits")
    parser.add_argument("--classifier", type=Path, help="a trial whose classifier.pt names the classes")
    arguments = parser.parse_args()
    config = read(arguments.data)
    source = load_source(config.source)
    split = draw_split(source, config.settled(source).split)
    generator = Generator.load(find_checkpoint("GENERATOR", arguments.generator), torch.device("cpu"))
    classifier = None
    if arguments.classifier is not None:
        classifier = TrainedClassifier.load(arguments.classifier / "classifier.pt", torch.device("cpu"))
    made = first_images(generator, split.test.class_counts, seed=0)
    print("| images | told apart | larger half | variety | named |")
    for name, shown in {"generated": made, "training": split.labelled}.items():
        print(line(name, shown, split.test, classifier), flush=True)


if __name__ == "__main__":
    main()
