"""Encoders that learn nothing: a network with random weights, and the pixels. The others have to beat them."""

from dataclasses import dataclass

from gan_augment.encoders.base import EncoderSettings


@dataclass(frozen=True)
class Random(EncoderSettings):
    """The network of the other encoders, with its first weights."""


@dataclass(frozen=True)
class Pixels(EncoderSettings):
    """The pixels themselves."""

    of_pixels = True
