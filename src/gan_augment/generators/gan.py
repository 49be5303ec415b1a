"""A GAN as a generator: its settings, and the stage that trains it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_augment.artefacts.weights import FILE, load_weights, read_about
from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.config import Config
from gan_augment.contracts import GeneratorSettings, Plan
from gan_augment.data.batches import ImageBatches, Part
from gan_augment.data.clusters import cluster_centres, divide_classes
from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.generators.base import TrainGenerator
from gan_augment.generators.design import GANDesign, GANSettings
from gan_augment.generators.gan_training import GAN
from gan_augment.generators.samples import SampleGrid
from gan_augment.generators.start import OPTION, Start
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.losses.penalties import Penalties
from gan_augment.networks.architecture import Architecture
from gan_augment.networks.conditioning import Conditioning, set_centres
from gan_augment.randomness import Stream, initialised, stream_seed
from gan_augment.settings import check_integer
from gan_augment.stages import Stage, implied, made_from, merged
from gan_augment.training.replicas import SharingError, check_shares

PARTS = ("architecture", "conditioning", "loss", "penalty", "discriminator_augmentation")  # of a GAN's design
SCALED_ON = 64  # training images that set the scale of frozen features


@dataclass(frozen=True)
class GANGenerator(GANSettings, GeneratorSettings):
    """The settings of a GAN; they plan its training stage.

    Attributes:
        start: Whose weights it starts from: the folder of a trial or gan stage, or a checkpoint; None for random ones.
        freeze: Layers of the discriminator's body, or of each of several, that keep the weights of the start.

    Raises:
        ValueError: If a value is out of range.
    """

    start: str | None = implied(default=None)  # of these two, keys have what `Start` makes of them
    freeze: int = implied(default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("generator.freeze", self.freeze, low=0)
        if self.freeze and self.start is None:
            raise ValueError(
                f"generator.freeze={self.freeze}, but generator.start=null: random weights are not worth keeping: name "
                "a start, or use generator.freeze=0"
            )

    def knows_classes(self, config: Config) -> bool:
        """Whether the generator is conditioned on classes."""
        return config.part("conditioning", Conditioning).knows_classes

    def stage(self, plan: Plan, labelled: ImageSet, pseudo_labels: Stage | None) -> "TrainGAN":
        """Plan the stage that trains the GAN."""
        config = plan.config
        design = GANDesign(
            config.part("architecture", Architecture),
            config.part("conditioning", Conditioning),
            config.part("loss", AdversarialLoss),
            config.part("penalty", Penalties),
            config.part("discriminator_augmentation", DiffAugment),
            self,
            {name: config.settings[name] for name in PARTS},
        )
        start = None
        if self.start is not None:
            start = Start.read(str(self.start), self.freeze, design, labelled, config.split.folds is not None)
        return TrainGAN(
            labelled=labelled,
            design=design,
            pool=plan.pool,
            pseudo_labels=pseudo_labels,
            start=start,
            watch=plan.watch,
            seed=config.seeds.gan,
            hardware=config.hardware,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainGAN(TrainGenerator):
    """Trains a GAN.

    Attributes:
        start: Whose weights it starts from; None for random ones.
    """

    name, version = "gan", 4
    reads = ("generator", *PARTS, "seeds.gan")

    design: GANDesign = merged()
    start: Start | None = made_from()

    @property
    def is_revised(self) -> bool:
        """Whether it takes penalties through an augmentation, or the augmentation rounds half a pixel up."""
        of_augmented = self.design.augmentation.is_on and self.design.penalties.are_on
        return of_augmented or self.design.augmentation.rounds_up(self.labelled.shape)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything the output depends on, with the watch among the settings, as in keys of stored stages."""
        found = super().identity
        settings = found["settings"] | {"gan": found["settings"]["gan"] | self.watched}
        return found | {"settings": settings}

    def check(self) -> None:
        """Check the images, the design and the watch."""
        self.design.check(self.labelled.shape, self.labelled.num_classes)
        if self.hardware.processes > 1:
            check_shares([self.design.settings.batch_size], self.hardware.processes)
            if self.design.settings.seconds is not None:
                raise SharingError("each process has a clock of its own: set generator.seconds=null")
            if self.design.conditioning.divides_batch:
                raise SharingError("a process may have no image of some class: train on one device")
        self.design.architecture.origin()
        if self.watch is not None:
            self.watch.check(self.design.conditioning.knows_classes)

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What is known of the GAN that it starts from."""
        return {} if self.start is None else {OPTION: self.start.facts}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the GAN that it starts from: what is known of it, and what cannot be checked."""
        return () if self.start is None else self.start.notes

    @property
    def origin(self) -> str | None:
        """One sentence on the source of pretrained weights that its training uses; None without any."""
        return self.design.architecture.origin()

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Train the GAN and write its weights and the last point of each curve."""
        design, seed, images = self.design, self.seed, self.seen(made)
        shape, num_classes, settings = images.shape, images.num_classes, design.settings
        clusters = design.conditioning.clusters
        seen = images if clusters == 1 else divide_classes(images, clusters, stream_seed(seed, "clusters"))
        about = {"kind": "gan", **self.about(design.identity, seen)}
        generator = initialised(lambda: design.generator(shape, num_classes), seed, "init/generator")
        discriminator = initialised(lambda: design.discriminator(shape, num_classes), seed, "init/discriminator")
        some = to_float(seen.images[torch.randperm(len(seen), generator=Stream(seed, "scale").at(0))[:SCALED_ON]])
        frozen = {"seed": seed} if self.start is None else self.start.frozen
        features = frozen_features(design, frozen, some)
        if design.architecture.num_maps:
            about["frozen"] = {"seed": frozen["seed"], "scale": features.get_buffer("scale").tolist()}
        if self.start is not None:
            self.start.give(design, generator, discriminator)
            about["start"] = self.start.facts
        system = GAN(generator, discriminator, design, seen.class_counts, seed, about, features)
        if clusters > 1:
            set_centres(system, cluster_centres(seen))
        data = ImageBatches([Part(seen, settings.batch_size, "order")], settings.num_steps, seed)
        watching = () if self.watch is None else (self.watch.callback(made, seed, folder),)
        self.hardware.fit(system, data, folder, callbacks=(SampleGrid(images, seed), *watching))
        images_seen = system.num_steps * settings.batch_size
        system.keep_last_points(folder, images_seen)
        system.save(folder / FILE, images_seen=images_seen)

    def critic(self, folder: Path) -> Callable[[Tensor, Tensor], Tensor]:
        """Read the discriminator, as (images `[B, C, H, W]` in [-1, 1], labels `[B]`) -> logits `[B]`.

        Where it judges an image several times, the logit is the mean.
        """
        path, design, device = self.checkpoint(folder), self.design, self.hardware.device
        about, images = read_about(path, "gan", ["seed"]), self.labelled
        network = initialised(lambda: design.discriminator(images.shape, images.num_classes), seed=0)
        discriminator = load_weights(path, "discriminator", network).to(device)
        frozen = {"seed": about["seed"], **about.get("frozen", {})}
        features = frozen_features(design, frozen, to_float(images.images[:1])).to(device).eval()

        @torch.no_grad()
        def logits(some: Tensor, labels: Tensor) -> Tensor:
            labels = labels.to(device)
            outputs = discriminator(features(some.to(device)), labels).float()
            return design.conditioning.split(outputs, labels)[0].reshape(len(some), -1).mean(dim=1).cpu()

        return logits


def frozen_features(design: GANDesign, frozen: Mapping[str, Any], some: Tensor) -> nn.Module:
    """Return the frozen network of a discriminator from its seed and its scale, which images set if it is not known."""
    features = initialised(lambda: design.architecture.features(some), frozen["seed"], "init/features")
    if frozen.get("scale"):
        features.get_buffer("scale").copy_(torch.tensor(frozen["scale"]))
    return features
