"""Feed damaged files to the commands: records, study files, predictions, checkpoints. `make fuzz` runs it.

Each case damages one file of a small study or set in a way that a seed draws, and runs a command on it in a process of
its own. A case fails if the process prints a traceback, ends with another code than 0 or 1, says nothing when it
refuses, takes longer than its limit, writes outside the case's folder or starts another process. An audit hook watches
the last two.

    python benchmarks/fuzz.py [--cases 500] [--seed 0] [--only records]

To add a kind of file, add an entry to `KINDS`: a function that prepares a folder and returns the command's arguments.
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_augment.artefacts.weights import save_weights
from gan_augment.data.image_set import ImageShape
from gan_augment.networks.cnn import CNN
from gan_augment.networks.conditioning import Projection
from gan_augment.networks.mlp import MLP
from gan_augment.report.page import main as report
from gan_augment.synthesize import main as synthesize

LIMIT = 60  # seconds a case may take
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "socket.connect")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"))
TEXTS = ("", "x", "null", "=1+1", "\x1b[31m", "\u202e", "\ud800", "a\nb", "../../x", "/etc/passwd", "<b>", "x" * 10**5)
OTHERS = (None, True, False, [], {}, [[]], {"": ""}, [None], {"x": {"y": [1]}})

Run = tuple[Callable[[list[str]], None], list[str]]  # a command and its arguments
Kind = Callable[[Path, random.Random], Run]


# ---------------------------------------------------------------------------------------------------- whole files


def trial(arm: str, seed: int) -> dict[str, Any]:
    """Make up the record of a trial."""
    accuracy = (0.6 if arm == "none" else 0.7) + 0.01 * seed
    results = {"accuracy": accuracy, "nll": 1.0, "per_class": {"cat": accuracy, "dog": accuracy}}
    gan = {"judge_frechet_distance": 3.0 + seed, "per_class": {"cat": {"label_agreement": 0.5}}}
    gan["confusion_matrix"] = [[3, 1], [0, 4]]
    seconds = {role: {"spent": 1.0, "reused": 0.0} for role in ("classifier", "total")}
    factors = {"data": "toy", "labels": 5, "augmentation": arm, "augmentation.share": 0.5, "loss": "hinge"}
    factors |= {f"seeds.{name}": seed for name in ("split", "gan", "classifier")}
    return {
        "schema": "1.8",
        "trial": f"{arm}-seed{seed}",
        "status": "ok",
        "error": None,
        "factors": factors,
        "metrics": {"validation": results, "test": results, "gan": gan if arm == "gan" else {}},
        "compared": {},
        "costs": {"seconds": seconds, "memory": {}, "peak_memory_mib": 800, "device": "cpu", "threads": 1},
        "saw": {"labelled": 10, "pool_images": 0, "imbalance_ratio": 1.0, "rare_classes": []},
        "notes": ["a note"],
        "warnings": [],
        "provenance": {
            "split": f"split{seed}",
            "fingerprint": "f",
            "overlap": 0.1,
            "test_images": 40,
            "pool_images": 50,
            "test_imbalance_ratio": 1.0,
            "copies": [],
            "stages": {"gan": f"gan{seed}"} if arm == "gan" else {},
            "reads": {"gan": ["loss"]},
            "versions": {"torch": "2"},
            "commit": "c" * 40,
            "clean": True,
        },
    }


def answers(seed: int) -> dict[str, np.ndarray]:
    """Make up predictions."""
    drawn = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    return {"ids": np.arange(40), "labels": labels, "predicted": np.where(drawn.random(40) < 0.7, labels, 1 - labels)}


def study(folder: Path) -> Path:
    """Write a whole study."""
    for arm in ("none", "gan"):
        for seed in range(6):
            path = folder / "trials" / f"{arm}-seed{seed}"
            path.mkdir(parents=True)
            (path / "record.json").write_text(json.dumps(trial(arm, seed)))
            np.savez_compressed(path / "predictions.npz", allow_pickle=False, **answers(seed))
    launch = {
        "schema": "1.8",
        "study": "toy",
        "requested": None,
        "against": {},
        "jobs": {},
        "command": "x",
        "looks": [],
    }
    (folder / "study.json").write_text(json.dumps(launch))
    return folder


def checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, torch.nn.Module]]:
    """Return the metadata and the networks of a generator."""
    shape = ImageShape(1, 8, 8)
    node = "gan_augment.networks.{}".format
    about = {
        "kind": "gan",
        "design": {
            "architecture": {"_target_": node("mlp.MLP"), "latent_dim": 4, "width": 8},
            "conditioning": {"_target_": node("conditioning.Projection"), "embedding_dim": 32, "clusters": 1},
            "loss": {"_target_": "gan_augment.losses.adversarial.Hinge"},
        },
        "shape": [*astuple(shape)],
        "class_names": ["cat", "dog"],
        "class_counts": [3, 4],
        "label_counts": [3, 4],
        "trained_on": "0" * 32,
        "images_seen": 64,
        "pool_images": 0,
        "chosen_by": None,
    }
    return about, {"ema": Projection().generator(MLP(4, 8), shape, 2)}


# -------------------------------------------------------------------------------------------------------- damages


def any_value(draw: random.Random) -> Any:
    """Draw a value that a place is not made for."""
    return draw.choice((*NUMBERS, *TEXTS, *OTHERS))


def change_value(content: Any, draw: random.Random) -> Any:
    """Replace, delete or add values somewhere in nested mappings and lists."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.8:
                place = place[key]
                continue
            kind = draw.random()
            if kind < 0.7:
                place[key] = any_value(draw)
            elif kind < 0.85:
                del place[key]
            elif isinstance(place, dict):
                place[draw.choice(TEXTS)] = any_value(draw)
            else:
                place.append(any_value(draw))
            break
    return content


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip, repeat or replace bytes."""
    kind = draw.randrange(6)
    place = draw.randrange(len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
    if kind == 2:
        return content[:place] + content[draw.randrange(len(content)) :]
    if kind == 3:
        return content[:place] + draw.randbytes(draw.randrange(1, 200)) + content[place:]
    if kind == 4:
        return draw.randbytes(draw.randrange(500))
    return draw.choice(
        (b"", b"{}", b"[]", b"[" * 10**5, b'{"a":' * 10**5, b"null", b"\0" * 100, b"PK\3\4", b"\x80\x02.")
    )


def damage_place(path: Path, draw: random.Random) -> None:
    """Put something else in the place of a file: a link, a pipe, a folder, a device, something huge."""
    path.unlink()
    kind = draw.randrange(6)
    if kind == 0:
        path.symlink_to("/etc/passwd")
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.mkdir()
    elif kind == 4:
        path.symlink_to(path.name)
    else:
        path.touch()
        os.truncate(path, 2**30)


def damage_npz(path: Path, arrays: dict[str, np.ndarray], draw: random.Random) -> None:
    """Write arrays of other types and shapes, a lying header, or a bomb."""
    name, kind = draw.choice(list(arrays)), draw.randrange(6)
    array = arrays[name]
    if kind == 0:
        arrays[name] = array.astype(draw.choice(("f8", "U5", "?", "c16", "u1", "i1", "M8[s]", "S3", "f2")))
    elif kind == 1:
        arrays[name] = draw.choice(
            (array[:3], array[:, None], array[:0], np.array(3), np.tile(array, 7), array * 0 - 1)
        )
    elif kind == 2:
        del arrays[name]
    elif kind == 3:
        arrays[draw.choice(("groups", "probabilities", "more"))] = draw.choice((array, array[:2], np.zeros((40, 2))))
    if kind < 4:
        np.savez_compressed(path, **arrays)
        return
    header = {"descr": draw.choice(("|u1", "<f8", "|O", "<i8")), "fortran_order": False}
    header["shape"] = draw.choice(((2**29,), (10**12,), (10**9, 10**9), (-1,), (0,), (2**62,)))
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        for other, one in arrays.items():
            file = io.BytesIO()
            np.save(file, one, allow_pickle=False)
            zeros = bytes(2**24) * (32 if kind == 5 else 0)
            members.writestr(f"{other}.npy", start.getvalue() + zeros if other == name else file.getvalue())


def damage_networks(networks: dict[str, torch.nn.Module], draw: random.Random) -> dict[str, Any]:
    """Return states with weights of other shapes, types and kinds."""
    states: dict[str, Any] = {name: dict(network.state_dict()) for name, network in networks.items()}
    state = states["ema"]
    name = draw.choice(list(state))
    weight = state[name]
    state[name] = draw.choice(
        (
            weight[:1],
            weight.double(),
            weight.to(torch.complex64),
            weight.to(torch.int8),
            weight.t() if weight.dim() == 2 else weight,
            torch.zeros(1).expand(2**20, 2**10),
            torch.eye(3).to_sparse(),
            weight * float("nan"),
            torch.empty(0),
            any_value(draw),
        )
    )
    return states


# ------------------------------------------------------------------------------------------------- kinds of files


def of_report(folder: Path) -> Run:
    """Return the command that reports on a study."""
    return report, [str(folder / "study"), "--output", str(folder / "out")]


def records(folder: Path, draw: random.Random) -> Run:
    """Damage a record, or several."""
    paths = sorted(study(folder / "study").glob("trials/*/record.json"))
    for path in draw.sample(paths, draw.choice((1, 1, 2, 12))):
        _damage_json(path, draw)
    return of_report(folder)


def studies(folder: Path, draw: random.Random) -> Run:
    """Damage `study.json`."""
    _damage_json(study(folder / "study") / "study.json", draw)
    return of_report(folder)


def predictions(folder: Path, draw: random.Random) -> Run:
    """Damage the predictions of a trial."""
    path = draw.choice(sorted(study(folder / "study").glob("trials/*/predictions.npz")))
    kind = draw.random()
    if kind < 0.3:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    elif kind < 0.4:
        damage_place(path, draw)
    else:
        damage_npz(path, answers(0), draw)
    return of_report(folder)


def archives(folder: Path, draw: random.Random) -> Run:
    """Damage a file that keeps a study."""
    path = folder / "kept.jsonl"
    with contextlib.redirect_stdout(io.StringIO()):
        report([str(study(folder / "study")), "--output", str(folder / "first"), "--keep", str(path)])
    lines = path.read_text().splitlines()
    number = draw.randrange(len(lines))
    if draw.random() < 0.8:
        lines[number] = json.dumps(change_value(json.loads(lines[number]), draw))
        path.write_text("\n".join(lines))
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    return report, [str(path), "--output", str(folder / "out")]


def checkpoints(folder: Path, draw: random.Random) -> Run:
    """Damage a generator."""
    path, (about, networks) = folder / "gan.pt", checkpoint(folder)
    kind = draw.random()
    if kind < 0.5:
        states = {name: dict(network.state_dict()) for name, network in networks.items()}
        content = {"schema": 1, "about": about, "networks": states}
        change_value(content if draw.random() < 0.1 else about, draw)
        torch.save(content, path)
    elif kind < 0.7:
        torch.save({"schema": 1, "about": about, "networks": damage_networks(networks, draw)}, path)
    else:
        save_weights(path, about, **networks)
        if kind < 0.95:
            path.write_bytes(damage_bytes(path.read_bytes(), draw))
        else:
            damage_place(path, draw)
    return synthesize, ["num_threads=1", f"generator={path}", f"out={folder / 'set'}", "per_class=2"]


def classifiers(folder: Path, draw: random.Random) -> Run:
    """Damage the classifier that selects the images."""
    about, networks = checkpoint(folder)
    save_weights(folder / "gan.pt", about, **networks)
    node = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
    if draw.random() < 0.2:
        node = {"_target_": "gan_augment.networks.torchvision_classifier.TorchvisionClassifier", "_partial_": True}
        node |= {"name": draw.choice(("resnet18", "vit_b_16", "googlenet")), "weights": "IMAGENET1K_V1"}
    teacher = {name: about[name] for name in ("shape", "class_names", "class_counts")} | {"kind": "classifier"}
    teacher["classifier"] = {"network": node, "batch_size": 8}
    state = {"classifier": dict(CNN(ImageShape(1, 8, 8), 2, 4).state_dict())}
    torch.save({"schema": 1, "about": change_value(teacher, draw), "networks": state}, folder / "teacher.pt")
    chosen = ["selection=confident", "threshold=0.1"]
    return synthesize, [
        "num_threads=1",
        f"generator={folder / 'gan.pt'}",
        f"out={folder / 'set'}",
        "per_class=2",
        *chosen,
    ]


def manifests(folder: Path, draw: random.Random) -> Run:
    """Damage a written set that is checked against its generator."""
    about, networks = checkpoint(folder)
    save_weights(folder / "gan.pt", about, **networks)
    out = folder / draw.choice(("set", "set.npz"))
    with contextlib.redirect_stdout(io.StringIO()):
        synthesize(["num_threads=1", f"generator={folder / 'gan.pt'}", f"out={out}", "per_class=2"])
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "gan.pt"]
    path = draw.choice(files)
    if path.suffix == ".csv" and draw.random() < 0.7:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        row = draw.choice(rows)
        row[draw.randrange(len(row))] = str(any_value(draw)).replace("\ud800", "")
        path.write_text("\n".join(",".join(row) for row in rows))
    elif draw.random() < 0.7:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    else:
        damage_place(path, draw)
    return synthesize, ["num_threads=1", f"generator={folder / 'gan.pt'}", f"check={out}"]


def _damage_json(path: Path, draw: random.Random) -> None:
    kind = draw.random()
    if kind < 0.75:
        path.write_text(json.dumps(change_value(json.loads(path.read_text()), draw)))
    elif kind < 0.9:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    else:
        damage_place(path, draw)


KINDS: dict[str, Kind] = {
    "records": records,
    "studies": studies,
    "predictions": predictions,
    "archives": archives,
    "checkpoints": checkpoints,
    "classifiers": classifiers,
    "manifests": manifests,
}


# --------------------------------------------------------------------------------------------------------- the run


def watch(folder: Path, found: Path) -> None:
    """From now on, note in a file each process that is started, and each change of a file outside a folder."""
    notes = os.open(found, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    inside = str(folder.resolve())

    def is_outside(path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = os.path.realpath(os.fsdecode(path))
        return not text.startswith((inside, "/dev/null", "/dev/tty"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS:
            said = f"{event} {arguments[:2]}"
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES and is_outside(arguments[0]):
            said = f"writes {arguments[0]}"
        elif event in CHANGES and any(is_outside(one) for one in arguments[:2]):
            said = f"{event} {arguments[:2]}"
        else:
            return
        os.write(notes, f"{said}\n".encode(errors="replace"))

    sys.addaudithook(hook)


def run_case(kind: str, seed: int) -> list[str]:
    """Run one case in a process of its own; return what is wrong, a line each."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        folder, notes = Path(place) / "case", Path(place) / "notes"
        folder.mkdir()
        command, arguments = KINDS[kind](folder, random.Random(f"{kind} {seed}"))
        printed = Path(place) / "printed"
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Python warns of a fork where threads run; the child starts none
            child = os.fork()
        if child == 0:
            _in_child(command, arguments, folder, notes, printed)
        ended, status = _wait(child)
        text = printed.read_text(errors="replace") if printed.exists() else ""
        wrong = notes.read_text().splitlines() if notes.exists() else []
        if not ended:
            wrong.append(f"hangs: more than {LIMIT} s")
        elif os.WIFSIGNALED(status) or os.WEXITSTATUS(status) not in (0, 1):
            wrong.append(f"ended with {os.waitstatus_to_exitcode(status)}")
        elif os.WEXITSTATUS(status) == 1 and len(text.strip().splitlines()) != 1:
            wrong.append(f"refuses in {len(text.strip().splitlines())} lines: {text[-300:]}")
        if "Traceback" in text:
            wrong.append(text[-1500:])
        if {"\x1b", "\u202e"} & set(text):
            wrong.append("prints control characters")
        if "weights_only" in text:
            wrong.append("repeats torch's advice")
        return wrong


def _in_child(
    command: Callable[[list[str]], None], arguments: list[str], folder: Path, notes: Path, printed: Path
) -> None:
    code = 0
    try:
        out = os.open(printed, os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        # They stay open until the process ends.
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        watch(folder, notes)
        command(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(child: int) -> tuple[bool, int]:
    """Wait for a process, at most the limit; return whether it ended, and its status."""

    def late(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        return True, os.waitpid(child, 0)[1]
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        return False, os.waitpid(child, 0)[1]
    finally:
        signal.alarm(0)


def warm_up() -> None:
    """Run each command once on whole files: what the libraries import and cache on the way is then no case's doing."""
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        command, arguments = of_report(study(Path(place) / "study").parent)
        command(arguments)
        about, networks = checkpoint(Path(place))
        save_weights(Path(place) / "gan.pt", about, **networks)
        synthesize(["num_threads=1", f"generator={place}/gan.pt", f"out={place}/set", "per_class=2"])
        synthesize(["num_threads=1", f"generator={place}/gan.pt", f"check={place}/set"])


def cases(number: int, first: int, kinds: list[str]) -> Iterator[tuple[str, int]]:
    """Yield kinds of files in turn, with seeds."""
    for position in range(number):
        yield kinds[position % len(kinds)], first + position // len(kinds)


def main() -> None:
    """Run all cases; end with 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", choices=KINDS, help="one kind of file")
    chosen = parser.parse_args()
    os.environ["HYDRA_FULL_ERROR"] = ""  # as for a user
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    warm_up()
    failed: Counter[str] = Counter()
    for kind, seed in cases(chosen.cases, chosen.seed, [chosen.only] if chosen.only else list(KINDS)):
        for line in run_case(kind, seed):
            failed[kind] += 1
            print(f"--- {kind} {seed}: {line}")
    print(f"{chosen.cases} cases, {failed.total()} faults" + (f": {dict(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
