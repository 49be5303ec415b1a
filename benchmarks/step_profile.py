"""Where the time of one step goes, by `torch.profiler`: the operations of the mathematics, and what is around them.

    python benchmarks/step_profile.py [--data DIR]

Profiles 20 steps of the bare loop of each GAN, which does what ours does. Shown is each operation's own share of the
processor time, those of less than a hundredth taken together. It takes a minute.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from racing import keep
from torch.profiler import ProfilerActivity, profile
from trainings import DCGAN, MLP, bare_step, training_images

STEPS, LEAST = 20, 0.01
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "convolutions, forwards": ("aten::mkldnn_convolution", "aten::_convolution", "aten::convolution"),
    "convolutions, backwards": ("aten::convolution_backward",),
    "Adam": ("aten::_fused_adam_", "Optimizer.step#Adam.step", "Optimizer.zero_grad#Adam.zero_grad"),
    "averaged generator": ("aten::lerp_",),
    "batch norm": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "activations": (
        *("aten::leaky_relu", "aten::leaky_relu_backward", "aten::clamp_min", "aten::threshold_backward"),
        *("aten::tanh", "aten::tanh_backward"),
    ),
    "copies": ("aten::copy_", "aten::cat", "aten::index"),
}


def shares(step: Callable[[], None]) -> dict[str, float]:
    """Profile some steps; return what part of their time each kind of operation has."""
    for _ in range(5):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step()
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    times: Counter[str] = Counter()
    for event in found.key_averages():
        times[kind_of.get(event.key, "all else: hundreds of small operations, and Python")] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: round(time / total, 3) for kind, time in times.most_common() if time / total >= LEAST}


def main() -> None:
    """Profile, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GAN_AUGMENT_DATA", "data")))
    images = training_images(parser.parse_args().data).images
    assert isinstance(images, torch.Tensor)
    for name, kind in {"mlp": MLP, "dcgan": DCGAN}.items():
        found = shares(bare_step(kind, images, "cpu"))
        for what, share in found.items():
            print(f"{name}: {what}: {100 * share:.1f} %")
        keep(f"profile {name}", shares=found)


if __name__ == "__main__":
    main()
