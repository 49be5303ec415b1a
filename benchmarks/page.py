"""Write the tables of `docs/performance.md` anew from `results.json`.

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
        against = result.get("speed against", {})
        share = result.get("of peak")
        rows.append(
            [
                name,
                result["ms"],
                result.get("images_per_second"),
                *(f"{against[rival]:.2f}" if rival in against else None for rival in ("tutorial", "ours", "bare")),
                None if share is None else f"{100 * share:.0f} %",
                f"{100 * result['data']:.1f} %" if name.startswith("ours") else None,
                result["peak_mib"],
            ]
        )
        if "gflops" in result:
            rows[-1][1:3] = [result["ms"], f"({result['gflops']} GFLOP/s)"]
    heads = ["", "ms a step", "images/s", "times the tutorial's speed", "times ours", "times the bare loop's"]
    return table([*heads, "of the peak", "data", "MiB"], rows)


def growth(found: Results) -> str:
    """Show how a step grows."""
    rows = [
        [name, result["ms"], f"{result['times as long']:.2f}", f"{100 * result['data']:.1f} %", result["peak_mib"]]
        for name, result in found["contestants"].items()
    ]
    return table(["", "ms a step", "times as long as the first", "data", "MiB"], rows)


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
    """Show the results of one benchmark, and where they are from."""
    if name not in results:
        return MISSING
    found = results[name]
    kind = pairs
    if "contestants" in found:
        kind = growth if name.startswith("growth") else steps
    where = found["machine"]
    versions = ", ".join(f"{library} {version}" for library, version in where["versions"].items())
    code = f"Commit {found['commit'][:7]}, sources {found['sources']}"
    device = where["gpu"] if name.endswith("on a GPU") else where["cpu"]
    return f"{kind(found)}\n\n{code}; {device}, {where['threads']} threads; {versions}."


def main() -> None:
    """Fill the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    place = re.compile(r"(<!-- (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
    page = place.sub(lambda found: f"{found[1]}{show(found[2], results)}\n{found[3]}", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
