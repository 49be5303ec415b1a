"""Our trainings as contestants of a race: as users run them, and as bare loops of the same mathematics."""

import copy
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import tutorials
from hydra import compose, initialize_config_dir
from racing import Contestant, Ticker
from torch import Tensor
from torch.nn.functional import cross_entropy

import gan_augment.app  # registers what the configuration asks for
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.config import Config
from gan_augment.contracts import GeneratorSettings, NoExtra, Plan
from gan_augment.data.batches import ImageBatches, TrainingSteps
from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.data.standard_sets import mnist
from gan_augment.generators.design import GANDesign
from gan_augment.generators.gan import TrainGAN
from gan_augment.job import plain
from gan_augment.methods.semi_supervised import SemiSupervisedSettings, SemiSupervisedStage
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.settings import build
from gan_augment.stages import Stage
from gan_augment.training import checkpoints
from gan_augment.training.guard import NotFiniteGuard
from gan_augment.training.hardware import Hardware

# The networks of the tutorials, at their rates; so many steps that no race, on whatever GPU, comes to their end.
MLP = ("experiment=mlp_gan_mnist", "generator.images_seen=6000000")
DCGAN = (
    *(*MLP, "architecture=dcgan", "architecture.channels=64", "architecture.full_size=false"),
    *("architecture.batch_norm=true", "generator.batch_size=128"),
)
CLASSIFIER = ("data=mnist", "augmentation=classical", "labels=all", "classifier.num_steps=200000")
SEMI_SUPERVISED = ("data=mnist", "augmentation=semi_supervised", "semi_supervised.num_steps=200000")
NUM_LABELLED = 100  # images, in the semi-supervised training


def members(group: str) -> list[str]:
    """Name the members of a group of the configuration."""
    return sorted(path.stem for path in (gan_augment.app.CONF / group).glob("*.yaml"))


def read(overrides: Sequence[str]) -> Config:
    """Read the configuration that a command line asks for."""
    with initialize_config_dir(str(gan_augment.app.CONF)):
        config = compose("config", overrides=["study=benchmark", *overrides], return_hydra_config=True)
    return Config.read(plain(config))


def gan_stage(images: ImageSet, overrides: Sequence[str]) -> TrainGAN:
    """Plan the stage that trains the GAN that a command line asks for."""
    config = read(overrides)
    plan = cast("Plan", SimpleNamespace(config=config, pool=None, watch=None))
    stage = config.part("generator", GeneratorSettings).stage(plan, images, None)
    assert isinstance(stage, TrainGAN)
    return stage


def design_of(overrides: Sequence[str]) -> GANDesign:
    """Return the design of the GAN that a command line asks for."""
    return gan_stage(ImageSet(torch.zeros(1, 1, 28, 28).byte(), torch.zeros(1).long(), ["any"]), overrides).design


def transform_of(config: Config) -> ClassicalTransform:
    """Return the transforms of a configuration's images."""
    assert config.classical is not None
    return build(config.classical, "data.classical", ClassicalTransform)


def training_images(root: Path, num_classes: int = 10) -> ImageSet:
    """Return the 60,000 training images of MNIST; of one class for a GAN that knows none."""
    images = mnist(str(root)).images.subset(torch.arange(60_000))
    return images if num_classes == 10 else images.as_one_class()


def write_noise(root: Path) -> None:
    """Write MNIST's files with noise in place of digits: a step takes as long, and nothing is downloaded."""
    raw, random = root / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, number in (("train", 60_000), ("t10k", 10_000)):
        images, labels = random.integers(0, 256, (number, 28, 28), np.uint8), (np.arange(number) % 10).astype(np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, number) + labels.tobytes())


@dataclass(frozen=True)
class RacingHardware(Hardware):
    """Hardware whose trainings take turns with others."""

    tick: Ticker | None = None

    def fit(self, *arguments: Any, **settings: Any) -> None:
        """Train, turn by turn."""
        assert self.tick is not None
        tick, watch = self.tick, NotFiniteGuard.on_train_batch_end

        def watch_and_tick(*arguments: Any) -> None:
            watch(*arguments)
            tick()

        NotFiniteGuard.on_train_batch_end = watch_and_tick  # one more callback would cost
        try:
            super().fit(*arguments, **settings)
        finally:
            NotFiniteGuard.on_train_batch_end = watch


def racing(hardware: Hardware, tick: Ticker) -> Hardware:
    """Return hardware whose trainings take turns."""
    return RacingHardware(**vars(hardware), tick=tick)


def run_gan(tick: Ticker, overrides: Sequence[str], root: Path, images: ImageSet | None = None) -> None:
    """Train a GAN by the code that users run: bar, curves, guard, averaged generator.

    Its sample grids, 12 in a training, and its checkpoints, every 30 seconds, seldom fall into a race's short turns.
    """
    stage = gan_stage(images or training_images(root, num_classes=1), overrides)
    _train(replace(stage, seed=100), tick)


def run_classifier(tick: Ticker, overrides: Sequence[str], root: Path) -> None:
    """Train a classifier as users do."""
    config, images = read(overrides), training_images(root)
    stage = Supervised(
        labelled=images,
        validation=images.subset(torch.arange(200)),
        classical=config.classical,
        arm=config.arm,
        extra=NoExtra(),
        classifier=config.part("classifier", ClassifierSettings),
        seed=100,
        hardware=config.hardware,
    )
    _train(stage, tick)


def run_semi_supervised(tick: Ticker, overrides: Sequence[str], root: Path) -> None:
    """Train a semi-supervised GAN as users do."""
    config, images = read(overrides), training_images(root)
    stage = SemiSupervisedStage(
        labelled=images.subset(torch.arange(NUM_LABELLED)),
        pool=images.subset(torch.arange(NUM_LABELLED, len(images))).without_labels(),
        validation=images.subset(torch.arange(0)),
        classical=config.classical,
        semi_supervised=config.part("semi_supervised", SemiSupervisedSettings),
        seed=100,
        hardware=config.hardware,
    )
    _train(stage, tick)


def _train(stage: Stage, tick: Ticker) -> None:
    """Train in turns with others."""
    stage = replace(stage, hardware=racing(stage.hardware, tick))
    _prepare(tick)
    with tempfile.TemporaryDirectory() as folder:
        stage.run(Path(folder), {})


def _prepare(tick: Ticker) -> None:
    """Time checkpoints by the contestant's own clock, and count the seconds that go into batches.

    These are: the order of the images, their selection, their way onto the device.
    """

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            start = time.perf_counter()
            found = function(*arguments)
            tick.data += time.perf_counter() - start
            return found

        return measured

    checkpoints.monotonic = tick.clock
    TrainingSteps.__getitem__ = timed(TrainingSteps.__getitem__)
    ImageBatches.transfer_batch_to_device = timed(ImageBatches.transfer_batch_to_device)


def in_tf32(tick: Ticker, contestant: Contestant, allowed: bool) -> None:
    """Run a contestant with or without TF32, in which a GPU rounds float32 factors to 10 bits.

    PyTorch itself allows it in convolutions and not in matrix products.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    contestant(tick)


def tutorial_gan(tick: Ticker, overrides: Sequence[str], root: Path, device: str) -> None:
    """Train the same networks as tutorials do."""
    design = design_of(overrides)
    shape = training_images(root).shape
    networks = design.generator(shape, 1), design.discriminator(shape, 1)
    tutorials.train_gan(tick, *networks, root, design.settings.batch_size, design.architecture.latent_dim, device)


def tutorial_classifier(tick: Ticker, overrides: Sequence[str], root: Path, device: str) -> None:
    """Train the same classifier as tutorials do."""
    settings = read(overrides).part("classifier", ClassifierSettings)
    network = settings.build(training_images(root).shape, 10)
    tutorials.train_classifier(tick, network, root, settings.batch_size, device)


def bare_gan(
    tick: Ticker,
    overrides: Sequence[str],
    root: Path,
    device: str,
    optimizer: str = "fused",
    concatenated: bool = True,
    average: bool = True,
) -> None:
    """Train with the mathematics of ours and nothing around it: no Lightning, curves, bar, guard, checkpoints, streams.

    Args:
        tick: Called after each step.
        overrides: What is trained.
        root: Folder that holds `MNIST/`.
        device: Where.
        optimizer: How Adam is computed: `fused`, `foreach` or `for-loop`.
        concatenated: Whether real and generated images go through the discriminator together, where that is exact.
        average: Whether the generator's running average is kept.
    """
    step = bare_step(overrides, training_images(root).images, device, optimizer, concatenated, average)
    while True:
        step()
        tick()


def bare_step(
    overrides: Sequence[str],
    images: Tensor,
    device: str,
    optimizer: str = "fused",
    concatenated: bool = True,
    average: bool = True,
) -> Callable[[], None]:
    """Return a function that takes one step of `bare_gan`."""
    design = design_of(overrides)
    shape, settings, loss = ImageSet(images[:1], torch.zeros(1).long(), ["any"]).shape, design.settings, design.loss
    size, images = settings.batch_size, images.to(device)
    generator, discriminator = design.generator(shape, 1).to(device), design.discriminator(shape, 1).to(device)
    if read(overrides).hardware.channels_last:
        generator.to(memory_format=torch.channels_last)
        discriminator.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(generator).requires_grad_(False)
    how: dict[str, Any] = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
    d_optimizer, g_optimizer = (
        torch.optim.Adam(network.parameters(), lr=0.0002, betas=(0.5, 0.999), **how[optimizer])
        for network in (discriminator, generator)
    )
    together = concatenated and not design.architecture.couples_images
    seen = 0

    def noise() -> Tensor:
        return torch.randn(size, design.architecture.latent_dim, device=device)

    def step() -> None:
        nonlocal seen
        labels = None
        reals = to_float(images[torch.randint(len(images), (size,)).to(device)])
        with torch.no_grad():
            fakes = generator(noise(), labels)
        if together:
            on_real, on_fake = discriminator(torch.cat([reals, fakes]), labels).split(size)
        else:
            on_real, on_fake = discriminator(reals, labels), discriminator(fakes, labels)
        d_optimizer.zero_grad()
        loss.discriminator(on_real, on_fake).backward()
        d_optimizer.step()
        discriminator.requires_grad_(False)
        g_optimizer.zero_grad()
        loss.generator(discriminator(generator(noise(), labels), labels), on_real).backward()
        g_optimizer.step()
        discriminator.requires_grad_(True)
        seen += size
        if average:
            kept = 0.5 ** (size / min(settings.ema_half_life, settings.ema_ramp_up * seen))
            with torch.no_grad():
                torch._foreach_lerp_(list(ema.parameters()), list(generator.parameters()), 1 - kept)
                for mean, value in zip(ema.buffers(), generator.buffers(), strict=True):
                    mean.copy_(value)

    return step


def bare_classifier(tick: Ticker, overrides: Sequence[str], root: Path, device: str) -> None:
    """Train a classifier with the mathematics of ours and nothing around it.

    Args:
        tick: Called after each step.
        overrides: What is trained.
        root: Folder that holds `MNIST/`.
        device: Where.
    """
    step = bare_classifier_step(overrides, training_images(root), device)
    while True:
        step()
        tick()


def bare_classifier_step(overrides: Sequence[str], images: ImageSet, device: str) -> Callable[[], None]:
    """Return a function that takes one step of `bare_classifier`."""
    config = read(overrides)
    settings, transform = config.part("classifier", ClassifierSettings), transform_of(config)
    pixels, labels = images.images.to(device), images.labels.to(device)
    network, random = settings.build(images.shape, images.num_classes).to(device), torch.Generator(device)
    if config.hardware.channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )

    def step() -> None:
        indices = torch.randint(len(labels), (settings.batch_size,)).to(device)
        logits = network(transform(to_float(pixels[indices]), random))
        optimizer.zero_grad()
        cross_entropy(logits, labels[indices]).backward()
        optimizer.step()

    return step
