"""Steps of our trainings beside tutorials, bare loops, the machine's limit, and each setting.

    python benchmarks/speed.py [--data DIR] [--noise] [--accelerator gpu] [--only mlp dcgan classifier synthesis]
    python benchmarks/speed.py --quick

Contestants take turns, each in a process of its own (`racing.py`). Medians are printed after each round. The median
time of a step, and ratios, medians over the rounds, are kept with the processor's name in `results.json`, or in
`results-gpu.json`. Run it on a machine that does nothing else: it takes 20 minutes. With `--quick` only the tutorial,
ours and the bare loop race, for at most three minutes.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from racing import Contestant, Ticker, check_failures, finishers, keep, machine, race, ratio
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
    in_tf32,
    run_classifier,
    run_gan,
    training_images,
    tutorial_classifier,
    tutorial_gan,
    write_noise,
)

from gan_augment.artefacts.generator import Generator
from gan_augment.data.image_set import ImageShape

BF16 = "trainer.precision=bf16-mixed"
# The other way round than by default.
LAYOUT = {
    "cpu": ("channels first", "trainer.channels_last=false"),
    "gpu": ("channels last", "trainer.channels_last=true"),
}
REUSE = "generator.reuse_fakes=true"
COMPILE = "trainer.compile=true"
# Not the work of a step of the bare loop, or not on the machine whose peak is measured.
OTHER_WORK = ("tutorial", "reused", "R1", "one thread", "TF32")
SIDE = 1536  # of the matrices whose product shows the machine's peak
GANS = {"mlp": MLP, "dcgan": DCGAN}
LOOPS = ("tutorial", "ours", "bare")
RIVALS = (*LOOPS, "tutorial, TF32")  # all are compared with them
QUICK_ROUNDS, QUICK_SECONDS = 10, 50.0  # at most, in each of three races


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


def entrants(contestants: dict[str, Contestant], quick: bool, precisions: bool) -> dict[str, Contestant]:
    """Choose who takes part in a race.

    Args:
        contestants: All of them, by name.
        quick: Whether only the three loops do.
        precisions: Whether these run in float32 and in TF32, and ours in bfloat16; else in PyTorch's default, which on
            a GPU is TF32 for convolutions alone.
    """
    wanted = (*LOOPS, "ours, bf16") if precisions else LOOPS
    chosen = {name: one for name, one in contestants.items() if name in wanted or not quick}
    if not precisions:
        return chosen
    exact = {name: partial(in_tf32, contestant=one, allowed=False) for name, one in chosen.items()}
    return {**exact, **{f"{name}, TF32": partial(in_tf32, contestant=chosen[name], allowed=True) for name in LOOPS}}


def flops(step: Callable[[], None]) -> int:
    """Count the multiplications and additions of one step's matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def report(name: str, found: dict[str, dict[str, Any]], images: int, work: int | None) -> None:
    """Work out the ratios of a race and print them."""
    finished = finishers(found)
    rivals = [rival for rival in RIVALS if rival in finished]
    for contestant, result in finished.items():
        if contestant.startswith("matrix"):
            result["gflops"] = round(2 * SIDE**3 / result["ms"] / 1e6)
            continue
        result["images_per_second"] = round(1000 * images / result["ms"])
        result["speed against"] = {rival: ratio(found, rival, contestant) for rival in rivals if rival != contestant}
        peak = finished.get(f"matrix product, {'bfloat16' if 'bf16' in contestant else 'float32'}")
        if work is not None and peak is not None and not any(word in contestant for word in OTHER_WORK):
            result["of peak"] = round(work / result["ms"] / 1e6 / (2 * SIDE**3 / peak["ms"] / 1e6), 3)
    for contestant, result in finished.items():
        shown = {what: value for what, value in result.items() if what != "laps"}
        print(f"{name}, {contestant}: " + ", ".join(f"{what} {value}" for what, value in shown.items()), flush=True)


def main() -> None:
    """Race and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GAN_AUGMENT_DATA", "data")))
    parser.add_argument("--noise", action="store_true", help="train on noise of MNIST's size, without any files")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precisions", action="store_true", help="race in float32, TF32 and bfloat16")
    parser.add_argument("--quick", action="store_true", help="tutorial, ours and bare loop alone, three minutes")
    parser.add_argument("--rounds", type=int, help="turns of each contestant; default: 20, or at most 10 if quick")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    everything = ("mlp", "dcgan", "classifier", "synthesis")
    parser.add_argument("--only", nargs="+", choices=everything)
    parser.add_argument("--results", type=Path, help="where to keep results; default: in the repository")
    arguments = parser.parse_args()
    if arguments.accelerator == "gpu" and not torch.cuda.is_available():
        print("no GPU: its benchmarks are left out")
        return
    machine()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.noise:
            arguments.data = Path(folder)
            write_noise(arguments.data)
        for found in [*races(arguments, arguments.only or everything[: 3 if arguments.quick else 4])]:
            check_failures(found)


def races(arguments: argparse.Namespace, names: Sequence[str]) -> Iterator[dict[str, dict[str, Any]]]:
    """Hold the races one by one, report and keep them."""
    root, accelerator, quick = arguments.data, arguments.accelerator, arguments.quick
    device = "cuda" if accelerator == "gpu" else "cpu"
    rounds = arguments.rounds or (QUICK_ROUNDS if quick else 20)
    images = training_images(root)  # downloaded, if need be, before anything is timed
    assert isinstance(images.images, torch.Tensor)
    for name in names:
        size, work = 64, None
        if name in GANS:
            contestants, size = gans(GANS[name], root, accelerator), design_of(GANS[name]).settings.batch_size
            work = None if quick else flops(bare_step(GANS[name], images.images, "cpu"))
        elif name == "classifier":
            contestants = classifiers(root, accelerator)
            work = None if quick else flops(bare_classifier_step(CLASSIFIER, images, "cpu"))
        else:
            contestants = {
                f"{kind}, {how}": partial(synthesise, overrides=GANS[kind], device=device, bare=how == "network alone")
                for kind in GANS
                for how in ("traceable images", "network alone")
            }
        if name != "synthesis":
            contestants = entrants(contestants, quick, arguments.precisions)
        found = race(contestants, arguments.seconds, rounds, QUICK_SECONDS if quick else None)
        report(name, found, size, work)
        keep(
            f"quick {name}" if quick else name,
            accelerator,
            arguments.results,
            contestants=found,
            images=size,
            flops=work,
            rounds=rounds,
            noise=arguments.noise,
        )
        yield found


if __name__ == "__main__":
    main()
