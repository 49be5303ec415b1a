"""The mark of synthetic images: what is written with them, and what is looked for before anything trains.

A PNG carries it in its texts, an `.npz` as a member. Whoever saves the pixels again without it takes it off.
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
    """Make the texts of a PNG that say of it that it is synthetic.

    Args:
        label: The name of the class that it is meant to show.
        provenance: Where it comes from: plain values.
    """
    texts = PngInfo()
    texts.add_text(KEY, json.dumps({"label": label, **provenance}))
    texts.add_text("Software", MAKER)
    texts.add_text("Description", f"Synthetic image of class {label}, made by a generator: not a photograph")
    return texts


def read_mark(image: Image.Image) -> str | None:
    """Return what a loaded image says of being synthetic, None if it says nothing."""
    return image.info.get(KEY)


def check_marked(setting: str, num_marked: int, num_images: int, example: str, allow_synthetic: bool) -> list[str]:
    """Raise if images say that they are synthetic and none may be.

    Args:
        setting: The setting that names the images, with its value.
        num_marked: How many say so.
        num_images: How many there are.
        example: What one of those that say so is called.
        allow_synthetic: Whether they may.

    Returns:
        What whoever reads a result on these images must know, a sentence if there is something.

    Raises:
        ValueError: If they may not.
    """
    if not num_marked:
        return []
    says = f"{num_marked:,} of {num_images:,} images {'says that it is' if num_marked == 1 else 'say that they are'}"
    if not allow_synthetic:
        raise ValueError(
            f"{setting}: {says} synthetic, for example {example}: a test on them would measure the generator; "
            "remove them, or set data.allow_synthetic=true"
        )
    return [f"{says} synthetic, made by gan-augment"]
