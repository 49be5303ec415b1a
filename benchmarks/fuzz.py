"""Feed damaged files and odd settings to the commands. `make fuzz` runs it.

Each case damages one file of a small study or set, or makes up a command line, in a way that a seed draws, and runs a
command on it in a process of its own. A training does not start: a case is over when it would. A case fails if the
process prints a traceback, ends with another code than 0 or 1, refuses in anything but one clear line (or a head and
a list), takes longer than its limit, writes outside the case's folder or starts another process. An audit hook watches
the last two.

    python benchmarks/fuzz.py [--cases 500] [--seed 0] [--only records]

To add a kind of case, add an entry to `KINDS`: a function that prepares a folder and returns the command's arguments.
`damages.py` has whole files, and ways to damage them.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock
from urllib.error import URLError

import numpy as np
import torch
from damages import (
    answers,
    any_value,
    change_rows,
    change_value,
    checkpoint,
    damage_bytes,
    damage_folder,
    damage_networks,
    damage_npz,
    damage_picture,
    damage_place,
    image_arrays,
    pictures,
    study,
    table,
    write_rows,
)

from gan_augment.app import CONF
from gan_augment.app import main as gan_augment
from gan_augment.artefacts.weights import save_weights
from gan_augment.data.image_set import ImageShape
from gan_augment.networks.cnn import CNN
from gan_augment.options import read_sections
from gan_augment.report.page import main as report
from gan_augment.synthesize import main as synthesize

LIMIT = 60  # seconds a case may take
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "socket.connect")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

SECTIONS = read_sections(CONF)
GROUPS = {one.name: [member.name for member in one.members] for section in SECTIONS for one in section.groups}
PARTS = [
    part for section in SECTIONS for one in section.groups for part in (one.shared, *(m.options for m in one.members))
]
OPTIONS = sorted({one.name for part in (*PARTS, *(section.options for section in SECTIONS)) for one in part})
# A user may say where to write, and which packages to import.
OPTIONS = [name for name in OPTIONS if not name.startswith(("paths.", "data.cache", "plugins"))]
VALUES = r"""
0 -1 1 3 64 1e400 1e30 nan inf 0.5 1_0 10% all auto true null ??? x [] {} [1,2] [cat,dog] {a:1} {a:{b:[1]}}
${seed} ${x} ${oc.env:HOME} ${oc.env:GAN_AUGMENT_X} ${hydra:runtime.cwd} ${.} ${..} ${ $ ${now:%Y} ${or:} ${labels:}
${launch:} ${oc.decode:'['} ${study} ${data} \${x} 1,2 range(0,3) range(0,1e9) range(3,0) range(0,1,0) choice(1,2)
glob(*) shuffle(1,2) int(x) ' " größe 'größe' ../../x /etc/passwd /dev/zero ~ os.system
gan_augment.losses.adversarial.Hinge
"""
ODD_VALUES = ["", "a b", "'a b'", "'a\nb'", "\x1b[31m", "'\x1b[31m'", "'\u202e'", "\udcff", "'\udcff'"]
ODD_VALUES += ["x" * 10**5, "9" * 5000, "[" * 500, "{a: " * 500]
FORMS = """
{option}={value} {option}={value} {option}={value} {option}={value} {option}={value} {option}={value}
{group}={member} {group}={value} {group}=[{member},{member}] {group}={member},x +{group}={member} +{option}={value}
++{option}={value} ~{option} ~{group} ~{option}={value} {option}.x={value} {group}@x={member} {group}/x={member}
/{group}={member} {group}._target_={value} x={value} +x={value}
"""
OF_HYDRA = """
hydra.run.dir=/x hydra.sweep.dir=x hydra.job.chdir=true hydra.mode=MULTIRUN hydra.mode=x hydra=x hydra={} ~hydra
hydra/launcher=x hydra/launcher=basic hydra/sweeper=basic hydra/sweeper=x hydra.verbose=true hydra.verbose=x
hydra.sweeper.params={seed:'0,1'} hydra.sweeper.params=3 +hydra.sweeper.params.x=1 hydra.launcher.x=1
hydra.callbacks.x._target_=os.system ~hydra.callbacks hydra.searchpath=[file:///etc] hydra.output_subdir=null
hydra/job_logging=disabled hydra/job_logging=default hydra.aliases={a:b} hydra/help=default hydra.help.template=x
hydra.job.name=../x plugins=[nowhere] plugins=3 plugins= plugins=[[]] paths=x paths.data_dir=/dev/null ~paths.data_dir
+paths.x=1
"""
FLAGS = """
--cfg job|--cfg x|--cfg hydra|--cfg all --resolve|--resolve|--help|--hydra-help|--version|--info|--info x|--run|-r -m
-sc|--info searchpath|--info defaults|--cfg job --package x|--config-dir x|--config-dir /etc|--config-name x
--config-path x|--config-name synthesize|--experimental-rerun x|-sc install=bash|-x|--|--seed 1|-|=|x|=1|seed|seed:1|@x
"""

Run = tuple[Callable[[list[str]], None], list[str]]  # a command and its arguments
Kind = Callable[[Path, random.Random], Run]


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


def starts(folder: Path, draw: random.Random) -> Run:
    """Damage a generator that another one starts from."""
    checkpoints(folder, draw)
    settings = ["data=digits", "architecture=mlp", "augmentation=gan", f"generator.start={folder / 'gan.pt'}"]
    return to_train(folder, *settings, "architecture.latent_dim=4", "architecture.width=8")


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


def requests(folder: Path, draw: random.Random) -> Run:
    """Damage the request of a launch."""
    _damage_json(next(study(folder / "study").glob("launches/*/request.json")), draw)
    return of_report(folder)


def tables(folder: Path, draw: random.Random) -> Run:
    """Damage a table of images: CSV, or the `dataset.json` of StyleGAN."""
    root, path, kind = pictures(folder / "images"), folder / f"table{draw.choice(('.csv', '.tsv', ''))}", draw.random()
    rows = table(root, draw)
    settings = ["data=image_folder", f"data.root={root}"]
    if draw.random() < 0.2:
        path = root / "dataset.json"
        content = {"labels": [[row[0], draw.choice((number % 2, [0, 1]))] for number, row in enumerate(rows[1:])]}
        path.write_text(json.dumps(change_value(content, draw) if kind < 0.8 else content))
    else:
        if kind < 0.8:
            change_rows(rows, draw)
        write_rows(path, rows, draw)
    if 0.7 < kind < 0.95:
        path.write_bytes(damage_bytes(path.read_bytes() or b"x", draw))
    elif kind >= 0.95:
        damage_place(path, draw)
    columns = (
        "{label: [cat, dog]}",
        "{file: file, label: label}",
        "{label: split}",
        "{label: [cat]}",
        "{x: y}",
        "{group: []}",
    )
    settings += [f"data.columns={draw.choice(columns)}"] if len(rows[0:1]) and draw.random() < 0.4 else []
    return to_train(folder, *settings, f"data.table={path}")


def folders(folder: Path, draw: random.Random) -> Run:
    """Damage a folder of images: pictures, or what lies around them."""
    root, kind = pictures(folder / "images"), draw.random()
    if kind < 0.6:
        for path in draw.sample(sorted(root.rglob("*.png")), draw.choice((1, 1, 5))):
            damage_picture(path, draw)
    if kind > 0.5:
        damage_folder(root, draw)
    odd = (
        "group_by=folder",
        "group_by='(.'",
        "group_by='[0-9]'",
        "channels=1",
        "fit=crop",
        "white=255",
        "background=x",
    )
    odd += ("follow_links=true", "background=white", "image_size=300", "image_size=1", "test_share=0.5")
    settings = ["data=image_folder", f"data.root={root}", "data.skip_broken=true"]
    return to_train(
        folder, *settings[: draw.choice((2, 3))], *[f"data.{one}" for one in draw.sample(odd, draw.randrange(3))]
    )


def arrays(folder: Path, draw: random.Random) -> Run:
    """Damage the arrays of a set of images."""
    found, path, kind = image_arrays(draw), folder / "images.npz", draw.random()
    settings = ["data=arrays", f"data.images={path}"]
    if "images" in found and kind < 0.3:
        np.save(folder / "labels.npy", found.pop("labels"))
        settings.append(f"data.labels={folder / 'labels.npy'}")
    np.savez_compressed(path, **found)
    path = draw.choice(sorted(folder.glob("*.np*")))
    if 0.2 < kind < 0.4:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    elif 0.4 <= kind < 0.45:
        damage_place(path, draw)
    elif path.suffix == ".npz":
        damage_npz(path, found, draw)
    odd = (
        "layout=NHWC",
        "layout=NCHW",
        "value_range=[0,1]",
        "value_range=x",
        "image_size=16",
        "fit=crop",
        "test_share=0.5",
    )
    return to_train(folder, *settings, *[f"data.{one}" for one in draw.sample(odd, draw.randrange(3))])


def overrides(folder: Path, draw: random.Random) -> Run:
    """Make up a command line."""
    words = ["-m"] * draw.randrange(2)
    for _ in range(draw.choice((1, 1, 2, 4))):
        kind, group = draw.random(), draw.choice(list(GROUPS))
        if kind < 0.75:
            name, value = draw.choice(OPTIONS), draw.choice((*VALUES.split(), *ODD_VALUES))
            form = draw.choice(FORMS.split())
            words.append(form.format(option=name, value=value, group=group, member=draw.choice(GROUPS[group])))
        elif kind < 0.9:
            words.append(draw.choice(OF_HYDRA.split()))
        else:
            words += draw.choice(FLAGS.strip().replace("\n", "|").split("|")).split()
    return to_train(folder, *words)


def to_train(folder: Path, *arguments: str) -> Run:
    """Return the command that trains, with these arguments."""
    return until_it_trains, [*arguments, f"paths.output_dir={folder / 'out'}"]


def until_it_trains(arguments: list[str]) -> None:
    """Run `gan-augment` up to the moment at which it would train; without a network."""
    sys.argv = ["gan-augment", *arguments]
    offline = mock.patch("urllib.request.urlopen", side_effect=URLError("no network"))
    with offline, mock.patch("gan_augment.trial.run_trial", side_effect=SystemExit(0)):
        gan_augment()


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
    "starts": starts,
    "classifiers": classifiers,
    "manifests": manifests,
    "requests": requests,
    "tables": tables,
    "folders": folders,
    "arrays": arrays,
    "overrides": overrides,
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
        folder = Path(place) / "case"
        folder.mkdir()
        command, arguments = KINDS[kind](folder, random.Random(f"{kind} {seed}"))
        with warnings.catch_warnings():
            # Python warns of a fork where threads run; the child starts none.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _in_child(command, arguments, folder, Path(place))
        ended, status = _wait(child)
        out, err, wrong = (_text(Path(place) / name) for name in ("out", "err", "notes"))
        found, lines, text = wrong.splitlines(), err.strip().splitlines(), out + err
        if not ended:
            found.append(f"hangs: more than {LIMIT} s")
        elif os.WIFSIGNALED(status) or os.WEXITSTATUS(status) not in (0, 1):
            found.append(f"ended with {os.waitstatus_to_exitcode(status)}: {err[-300:]}")
        elif os.WEXITSTATUS(status) == 1 and (not lines or (len(lines) > 1 and not lines[0].endswith(":"))):
            found.append(f"refuses in {len(lines)} lines: {err[-600:]}")
        elif os.WEXITSTATUS(status) == 1 and not lines[0].startswith("gan-augment"):
            found.append(f"refuses without its name: {err[-300:]}")
        if "Traceback" in text:
            found.append(text[-3000:])
        if odd := {one for one in text if not one.isprintable()} - {"\n", "\t"}:
            found.append(f"prints control characters: {sorted(odd)} {text[:300]!r}")
        if "weights_only" in text:
            found.append("repeats torch's advice")
        return [*found, f"    of {arguments}"] if found else []


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _in_child(command: Callable[[list[str]], None], arguments: list[str], folder: Path, place: Path) -> None:
    code = 0
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), number)
        # They stay open until the process ends.
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        watch(folder, place / "notes")
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
        for settings in (["data=digits"], ["data=image_folder", f"data.root={pictures(Path(place) / 'images')}"]):
            with contextlib.suppress(SystemExit):
                until_it_trains(["-m", *settings, f"paths.output_dir={place}/out"])
        logging.getLogger().handlers.clear()


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
    seconds: Counter[str] = Counter()
    for kind, seed in cases(chosen.cases, chosen.seed, [chosen.only] if chosen.only else list(KINDS)):
        start = perf_counter()
        if wrong := run_case(kind, seed):
            failed[kind] += 1
            print(f"--- {kind} {seed}:", *wrong, sep="\n", flush=True)
        seconds[kind] += perf_counter() - start
    print(", ".join(f"{kind} {spent:.0f} s" for kind, spent in seconds.items()))
    print(f"{chosen.cases} cases, {failed.total()} faulty" + (f": {dict(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
