"""A folder of 20,000 photographs: decoded once with all cores, then trained from the cache.

    python benchmarks/own_images.py [--images 20000] [--image-size 256] [--folder DIR]

Three runs of the real command, each in a process of its own: the first start on many images, the second one with
another seed, and the same training on 200 images. Printed are the cores that reading kept busy, the image files that
each start opened, and the largest memory of each process. The folder is made when it is not there, and kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from racing import keep

SIDE = 256  # pixels of the photographs
NUM_CLASSES = 4
FEW = 200
LIMIT = 1024  # MiB above the baseline

# Counts the files under a folder that are opened, by whatever code: Python reports every opening to audit hooks.
START = """
import sys
folder, opened = sys.argv.pop(1), 0
def count(event, arguments):
    global opened
    opened += event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(folder)
sys.addaudithook(count)
from gan_augment.app import main
try:
    main()
finally:
    print(f"opened={opened}", flush=True)
"""


def make_photographs(folder: Path, number: int) -> Path:
    """Write so many JPEG files, smooth noise in as many colours as there are classes."""

    def make(index: int) -> None:
        random = np.random.default_rng(index)
        coarse = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        coarse[..., index % 3] //= 1 + index % NUM_CLASSES
        image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image.save(folder / f"class{index % NUM_CLASSES}" / f"{index:05}.jpg")

    if not folder.exists():
        for label in range(NUM_CLASSES):
            (folder / f"class{label}").mkdir(parents=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(make, range(number)))
    return folder


def start(folder: Path, outputs: Path, image_size: int, seed: int) -> dict[str, float]:
    """Run one trial; return wall and CPU seconds, peak memory in MiB, and how many files under the folder it opened."""
    arguments = [
        *("data=image_folder", f"data.root={folder}", f"data.image_size={image_size}", "labels=all"),
        *("augmentation=classical", "classifier.num_steps=100", "classifier.batch_size=16"),
        *("classifier.network.channels=4", f"paths.output_dir={outputs}", f"seed={seed}"),
    ]
    clock = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"gan-augment failed:\n{said}")
    return {
        "wall (s)": time.perf_counter() - clock,
        "CPU (s)": used.ru_utime + used.ru_stime,
        "peak memory (MiB)": used.ru_maxrss / 1024,
        "image files opened": int(said.split("opened=")[1]),
    }


def main() -> None:
    """Make the folder, run the three starts, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gan-augment-benchmark")
    arguments = parser.parse_args()
    many = make_photographs(arguments.folder.resolve() / f"photographs{arguments.images}", arguments.images)
    few = make_photographs(arguments.folder.resolve() / f"photographs{FEW}", FEW)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as outputs:
        runs = {
            f"first start, {arguments.images} images": start(many, Path(outputs), arguments.image_size, seed=100),
            "second start, another seed": start(many, Path(outputs), arguments.image_size, seed=101),
            f"baseline, {FEW} images": start(few, Path(outputs), arguments.image_size, seed=100),
        }
    for name, found in runs.items():
        print(f"{name}: " + ", ".join(f"{what} {value:.0f}" for what, value in found.items()))
    first, second, baseline = runs.values()
    wall, cpu = (first[name] - second[name] for name in ("wall (s)", "CPU (s)"))
    above = max(one["peak memory (MiB)"] for one in (first, second)) - baseline["peak memory (MiB)"]
    summary = {"seconds to decode": wall, "cores busy": cpu / wall, "memory above the baseline (MiB)": above}
    rounded = {name: round(value, 2) for name, value in summary.items()}
    print(json.dumps(rounded))
    keep("own images", images=arguments.images, image_size=arguments.image_size, **rounded)
    if above > LIMIT or second["image files opened"]:
        raise SystemExit(f"more than {LIMIT} MiB above the baseline, or images opened again")


if __name__ == "__main__":
    main()
