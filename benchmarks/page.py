"""Write the tables of `docs/performance.md` anew from `results.json` and `results-gpu.json`.

    python benchmarks/page.py

Each stands between two comments that name it; the text around them stays as it is.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from racing import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MISSING = "Not measured."
RIVALS = {
    "tutorial": "times the tutorial's speed",
    "tutorial, TF32": "times the tutorial's in TF32",
    "ours": "times ours",
    "bare": "times the bare loop's",
}
Results = Mapping[str, Any]


def table(heads: list[str], rows: list[list[Any]]) -> str:
    """Lay out a table in Markdown, without its empty columns."""
    kept = [place for place, head in enumerate(heads) if place == 0 or any(row[place] is not None for row in rows)]
    heads, *rows = ([line[place] for place in kept] for line in (heads, *rows))
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines)


def steps(found: Results) -> str:
    """Show a race of trainings."""
    rows = []
    for name, result in found["contestants"].items():
        if "left_out" in result:
            rows.append([name, result["left_out"], *[None] * 9])
            continue
        against = result.get("speed against", {})
        share = result.get("of peak")
        rows.append(
            [
                name,
                result["ms"],
                result.get("images_per_second"),
                *(f"{against[rival]:.2f}" if rival in against else None for rival in RIVALS),
                None if share is None else f"{100 * share:.0f} %",
                f"{100 * result['data']:.1f} %" if name.startswith("ours") else None,
                result["peak_mib"],
                result.get("peak_gpu_mib"),
            ]
        )
        if "gflops" in result:
            rows[-1][1:3] = [result["ms"], f"({result['gflops']} GFLOP/s)"]
    heads = ["", "ms a step", "images/s", *RIVALS.values(), "of the peak", "data", "MiB", "MiB of the GPU"]
    return table(heads, rows)


def processors(results: Results) -> str:
    """Show the three loops on each kind of processor."""
    names = {"mlp": "fully connected GAN", "dcgan": "convolutional GAN", "classifier": "classifier"}
    rows: dict[tuple[str, str], list[Any]] = {}
    for column, name in enumerate(names):
        for kind in (name, f"quick {name}"):
            for processor, found in results.get(kind, {}).items():
                loops = found["contestants"]
                if any("left_out" in loops[loop] for loop in ("tutorial", "ours", "bare")):
                    continue
                row = rows.setdefault((processor, kind.removesuffix(name)), [None] * 2 * len(names))
                row[2 * column] = f"{loops['ours']['speed against']['tutorial']:.2f}"
                row[2 * column + 1] = f"{loops['bare']['speed against']['ours']:.2f}"
    heads = [
        head for name in names.values() for head in (f"{name}: times the tutorial's speed", "times as long as bare")
    ]
    found = [[f"{processor}{', --quick' if quick else ''}", *row] for (processor, quick), row in sorted(rows.items())]
    return table(["", *heads], found)


def growth(found: Results) -> str:
    """Show how a step grows."""
    rows = [
        [name, result["left_out"], None, None, None]
        if "left_out" in result
        else [name, result["ms"], f"{result['times as long']:.2f}", f"{100 * result['data']:.1f} %", result["peak_mib"]]
        for name, result in found["contestants"].items()
    ]
    return table(["", "ms a step", "times as long as the first", "data", "MiB"], rows)


def kernels(found: Results) -> str:
    """Show what steps ask of a GPU."""
    rows = [
        [name, result["ms"], result["kernels"], result["copies"], f"{100 * result['busy']:.0f} %"]
        if "failed" not in result
        else [name, result["failed"], None, None, None]
        for name, result in found["trainings"].items()
    ]
    return table(["", "ms a step", "kernels", "copies", "busy"], rows)


def waits(found: Results) -> str:
    """Show which methods wait for the GPU, or fail there."""
    rows = [
        [name, "<br>".join([*result["wrong"], *result["waits"]]).replace("|", "\\|")]
        for name, result in found["methods"].items()
        if result["wrong"]
    ]
    count = f"Of {len(found['methods'])} methods, {len(rows) or 'none'} wait or fail."
    return f"{count}\n\n{table(['', ''], rows)}" if rows else count


def pairs(found: Results) -> str:
    """Show whatever has a name."""
    hidden = ("commit", "sources", "machine", "rounds")
    plain = {name: value for name, value in found.items() if name not in hidden}
    flat = {}
    for name, value in plain.items():
        flat |= value if isinstance(value, dict) else {name.replace("_", " "): value}
    if "shares" in found:
        flat = {name: f"{100 * share:.1f} %" for name, share in found["shares"].items()}
    return table(["", ""], [[name, value] for name, value in flat.items()])


def show(name: str, results: Results) -> str:
    """Show the results of one benchmark on each kind of processor, and where they are from."""
    if name == "processors":
        return processors(results)
    return "\n\n".join(one(name, *found) for found in results.get(name, {}).items()) or MISSING


def one(name: str, processor: str, found: Results) -> str:
    """Show the results of one benchmark on one kind of processor, and where they are from."""
    kind = {"GPU kernels": kernels, "GPU waits": waits}.get(name, pairs)
    if "contestants" in found:
        kind = growth if "growth" in name else steps
    where = found["machine"]
    versions = ", ".join(f"{library} {version}" for library, version in where["versions"].items())
    code = f"Commit {(found['commit'] or 'unknown')[:7]}, sources {found['sources']}"
    return f"{kind(found)}\n\n{code}; {processor}, {where['threads']} threads; {versions}."


def main() -> None:
    """Fill the page."""
    kept = {kind: json.loads(file.read_text(encoding="utf-8")) for kind, file in RESULTS.items() if file.exists()}
    results = kept["cpu"] | {f"GPU {name}": found for name, found in kept.get("gpu", {}).items()}
    place = re.compile(r"(<!-- (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
    page = place.sub(lambda found: f"{found[1]}{show(found[2], results)}\n{found[3]}", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
