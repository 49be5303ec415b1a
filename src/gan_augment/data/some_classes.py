"""Some classes of another source, such as those that a generator has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gan_augment.data.domains import load_node
from gan_augment.data.image_set import ImageSet
from gan_augment.data.names import find_class
from gan_augment.data.source import Source


def some_classes(of: Mapping[str, Any], classes: Sequence[str]) -> Source:
    """Keep the images of some classes of a data node, in its order. Images without a label are left out, with a note.

    Raises:
        ValueError: If the node cannot be loaded, joins two domains, or a class is unknown or named twice.
    """
    source = load_node(of, "data.of")
    if source.pool is not None:
        raise ValueError("data.of joins two domains: choose classes of one of them")
    if not isinstance(classes, list | tuple) or not classes:
        raise ValueError(f"data.classes={classes}: use a list of class names")
    known = source.images.class_names
    names = [find_class(said, known) for said in classes]
    if unknown := [str(said) for said, name in zip(classes, names, strict=True) if name is None]:
        raise ValueError(f"data.classes names {', '.join(unknown)}: use some of {', '.join(known)}")
    if len({*names}) < len(names):
        raise ValueError(f"data.classes={[*classes]} names a class twice")
    label_of = torch.full((len(known) + 1,), -1)  # the last stands for no label
    kept_names = [name for name in known if name in names]
    label_of[[known.index(name) for name in kept_names]] = torch.arange(len(kept_names))
    labels = label_of[source.images.labels]
    kept = (labels >= 0).nonzero()[:, 0]
    unlabelled = int((source.images.labels < 0).sum())
    chosen = source.subset(kept)
    return replace(
        chosen,
        images=ImageSet(chosen.images.images, labels[kept], kept_names),
        notes=[*source.notes, *([f"{unlabelled} images without a label are left out"] if unlabelled else [])],
    )
