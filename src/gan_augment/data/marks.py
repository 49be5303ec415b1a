"""The mark of synthetic images: written with them, and checked before anything trains.

A PNG carries it in its texts, an `.npz` as a member. Saving the pixels again with another program removes it.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = "gan-augment-synthetic"  # of a PNG's texts
MEMBER = "synthetic"  # of an npz
MAKER = f"gan-augment {version('gan-augment')}"


def png_mark(label: str, provenance: Mapping[str, Any]) -> PngInfo:
    """Return the texts that mark a PNG as synthetic: its class, and where it comes from, as plain values."""
    texts = PngInfo()
    texts.add_text(KEY, json.dumps({"label": label, **provenance}))
    texts.add_text("Software", MAKER)
    texts.add_text("Description", f"Synthetic image of class {label}, made by a generator: not a photograph")
    return texts


def read_mark(image: Image.Image) -> str | None:
    """Return the synthetic mark of a loaded image, None if it has none."""
    return image.info.get(KEY)


def check_marked(setting: str, num_marked: int, num_images: int, example: str, allow_synthetic: bool) -> list[str]:
    """Return a note if images are marked as synthetic, or none; the setting, with its value, says which images.

    Raises:
        ValueError: If there are marked images that are not allowed.
    """
    if not num_marked:
        return []
    marked = f"{num_marked:,} of {num_images:,} images {'is' if num_marked == 1 else 'are'} marked as synthetic"
    if not allow_synthetic:
        raise ValueError(
            f"{setting}: {marked}, for example {example}: a test on them would measure the generator; "
            "remove them, or set data.allow_synthetic=true"
        )
    return [f"{marked}, made by gan-augment"]
