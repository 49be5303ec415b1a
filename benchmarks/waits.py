"""Does a training step wait for the GPU? 50 steps of every method under `torch.cuda.set_sync_debug_mode("error")`.

    python benchmarks/waits.py [--accelerator cpu] [--steps 50]

Methods are the members of the groups of `conf/` that decide what a step does, each trained as in a trial on the
embedded digits. Watched is all between the choice of a batch and the end of its step, except in the first step, which
creates what all others use, and in every 50th, which draws curves. A training that waits, or fails otherwise, is named
with the line of our code, and trained once more with warnings in place of errors, which name all lines that wait. Fails
if there is one. On a CPU nothing waits: trainings just run. It takes two minutes.
"""

import argparse
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from racing import keep, machine
from trainings import members

import gan_augment.app
from gan_augment.app import CONF
from gan_augment.data.batches import TrainingSteps
from gan_augment.generators.gan import PARTS
from gan_augment.job import plain
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.training.guard import NotFiniteGuard
from gan_augment.training.progress import titled

CURVES_EVERY = 50  # steps
PACKAGE = str(Path(gan_augment.app.__file__).parent)
ALONE = ("augmentation=gan", "classifier=none", "measures=[]")  # a GAN and images by it, nothing else
WITH = {  # what a member needs
    "architecture=points": ("data=ring",),
    "augmentation=oversampling": ("imbalance.classes=['3']", "imbalance.share=0.5"),
}
SAME = ("classifier=none", "augmentation=row")  # nothing; the arm none
MORE = {  # settings that change what a step does
    "generator.reuse_fakes=true": ALONE,
    "conditioning.clusters=2": ALONE,
    "architecture.batch_std=true": ALONE,
    "penalty.interval=4": (*ALONE, "penalty=r1"),
    "semi_supervised.pull_away=1": ("augmentation=semi_supervised",),
    "trainer.precision=bf16-mixed": ("augmentation=gan_pool_classical",),
    "trainer.channels_last=true": ("augmentation=gan_pool_classical",),
}


def methods() -> dict[str, tuple[str, ...]]:
    """Return the overrides of a trial for every method, by its name."""
    found = {f"{group}={member}": ALONE for group in PARTS for member in members(group)}
    found |= {f"augmentation={member}": () for member in members("augmentation")}
    found |= {f"classifier={member}": ("augmentation=none",) for member in members("classifier")}
    found |= {f"semi_supervised={member}": ("augmentation=semi_supervised",) for member in members("semi_supervised")}
    return {name: (*more, *WITH.get(name, ()), name) for name, more in (found | MORE).items() if name not in SAME}


class Watch:
    """Sets the sync debug mode around training steps.

    Args:
        num_steps: Steps of a training.

    Attributes:
        mode: `error` or `warn`.
        steps: How many steps were watched.
        lines: The lines of our code that waited.
    """

    def __init__(self, num_steps: int) -> None:
        self.mode, self.steps, self.lines = "error", 0, dict[str, None]()
        self._curves_every = min(CURVES_EVERY, num_steps)

    def set_mode(self, mode: str) -> None:
        """Choose what happens when the host waits for the GPU."""
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode(mode)

    def note(self, message: Warning | str, *where: Any) -> None:
        """Note where a warning comes from, if it is about waiting."""
        if "synchronizing" in str(message):
            self.lines[our_line(traceback.extract_stack())] = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch all trainings."""
        choose, guard = TrainingSteps.__getitem__, NotFiniteGuard.on_train_batch_end

        def choose_and_watch(steps: TrainingSteps, step: int) -> Any:
            chosen = choose(steps, step)
            if step and (step + 1) % self._curves_every:
                self.steps += 1
                self.set_mode(self.mode)
            return chosen

        def guard_unwatched(*arguments: Any) -> None:
            self.set_mode("default")
            guard(*arguments)

        TrainingSteps.__getitem__, NotFiniteGuard.on_train_batch_end = choose_and_watch, guard_unwatched
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("always", message=".*synchronizing")
                warnings.showwarning = self.note
                yield
        finally:
            self.set_mode("default")
            TrainingSteps.__getitem__, NotFiniteGuard.on_train_batch_end = choose, guard


def our_line(frames: traceback.StackSummary) -> str:
    """Return the innermost line of the package in a stack, with the file and its number."""
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"


def train(store: StageStore, overrides: tuple[str, ...], watch: Watch) -> list[str]:
    """Run the stages of a trial; return what went wrong, a line each."""
    try:
        with initialize_config_dir(str(CONF)):
            config = compose("config", overrides=["study=waits", *overrides], return_hydra_config=True)
        trial = plan_trial(plain(config))
    except Exception as error:
        return [f"refused: {error!r}"]
    wrong = []
    for name, stage in trial.stages.items():
        try:
            watch.mode = "error"
            store.fetch(stage)
        except Exception as error:
            watch.set_mode("default")  # the step did not come to its end
            wrong.append(f"{name}: {our_line(traceback.extract_tb(error.__traceback__))}: {error!r}")
            try:
                watch.mode = "warn"  # for the stages that need this one, and to name all lines that wait
                store.fetch(stage)
            except Exception as again:
                return [*wrong, f"{name}, again: {again!r}"]
    return wrong


def main() -> None:
    """Train, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--steps", type=int, default=50, help="steps of each training that are watched")
    parser.add_argument("--results", type=Path, help="where to keep results; default: in the repository")
    arguments = parser.parse_args()
    machine()
    num_steps = arguments.steps + 2  # the first, and one that draws curves
    few = (
        *(f"generator.images_seen={64 * num_steps}", "synthesis.per_class=8", "pseudo_labels.threshold=0"),
        *(f"{name}.num_steps={num_steps}" for name in ("classifier", "measures.judge", "semi_supervised")),
        f"trainer={arguments.accelerator}",
    )
    found: dict[str, Any] = {}
    watch = Watch(num_steps)
    with tempfile.TemporaryDirectory() as folder, titled(None), watch.watching():
        for name, overrides in methods().items():
            watch.steps, watch.lines = 0, {}
            absent = [one.split("=")[0] for one in overrides if one.endswith(("=none", "=[]"))]
            short = [one for one in few if one.split(".")[0] not in absent]
            wrong = train(StageStore(Path(folder)), (*overrides, *short), watch)
            found[name] = {"steps": watch.steps, "wrong": wrong, "waits": [*watch.lines]}
            done = f"{watch.steps} steps" if watch.steps else "trained above"
            print(f"{name}: {done}", *wrong, *(f"waits at {line}" for line in watch.lines), sep="\n  ", flush=True)
            keep("waits", arguments.accelerator, arguments.results, methods=found)
    if failed := [name for name, one in found.items() if one["wrong"]]:
        raise SystemExit(f"{len(failed)} of {len(found)} methods wait or fail: {', '.join(failed)}")
    print(f"none of {len(found)} methods waits or fails")


if __name__ == "__main__":
    main()
