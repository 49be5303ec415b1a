"""Build docs/reference.md from the comments in conf/."""

from pathlib import Path

from gan_augment.reference import page

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write the page."""
    path = ROOT / "docs" / "reference.md"
    path.write_text(page(ROOT / "conf"), encoding="utf-8")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
