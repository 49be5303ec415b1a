"""Networks of image translation: a residual translator, a discriminator of patches, and heads for contrasted patches.

A translator normalises each image by itself, so in evaluation it computes what it computes in training.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, pad
from torch.nn.utils.parametrizations import spectral_norm

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import Residual
from gan_augment.networks.generative import check_pictures
from gan_augment.settings import check_boolean, check_integer

PLANE = 4  # side of a plane of latent numbers
STYLES = 1000  # that a translator keeps
EPSILON = 1e-5  # variance that keeps a division finite, as in instance norm
BELOW_1 = 0.99  # scale of images, so that their inverse hyperbolic tangents are finite


class Translator(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> images of the same shape (Johnson et al. 2016; Zhu et al. 2017).

    A convolution of 5x5 pixels (9x9 and 7x7 in the papers, whose images are larger), halvings by strided convolutions,
    residual blocks, and as many doublings. Where the papers reflect images at their edges, the edge is repeated, whose
    gradient is deterministic on a GPU too. So are sides that cannot be halved so often; the rest is cut off at the end.

    With `residual`, which the papers do not have, the network computes a change, 0 at the start: the translation is
    tanh(atanh(0.99 x) + change). From a random start it may learn to swap dark and bright, which a contrast of patches
    allows. Without, it computes the translation itself, which is better where images change a lot and pairs say how.

    Args:
        shape: Shape of the images, at least 8x8 pixels.
        channels: Feature maps at full size, at most 4096; each halving doubles them.
        blocks: Residual blocks at the smallest size, 1 to 100.
        halvings: How often the size is halved, at most 3; the smallest feature maps have sides of at least 4 pixels.
        residual: Whether it computes a change of the image.
        latents: Latent numbers of an image, in planes of 4x4 that are enlarged to its size: constant planes would be
            normalised away.
        styled: Whether the last feature maps get a style, the means and deviations of another image's feature maps
            (AdaIN, Huang and Belongie 2017, equation 8): of those that the first convolution gives, before the norm.
            Latent numbers are then a style, and `styles` holds those of `STYLES` images to draw from.
    """

    def __init__(
        self,
        shape: ImageShape,
        channels: int = 16,
        blocks: int = 4,
        halvings: int = 1,
        residual: bool = True,
        latents: int = 0,
        styled: bool = False,
    ) -> None:
        super().__init__()
        check_boolean("translation.translator.residual", residual)
        check_boolean("translation.translator.styled", styled)
        check_integer("translation.translator.channels", channels, low=1, high=4096)
        check_integer("translation.translator.blocks", blocks, low=1, high=100)
        check_integer("translation.translator.halvings", halvings, low=0, high=3)
        check_integer("translation.translator.latents", latents, low=0)
        if latents % PLANE**2:
            raise ValueError(f"translation.translator.latents={latents}: use a multiple of {PLANE**2}, or 0")
        if latents and styled:
            raise ValueError(
                f"translation.translator.latents={latents} and styled=true: a style takes their place, use 0"
            )
        check_pictures("translation", shape)
        if -(-min(shape.height, shape.width) // 2**halvings) < 4:
            raise ValueError(
                f"translation.translator.halvings={halvings} leaves fewer than 4 pixels a side of "
                f"{shape.height}x{shape.width}: use a smaller number, or larger images"
            )
        planes, self.styled = latents // PLANE**2, styled
        self.num_latents = 2 * channels if styled else latents
        self.styles: Tensor
        if styled:
            self.register_buffer("styles", torch.zeros(STYLES, self.num_latents))
        self.multiple, width = 2**halvings, channels * 2**halvings
        widths = [channels * 2**level for level in range(halvings + 1)]
        shrinking = [_normed(nn.Conv2d(one, 2 * one, 3, 2, 1, bias=False)) for one in widths[:-1]]
        half = blocks // 2
        self.stages = nn.ModuleList(
            [
                _normed(
                    nn.Conv2d(shape.channels + planes, channels, 5, padding=2, padding_mode="replicate", bias=False)
                ),
                *shrinking,
                nn.Sequential(*(_block(width) for _ in range(half))),
            ]
        )
        growing = [_normed(nn.ConvTranspose2d(2 * one, one, 4, 2, 1, bias=False)) for one in widths[-2::-1]]
        last = nn.Conv2d(channels, shape.channels, 5, padding=2, padding_mode="replicate")
        self.residual = residual
        if residual:
            for weights in last.parameters():
                nn.init.zeros_(weights)
        self.end = nn.Sequential(*(_block(width) for _ in range(blocks - half)), *growing, last)
        self.widths = [shape.channels + planes, *widths, *([width] if half else [])]

    def maps(self, images: Tensor, latents: Tensor | None = None) -> list[Tensor]:
        """Return the feature maps that contrasts compare: the images themselves, then those of each stage.

        `latents` are standard normal numbers `[B, num_latents]`; None means 0. A style does not change these maps.
        """
        height, width = images.shape[-2:]
        if self.num_latents and not self.styled:
            numbers = images.new_zeros(len(images), self.num_latents) if latents is None else latents
            planes = numbers.unflatten(1, (-1, PLANE, PLANE)).to(images.dtype)
            images = torch.cat([images, interpolate(planes, (height, width), mode="bilinear")], dim=1)
        maps = [self.padded(images)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[: len(self.widths)]

    def padded(self, images: Tensor) -> Tensor:
        """Return images whose sides can be halved often enough."""
        height, width = images.shape[-2:]
        return pad(images, (0, -width % self.multiple, 0, -height % self.multiple), "replicate")

    def style(self, images: Tensor) -> Tensor:
        """Return the styles of images, `[B, num_latents]`: means, then standard deviations of feature maps."""
        convolution: Any = self.stages[0]
        return statistics(convolution[0](self.padded(images)))

    def draw(self, number: int, random: torch.Generator) -> Tensor:
        """Draw latent numbers `[number, num_latents]`: standard normal ones on the device of `random`, or `styles`."""
        if self.styled:
            return self.styles[torch.randint(STYLES, (number,), generator=random, device=random.device)]
        return torch.randn(number, self.num_latents, generator=random, device=random.device)

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Compile the parts, which are called by themselves."""
        for part in (*self.stages, self.end):
            part.compile(*arguments, **settings)

    def forward(self, images: Tensor, latents: Tensor | None = None) -> Tensor:
        """Translate images, with latent numbers as in `maps`."""
        return self.finish(self.maps(images, latents), images, latents)

    def finish(self, maps: Sequence[Tensor], images: Tensor, latents: Tensor | None = None) -> Tensor:
        """Return the translations of images from their feature maps; without latent numbers they keep their style."""
        if self.styled:
            style = self.style(images) if latents is None else latents
            changes = self.end[-1](with_statistics(self.end[:-1](maps[-1]), style))
        else:
            changes = self.end(maps[-1])
        changes = changes[..., : images.shape[-2], : images.shape[-1]]
        return torch.tanh(torch.atanh(BELOW_1 * images) + changes if self.residual else changes)


def statistics(maps: Tensor) -> Tensor:
    """Return the means and the standard deviations of feature maps `[B, C, H, W]`, `[B, 2C]`.

    Example:
        >>> statistics(torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])).round(decimals=2).tolist()
        [[1.0, 3.0, 1.0, 0.0]]
    """
    variances, means = torch.var_mean(maps.float(), dim=(2, 3), correction=0)
    return torch.cat([means, (variances + EPSILON).sqrt()], dim=1)


def with_statistics(maps: Tensor, wanted: Tensor) -> Tensor:
    """Give feature maps `[B, C, H, W]` other means and standard deviations, `[B, 2C]` (Huang and Belongie 2017)."""
    (means, deviations), (new_means, new_deviations) = (
        one.float()[..., None, None].chunk(2, dim=1) for one in (statistics(maps), wanted)
    )
    return ((maps.float() - means) / deviations * new_deviations + new_means).to(maps.dtype)


class PatchDiscriminator(nn.Module):
    """Images `[B, C, H, W]` in [-1, 1] -> logits `[B, P]`, one for each of P overlapping patches (Isola et al. 2017).

    Its weights have spectral norm: norm by batch or by instance would hide from it how bright an image is. The two last
    convolutions are 3x3, because images are small.

    Args:
        shape: Shape of the images, at least 8x8 pixels.
        channels: Feature maps after the first layer; each further one doubles them, up to 4 times.
        layers: Strided convolutions, at least 1; with 2 a patch is 26 pixels wide, with 3 54 pixels. The last maps are
            at least 2x2 pixels.
    """

    def __init__(self, shape: ImageShape, channels: int = 32, layers: int = 2) -> None:
        super().__init__()
        check_integer("translation.discriminator.channels", channels, low=1)
        check_integer("translation.discriminator.layers", layers, low=1)
        check_pictures("translation", shape)
        if min(shape.height, shape.width) < 2 * 2**layers:
            raise ValueError(
                f"translation.discriminator.layers={layers} leaves fewer than 2 pixels a side of "
                f"{shape.height}x{shape.width}: use a smaller number, or larger images"
            )
        widths = [channels * min(2**level, 4) for level in range(layers + 1)]
        strided = [nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise([shape.channels, *widths[:-1]])]
        ending = [nn.Conv2d(widths[-2], widths[-1], 3, padding=1), nn.Conv2d(widths[-1], 1, 3, padding=1)]
        normed = [spectral_norm(convolution) for convolution in (*strided, *ending)]
        rectified = [layer for one in normed[:-1] for layer in (one, nn.LeakyReLU(0.2))]
        self.layers = nn.Sequential(*rectified, normed[-1], nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the patches."""
        return self.layers(images)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps behind each layer but the last, `[B, C, H, W]`."""
        maps = [images]
        for layer in self.layers[:-2]:
            if isinstance(layer, nn.LeakyReLU):
                maps[-1] = layer(maps[-1])
            else:
                maps.append(layer(maps[-1]))
        return maps[1:]


class PatchHeads(nn.Module):
    """Two linear layers for each stage of a translator, which turn its features at some places into unit vectors.

    Args:
        widths: Feature maps of each stage.
        dimensions: Length of the vectors.
    """

    def __init__(self, widths: Sequence[int], dimensions: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, dimensions), nn.ReLU(), nn.Linear(dimensions, dimensions))
            for width in widths
        )

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Return vectors `[B, P, dimensions]` of each stage's `maps`, `[B, C, H, W]`, at its `places`, int64 `[P]`."""
        taken = (one.flatten(2)[..., where].transpose(1, 2) for one, where in zip(maps, places, strict=True))
        return [normalize(head(some).float(), dim=-1) for head, some in zip(self.heads, taken, strict=True)]


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU())


def _block(width: int) -> nn.Module:
    first, second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
    return Residual(nn.Identity(), nn.Sequential(_normed(first), second, nn.InstanceNorm2d(width)))
