"""Classifiers on the features of a backbone."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.backbone import Backbone, freeze, without_downloads
from gan_augment.settings import build, check_boolean, check_integer, errors_of

AT_ONCE = 8  # images, without gradients: more feature maps than theirs leave the cache of a CPU
LEAST_SIDE = 192  # pixels: smaller images are enlarged, because backbones learned from larger ones


class Transfer(nn.Module):
    """A linear layer on the pooled features of a backbone: images `[B, C, H, W]` in [-1, 1] -> logits `[B, K]`.

    A checkpoint of it with a frozen backbone holds only the linear layer and a hash of the backbone's weights.

    Args:
        shape: Of the images, with 1 or 3 channels.
        backbone: The node of the backbone.
        frozen: Whether the backbone keeps its weights.
        input_size: Shorter side that images are resized to, in pixels, bilinear and antialiased; None enlarges images
            below 192 pixels to that and keeps all others.

    Attributes:
        fixed: Names the features, if the backbone is frozen: images have the same under the same name; else None.

    Raises:
        ValueError: If the images are not pictures of 1 or 3 channels, or the backbone refuses its settings.
    """

    def __init__(
        self,
        shape: ImageShape,
        num_classes: int,
        backbone: Mapping[str, Any],
        frozen: bool,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        if shape.is_point or shape.channels not in (1, 3):
            raise ValueError(f"pretrained networks take images of 1 or 3 channels, not {shape}: use classifier=cnn")
        check_boolean("classifier.network.frozen", frozen)
        if input_size is not None:
            check_integer("classifier.network.input_size", input_size, low=8, high=1024)
        shorter = min(shape.height, shape.width)
        scale = (input_size or max(shorter, LEAST_SIDE)) / shorter
        self.size = round(shape.height * scale), round(shape.width * scale)
        # Frozen weights are in no checkpoint, so they have their numbers on the meta device too.
        is_meta = torch.get_default_device().type == "meta"  # as for a checkpoint, which must not start a download
        with (
            errors_of("classifier.network.backbone"),
            without_downloads() if is_meta else nullcontext(),
            torch.device("cpu") if frozen else nullcontext(),
        ):
            self.backbone = build(backbone, "classifier.network.backbone", Backbone)
        if frozen:
            freeze(self.backbone)
        self.frozen, self.origin = frozen, self.backbone.origin
        self.fixed = json.dumps([backbone, self.size], sort_keys=True) if frozen else None
        self.head = nn.Linear(self.backbone.num_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's features `[B, F]`."""
        at_once = AT_ONCE if images.device.type == "cpu" and not torch.is_grad_enabled() else max(len(images), 1)
        return torch.cat([self.backbone(self._enlarged(some)) for some in images.split(at_once)])

    def _enlarged(self, images: Tensor) -> Tensor:
        if images.shape[2:] == self.size:
            return images
        return interpolate(images, self.size, mode="bilinear", antialias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per class."""
        return self.head(self.features(images))

    def get_extra_state(self) -> Tensor:
        """Return a hash of pretrained weights that are not in the state themselves, uint8 `[16]`; else `[0]`."""
        hashed = blake2b(digest_size=16)
        if not self.frozen or self.origin is None:
            return torch.empty(0, dtype=torch.uint8, device="cpu")
        for tensor in self.backbone.buffers():
            hashed.update(tensor.cpu().contiguous().numpy().tobytes())
        return torch.tensor([*hashed.digest()], dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Check that the backbone has the weights that the linear layer was trained on.

        Raises:
            ValueError: If it has others.
        """
        if not torch.equal(state.cpu(), self.get_extra_state()):
            raise ValueError("the linear layer was trained on a backbone with other weights than the one installed")
