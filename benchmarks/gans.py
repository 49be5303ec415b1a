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
from racing import keep
from trainings import gan_stage, members

from gan_augment.data.image_set import ImageSet
from gan_augment.generators.gan import TrainGAN

ROUNDS = 3
SHORT, LONG = 320, 1280  # images seen
DEFAULT = ("dcgan", "non_saturating")


def planned(images: ImageSet, architecture: str, loss: str, images_seen: int) -> TrainGAN:
    """Plan the training of a GAN with the settings that its loss brings along."""
    return gan_stage(images, [f"architecture={architecture}", f"loss={loss}", f"generator.images_seen={images_seen}"])


def train_for(stage: TrainGAN) -> float:
    """Train a GAN; return the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        stage.run(Path(folder), {})
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1000, 1, 28, 28), generator=random, dtype=torch.uint8)
    images = ImageSet(noise, torch.arange(1000) % 10, [str(label) for label in range(10)])
    pairs = dict.fromkeys([DEFAULT, *((DEFAULT[0], loss) for loss in members("loss"))])
    pairs |= dict.fromkeys((name, DEFAULT[1]) for name in members("architecture") if name != "points")
    pairs |= {(name, "relativistic"): None for name in ("mlp", "resnet", "r3gan")}
    speeds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for number in range(ROUNDS):
        for pair in pairs:
            seconds = [train_for(planned(images, *pair, length)) for length in (SHORT, LONG)]
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
