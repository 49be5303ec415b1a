"""The extra `given`: labelled images of any other generator, read from files and used in training only."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.contracts import Plan
from gan_augment.data.copies import copies_of
from gan_augment.data.image_set import ImageSet, absent_classes
from gan_augment.data.loading import load_source
from gan_augment.data.names import find_class
from gan_augment.data.source import HALVES, Source, abridged
from gan_augment.extras.synthetic import Synthetic
from gan_augment.generators.sampling import SyntheticStage
from gan_augment.generators.start import LEARNED_FROM_ANY
from gan_augment.stages import implied

FOLDER, ARRAYS = "gan_augment.data.image_folder.image_folder", "gan_augment.data.arrays.arrays"
AS_THE_DATA = ("fit", "white", "background", "skip_broken", "follow_links", "cache")  # how files of a folder are read
STYLEGAN = "dataset.json"
NAMED_BY = re.compile(r"data\.(root|images|table)=")  # options that name the files of a source


@dataclass(frozen=True)
class GivenSettings:
    """Where the given images are.

    Attributes:
        root: A folder with a sub-folder per class or with StyleGAN's `dataset.json`, or an `.npz` as of `data=arrays`;
            None for none.
        cache: Where decoded images are kept, for data that are not a folder of files themselves.
    """

    root: str | None
    cache: str

    def read(self, source: Mapping[str, Any], like: ImageSet) -> tuple[ImageSet, list[str]]:
        """Read the images in the size and colours of others, with their classes; `source` is the node of these.

        Return them, class after class, and notes for the reader of a result.

        Raises:
            ValueError: If there are none, they cannot be read, or their shape, their classes or their parts do not fit.
        """
        if self.root is None:
            raise ValueError(
                "augmentation.extra=given, but synthetic.root=null: name the folder or the .npz with the images"
            )
        where, shape = f"synthetic.root={self.root}", like.shape
        if shape.is_point:
            raise ValueError(f"{where}: the data are points, and files cannot hold such: use another arm")
        try:
            given = load_source(self.node(source, like))
        except ValueError as error:
            raise ValueError(NAMED_BY.sub("synthetic.root=", str(error))) from error
        if given.test is not None or given.validation is not None:
            raise ValueError(
                f"{where} has parts of a split, such as test: name the folder of the training images alone"
            )
        images = given.images
        if images.shape != shape:
            raise ValueError(
                f"{where}: the images are {images.shape.words}, but the data are {shape.words}: convert them"
            )
        if len(without := (images.labels < 0).nonzero()):
            raise ValueError(f"{where}: {len(without)} images have no label, such as {given.name(int(without[0]))}")
        return _with_classes(where, given, like.class_names)

    def node(self, source: Mapping[str, Any], like: ImageSet) -> dict[str, Any]:
        """Return the node of a source that reads the images as those of another source are read."""
        path = Path(str(self.root)).expanduser()
        side = like.shape.height if like.shape.height == like.shape.width else None
        if path.is_file():
            alike = {name: source[name] for name in ("value_range", "fit") if side and name in source}
            return {"_target_": ARRAYS, "images": str(path), "image_size": side, "allow_synthetic": True, **alike}
        if side is None:
            raise ValueError(
                f"synthetic.root={self.root}: the data are {like.shape.words}: give such images as an .npz"
            )
        alike = {"fit": "letterbox", "white": None, "skip_broken": False, "follow_links": False, "cache": self.cache}
        alike |= {name: source[name] for name in AS_THE_DATA if source.get(name) is not None}
        if alike["fit"] in HALVES:  # of two pictures side by side, which given images are not
            alike["fit"] = "stretch"
        table = str(path / STYLEGAN) if (path / STYLEGAN).is_file() else None
        further = {"table": table, "group_by": None, "image_size": side, "channels": like.shape.channels}
        return {"_target_": FOLDER, "root": str(path), **further, **alike, "allow_synthetic": True}


@dataclass(frozen=True, eq=False, kw_only=True)
class GivenImages(SyntheticStage):
    """Given images, as if a generator of this package had made them."""

    name, version = "synthesis", 1
    reads = ("synthetic",)

    given: ImageSet
    remarks: list[str] = implied()

    @property
    def notes(self) -> tuple[str, ...]:
        """What nobody here can check, and how the classes were read."""
        unknown = (
            f"the {len(self.given):,} given images are from another generator: if it learned from validation or test "
            "images, results are too good"
        )
        return (unknown, *self.remarks)

    def run(self, folder: Path, made: Mapping[str, Path]) -> None:
        """Write nothing: the images stay in their files."""

    def load(self, folder: Path) -> SyntheticSet:
        """Return the images as a set, numbered in the order of their files."""
        number = len(self.given)
        return SyntheticSet(self.given, torch.arange(number), torch.full((number,), math.nan), number)


@dataclass(frozen=True, eq=False)
class Given(Synthetic):
    """Images of another generator with their labels."""

    name = "given"
    sees = ("labelled",)

    @classmethod
    def plan(cls, plan: Plan) -> Self:
        """Read the images; raise a ValueError if there are copies of validation or test images among them."""
        settings, split, labelled = plan.config.part("synthetic", GivenSettings), plan.views.split, plan.views.labelled
        given, remarks = settings.read(plan.config.source, labelled)
        for part, images in {"validation": split.validation, "test": split.test}.items():
            if len(found := copies_of(images, given)):
                raise ValueError(
                    f"synthetic.root={settings.root}: {len(found)} of {len(given)} images are copies of {part} images, "
                    "pixel for pixel, and no training may see these: remove them"
                )
        if plan.config.split.folds is not None:
            remarks.append(LEARNED_FROM_ANY)
        hardware = plan.config.hardware
        return cls(GivenImages(given=given, like=labelled, remarks=remarks, seed=0, hardware=hardware))


def _with_classes(where: str, given: Source, class_names: Sequence[str]) -> tuple[ImageSet, list[str]]:
    """Give images the classes of the data, class after class: by name, or by their numbers if these are no names."""
    names, remarks = given.images.class_names, [f"of the given images: {note}" for note in given.notes]
    of = {name: find_class(name, class_names) for name in names}
    if not any(of.values()) and all(name.isdecimal() and int(name) < len(class_names) for name in names):
        of = {name: class_names[int(name)] for name in names}
        shown = abridged([f"{number} is {name}" for number, name in of.items()])
        remarks.append(f"the labels of the given images are numbers of classes: {shown}")
    if unknown := [name for name, known in of.items() if known is None]:
        known = abridged([*class_names], most=10)
        raise ValueError(f"{where} has the class {unknown[0]!r}, which the data have not: use {known}")
    label_of = torch.tensor([class_names.index(str(of[name])) for name in names])
    labels = label_of[given.images.labels]
    order = labels.argsort(stable=True)
    found = ImageSet(given.images.subset(order).images, labels[order], class_names)
    if lacking := absent_classes(found):
        raise ValueError(f"{where} has no image of class {abridged([repr(name) for name in lacking])}: add some")
    return found, remarks
