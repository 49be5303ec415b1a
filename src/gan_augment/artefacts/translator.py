"""A trained translator and its translations."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_augment.artefacts.weights import ABOUT, load_weights, read_about, reason_of
from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.image_set import ImageSet, ImageShape, from_float, to_float
from gan_augment.networks.translator import Translator
from gan_augment.randomness import Stream
from gan_augment.records.shape import check_shape
from gan_augment.settings import class_from

AT_ONCE = 250  # images
NEEDED = ("shape", "class_names", "translator", "trained_on", "images_seen", "pool_images")


@dataclass(frozen=True, eq=False)
class TrainedTranslator:
    """A translator from its checkpoint.

    Attributes:
        network: Images `[B, C, H, W]` in [-1, 1] -> images of the same shape; frozen.
        about: The metadata of the checkpoint: `class_names` of the images that it learned to translate, and so on.
    """

    network: Translator
    shape: ImageShape
    about: Mapping[str, Any]
    device: torch.device

    @property
    def decoding(self) -> Mapping[str, Any] | None:
        """How files were read for its training: `fit`, `white` and `background` of the data; None if unknown."""
        return self.about.get("decoding")

    @property
    def degrading(self) -> Degrading | None:
        """How images lost resolution in its training, if it restores such images; None otherwise."""
        return Degrading(**self.about["degrade"]) if "degrade" in self.about else None

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> "TrainedTranslator":
        """Read a translator; raise a ValueError if the file is no checkpoint of one."""
        return cls.build(read_about(checkpoint, "translator", NEEDED), checkpoint, "average", device)

    @classmethod
    def build(cls, about: Mapping[str, Any], checkpoint: Path, name: str, device: torch.device) -> "TrainedTranslator":
        """Build a translator from its metadata and the weights under a name in a checkpoint, if need be of another."""
        try:
            check_shape(about, ABOUT)
            shape = ImageShape(*about["shape"])
            make, settings = class_from(about["translator"], Translator)
            with torch.device("meta"):
                network = make(shape, **settings)
        except Exception as error:  # a damaged description can break a constructor in any way
            raise ValueError(f"{checkpoint} does not describe a translator: {reason_of(error)}") from error
        load_weights(checkpoint, name, network)
        return cls(network.to(device), shape, about, device)

    @torch.no_grad()
    def translate(self, images: ImageSet, seed: int = 0) -> ImageSet:
        """Translate images; they keep their labels. The seed decides latent numbers or styles, if it has some.

        Raises:
            ValueError: If they have another shape than those of the training.
        """
        if images.shape != self.shape:
            takes, are = ("x".join(map(str, astuple(shape))) for shape in (self.shape, images.shape))
            raise ValueError(f"the translator takes images of {takes} (channels, height, width), but these are {are}")
        latents = self.network.draw(len(images), Stream(seed, "latents").at(0))
        made = []
        for chunk in torch.arange(len(images)).split(AT_ONCE):
            made.append(self.change(images.images[chunk], latents[chunk]))
        return replace(images, images=torch.cat(made))

    @torch.no_grad()
    def change(self, images: Tensor, latents: Tensor | None = None) -> Tensor:
        """Translate pixels, uint8 `[B, C, H, W]`, on the CPU."""
        numbers = None if latents is None else latents.to(self.device)
        return from_float(self.network(to_float(images.to(self.device)), numbers).float(), images.dtype).cpu()
