import json
import multiprocessing
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from gan_augment import energy, stages
from gan_augment.data.image_set import ImageSet
from gan_augment.parts import parts
from gan_augment.stages import (
    Bundle,
    DivergedError,
    Stage,
    StageStore,
    digest,
    implied,
    in_order,
    made_from,
    share,
)


class Count:
    """A stage's computation that counts how often it runs and writes what it was given."""

    def __init__(self, diverges=None, fails=None):
        self.calls = 0
        self.diverges = diverges
        self.fails = fails

    def __call__(self, folder, **inputs):
        self.calls += 1
        (folder / "result").write_text(
            " ".join([str(self.calls), *((p / "result").read_text() for p in inputs.values())])
        )
        if self.diverges:
            raise DivergedError(self.diverges)
        if self.fails:
            raise RuntimeError(self.fails)


@dataclass(frozen=True)
class Machine:
    """Settings of which the output depends on some only."""

    precision: str = "32-true"
    threads: int = 1

    @property
    def identity(self):
        return {"precision": self.precision}


@dataclass(frozen=True)
class Rate:
    """Settings of which the output depends on all."""

    start: float = 0.1
    end: float = 0.0


@dataclass(frozen=True, eq=False)
class Watch(Bundle):
    """Fields that come and go together."""

    reads = ("watch",)

    judge: Stage
    every: int
    label: str = implied()


@dataclass(frozen=True, eq=False, kw_only=True)
class Made(Stage):
    """A stage with a field of every kind."""

    name, version, reads = "gan", 1, ("gan", "seeds.gan")

    width: int
    loss: Mapping[str, Any]
    rate: Rate
    images: ImageSet
    pool: ImageSet | None = made_from()
    gan: Stage | None = made_from()
    watch: Watch | None = made_from()
    compute: Callable[..., None] = implied()

    def run(self, folder, made):
        self.compute(folder, **made)

    def load(self, folder):
        return (folder / "result").read_text()


class NewVersion(Made):
    version = 2


class Revised(Made):
    is_revised = True


class Judge(Made):
    name = "judge"


class Synthesis(Made):
    name = "synthesis"


class Classifier(Made):
    name = "classifier"


def images(first=0):
    """Return an image set of three."""
    pixels = torch.arange(first, first + 12, dtype=torch.uint8).reshape(3, 1, 2, 2)
    return ImageSet(pixels, torch.tensor([0, 1, 1]), ["a", "b"])


def stage(compute=None, kind=Made, **changes):
    fields = {"width": 8, "loss": {"a": 1, "b": 2}, "rate": Rate(), "images": images(), "seed": 0}
    return kind(**{"hardware": Machine(), **fields, **changes}, compute=compute or Count())


@pytest.fixture
def store(tmp_path):
    return StageStore(tmp_path / "store")


CHANGES = {
    "name": {"kind": Judge},
    "version": {"kind": NewVersion},
    "a revision": {"kind": Revised},
    "a setting": {"width": 9},
    "a setting within": {"loss": {"a": 2, "b": 2}},
    "a field of settings": {"rate": Rate(end=0.1)},
    "images": {"images": images(1)},
    "an input by another name": {"pool": images()},
    "an earlier stage": {"gan": stage()},
    "a bundle": {"watch": Watch(stage(), 10, "")},
    "the precision": {"hardware": Machine(precision="bf16-mixed")},
    "the seed": {"seed": 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_everything_that_goes_in_changes_the_key(change):
    assert stage(**change).key != stage().key


def test_each_change_of_a_field_gives_a_key_of_its_own():
    assert len({stage(**change).key for change in CHANGES.values()}) == len(CHANGES)


def test_the_key_depends_on_neither_the_order_of_names_nor_the_code():
    assert stage(loss={"b": 2, "a": 1}, compute=print).key == stage().key


def test_the_key_follows_the_inputs_of_the_inputs():
    one, other = (stage(kind=Classifier, gan=stage(seed=seed)) for seed in (0, 1))
    assert one.key != other.key


def test_what_a_field_declares_decides_where_it_stands_in_the_key():
    judge = stage(kind=Judge)
    made = stage(gan=stage(), watch=Watch(judge, 10, "looks"))
    assert made.identity == {
        "stage": "gan",
        "version": 1,
        # Hardware without a name of its own, and without what changes no output; a bundle's fields as its own.
        "settings": {
            "precision": "32-true",
            **{"width": 8, "loss": {"a": 1, "b": 2}, "rate": {"start": 0.1, "end": 0.0}, "every": 10},
        },
        "inputs": {"images": images().fingerprint, "gan": stage().key, "judge": judge.key},
        "seed": 0,
    }
    assert made.inputs == {"gan": made.gan, "judge": judge}
    assert made.image_sets == {"images": made.images}
    assert made.all_reads == ("gan", "seeds.gan", "watch")


def test_implied_fields_and_threads_are_no_part_of_the_key():
    made = stage(watch=Watch(stage(), 10, "looks"))
    assert stage(watch=Watch(stage(), 10, "stares")).key == made.key
    assert replace(made, hardware=Machine(threads=8)).key == made.key


def test_an_input_that_is_absent_leaves_the_key_as_it_is_without_its_field():
    @dataclass(frozen=True, eq=False, kw_only=True)
    class Extended(Made):
        further: ImageSet | None = made_from()

    assert stage(kind=Extended).key == stage().key
    assert stage(kind=Extended, further=images()).key != stage().key


def test_stages_are_put_in_an_order_in_which_they_can_be_made():
    judge = stage(kind=Judge)
    gan = stage(watch=Watch(judge, 10, ""))
    classifier = stage(kind=Classifier, gan=gan)
    assert [*in_order(classifier=classifier).items()] == [("judge", judge), ("gan", gan), ("classifier", classifier)]
    assert [*in_order(classifier=classifier, judge=judge)] == ["judge", "gan", "classifier"]
    further = stage(kind=Judge, seed=1)
    assert [*in_order(gan=stage(), teacher=further)] == ["gan", "teacher"]


def test_a_trial_has_one_stage_of_a_role():
    with pytest.raises(AssertionError, match="a trial has one gan"):
        in_order(classifier=stage(kind=Classifier, gan=stage()), gan=stage(seed=1))
    equal = stage()  # another object of the same key
    assert [*in_order(classifier=stage(kind=Classifier, gan=stage()), gan=equal)] == ["gan", "classifier"]


def test_a_setting_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="float"):
        digest({"rate": float("nan")})


def test_an_output_is_made_once(store):
    compute = Count()
    first, second = store.fetch(stage(compute)), store.fetch(stage(compute))
    assert compute.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.folder == second.folder == store.root / "gan" / stage().key
    assert first.seconds == second.seconds > 0
    assert (second.folder / "result").read_text() == "1"


def test_an_output_says_what_it_was_made_from(store):
    made = json.loads((store.fetch(stage()).folder / "stage.json").read_text())
    expected = stage().identity
    assert expected["inputs"] == {"images": images().fingerprint}
    assert {name: made[name] for name in expected} == expected


def test_a_stage_is_given_the_folders_of_its_inputs(store):
    compute = Count()
    gan = stage(compute)
    output = store.fetch(stage(kind=Classifier, gan=gan))
    assert (output.folder / "result").read_text() == "1 1"
    assert compute.calls == 1


def test_leftovers_of_a_killed_process_are_cleared(store):
    folder = store.folder(stage())
    partial = folder.with_name(f"{folder.name}.{socket.gethostname()}-1.partial")
    partial.mkdir(parents=True)
    (partial / "leftover").touch()
    folder = store.fetch(stage()).folder
    assert not partial.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "result", "stage.json", "tensorboard"]


def test_a_fault_leaves_no_finished_folder_and_is_tried_again(store):
    faulty = Count(fails="out of memory")
    for attempt in (1, 2):
        with pytest.raises(RuntimeError, match="out of memory"):
            store.fetch(stage(faulty))
        assert faulty.calls == attempt
        assert not store.folder(stage()).exists()
    assert store.fetch(stage()).reused is False


def test_a_divergence_is_an_outcome_and_is_not_tried_again(store):
    compute = Count(diverges="a loss was not finite")
    outputs = [store.fetch(stage(compute)) for _ in range(2)]
    assert compute.calls == 1
    assert [output.diverged for output in outputs] == ["a loss was not finite"] * 2


def test_a_stage_whose_input_diverged_is_not_computed(store):
    compute = Count()
    later = stage(compute, kind=Synthesis, gan=stage(Count(diverges="nan")))
    with pytest.raises(DivergedError, match="nan"):
        store.fetch(later)
    assert compute.calls == 0
    assert not store.folder(later).exists()


def test_events_are_shown_while_they_are_written_and_then_belong_to_the_trial(store, tmp_path):
    events = tmp_path / "studies" / "trial" / "tensorboard" / "gan"
    seen = []

    def compute(folder):
        (folder / "tensorboard" / "events").write_text("points")
        seen.append((events / "events").read_text())

    store.fetch(stage(compute), events=events)
    assert seen == ["points"]
    assert (events / "events").samefile(store.folder(stage()) / "tensorboard" / "events")
    assert not events.is_symlink()


@pytest.mark.parametrize("links", ["allowed", "refused"])
def test_a_trial_s_folder_is_whole_without_the_store(store, tmp_path, monkeypatch, links):
    if links == "refused":  # as on some file systems, and on Windows without the right to make them

        def refuse(*arguments, **settings):
            raise OSError("no links here")

        monkeypatch.setattr("os.link", refuse)
        monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    trial = tmp_path / "trial"
    store.fetch(stage(lambda folder: (folder / "tensorboard" / "events").write_text("points")))
    for _ in range(2):  # what is there already is replaced
        store.fetch(stage(), events=trial / "tensorboard" / "gan")
        share(store.folder(stage()) / "stage.json", trial / "gan.pt")
    assert sorted(path.relative_to(trial).as_posix() for path in trial.rglob("*")) == [
        *("gan.pt", "tensorboard", "tensorboard/gan", "tensorboard/gan/events")
    ]
    shutil.rmtree(store.root)
    assert (trial / "tensorboard" / "gan" / "events").read_text() == "points"
    assert json.loads((trial / "gan.pt").read_text())["stage"] == "gan"


def test_whoever_comes_second_waits_and_reuses(store):
    calls, started, go_on = [], threading.Event(), threading.Event()

    def compute(folder):
        calls.append(folder)
        started.set()
        assert go_on.wait(30)

    outputs = []
    threads = [threading.Thread(target=lambda: outputs.append(store.fetch(stage(compute)))) for _ in range(2)]
    threads[0].start()
    assert started.wait(30)
    threads[1].start()
    time.sleep(0.3)  # long enough to go wrong, if the lock did not hold
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1
    assert sorted(output.reused for output in outputs) == [False, True]


def sampled(folder, **inputs):
    """Compute something that takes a while: the two processes of a test reach it in any order."""
    numbers = torch.rand(3, generator=torch.Generator().manual_seed(len(inputs)))
    time.sleep(random.uniform(0, 0.01))
    (folder / "result").write_text(" ".join(map(str, numbers.tolist())))
    (folder / "tensorboard" / "events").write_text("points")


def chains():
    """Return stages that are each made from an earlier one."""
    return [stage(sampled, kind=Classifier, gan=stage(sampled, seed=seed), seed=seed) for seed in range(20)]


def fetch_without_locks(root, barrier):
    """Make the chains in a process whose file locks do nothing, at the same time as others."""
    stages.FileLock = lambda path: nullcontext()
    for one in chains():
        barrier.wait()
        StageStore(root).fetch(one, events=root.parent / "trial" / "tensorboard" / one.key)


def test_processes_whose_file_locks_do_nothing_make_one_output_each(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=fetch_without_locks, args=(tmp_path / "two", barrier)) for _ in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0, 0]
    for one in chains():
        folder, alone = (StageStore(tmp_path / name).fetch(one).folder for name in ("two", "one"))
        assert (folder / "result").read_bytes() == (alone / "result").read_bytes()
        assert (tmp_path / "trial" / "tensorboard" / one.key / "events").read_text() == "points"
    left = sorted(path.name for path in (tmp_path / "two").glob("*/*") if path.suffix != ".lock")
    assert left == sorted(made.key for one in chains() for made in (one, *one.inputs.values()))


def test_the_memory_that_a_stage_took_is_known_when_it_is_reused(store):
    made, found = store.fetch(stage()), store.fetch(stage())
    assert found.reused
    assert found.memory == made.memory
    assert made.memory["peak_memory_mib"] > 0


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """The counter of a processor, as Linux shows it: 5 J so far."""
    folder = tmp_path / "powercap" / "intel-rapl:0"
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("no folder may have this name")
    for name, content in {"name": "package-0", "max_energy_range_uj": "65000000000", "energy_uj": "5000000"}.items():
        (folder / name).write_text(content)
    monkeypatch.setattr(energy, "POWERCAP", folder.parent)
    return folder / "energy_uj"


def test_the_energy_that_a_stage_took_is_known_when_it_is_reused(store, counter):
    class Works(Count):
        def __call__(self, folder, **inputs):
            counter.write_text("17500000")
            super().__call__(folder, **inputs)

    made, found = store.fetch(stage(Works())), store.fetch(stage(Works()))
    assert found.reused
    assert made.energy == found.energy == {"cpu_joules": 12.5, "gpu_joules": None}


def test_after_an_interruption_the_energy_of_a_stage_is_not_known(store, counter, monkeypatch):
    def before(folder, same):
        folder.mkdir(parents=True)
        return 3.0

    monkeypatch.setattr(stages, "seconds_before", before)
    assert store.fetch(stage()).energy == {"cpu_joules": None, "gpu_joules": None}


def test_an_output_of_an_earlier_version_knows_no_memory(store):
    path = store.fetch(stage()).folder / "stage.json"
    path.with_name("manifest.json").unlink()
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "memory"})
    )
    assert store.fetch(stage()).memory == {}


def flip(path, place=None):
    """Change one bit of a file, in its middle by default."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": (lambda folder: flip(folder / "result"), "the content of result has changed"),
    "a flipped bit in what is said of it": (
        lambda folder: flip(folder / "stage.json", 40),
        "the content of stage.json has changed",
    ),
    "a flipped bit in the manifest": (lambda folder: flip(folder / "manifest.json", 1), "cannot be read: JSONDecode"),
    "an empty file": (lambda folder: (folder / "result").write_text(""), "result has 0 bytes, not 1"),
    "an empty manifest": (lambda folder: (folder / "manifest.json").write_text(""), "it cannot be read: JSONDecode"),
    "a lost file": (lambda folder: (folder / "result").unlink(), "result is missing"),
    "an empty folder": (lambda folder: [path.unlink() for path in folder.glob("*.*")], "stage.json is missing"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_output_is_set_aside_and_made_again(store, caplog, damage, reason):
    folder = store.fetch(stage()).folder
    for number in ("", "2"):
        damage(folder)
        caplog.clear()
        assert store.fetch(stage()).reused is False
        (line,) = caplog.messages
        assert f"{folder} is damaged (" in line
        assert reason in line
        assert line.endswith(f"): set aside as {folder.name}.damaged{number}, and made again when needed")
        assert (folder / "result").read_text() == "1"
    assert store.fetch(stage()).reused is True
    assert [path.name for path in sorted(folder.parent.glob("*.damaged*"))] == [
        *(f"{folder.name}.damaged", f"{folder.name}.damaged2")
    ]


def test_a_damaged_input_is_made_again_for_a_stage_that_needs_it(store):
    gan = stage()
    flip(store.fetch(gan).folder / "result")
    output = store.fetch(stage(kind=Classifier, gan=gan))
    assert (output.folder / "result").read_text() == "1 2"  # its second run


@pytest.mark.parametrize(("content", "reused"), [("1", True), (None, False)], ids=["whole", "lost"])
def test_an_output_of_an_earlier_version_without_a_manifest_is_read_instead(store, content, reused):
    folder = store.fetch(stage()).folder
    (folder / "manifest.json").unlink()
    if content is None:
        (folder / "result").unlink()
    assert store.fetch(stage()).reused is reused


def test_an_output_that_was_finished_before_a_kill_is_not_made_again(store, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    compute = Count()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.fetch(stage(compute))
    assert len(parts(store.folder(stage()))) == 1
    store.fetch(stage(compute))
    assert compute.calls == 1
    assert not (store.folder(stage()) / "checkpoints").exists()
