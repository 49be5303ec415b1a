"""How a step's time and memory grow: with the batch, with the size of the images, with their number.

    python benchmarks/growth.py [--accelerator gpu] [--only batch size number]

Steps are raced as in `speed.py`, on images of noise; a million of them, 0.8 GB, lie in a file that is mapped, just
written and so in the system's memory. For their number the real command trains as well, on ten thousand and on a
million, and its largest memory is compared. Fails if a step takes a tenth longer on a million images than on ten
thousand, or the process 2 GiB more. It takes five minutes.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from racing import Contestant, Ticker, check_failures, finishers, keep, machine, race, ratio
from trainings import MLP, run_gan

from gan_augment.data.image_set import ImageSet, MappedImages, hash_images

SECONDS = 1.0  # of a turn
NUMBERS = (1_000, 10_000, 100_000, 1_000_000)
LONGER, MORE = 1.1, 2048  # times as long a step, and MiB, that a million images may take
DCGAN = (*MLP, "architecture=dcgan", "architecture.channels=16")
# Runs the command, and says how much memory it took at most.
MEMORY = """
from gan_augment.app import main
try:
    main()
finally:
    from gan_augment.memory import peak_memory
    print("peak", peak_memory()["peak_memory_mib"])
"""


def write_noise(path: Path, number: int, side: int) -> None:
    """Write images of noise, uint8 `[number, 1, side, side]`, a part at a time; and labels beside them."""
    random = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (number, 1, side, side))
    for start in range(0, number, 10_000):
        file[start : start + 10_000] = random.integers(0, 256, file[start : start + 10_000].shape, dtype=np.uint8)
    file.flush()
    np.save(path.with_suffix(".labels.npy"), np.arange(number) % 10)


def in_memory(side: int, number: int = 2_000) -> ImageSet:
    """Return images of noise, of one class."""
    noise = torch.randint(0, 256, (number, 1, side, side), dtype=torch.uint8)
    return ImageSet(noise, torch.zeros(number).long(), ["any"])


def train_on_noise(tick: Ticker, overrides: tuple[str, ...], side: int) -> None:
    """Train a GAN on images in memory."""
    run_gan(tick, overrides, Path(), in_memory(side))


def train_on_file(tick: Ticker, overrides: tuple[str, ...], path: Path, number: int) -> None:
    """Train a GAN on the first images in a file."""
    hashes = np.zeros((number, hash_images(torch.zeros(1, 1, 1, 1, dtype=torch.uint8)).shape[1]), np.uint8)
    images = MappedImages(path, np.arange(number), hashes)
    run_gan(tick, overrides, Path(), ImageSet(images, torch.zeros(number).long(), ["any"]))


def grow(name: str, accelerator: str, contestants: dict[str, Contestant], rounds: int) -> dict[str, dict[str, Any]]:
    """Race, print and keep."""
    found = race(contestants, SECONDS, rounds)
    finished = finishers(found)
    for contestant, result in finished.items():
        result["times as long"] = ratio(found, contestant, next(iter(finished)))
        print(f"{contestant}: " + ", ".join(f"{what} {value}" for what, value in result.items() if what != "laps"))
    keep(f"growth with the {name}", accelerator, contestants=found, rounds=rounds)
    check_failures(found)
    return found


def peak(path: Path, outputs: Path, trainer: str) -> int:
    """Train for 200 steps by the real command on all images of a file; return the largest memory, in MiB."""
    command = [
        *(sys.executable, "-c", MEMORY, "experiment=mlp_gan_mnist", "data=arrays", f"data.images={path}"),
        *(f"data.labels={path.with_suffix('.labels.npy')}", "generator.images_seen=12800"),
        *(f"paths.output_dir={outputs}", trainer),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"gan-augment failed:\n{done.stdout}{done.stderr}")
    return int(done.stdout.split("peak")[1])


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=6)
    everything = ("batch", "size", "number")
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    arguments = parser.parse_args()
    if arguments.accelerator == "gpu" and not torch.cuda.is_available():
        print("no GPU: its benchmarks are left out")
        return
    machine()
    accelerator, more = arguments.accelerator, f"trainer={arguments.accelerator}"
    if "batch" in arguments.only:
        for name, kind, sizes in (("MLP", MLP, (16, 64, 256, 1024)), ("DCGAN", DCGAN, (16, 64, 256))):
            batches: dict[str, Contestant] = {
                f"{size} images": partial(
                    train_on_noise, overrides=(*kind, more, f"generator.batch_size={size}"), side=28
                )
                for size in sizes
            }
            grow(f"batch, {name}", accelerator, batches, arguments.rounds)
    if "size" in arguments.only:
        sides: dict[str, Contestant] = {
            f"{side} pixels": partial(train_on_noise, overrides=(*DCGAN, more, "generator.batch_size=32"), side=side)
            for side in (16, 32, 64, 128)
        }
        grow("size of the images, DCGAN", accelerator, sides, arguments.rounds)
    if "number" in arguments.only:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "noise.npy"
            write_noise(path, NUMBERS[-1], 28)
            numbers: dict[str, Contestant] = {
                f"{number:,} images": partial(train_on_file, overrides=(*MLP, more), path=path, number=number)
                for number in NUMBERS
            }
            found = grow("number of the images, MLP", accelerator, numbers, arguments.rounds)
            longer = ratio(found, f"{NUMBERS[-1]:,} images", f"{NUMBERS[1]:,} images")
            few = Path(name) / "few.npy"
            write_noise(few, NUMBERS[1], 28)
            peaks = {
                "ten thousand": peak(few, Path(name) / "few", more),
                "a million": peak(path, Path(name) / "many", more),
            }
        above = peaks["a million"] - peaks["ten thousand"]
        print(f"a million images: a step takes {longer} times as long as on ten thousand, {above} MiB more: {peaks}")
        keep("a million images", accelerator, times_as_long=longer, peak_mib=peaks)
        if longer > LONGER or above > MORE:
            raise SystemExit("a million images take too long, or too much memory")


if __name__ == "__main__":
    main()
