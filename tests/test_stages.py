import json
import threading
import time

import pytest

from gan_augment.stages import DivergedError, Stage, StageStore, digest

PARTS = {"name": "gan", "version": 1, "settings": {"width": 8, "loss": {"a": 1}}, "inputs": {"images": "f0"}, "seed": 0}


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


def stage(compute=None, **changes):
    return Stage(**{**PARTS, **changes}, compute=compute or Count())


@pytest.fixture
def store(tmp_path):
    return StageStore(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "judge"},
        {"version": 2},
        {"settings": {"width": 9, "loss": {"a": 1}}},
        {"settings": {"width": 8, "loss": {"a": 2}}},
        {"inputs": {"images": "f1"}},
        {"inputs": {"other": "f0"}},
        {"seed": 1},
    ],
    ids=str,
)
def test_everything_that_goes_in_changes_the_key(change):
    assert stage(**change).key != stage().key


def test_the_key_depends_on_neither_the_order_of_names_nor_the_code():
    assert stage(settings={"loss": {"a": 1}, "width": 8}, compute=print).key == stage().key


def test_the_key_follows_the_inputs_of_the_inputs():
    one, other = (stage(name="classifier", inputs={"gan": stage(seed=seed)}) for seed in (0, 1))
    assert one.key != other.key


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
    expected = {"stage": "gan", "version": 1, "settings": PARTS["settings"], "inputs": {"images": "f0"}, "seed": 0}
    assert {name: made[name] for name in expected} == expected


def test_a_stage_is_given_the_folders_of_its_inputs(store):
    compute = Count()
    gan = stage(compute)
    output = store.fetch(stage(name="classifier", inputs={"gan": gan, "labelled": "f0"}))
    assert (output.folder / "result").read_text() == "1 1"
    assert compute.calls == 1


def test_leftovers_of_a_killed_process_are_cleared(store):
    partial = store.folder(stage()).with_suffix(".partial")
    partial.mkdir(parents=True)
    (partial / "leftover").touch()
    folder = store.fetch(stage()).folder
    assert not partial.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["result", "stage.json", "tensorboard"]


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
    later = stage(compute, name="synthesis", inputs={"gan": stage(Count(diverges="nan"))})
    with pytest.raises(DivergedError, match="nan"):
        store.fetch(later)
    assert compute.calls == 0
    assert not store.folder(later).exists()


def test_events_are_linked_while_they_are_written_and_afterwards(store, tmp_path):
    link = tmp_path / "studies" / "trial" / "tensorboard" / "gan"
    seen = []

    def compute(folder):
        (folder / "tensorboard" / "events").write_text("points")
        seen.append((link / "events").read_text())

    store.fetch(stage(compute), events=link)
    assert seen == ["points"]
    assert (link / "events").read_text() == "points"
    assert link.resolve() == (store.folder(stage()) / "tensorboard").resolve()


def test_events_of_a_reused_output_are_linked_too_and_move_with_the_folder(store, tmp_path):
    store.fetch(stage(lambda folder: (folder / "tensorboard" / "events").write_text("points")))
    link = tmp_path / "studies" / "trial" / "tensorboard" / "gan"
    for _ in range(2):  # a link that is there is replaced
        store.fetch(stage(), events=link)
    assert (link / "events").read_text() == "points"
    assert not link.readlink().is_absolute()


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


def test_the_memory_that_a_stage_took_is_known_when_it_is_reused(store):
    made, found = store.fetch(stage()), store.fetch(stage())
    assert found.reused
    assert found.memory == made.memory
    assert made.memory["peak_memory_mib"] > 0


def test_an_output_of_an_earlier_version_knows_no_memory(store):
    path = store.fetch(stage()).folder / "stage.json"
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "memory"})
    )
    assert store.fetch(stage()).memory == {}
