"""Whether a refactoring changed nothing: train the same tiny studies in two checkouts and compare all that they leave.

    python tools/same.py OTHER_CHECKOUT [--keep FOLDER] [--without-factors]

Compares the checkout that this file belongs to with another one, usually the commit before the refactoring. Both train
every arm and a few variants on this machine, with one thread. Then these must be equal to the last bit:

- the weights in the checkpoints of every stage (`*.pt`) and the arrays (`*.npz`)
- the results in the records (`record.json`), without costs, commits, stage keys and names
- the scalars for TensorBoard, without wall times and speeds

Prints a line for each difference and exits with code 1; without any, prints how much was compared. Takes two minutes.
With `--keep`, the outputs of the other checkout are used again as long as its commit stays the same.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

MINE = Path(__file__).resolve().parents[1]
FINISHED = "finished.json"  # in the outputs of a variant: what ran
PROVENANCE = ("split", "fingerprint", "pool_images", "validation_images", "test_images")
ABOUT = ("shape", "class_names", "class_counts", "label_counts", "images_seen")
SPEEDS = ("images_per_second",)
SCALAR = "scalar "  # before the tags of scalars, among all that a stage's folder holds


def variants(checkout: Path) -> dict[str, list[str]]:
    """Return the settings of each study, under the names that the options have in a checkout."""
    arms = {path.stem for path in (checkout / "conf" / "augmentation").glob("*.yaml")}
    arms -= {"row", "given", "batch_norm"}  # they need images of another generator, and another classifier
    mates = checkout / "conf" / "augmentation" / "class_mates.yaml"
    if mates.exists() and "override /translation" not in mates.read_text(encoding="utf-8"):
        arms -= {"class_mates", "class_mates_classical"}  # they needed another translation once
    every, best_by = ("measures.judge.every", "measures.judge.best_by")
    if (checkout / "conf" / "gan").is_dir():  # before the groups were renamed
        every, best_by = ("gan.judge_every", "gan.best_by")
    # After ten steps only widely spread latents show every class, and only to a teacher without transforms.
    every_class = ("classifier.num_steps=200", "synthesis.latent_scale=10", "synthesis.per_class=2")
    confident = ("conditioning=none", "synthesis=confident", "synthesis.threshold=0.1", *every_class)
    studies = {
        "plain": [f"augmentation={','.join(sorted(arms))}"],
        "without_classes": ["augmentation=gan", *confident],
        "relativistic": ["augmentation=gan", "loss=relativistic", "conditioning=per_class"],
        "best": ["augmentation=gan", f"{every}=320", f"{best_by}=cas_validation"],
    }
    usual = [*tiny(checkout), "imbalance.classes=['3']", "imbalance.share=0.5"]  # oversampling refuses equal classes
    return {name: [*usual, *settings, "study=same"] for name, settings in studies.items()}


def tiny(checkout: Path) -> tuple[str, ...]:
    """Read the settings of tiny trials from a checkout's tests, without importing them."""
    path = checkout / "tests" / "conftest.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["TINY"]:
            return tuple(ast.literal_eval(node.value))
    raise SystemExit(f"{path} does not define TINY: name a checkout of gan-augment")


def train(checkout: Path, outputs: Path, reuse: bool) -> None:
    """Run the studies of a checkout, each into its own folder, except finished ones of the same commit if `reuse`."""
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    for name, settings in variants(checkout).items():
        folder, log = outputs / name, outputs / f"{name}.log"
        what, finished = {"commit": commit, "settings": settings}, folder / FINISHED
        known = reuse and finished.exists() and not commit.endswith("-dirty")
        if known and json.loads(finished.read_text(encoding="utf-8")) == what:
            print(f"{outputs.name}: {name}: reused", file=sys.stderr)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "gan_augment", "-m", *settings, f"paths.output_dir='{folder}'"]
        start = time.perf_counter()
        with log.open("w", encoding="utf-8") as file:
            ended = subprocess.run(command, cwd=checkout, env=environment, stdout=file, stderr=subprocess.STDOUT)
        if ended.returncode:  # a trial that fails compares little
            raise SystemExit(f"{log.read_text(encoding='utf-8')}\n{checkout}: the study {name} failed, see above")
        finished.write_text(json.dumps(what), encoding="utf-8")
        print(f"{outputs.name}: {name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


def trials(outputs: Path) -> dict[str, Path]:
    """Return the folders of all trials, by variant and arm: what else their names hold may change."""
    folders = [path.parent for path in sorted(outputs.glob("*/studies/same/trials/*/record.json"))]
    named = {f"{path.relative_to(outputs).parts[0]}/{path.name.rsplit('-seed', 1)[0]}": path for path in folders}
    assert len(named) == len(folders), "two trials of one variant have the same arm"
    return named


def stages(trial: Path) -> dict[str, Path]:
    """Return the folders of a trial's stages, by the part that each plays in it."""
    keys = json.loads((trial / "record.json").read_text())["provenance"]["stages"]
    found = {role: [*trial.parents[3].glob(f"store/*/{key}")] for role, key in keys.items()}
    return {role: folders[0] for role, folders in sorted(found.items()) if folders}


def read_stage(folder: Path) -> dict[str, Any]:
    """Read the weights, arrays and scalars in a folder, and what its checkpoints say of their networks.

    The scalars of a tag are one array of steps and values, `[N, 2]`.
    """
    found: dict[str, Any] = {}
    of_trial = (folder / "record.json").exists()  # its weights are those of its stages
    for path in () if of_trial else sorted(folder.glob("*.pt")):
        content = torch.load(path, map_location="cpu", weights_only=True)
        for network, state in content["networks"].items():
            found.update({f"{path.name} {network} {name}": tensor.numpy() for name, tensor in state.items()})
        found.update({f"{path.name} about {name}": content["about"].get(name) for name in ABOUT})
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            found.update({f"{path.name} {name}": arrays[name] for name in arrays.files})
    points: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((folder / "tensorboard").glob("events.out.tfevents.*")):
        values = ((event.step, value) for event in EventFileLoader(str(path)).Load() for value in event.summary.value)
        for step, value in values:
            if value.metadata.plugin_data.plugin_name == "scalars" and value.tag not in SPEEDS:
                points.setdefault(f"{SCALAR}{value.tag}", []).append((step, make_ndarray(value.tensor).item()))
    return found | {name: np.array(pairs, dtype=np.float64) for name, pairs in points.items()}


def read_fields(trial: Path, with_factors: bool) -> dict[str, Any]:
    """Read the fields of a record that a refactoring must not change."""
    record = json.loads((trial / "record.json").read_text(encoding="utf-8"))
    parts = ("status", "error", "metrics", "saw", "notes", "warnings", *(("factors",) if with_factors else ()))
    provenance = {name: record["provenance"].get(name) for name in PROVENANCE}
    checkpoint = record["provenance"].get("checkpoint") or {}
    provenance["checkpoint"] = {name: checkpoint.get(name) for name in ("images_seen", "chosen_by")}
    return flat({**{part: record[part] for part in parts if part in record}, "provenance": provenance})


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give nested values dotted names; an empty mapping or list is as good as none."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": leaf for inner, leaf in flat(value).items()})
        elif value != []:
            found[name] = value
    return found


def difference(mine: Any, other: Any) -> str | None:
    """Say how two values differ: arrays in any bit, plain values in their JSON; None if they do not."""
    if not isinstance(mine, np.ndarray):
        texts = [json.dumps(value) for value in (mine, other)]
        return None if texts[0] == texts[1] else " against ".join(text[:200] for text in texts)
    if (mine.dtype, mine.shape) != (other.dtype, other.shape):
        return f"{mine.dtype} {list(mine.shape)} against {other.dtype} {list(other.shape)}"
    if mine.tobytes() == other.tobytes():
        return None
    unequal = f"{np.count_nonzero(mine != other)} of {mine.size} numbers differ"
    apart = mine.astype(np.float64) - other.astype(np.float64) if mine.dtype.kind in "biuf" else np.zeros(1)
    return f"{unequal}, by {np.abs(apart).max():.2g} at most"


def differences(where: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """List what only one of two mappings has, and what both have with other values."""
    lines = [f"{where}: {name}: only in mine" for name in mine if name not in other]
    lines += [f"{where}: {name}: only in the other" for name in other if name not in mine]
    found = {name: difference(mine[name], other[name]) for name in mine if name in other}
    return lines + [f"{where}: {name}: {how}" for name, how in found.items() if how is not None]


def compare(mine: Path, other: Path, with_factors: bool) -> tuple[list[str], Counter[str]]:
    """Compare the outputs of two checkouts.

    Returns:
        The differences, and how many things of each kind both have; stages that trials share count once.
    """
    both = (trials(mine), trials(other))
    lines, counts = differences("trials", *({name: None for name in one} for one in both)), Counter[str]()
    compared: set[tuple[Path, Path]] = set()
    for trial in (name for name in both[0] if name in both[1]):
        folders = [{**stages(one[trial]), "trial": one[trial]} for one in both]
        lines += differences(trial, *({name: None for name in one} for one in folders))
        fields = [read_fields(one[trial], with_factors) for one in both]
        lines += differences(trial, *fields)
        counts["trials"] += 1
        counts["record fields"] += len(fields[0])
        for part in (name for name in folders[0] if name in folders[1]):
            pair = (folders[0][part], folders[1][part])
            if pair in compared:
                continue
            compared.add(pair)
            contents = [read_stage(one) for one in pair]
            lines += differences(f"{trial}: {part}", *contents)
            arrays = {name: value for name, value in contents[0].items() if isinstance(value, np.ndarray)}
            scalars = [len(value) for name, value in arrays.items() if name.startswith(SCALAR)]
            counts["stages"] += part != "trial"
            counts["tensors"] += len(arrays) - len(scalars)
            counts["scalars"] += sum(scalars)
    return lines, counts


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("other", type=Path, metavar="OTHER_CHECKOUT", help="the checkout to compare this one with")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the outputs here, and reuse the other's")
    parser.add_argument("--without-factors", action="store_true", help="ignore factors, after options were renamed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        train(options.other.resolve(), folder / "other", reuse=True)
        train(MINE, folder / "mine", reuse=False)
        lines, counts = compare(folder / "mine", folder / "other", with_factors=not options.without_factors)
    if lines:
        print(*lines, sep="\n")
        raise SystemExit(1)
    kinds = ("trials", "stages", "tensors", "record fields", "scalars")
    print(f"no difference in {', '.join(f'{counts[kind]} {kind}' for kind in kinds)}")


if __name__ == "__main__":
    main()
