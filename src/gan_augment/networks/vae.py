"""The networks of a variational autoencoder: an encoder and a decoder, both of which know the label."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.architecture import doublings, halvings
from gan_augment.networks.generative import OF_POINTS, GenerativeNetwork, check_pictures
from gan_augment.settings import check_integer

FIRST_LOG_VARIANCE = -4.0  # of the codes' noise: a standard deviation of 0.14


class VAENetwork(GenerativeNetwork):
    """A variational autoencoder of images with labels (Kingma and Welling 2014; Sohn et al. 2015).

    The decoder gives the mean of each pixel. Their standard deviation is one number for all pixels, the one that fits
    best (Rybkin et al. 2021), and `deviation` follows it in training. A latent vector holds the code and the noise of
    each pixel, so that images have the noise too.

    Args:
        shape: Shape of the images, at least 8x8 pixels; they need not be square.
        channels: Feature maps at full size; each halving doubles them, up to 8 times.
        codes: Length of the code.
        num_changes: Numbers that tell how a training image was transformed; 0 in each means not at all.
    """

    deviation: Tensor

    def __init__(
        self, shape: ImageShape, num_classes: int, channels: int = 16, codes: int = 16, num_changes: int = 0
    ) -> None:
        super().__init__()
        check_pictures("generator=vae", shape, OF_POINTS)
        check_integer("generator.network.channels", channels, low=1)
        check_integer("generator.network.codes", codes, low=1)
        self.shape, self.codes = shape, codes
        self.latent_dim = codes + shape.channels * shape.height * shape.width
        widths = doublings(channels, len(halvings(max(shape.height, shape.width), smallest=7)))
        levels = range(len(widths) - 1, -1, -1)
        self.sizes = [(-(-shape.height // 2**level), -(-shape.width // 2**level)) for level in levels]  # rounded up
        flat, features = widths[-1] * math.prod(self.sizes[0]), 4 * widths[-1]
        self.of_image = nn.Embedding(num_classes, channels)
        self.encoder = nn.Sequential(
            *_normed(nn.Conv2d(shape.channels + channels, channels, 3, padding=1, bias=False)),
            *(layer for one, two in pairwise(widths) for layer in _normed(nn.Conv2d(one, two, 3, 2, 1, bias=False))),
            *(nn.Flatten(), nn.Linear(flat, features), nn.ReLU(), nn.Linear(features, 2 * codes)),
        )
        self.of_label = nn.Embedding(num_classes, features)
        self.of_changes = nn.Linear(num_changes, features, bias=False) if num_changes else None
        self.widen = nn.Sequential(
            nn.Linear(codes + features, features), nn.ReLU(), nn.Linear(features, flat), nn.ReLU()
        )
        self.grow = nn.ModuleList(
            nn.Sequential(*_normed(nn.Conv2d(two, one, 3, padding=1, bias=False)))
            for one, two in [*pairwise(widths)][::-1]
        )
        self.end = nn.Conv2d(channels, shape.channels, 3, padding=1)
        self.register_buffer("deviation", torch.ones(()))
        self._start()

    def _start(self) -> None:
        """Set first weights with which codes tell images apart from the first step; else the decoder ignores them.

        Weights are those of He et al. 2015, and the noise of codes begins small.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        of_codes = self.encoder[-1].bias
        assert isinstance(of_codes, Tensor)
        with torch.no_grad():
            of_codes[self.codes :] = FIRST_LOG_VARIANCE

    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances of codes, `[B, codes]` each."""
        planes = self.of_image(labels)[..., None, None].expand(-1, -1, *images.shape[-2:])
        means, log_variances = self.encoder(torch.cat([images, planes], dim=1)).chunk(2, dim=1)
        return means, log_variances

    def decode(self, codes: Tensor, labels: Tensor, changes: Tensor | None = None) -> Tensor:
        """Return the means of pixels `[B, C, H, W]` in [-1, 1], of codes `[B, codes]`; `changes` as in training."""
        known = self.of_label(labels)
        if self.of_changes is not None and changes is not None:
            known = known + self.of_changes(changes)
        maps = self.widen(torch.cat([codes, known], dim=1))
        maps = maps.view(len(codes), -1, *self.sizes[0])
        for size, layer in zip(self.sizes[1:], self.grow, strict=True):
            maps = layer(interpolate(maps, size))
        return torch.tanh(self.end(maps))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Decode the codes, and add the noise."""
        codes, noise = latents.split([self.codes, self.latent_dim - self.codes], dim=1)
        means = self.decode(codes, labels)
        return (means + self.deviation * noise.view_as(means)).clamp(-1, 1)


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.GroupNorm(math.gcd(4, convolution.out_channels), convolution.out_channels), nn.ReLU()]
