"""Images a second of every loss and every architecture, side by side.

Trains each for 5 and for 20 steps of 64 on noise of 28x28 pixels in ten classes, in turns, three times over: the
difference is what 15 steps take, without the start. Prints the median of the three, and its ratio to the default. Run
it on a machine that does nothing else:

    python benchmarks/gans.py
"""

import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from racing import keep
from trainings import members

from gan_augment.app import CONF
from gan_augment.data.image_set import ImageSet
from gan_augment.generators.design import DESIGN, GANDesign
from gan_augment.generators.gan import train_gan
from gan_augment.training.hardware import Hardware

ROUNDS = 3
SHORT, LONG = 320, 1280  # images seen
DEFAULT = ("dcgan", "non_saturating")


def design(architecture: str, loss: str, images_seen: int) -> GANDesign:
    """Compose the design of a GAN with the settings that its loss brings along."""
    overrides = [f"architecture={architecture}", f"loss={loss}", f"generator.images_seen={images_seen}"]
    with initialize_config_dir(str(CONF)):
        config = compose("config", overrides=overrides)
    return GANDesign.read({name: OmegaConf.to_container(config[name], resolve=True) for name in DESIGN})


def train_for(images: ImageSet, design: GANDesign, hardware: Hardware) -> float:
    """Train a GAN; return the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train_gan(images, design, 0, hardware, Path(folder))
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1000, 1, 28, 28), generator=random, dtype=torch.uint8)
    images = ImageSet(noise, torch.arange(1000) % 10, [str(label) for label in range(10)])
    hardware = Hardware(accelerator="cpu", precision="32-true", num_threads=None)
    pairs = dict.fromkeys([DEFAULT, *((DEFAULT[0], loss) for loss in members("loss"))])
    pairs |= dict.fromkeys((name, DEFAULT[1]) for name in members("architecture") if name != "points")
    pairs |= {(name, "relativistic"): None for name in ("mlp", "resnet", "r3gan")}
    speeds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for number in range(ROUNDS):
        for pair in pairs:
            seconds = [train_for(images, design(*pair, length), hardware) for length in (SHORT, LONG)]
            speeds[pair].append((LONG - SHORT) / (seconds[1] - seconds[0]))
            print(f"round {number + 1}: {pair[0]}, {pair[1]}: {speeds[pair][-1]:.0f} images/s", flush=True)
    medians = {pair: statistics.median(found) for pair, found in speeds.items()}
    print(f"\n{torch.get_num_threads()} threads; images/s, median of {ROUNDS}, and ratio to the default")
    for (architecture, loss), speed in medians.items():
        print(f"{architecture:<8} {loss:<16} {speed:6.0f} {speed / medians[DEFAULT]:6.2f}")
    ratios = {f"{pair[0]}, {pair[1]}": round(speed / medians[DEFAULT], 2) for pair, speed in medians.items()}
    keep("architectures and losses", rounds=ROUNDS, speed_against_default=ratios)


if __name__ == "__main__":
    main()
