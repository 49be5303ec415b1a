"""The start of a GAN's training: the weights of a GAN that has learned from other images (Wang et al. 2018).

The first layers of its discriminator may keep them: FreezeD (Mo et al. 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from gan_augment.artefacts.generator import Generator, find_checkpoint
from gan_augment.artefacts.weights import file_hash, load_weights, read_about
from gan_augment.data.image_set import ImageSet, ImageShape
from gan_augment.data.source import abridged
from gan_augment.generators.design import GANDesign
from gan_augment.networks.architecture import Architecture, FeatureExtractor
from gan_augment.networks.conditioning import Conditioning
from gan_augment.randomness import initialised
from gan_augment.records.record import leaves
from gan_augment.settings import class_from, errors_of
from gan_augment.stages import Bundle, implied

OPTION = "generator.start"
LEARNED_FROM_ANY = (  # a note on other images, where all images take turns to be tested
    "with folds each image is tested by some seed, so a generator that learned from any of them learned from test "
    "images: set some apart as test/, and train it on the others alone"
)


@dataclass(frozen=True, eq=False)
class Start(Bundle):
    """A trained GAN from whose weights a training starts.

    Attributes:
        start: The hash of its checkpoint, 16 hexadecimal digits.
        freeze: Layers of the discriminator that keep their weights, counted from the image side.
        path: The checkpoint.
        about: Its metadata.
        notes: What a reader of the results must know, a sentence each.
    """

    start: str
    freeze: int
    path: Path = implied()
    about: Mapping[str, Any] = implied()
    notes: tuple[str, ...] = implied(default=())

    @classmethod
    def read(cls, named: str, freeze: int, design: GANDesign, labelled: ImageSet, folds: bool) -> Self:
        """Read the GAN that `generator.start` names, for a training of a design on labelled images.

        `folds` says that the trial is one of a cross-validation.

        Raises:
            ValueError: If there is none, it is damaged, or it does not fit the design or the images.
        """
        path = find_checkpoint(OPTION, named)
        with errors_of(OPTION):
            trained, about = Generator.load(path, torch.device("cpu")), read_about(path, "gan", ["seed"])
        _check_fit(f"{OPTION}={named}", trained, design, labelled.shape)
        checkpoint = f"checkpoint {trained.hash}, {about['images_seen']:,} images seen"
        if about["trained_on"] == labelled.fingerprint and not (about.get("pool_images") or about.get("start")):
            notes = [f"the generator started from one that had learned from these labelled images ({checkpoint})"]
        else:
            notes = [
                f"the generator started from one that had learned from other images ({checkpoint}): if validation or "
                "test images were among them, results are too good",
                *([LEARNED_FROM_ANY] if folds else []),
            ]
        shape, names, before = labelled.shape, labelled.class_names, trained.class_names
        makes = design.generator, design.discriminator
        networks = [initialised(partial(make, shape, len(names)), seed=0) for make in makes]
        if anew := cls(trained.hash, freeze, path, about).give(design, *networks):
            counts = f"the generator started from one of {len(before)} classes instead of {len(names)}"
            notes.append(f"{counts}, so these layers were drawn anew: {abridged(anew)}")
        elif [*before] != [*names]:
            pairs = [f"{name} from {other}" for name, other in zip(names, before, strict=False)]
            notes.append(f"each class started from the one at its place: {abridged(pairs)}")
        return cls(trained.hash, freeze, path, about, tuple(notes))

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of it, for records and checkpoints."""
        return {"hash": self.start, **{name: self.about[name] for name in ("trained_on", "images_seen")}}

    @property
    def frozen(self) -> Mapping[str, Any]:
        """What its frozen features are made from: their seed and, unless an earlier version wrote it, their scale."""
        return {"seed": self.about["seed"], **self.about.get("frozen", {})}

    def give(self, design: GANDesign, generator: nn.Module, discriminator: nn.Module) -> list[str]:
        """Give two networks of a design its weights and freeze layers; return the layers, in words, that do not fit.

        The generator takes those of the averaged one, whose images are better. What does not fit depends on the number
        of classes, and keeps its own.

        Raises:
            ValueError: If the file has changed, its weights do not fit, or more layers are to be frozen than there are.
        """
        if file_hash(self.path) != self.start:
            raise ValueError(f"{self.path} has changed since the launch: launch it again")
        shape, num_classes, anew = ImageShape(*self.about["shape"]), len(self.about["class_names"]), []
        for name, network, make in (
            ("ema", generator, design.generator),
            ("discriminator", discriminator, design.discriminator),
        ):
            trained = initialised(partial(make, shape, num_classes), seed=0)
            own, weights = network.state_dict(), load_weights(self.path, name, trained).state_dict()
            others = {_layer(key) for key in own if key not in weights or weights[key].shape != own[key].shape}
            taken = {key: weights[key] for key in own if _layer(key) not in others}
            network.load_state_dict(own | taken, assign=True)
            anew += [f"{name.replace('ema', 'generator')}.{layer}" for layer in sorted(others)]
        bodies = [part.layers for part in discriminator.modules() if isinstance(part, FeatureExtractor)]
        if self.freeze > (most := min(map(len, bodies), default=0)):
            raise ValueError(f"generator.freeze={self.freeze}: the discriminator has {most} layers: use at most {most}")
        for body in bodies:
            for layer in body[: self.freeze]:
                layer.requires_grad_(False)
        return anew


def _check_fit(where: str, trained: Generator, design: GANDesign, shape: ImageShape) -> None:
    """Raise a ValueError unless a trained GAN has the architecture, the conditioning and the shape of another."""
    if (clusters := design.conditioning.clusters) > 1:
        raise ValueError(f"{where}: clusters are of other images there: use conditioning.clusters=1, not {clusters}")
    if trained.shape != shape:
        raise ValueError(f"{where} makes images of {trained.shape.words}, but the data are {shape.words}: use another")
    kinds: dict[str, type[Any]] = {"architecture": Architecture, "conditioning": Conditioning}
    for part, kind in kinds.items():
        make, settings = class_from(trained.about["design"][part], kind)
        there, here = (
            {part: type(one).__name__, **dict(leaves(vars(one), part))}
            for one in (make(**settings), getattr(design, part))
        )
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                raise ValueError(
                    f"{where} has {name}={there.get(name)}, but this GAN has {here.get(name)}: use the same"
                )
    scale = trained.about.get("frozen", {}).get("scale")
    if scale is not None and len(scale) != design.architecture.num_maps:
        raise ValueError(f"{where} has a scale of {len(scale)} feature maps, not of {design.architecture.num_maps}")


def _layer(weight: str) -> str:
    """Return the name of a weight's layer, also under spectral norm."""
    return weight.partition(".parametrizations.")[0].removesuffix(".weight").removesuffix(".bias")
