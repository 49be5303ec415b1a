import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import SoftFileLease

from gan_augment import parts
from gan_augment.parts import adopt, mine, own_part, publish

STEP = "step"


def progress(part):
    return int((part / STEP).read_text()) if (part / STEP).exists() else 0


def left(output, process, step):
    """Leave a part of a process."""
    part = output.with_name(f"{output.name}.{process}.partial")
    part.mkdir()
    if step:
        (part / STEP).write_text(str(step))
    return part


@pytest.fixture
def output(tmp_path):
    return tmp_path / "0123"


@pytest.fixture
def host(output):
    return mine(output).name.split(".")[1].rpartition("-")[0]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(parts, "LEASE", 0.3)


@contextmanager
def held(part):
    """Let another process hold a part; it can be killed earlier."""
    lease = part.with_suffix(".lease")
    code = (
        "import time; from filelock import SoftFileLease; "
        f"lease = SoftFileLease({str(lease)!r}, lease_duration=0.3); lease.acquire(); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_process_goes_on_from_the_part_that_has_come_furthest_and_clears_the_others(output, host):
    for process, step in {f"{host}-1": 3, f"{host}-2": 20, "elsewhere-1": 7, "elsewhere-2": 0}.items():
        left(output, process, step)
    with own_part(output) as part:
        adopt(output, part, progress)
        assert progress(part) == 20
        assert parts.parts(output) == [part]


def test_nothing_is_left_to_go_on_from(output):
    with own_part(output) as part:
        adopt(output, part, progress)
        assert not part.exists()


def test_the_part_of_a_living_process_is_left_alone_until_it_is_dead(output, host):
    part = left(output, f"{host}-1", 5)
    with held(part) as process, own_part(output) as own:
        adopt(output, own, progress)
        assert parts.parts(output) == [part]
        process.kill()
        process.wait()
        start = time.monotonic()
        adopt(output, own, progress)
        assert progress(own) == 5
        assert time.monotonic() - start < 0.3  # at once: it is known to be dead
        assert not part.exists()


@pytest.mark.parametrize("alive", [True, False])
def test_a_process_of_another_machine_is_watched_until_it_counts_as_dead(output, alive, monkeypatch):
    part = left(output, "elsewhere-1", 5)
    lease = part.with_suffix(".lease")
    with held(part) as process, own_part(output) as own:
        if not alive:
            claim = lease.read_text()
            process.kill()
            process.wait()
            lease.write_text(claim.replace("host=", "host=not-"))
        adopt(output, own, progress)
        assert own.exists() is not alive
        assert part.exists() is alive


def test_the_first_to_publish_counts(output):
    output.mkdir()
    (output / STEP).write_text("1")
    part = left(output, "elsewhere-1", 1)
    publish(part, output)
    assert not part.exists()
    assert progress(output) == 1


def test_what_cannot_be_published_is_an_error(output):
    with pytest.raises(FileNotFoundError):
        publish(mine(output), output)


def test_a_process_gives_signs_of_life_only_while_it_has_its_part(output):
    with own_part(output) as part:
        assert Path(SoftFileLease(part.with_suffix(".lease")).lock_file).exists()
    assert not part.with_suffix(".lease").exists()
