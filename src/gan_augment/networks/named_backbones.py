"""Backbones by name: the classifiers of torchvision and the networks of timm."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.backbone import DOWNLOADS, Backbone
from gan_augment.networks.torchvision_classifier import TorchvisionClassifier
from gan_augment.randomness import initialised
from gan_augment.settings import check_boolean

STRIDES = (2, 4, 8, 16, 32)
USUAL = ImageShape(3, 224, 224)  # most of these networks take others too


class LastMapError(Exception):
    """The last feature map that was asked for is there."""


class NamedBackbone(Backbone):
    """A backbone around a network that maps images `[B, C, H, W]` in [-1, 1] to pooled features.

    Its feature maps are outputs of modules inside: at each stride those of the last module with such sides. Networks
    that shrink images in other steps, such as vision transformers, have pooled features alone.
    """

    def __init__(self, network: nn.Module, origin: str | None) -> None:
        super().__init__()
        self.network, self.origin = network, origin
        places: dict[int, tuple[str, int]] = {}

        def note(name: str, output: Any) -> None:
            for stride in STRIDES:
                sides = (USUAL.height // stride, USUAL.width // stride)
                if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:] == sides:
                    places[stride] = name, output.shape[1]

        # An empty image through empty weights, so that only shapes are computed.
        state = {key: tensor.to("meta") for key, tensor in chain(network.named_parameters(), network.named_buffers())}
        empty = torch.empty(1, USUAL.channels, USUAL.height, USUAL.width, device="meta")
        with self._watched(note, dict(network.eval().named_modules())), torch.no_grad():
            self.num_features = functional_call(network, state, empty).shape[1]
        network.train()
        self.places = {stride: name for stride, (name, _) in places.items()}
        self.channels = {stride: channels for stride, (_, channels) in sorted(places.items())}

    def maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Return feature maps at ascending strides s; their sides are about H / s and W / s."""
        found: list[Tensor] = []

        def keep(name: str, output: Tensor) -> None:
            found.append(output)
            if len(found) == len(strides):
                raise LastMapError

        names = [self.places[stride] for stride in strides]
        with self._watched(keep, {name: self.network.get_submodule(name) for name in names}), suppress(LastMapError):
            self.network(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features `[B, num_features]`."""
        return self.network(images)

    def _watched(self, call: Callable[[str, Any], None], modules: dict[str, nn.Module]) -> ExitStack:
        """Call a function with the name and the output of each of some modules, until the context ends."""
        stack = ExitStack()
        for name, module in modules.items():

            def hook(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                call(name, output)

            stack.callback(module.register_forward_hook(hook).remove)
        return stack


class TorchvisionBackbone(NamedBackbone):
    """A classifier of torchvision without its last layer.

    Args:
        name: A classifier of `torchvision.models`, such as `resnet18`.
        weights: Name of its pretrained weights, such as `IMAGENET1K_V1`; None for random ones, always the same.

    Raises:
        ValueError: As `TorchvisionClassifier`.
    """

    def __init__(self, name: str, weights: str | None = None) -> None:
        try:
            network = initialised(lambda: TorchvisionClassifier(USUAL, 1, name, weights), 0, "backbone")
        except ValueError as error:
            raise ValueError(str(error).removeprefix("classifier.network.")) from error
        network.network.set_submodule(network.last, nn.Identity())
        super().__init__(network, network.origin)


class TimmBackbone(NamedBackbone):
    """A network of the package `timm` without its last layer.

    Args:
        name: A network of `timm.list_models()`, such as `resnet18.a1_in1k`.
        pretrained: Whether it has its pretrained weights, downloaded on first use, or random ones,
            always the same.

    Raises:
        ValueError: If the package is missing, or there is no such network or no weights for it.
    """

    def __init__(self, name: str, pretrained: bool = True) -> None:
        check_boolean("pretrained", pretrained)
        try:
            timm = import_module("timm")
            find_local = import_module("huggingface_hub").try_to_load_from_cache
        except ImportError as error:
            raise ValueError(f"name={name} needs a package that is not installed: pip install timm") from error
        loads = (
            pretrained and torch.get_default_device().type != "meta"
        )  # there is nothing to load, as for a checkpoint
        options: dict[str, Any] = {}
        try:
            if not timm.is_model(name):  # create_model also takes the address of a network on a server or a disk
                raise ValueError("there is no such network")
            if loads and not DOWNLOADS.get():
                file = find_local(timm.get_pretrained_cfg(name).hf_hub_id, "model.safetensors")
                if not isinstance(file, str):
                    raise ValueError("its weights are not on this machine, and a checkpoint starts no download")
                options = {"pretrained_cfg_overlay": {"file": file}}
            body = initialised(
                lambda: timm.create_model(name, pretrained=loads, num_classes=0, **options), 0, "backbone"
            )
        except Exception as error:  # of many types, from timm and from the network
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
            raise ValueError(
                f"name={name}: timm cannot build it ({reason}): use one of timm.list_models(), and if its weights "
                f"are missing, load them once with timm.create_model({name!r}, pretrained=True)"
            ) from error
        origin = (
            f"the features are those of timm's {name}, learned from other images: accuracies are those of transfer, "
            "not of the labelled images alone"
        )
        pixels = body.pretrained_cfg
        super().__init__(Normalised(body, pixels["mean"], pixels["std"]), origin if pretrained else None)


class Normalised(nn.Module):
    """A network for images in [-1, 1], normalised by mean and standard deviation in [0, 1]; grey ones are repeated."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        # These are in no checkpoint, so they have their numbers on the meta device too.
        self.register_buffer("mean", torch.tensor(mean, device="cpu").view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of the network."""
        return self.network(((images.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.std)
