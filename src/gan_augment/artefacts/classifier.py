"""A trained classifier and its predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.artefacts.front import Front
from gan_augment.artefacts.weights import ABOUT, load_weights, read_about, reason_of
from gan_augment.data.image_set import ImageSet, ImageShape, to_float
from gan_augment.networks.heads import head_name
from gan_augment.networks.transfer import Transfer
from gan_augment.records.shape import check_shape
from gan_augment.settings import class_from

# Fixed features of the last image sets, by names of both: the classifiers of a study are tested on the same images.
KEPT: dict[tuple[str, str], Tensor] = {}
MOST_KEPT = 3


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier from its checkpoint.

    Attributes:
        network: Images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`; frozen.
        class_counts: Training images per class.
        batch_size: Images at a time: that of the training, to need no more memory.
        decoding: How files were read for its training: `fit`, `white` and `background` of the data; None if unknown.
        front: What changes images before the network sees them; None for nothing.
    """

    network: nn.Module
    shape: ImageShape
    class_names: Sequence[str]
    class_counts: Sequence[int]
    batch_size: int
    device: torch.device
    decoding: Mapping[str, Any] | None = None
    front: Front | None = None

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> "TrainedClassifier":
        """Read a classifier; raise a ValueError if the file is no checkpoint of one."""
        about = read_about(checkpoint, "classifier", ("shape", "class_names", "class_counts", "classifier"))
        try:
            check_shape(about, ABOUT)
            shape, class_names, node = ImageShape(*about["shape"]), about["class_names"], about["classifier"]
            make, settings = class_from(node.get("network"), nn.Module)
            if len(about["class_counts"]) != len(class_names):
                raise ValueError(f"{len(about['class_counts'])} counts for {len(class_names)} classes")
            with torch.device("meta"):
                network, batch_size = make(shape, len(class_names), **settings), node["batch_size"]
            front = Front.read(about["front"], checkpoint, shape, device) if "front" in about else None
        except Exception as error:  # a damaged description can break a constructor in any way
            raise ValueError(f"{checkpoint} does not describe a classifier: {reason_of(error)}") from error
        weights = load_weights(checkpoint, "classifier", network).to(device)
        counts, decoding = about["class_counts"], about.get("decoding")
        return cls(weights, shape, class_names, counts, batch_size, device, decoding, front)

    @torch.no_grad()
    def probabilities(self, images: ImageSet) -> Tensor:
        """Return class probabilities, float32 `[N, K]`, on the CPU."""
        network = self.network
        if not isinstance(network, Transfer) or network.fixed is None:
            return self.outputs(network, images).softmax(dim=1)
        return network.head(self._fixed_features(network, images).to(self.device)).softmax(dim=1).cpu()

    @torch.no_grad()
    def features(self, images: ImageSet, chosen: Tensor) -> Tensor:
        """Return the inputs of the last linear layer for the images at some indices, `[M, F]`, on the CPU.

        Raises:
            ValueError: If the network has no linear layer.
        """
        network = self.network
        if isinstance(network, Transfer) and network.fixed is not None:
            return self._fixed_features(network, images)[chosen]
        found: list[Tensor] = []
        head = network.get_submodule(head_name(network))
        handle = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1).cpu()))
        try:
            self.outputs(network, images.subset(chosen))
        finally:
            handle.remove()
        return torch.cat(found)

    def _fixed_features(self, network: Transfer, images: ImageSet) -> Tensor:
        """Return the features of a frozen backbone, which are kept for the next classifier on it."""
        assert network.fixed is not None
        if self.front is not None:  # which is one of many
            return self.outputs(network.features, images)
        key = network.fixed, images.fingerprint
        if key not in KEPT:
            while len(KEPT) >= MOST_KEPT:
                del KEPT[next(iter(KEPT))]
            KEPT[key] = self.outputs(network.features, images)
        return KEPT[key]

    @torch.no_grad()
    def outputs(self, part: Callable[[Tensor], Tensor], images: ImageSet) -> Tensor:
        """Return the output of a part of the network, `[N, ...]`, on the CPU, for images that pass the front first.

        Raises:
            ValueError: If the classifier was trained on images of another shape.
        """
        if images.shape != self.shape:
            raise ValueError(f"the classifier takes {self.shape}, but these images are {images.shape}")
        chunks = torch.arange(len(images)).split(self.batch_size)
        change = (lambda pixels: pixels) if self.front is None else self.front.change
        return torch.cat([part(to_float(change(images.images[chunk]).to(self.device))).cpu() for chunk in chunks])
