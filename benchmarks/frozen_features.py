"""Compare the frozen features of `architecture=projected`: ImageNet's, random ones, and those of the labelled images.

    python benchmarks/frozen_features.py data.root=FOLDER [more overrides] [--images 24000] [--seed 100]

Three GANs train alike on the same split, in all but the frozen network: EfficientNet-Lite0 that learned from ImageNet,
the same with random weights, and ResNet-18 that learned from the labelled images alone, as a classifier that started
from random weights (in so few steps EfficientNet-Lite0 does not). They are measured on validation images; the test
images stay closed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.networks.backbone import Backbone
from gan_augment.networks.transfer import Transfer

SHOWN = ("told_apart_pixels", "told_apart_features", "agreement", "variety", "sharpness", "usable")
NODE = "architecture.backbone"
MEASURES = "measures=[judge,usable,pictures]"


class OfClassifier(Backbone):
    """The backbone inside a classifier, as it was trained.

    Args:
        classifier: The file `classifier.pt` of a trial with `classifier=finetuned`.
    """

    origin = None

    def __init__(self, classifier: str) -> None:
        super().__init__()
        network = TrainedClassifier.load(Path(classifier), torch.device("cpu")).network
        assert isinstance(network, Transfer)
        self.inside = network.backbone
        self.channels, self.num_features = self.inside.channels, self.inside.num_features

    def maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Return feature maps at ascending strides."""
        return self.inside.maps(images, strides)

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features `[B, num_features]`."""
        return self.inside(images)


def run(output: Path, *overrides: str) -> Path:
    """Run a trial into a new folder, with this file as a plugin; return the trial's folder."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    words = [f"paths.output_dir={output}", f"plugins=[{Path(__file__).stem}]", "open_test=false", *overrides]
    subprocess.run([sys.executable, "-m", "gan_augment", *words], env=environment, check=True)
    (record,) = output.glob("studies/*/trials/*/record.json")
    return record.parent


def main() -> None:
    """Train the classifier and the three GANs, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", help="the data set, and what differs from the recipe")
    parser.add_argument("--images", type=int, default=24000, help="images that each GAN sees")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=600, help="of the classifier that starts from random weights")
    parser.add_argument("--output", type=Path, help="a new folder to keep the trials in")
    arguments = parser.parse_args()
    output = (arguments.output or Path(tempfile.mkdtemp())).resolve()
    common = ["experiment=photographs", MEASURES, f"seed={arguments.seed}", *arguments.overrides]
    scratch = ["classifier=finetuned", "backbone@classifier.network.backbone=torchvision"]
    scratch += ["classifier.network.backbone.weights=null", "classifier.backbone_rate=1"]
    scratch += [f"classifier.num_steps={arguments.steps}", "augmentation=classical"]
    learned = run(output / "classifier", *common, *scratch)
    accuracy = json.loads((learned / "record.json").read_text())["metrics"]["validation"]["accuracy"]
    print(f"the classifier from random weights is right on {100 * accuracy:.0f} % of the validation images")
    target, file = f"{Path(__file__).stem}.OfClassifier", learned / "classifier.pt"
    kinds = {
        "ImageNet": [],
        "random": [f"{NODE}.weights=null"],
        "labelled images": [f"{NODE}._target_={target}", f"~{NODE}.weights", f"+{NODE}.classifier={file}"],
    }
    print(" | ".join(["| frozen features of", *SHOWN, "|"]))
    for number, (kind, overrides) in enumerate(kinds.items()):
        budget = f"generator.images_seen={arguments.images}"
        trial = run(output / str(number), *common, budget, *overrides)
        found = json.loads((trial / "record.json").read_text())["metrics"]["gan"]
        cells = ["" if found.get(name) is None else f"{found[name]:.2f}" for name in SHOWN]
        print(" | ".join([f"| {kind}", *cells, "|"]), flush=True)


if __name__ == "__main__":
    main()
