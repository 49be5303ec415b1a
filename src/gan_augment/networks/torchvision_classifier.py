"""The classifiers of torchvision, from scratch or pretrained."""

from dataclasses import astuple
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import interpolate
from torchvision import models

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.backbone import DOWNLOADS
from gan_augment.settings import check_choice, check_integer

LIST = "https://docs.pytorch.org/vision/stable/models.html#classification"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in [0, 1]
# No auxiliary heads: their outputs would be unused, and they fail on small images, but only in training.
SCRATCH_OPTIONS = {key: {"aux_logits": False, "init_weights": True} for key in ("googlenet", "inception_v3")}


class TorchvisionClassifier(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> logits `[B, num_classes]`.

    Grey images are repeated in red, green and blue. All are resized to `input_size` and normalised as the weights
    expect.

    Args:
        shape: Of the images, with 1 or 3 channels.
        name: A classifier of `torchvision.models`, such as `resnet18`.
        weights: Name of pretrained weights, such as `IMAGENET1K_V1`, for all layers but the last, which is drawn anew;
            None to start from scratch.
        input_size: Side in pixels that images are resized to, bilinear and antialiased; None keeps their size.

    Attributes:
        last: The name, within `network`, of the layer that returns the logits.
        origin: One sentence on the source of pretrained weights; None from scratch.

    Raises:
        ValueError: If there is no such classifier, it has no such weights, they can neither be found nor downloaded,
            or it cannot take images of this shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, shape: ImageShape, num_classes: int, name: str, weights: str | None = None, input_size: int | None = None
    ) -> None:
        super().__init__()
        names = models.list_models(module=models)
        if name not in names:
            some = get_close_matches(str(name), names, n=5) or ("resnet18", "mobilenet_v3_small", "vit_b_16")
            raise ValueError(f"classifier.network.name={name}: use one of {', '.join(some)}, ... (all: {LIST})")
        if shape.channels not in (1, 3):
            raise ValueError(f"classifier {name} takes images of 1 or 3 channels, not {shape.channels}")
        if input_size is not None:
            check_integer("classifier.network.input_size", input_size, low=1, high=4096)
        self.input_size = input_size
        self.origin: str | None = None
        self.network = _without_weights(name, num_classes, **SCRATCH_OPTIONS.get(name, {}))
        self.last = _last_layer(self.network)
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        if weights is not None:
            # Weights without categories hold the features alone: the layers after them are NaN.
            usable = {entry.name: entry for entry in models.get_model_weights(name) if entry.meta["categories"]}
            check_choice("classifier.network.weights", weights, usable)
            entry = usable[weights]
            # On the meta device, as for a checkpoint, there is nothing to load and so nothing to download.
            is_meta = torch.get_default_device().type == "meta"
            pretrained = _as_for(name, entry) if is_meta else _load_pretrained(name, entry)
            pretrained.set_submodule(self.last, self.network.get_submodule(self.last))
            self.network = pretrained
            mean, std = entry.transforms().mean, entry.transforms().std
            others = "other photographs" if "SWAG" in weights else "1.2 million other photographs (ImageNet-1K)"
            self.origin = (
                f"the classifier started from torchvision's {entry!r}, learned from the labels of {others}: "
                "accuracies are those of transfer, not of the labelled images alone"
            )
        # These are in no checkpoint, so they have their numbers on the meta device too.
        self.register_buffer("mean", torch.tensor(mean, device="cpu").view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").view(3, 1, 1), persistent=False)
        self._check(shape, name, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        images = (images.expand(-1, 3, -1, -1) + 1) / 2
        if self.input_size is not None:
            images = interpolate(images, size=(self.input_size, self.input_size), mode="bilinear", antialias=True)
        return self.network((images - self.mean) / self.std)

    @torch.no_grad()
    def _check(self, shape: ImageShape, name: str, num_classes: int) -> None:
        """Pass an empty image through empty weights, on the meta device, so that only shapes are computed."""
        state = {key: tensor.to("meta") for key, tensor in chain(self.named_parameters(), self.named_buffers())}
        self.eval()
        try:
            logits = functional_call(self, state, torch.empty(1, *astuple(shape), device="meta"))
        except (AssertionError, RuntimeError, ValueError) as error:
            size = f"{shape.height}x{shape.width}" if self.input_size is None else self.input_size
            raise ValueError(
                f"classifier.network.input_size={'null' if self.input_size is None else size}: {name} cannot take "
                f"images of {size} pixels ({_first_line(error)}): use the size it was made for, often 224"
            ) from error
        assert logits.shape == (1, num_classes)
        self.train()


def _last_layer(network: nn.Module) -> str:
    return [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def _without_weights(name: str, num_classes: int, **options: Any) -> nn.Module:
    try:
        return models.get_model(name, num_classes=num_classes, **options)
    except NotImplementedError:  # RegNet computes its widths with tensors, which have no numbers on the meta device
        with torch.device("cpu"):
            return models.get_model(name, num_classes=num_classes, **options)


def _as_for(name: str, weights: Any) -> nn.Module:
    """Build a classifier as torchvision does for some weights, but without loading them."""
    least, options = weights.meta["min_size"], dict(SCRATCH_OPTIONS.get(name, {}))
    if name in SCRATCH_OPTIONS:
        options["transform_input"] = True
    elif name.startswith("vit_"):
        options["image_size"] = least[0]
    elif name.startswith("maxvit_"):
        options["input_size"] = least
    return _without_weights(name, len(weights.meta["categories"]), **options)


def _load_pretrained(name: str, weights: Any) -> nn.Module:
    """Build a classifier with torchvision's weights, for the classes they were trained on."""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    try:
        if not DOWNLOADS.get() and not file.exists():
            raise OSError("a checkpoint starts no download")
        # First read the file as tensors alone: torchvision would run any code in a file that was put there by hand.
        weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        network = models.get_model(name, weights=weights)
    except (EOFError, OSError, RuntimeError, UnpicklingError) as error:
        # torch's own message for such a file advises running the code in it.
        reason = "not a file of tensors" if isinstance(error, EOFError | UnpicklingError) else _first_line(error)
        raise ValueError(
            f"classifier.network.weights={weights.name}: could not load {weights.url} ({reason}): "
            f"put that file at {file}, or use weights=null to train from scratch"
        ) from error
    if name == "inception_v3":  # for the other classifiers torchvision drops the auxiliary heads itself
        network.aux_logits, network.AuxLogits = False, None
    return network


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
