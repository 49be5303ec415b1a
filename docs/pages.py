"""Build the page of every study: `docs/<study>/report.html` and `results.csv` from `results/<study>.jsonl`."""

from pathlib import Path

from gan_augment.report.page import write_report

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Build them in one process, which is faster than a `gan-augment-report` for each."""
    for path in sorted((ROOT / "results").glob("*.jsonl")):
        page = write_report([path], ROOT / "docs" / path.stem)
        print(page.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main()
