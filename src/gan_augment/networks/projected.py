"""The projected GAN of Sauer et al. 2021: a discriminator that sees images through a frozen, pretrained network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv_transpose2d, interpolate

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Architecture, FeatureExtractor, doublings, halvings
from gan_augment.networks.backbone import Backbone, freeze
from gan_augment.settings import build, check_boolean, check_integer, errors_of

STRIDES = (4, 8, 16)  # of the feature maps that the discriminator sees
MIXED = 64  # channels of each of them, after random mixing
THUMBNAIL = 16  # side of the small image that the discriminator sees in addition, in pixels


@dataclass(frozen=True)
class Projected(Architecture):
    """A light convolutional generator, and a small discriminator on each of several frozen feature maps.

    The maps are those of a backbone, mixed by random convolutions across channels and scales, so that the generator
    cannot neglect some of them (Sauer et al. 2021, section 3.2). Only the small discriminators are trained. They have
    spectral norm and no batch norm, and judge an image once for each map.

    Attributes:
        channels: The generator's feature maps at half the image's size; each halving doubles them, up to 8 times.
        width: Channels of each small discriminator.
        input_size: Side to which images are resized for the backbone, in pixels, a multiple of 64; None for the
            smallest power of 2 that is at least 64 and the image's side.
        thumbnail: Whether the discriminator also sees the image itself, at 16x16 pixels.
        backbone: The node of the backbone.

    Raises:
        ValueError: If a setting is out of range.
    """

    image_sizes = (8, 256)

    channels: int = 32
    width: int = 64
    input_size: int | None = None
    thumbnail: bool = True
    spectral_norm: bool = True
    backbone: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_boolean("architecture.thumbnail", self.thumbnail)
        if self.input_size is not None:
            check_integer("architecture.input_size", self.input_size, low=64, high=512)
            if self.input_size % 64:
                raise ValueError(f"architecture.input_size={self.input_size}: use a multiple of 64")

    @property
    def num_maps(self) -> int:
        """Feature maps in which the discriminator sees an image."""
        return len(STRIDES) + self.thumbnail

    def generator(self, shape: ImageShape, num_inputs: int) -> nn.Module:
        """Return features `[B, num_inputs]` -> images `[B, C, H, W]` in [-1, 1]."""
        sizes = halvings(shape.size)
        widths = doublings(self.channels, len(sizes) - 1)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(num_inputs, widths[0] * sizes[0] ** 2, bias=False),
            nn.Unflatten(1, (widths[0], sizes[0], sizes[0])),
        ]
        for size, (width, next_width) in zip(sizes[1:], pairwise([*widths, shape.channels]), strict=True):
            layers += [nn.BatchNorm2d(width), nn.ReLU(), Upsampling(width, next_width, size)]
        return nn.Sequential(*layers, nn.Tanh())

    def discriminator(self, shape: ImageShape) -> FeatureExtractor:
        """Return the small discriminators: feature maps -> features `[B, num_maps, width]`."""
        size = self._input_size(shape.size)
        maps = [(MIXED, size // stride) for stride in STRIDES]
        maps += [(shape.channels, THUMBNAIL)] if self.thumbnail else []
        bodies = [small_discriminator(channels, side, self.width) for channels, side in maps]
        return FeatureExtractor(Judges(bodies), num_features=self.width, batch_std=False)

    def features(self, images: Tensor) -> nn.Module:
        """Return images `[B, C, H, W]` -> feature maps, scaled to a standard deviation of 1 over the given images."""
        backbone = build(self.backbone, "architecture.backbone", Backbone)
        return ProjectedFeatures(backbone, self._input_size(images.shape[-1]), self.thumbnail, images)

    def origin(self) -> str | None:
        """Return the origin of the backbone's weights."""
        return backbone_origin(json.dumps(self.backbone))

    def _input_size(self, size: int) -> int:
        return self.input_size or max(64, 1 << (size - 1).bit_length())


class Upsampling(nn.Module):
    """Repeat each pixel in a square of four, then convolve 3x3, as one transposed convolution with 4x4 kernels.

    With free 4x4 kernels it would cost the same, but draw seams (Odena et al. 2016).
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(inputs, outputs, 3, 3) / (4 * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, size, size]`, with a size of twice H, or one less."""
        kernel = 2 * avg_pool2d(self.weight, 2, stride=1, padding=1)
        return conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)[:, :, : self.size, : self.size]


class ProjectedFeatures(nn.Module):
    """Frozen feature maps of images: those of a backbone, mixed, and a thumbnail.

    Args:
        images: `[N, C, H, W]` in [-1, 1]; each feature map has a standard deviation of 1 over them.
    """

    scale: Tensor

    def __init__(self, backbone: Backbone, input_size: int, thumbnail: bool, images: Tensor) -> None:
        super().__init__()
        self.backbone, self.input_size, self.thumbnail = backbone, input_size, thumbnail
        channels = [backbone.channels[stride] for stride in STRIDES]
        self.across_channels = nn.ModuleList(nn.Conv2d(count, MIXED, 1, bias=False) for count in channels)
        self.across_scales = nn.ModuleList(nn.Conv2d(MIXED, MIXED, 3, padding=1, bias=False) for _ in STRIDES[1:])
        for layer in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        self.register_buffer("scale", torch.ones(len(STRIDES) + thumbnail))
        freeze(self)
        with torch.no_grad():
            self.scale = 1 / torch.stack([maps.std() for maps in self(images)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images `[B, C, H, W]` in [-1, 1] to feature maps, from fine to coarse, and the thumbnail."""
        resized = images
        if images.shape[-1] != self.input_size:
            resized = interpolate(images, self.input_size, mode="bilinear")
        found = self.backbone.maps(resized, STRIDES)
        mixed = [mix(maps) for mix, maps in zip(self.across_channels, found, strict=True)]
        for level, mix in reversed([*enumerate(self.across_scales)]):  # each scale tells the next finer one
            above = interpolate(mix(mixed[level + 1]), scale_factor=2, mode="bilinear")
            mixed[level] = (mixed[level] + above) / 2**0.5
        if self.thumbnail:
            mixed.append(adaptive_avg_pool2d(images, THUMBNAIL))
        return [maps * scale for maps, scale in zip(mixed, self.scale, strict=True)]


class Judges(nn.Module):
    """Several small discriminators, each of its own feature map."""

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map feature maps to features `[B, len(maps), width]`."""
        return torch.stack([body(one) for body, one in zip(self.bodies, maps, strict=True)], dim=1)


@lru_cache
def backbone_origin(node: str) -> str | None:
    """Build a backbone to check that it has the maps that are needed; return the origin of its weights."""
    with errors_of("architecture.backbone"):
        backbone = build(json.loads(node), "architecture.backbone", Backbone)
        if not set(STRIDES) <= set(backbone.channels):
            raise ValueError(f"its maps have strides {[*backbone.channels]}, but {[*STRIDES]} are needed: use another")
    return backbone.origin


def small_discriminator(channels: int, side: int, width: int) -> FeatureExtractor:
    """Return feature maps `[B, channels, side, side]` -> features `[B, width]`; the side is at least 4."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)] if side == 4 else []
    while side > 4:
        layers += [nn.Conv2d(width if layers else channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        side //= 2
    layers += [nn.Conv2d(width, width, side), nn.LeakyReLU(0.2), nn.Flatten()]
    return FeatureExtractor(*layers, num_features=width, batch_std=False)
