"""Steps of our trainings beside tutorials, bare loops, the machine's limit, and each setting.

    python benchmarks/speed.py [--data DIR] [--accelerator gpu] [--only mlp dcgan classifier synthesis]

Contestants take turns, each in a process of its own (`racing.py`). Printed and kept in `results.json` are the median
time of a step, and ratios: the medians over the rounds. Run it on a machine that does nothing else; it takes 15
minutes.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from racing import Contestant, Ticker, keep, race, ratio
from torch.utils.flop_counter import FlopCounterMode
from trainings import (
    CLASSIFIER,
    DCGAN,
    MLP,
    bare_classifier,
    bare_classifier_step,
    bare_gan,
    bare_step,
    design_of,
    run_classifier,
    run_gan,
    training_images,
    tutorial_classifier,
    tutorial_gan,
)

from gan_augment.data.image_set import ImageShape
from gan_augment.synthesis.generator import Generator

BF16 = "trainer.precision=bf16-mixed"
# The other way round than by default.
LAYOUT = {
    "cpu": ("channels first", "trainer.channels_last=false"),
    "gpu": ("channels last", "trainer.channels_last=true"),
}
REUSE = "gan.reuse_fakes=true"
COMPILE = "trainer.compile=true"
OTHER_WORK = ("tutorial", "reused", "R1", "one thread")  # than a step of the bare loop, or on less of the machine
SIDE = 1536  # of the matrices whose product shows the machine's peak


def multiply(tick: Ticker, device: str, dtype: torch.dtype) -> None:
    """Multiply two large matrices, again and again."""
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    while True:
        left @ right
        tick()


def synthesise(tick: Ticker, overrides: tuple[str, ...], device: str, bare: bool) -> None:
    """Make blocks of 64 images: as synthesis does, each traceable; or with nothing but the network."""
    design = design_of(overrides)
    network = design.generator(ImageShape(1, 28, 28), 1).eval().requires_grad_(False).to(device)
    latent_dim, one = design.architecture.latent_dim, torch.ones(1).long()
    generator = Generator(network, latent_dim, ImageShape(1, 28, 28), torch.uint8, ["any"], False, 1, one, {}, "")
    number = 0
    while True:
        if bare:
            generator.show(torch.randn(64, latent_dim), torch.zeros(64).long())
        else:
            generator.images(0, torch.arange(number, number + 64), 0)
        number += 64
        tick()


def peaks(device: str) -> dict[str, Contestant]:
    """Return the contestants that show the machine's peak."""
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return {f"matrix product, {name}": partial(multiply, device=device, dtype=kind) for name, kind in kinds.items()}


def gans(kind: tuple[str, ...], root: Path, accelerator: str) -> dict[str, Contestant]:
    """Return the contestants of a GAN: the tutorial, ours under each setting, and bare loops."""
    device, base = ("cuda" if accelerator == "gpu" else "cpu"), (*kind, f"trainer={accelerator}")
    # A penalty and batch norm in the discriminator do not go together.
    r1 = ("penalty=r1",) if kind == MLP else ("penalty=r1", "architecture.batch_norm=false")
    layout, other = LAYOUT[accelerator]
    settings: dict[str, tuple[str, ...]] = {
        "ours": (),
        "ours, bf16": (BF16,),
        "ours, bf16, reused fakes": (BF16, REUSE),
        "ours, reused fakes": (REUSE,),
        f"ours, {layout}": (other,),
        "ours, compiled": (COMPILE,),
        "ours, one thread": ("trainer.num_threads=1",),
        "ours, R1 every step": r1,
        "ours, R1 every 16th step": (*r1, "penalty.interval=16"),
    }
    if kind == MLP:  # no convolutions
        del settings[f"ours, {layout}"]
    loop = partial(bare_gan, overrides=base, root=root, device=device)
    ours = {name: partial(run_gan, overrides=(*base, *more), root=root) for name, more in settings.items()}
    return {
        "tutorial": partial(tutorial_gan, overrides=base, root=root, device=device),
        "ours": ours.pop("ours"),
        "bare": loop,  # these three have their turns one after the other
        **ours,
        "bare, without average": partial(loop, average=False),
        "bare, Adam foreach": partial(loop, optimizer="foreach"),
        "bare, Adam for-loop": partial(loop, optimizer="for-loop"),
        **({} if kind == DCGAN else {"bare, two discriminator passes": partial(loop, concatenated=False)}),
        **peaks(device),
    }


def classifiers(root: Path, accelerator: str) -> dict[str, Contestant]:
    """Return the contestants of a classifier under classical transforms."""
    device, base = ("cuda" if accelerator == "gpu" else "cpu"), (*CLASSIFIER, f"trainer={accelerator}")
    layout, other = LAYOUT[accelerator]
    settings = {"ours": (), "ours, bf16": (BF16,), f"ours, {layout}": (other,), "ours, compiled": (COMPILE,)}
    ours = {name: partial(run_classifier, overrides=(*base, *more), root=root) for name, more in settings.items()}
    return {
        "tutorial": partial(tutorial_classifier, overrides=base, root=root, device=device),
        "ours": ours.pop("ours"),
        "bare": partial(bare_classifier, overrides=base, root=root, device=device),
        **ours,
        **peaks(device),
    }


def flops(step: Callable[[], None]) -> int:
    """Count the multiplications and additions of one step's matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def report(name: str, found: dict[str, dict[str, Any]], images: int, work: int | None, rounds: int) -> None:
    """Work out the ratios of a race, print them and keep them."""
    rivals = [rival for rival in ("tutorial", "ours", "bare") if rival in found]
    for contestant, result in found.items():
        if contestant.startswith("matrix"):
            result["gflops"] = round(2 * SIDE**3 / result["ms"] / 1e6)
            continue
        result["images_per_second"] = round(1000 * images / result["ms"])
        result["speed against"] = {rival: ratio(found, rival, contestant) for rival in rivals if rival != contestant}
        if work is not None and not any(word in contestant for word in OTHER_WORK):
            peak = found[f"matrix product, {'bfloat16' if 'bf16' in contestant else 'float32'}"]
            result["of peak"] = round(work / result["ms"] / 1e6 / (2 * SIDE**3 / peak["ms"] / 1e6), 3)
    for contestant, result in found.items():
        shown = {what: value for what, value in result.items() if what != "laps"}
        print(f"{contestant}: " + ", ".join(f"{what} {value}" for what, value in shown.items()), flush=True)
    keep(name, contestants=found, images=images, flops=work, rounds=rounds)


def main() -> None:
    """Race and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GAN_AUGMENT_DATA", "data")))
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    everything = ("mlp", "dcgan", "classifier", "synthesis")
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    arguments = parser.parse_args()
    if arguments.accelerator == "gpu" and not torch.cuda.is_available():
        print("no GPU: its benchmarks are left out")
        return
    root, accelerator, rounds = arguments.data, arguments.accelerator, arguments.rounds
    device = "cuda" if accelerator == "gpu" else "cpu"
    suffix, more = (" on a GPU", 10) if accelerator == "gpu" else ("", 1)
    images = training_images(root)  # downloaded, if need be, before anything is timed
    assert isinstance(images.images, torch.Tensor)
    kinds: Mapping[str, tuple[tuple[str, ...], int]] = {"mlp": (MLP, 20), "dcgan": (DCGAN, 2)}
    for name, (kind, block) in kinds.items():
        if name in arguments.only:
            work = flops(bare_step(kind, images.images, "cpu"))
            found = race(gans(kind, root, accelerator), block * more, rounds)
            report(f"{name}{suffix}", found, design_of(kind).settings.batch_size, work, rounds)
    if "classifier" in arguments.only:
        work = flops(bare_classifier_step(CLASSIFIER, images, "cpu"))
        found = race(classifiers(root, accelerator), 10 * more, rounds)
        report(f"classifier{suffix}", found, 64, work, rounds)
    if "synthesis" in arguments.only:
        contestants = {
            f"{name}, {how}": partial(synthesise, overrides=kind, device=device, bare=how == "network alone")
            for name, (kind, _) in kinds.items()
            for how in ("traceable images", "network alone")
        }
        report(f"synthesis{suffix}", race(contestants, 10 * more, rounds), 64, None, rounds)


if __name__ == "__main__":
    main()
