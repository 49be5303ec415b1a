"""Loading: the images that a configuration describes, once for the trials of a study."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from gan_augment.data.copies import copy_notes, find_copies
from gan_augment.data.groups import group_notes
from gan_augment.data.inspection import inspection_notes
from gan_augment.data.source import Source
from gan_augment.settings import build


def load_source(node: Mapping[str, Any]) -> Source:
    """Load the images that a node describes, with notes on what they look like; the trials of a study share them.

    Raises:
        ValueError: If a setting is out of range, or the images cannot be read.
    """
    return _load(json.dumps(node))


@lru_cache(maxsize=4)  # a study may sweep the size of its images, and read given ones too
def _load(node: str) -> Source:
    source = build(json.loads(node), "data", Source)
    copies = find_copies(source)
    names = tuple(tuple(source.name(index) for index in group) for group in copies)
    found = (*source.notes, *inspection_notes(source), *copy_notes(source, copies), *group_notes(source))
    return replace(source, notes=found, copies=names)
