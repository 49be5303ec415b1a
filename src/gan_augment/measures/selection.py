"""The measure `selection`: what choosing among the checkpoints of a training would have changed, on another domain."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet
from gan_augment.data.split import Split
from gan_augment.measures.base import Finished, Measure
from gan_augment.methods.base import LOOKS, ClassifierStage
from gan_augment.metrics.validators import (
    cluster_agreement,
    embedded_risk,
    information,
    negative_entropy,
    neighbourhood_density,
    nuclear_norm,
    reduced,
)
from gan_augment.networks.heads import Divided
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section
from gan_augment.stages import Stage

MOST = 1000  # images of a part that a validator sees
# Name in the record -> heading in the report.
VALIDATORS = {
    "source_accuracy": "validation accuracy",
    "entropy": "entropy",
    "information": "information",
    "nuclear_norm": "BNM",
    "neighbourhood_density": "SND",
    "embedded_risk": "DEV",
    "cluster_agreement": "class AMI",
}
SECTION = Section(
    "The classifier of the last step counts in every other number. Published results often choose the step by accuracy "
    "on the test images, which no user can do. Here is the accuracy on the test images at the step that each validator "
    "would have chosen among ten, without a label of these images, and at the best of the ten (oracle). Choosing by "
    "the oracle would have added the last column.",
    {
        "selection.last": "last step",
        **{f"selection.{name}": heading for name, heading in VALIDATORS.items()},
        "selection.oracle": "oracle",
        "selection.added": "oracle less last step",
    },
)


@dataclass(frozen=True)
class Selection(Measure):
    """How good the classifier was at ten steps of its training, by validators and on the test images.

    `selection`: `looks`, one entry per step with `step`, the validators of `metrics/validators.py`, `source_accuracy`
    on the validation images, and `target_accuracy` on the test images; `last`, the target accuracy of the last step;
    that of the step that each validator chooses, under the validator's name; `oracle`, the best; and `added`, by which
    it exceeds the last. While test stays closed there are only the looks, without `target_accuracy`.
    """

    needs = "classifier"

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Apply where the classifier is kept at several steps: where there are two domains."""
        classifier = stages.get("classifier")
        is_kept = isinstance(classifier, ClassifierStage) and classifier.looks is not None
        return {} if is_kept and len(split.pool) > 1 else None

    def find(self, finished: Finished) -> Findings:
        """Evaluate each kept classifier."""
        folder = finished.outputs["classifier"].folder / LOOKS
        split, parts = finished.split, {}
        for name in ("labelled", "validation", "pool"):
            images: ImageSet = getattr(split, name)
            order = torch.randperm(len(images), generator=Stream(0, f"selection/{name}").at(0))
            parts[name] = images.subset(order[:MOST].sort().values)
        if finished.part == "test":
            parts["test"] = split.test
        device = finished.config.hardware.device
        paths = sorted(folder.glob("*.pt"), key=lambda path: int(path.stem))
        looks = [{"step": int(path.stem), **look(path, parts, device)} for path in paths]
        if not looks:  # a probe has no steps
            return Findings()
        metrics: dict[str, Any] = {"looks": looks}
        if finished.part == "test":
            reached = [one["target_accuracy"] for one in looks]
            metrics["last"] = reached[-1]
            for name in VALIDATORS:
                known = [one for one in looks if one[name] is not None]
                best = max(known, key=lambda one: (one[name], one["step"]), default=None)
                metrics[name] = None if best is None else best["target_accuracy"]
            metrics["oracle"] = max(reached)
            metrics["added"] = metrics["oracle"] - metrics["last"]
        return Findings({"selection": metrics}, sections={"Choosing a step": SECTION} if "last" in metrics else {})


def look(path: Path, parts: Mapping[str, ImageSet], device: torch.device) -> dict[str, Any]:
    """Return what validators say of a kept classifier, and its accuracy on the test images if they are given.

    Those that need validation images are None without any.
    """
    classifier = TrainedClassifier.load(path, device)
    network = Divided(classifier.network)
    features, logits = {}, {}
    for name, images in parts.items():
        if name == "test" or not len(images):
            continue
        features[name] = classifier.outputs(network.body, images).flatten(1).float()
        logits[name] = network.head(features[name].to(device)).float().cpu()
    probabilities = logits["pool"].softmax(dim=1)
    few = dict(zip(features, reduced(*features.values()), strict=True))
    found: dict[str, Any] = {
        "source_accuracy": None,
        "entropy": negative_entropy(probabilities),
        "information": information(probabilities),
        "nuclear_norm": nuclear_norm(probabilities),
        "neighbourhood_density": neighbourhood_density(probabilities),
        "embedded_risk": None,
        "cluster_agreement": cluster_agreement(few["pool"], probabilities.argmax(dim=1), probabilities.shape[1]),
    }
    if "validation" in features:
        labels = parts["validation"].labels
        losses = cross_entropy(logits["validation"], labels, reduction="none")
        found["source_accuracy"] = accuracy(logits["validation"], labels)
        found["embedded_risk"] = embedded_risk(few["labelled"], few["validation"], few["pool"], losses)
    if "test" in parts:
        found["target_accuracy"] = accuracy(classifier.outputs(network, parts["test"]), parts["test"].labels)
    return found


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose class has the largest logit, from `[N, K]` and `[N]`."""
    return float((logits.argmax(dim=1) == labels).double().mean())
