"""The configuration of a trial: every node parsed once into the object that it describes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from gan_augment.arm import Arm
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.split import SplitSettings
from gan_augment.records.factors import OF_THE_LAUNCH
from gan_augment.settings import build, build_chosen, check_boolean, check_integer, check_names
from gan_augment.targets import check_targets
from gan_augment.training.hardware import Hardware

Kind = TypeVar("Kind")
# Settings that are plain values, not nodes of a group.
PLAIN = ("data", "labels", "imbalance", "validation_per_class", "folds", "open_test", "seeds", "measures")


@dataclass(frozen=True)
class Seeds:
    """The seeds of a trial.

    Attributes:
        split: Which images are labelled.
        gan: The training of the generator.
        synthesis: Latents of the synthetic images.
        classifier: The training of the classifier.

    Raises:
        ValueError: If one is not a whole number of at least 0.
    """

    split: int
    gan: int
    synthesis: int
    classifier: int

    def __post_init__(self) -> None:
        for name, seed in vars(self).items():
            check_integer(f"seeds.{name}", seed, low=0)


@dataclass(frozen=True, eq=False)
class Config:
    """A parsed configuration.

    Attributes:
        settings: Its plain values; `choices` names the chosen member of each group.
        parts: The object of each node with a `_target_`, by the name of the node; None if nothing is chosen.
        measures: The chosen measures, by name.
        source: The node of the image source.
        classical: The node of the label-preserving transforms of this data set; None for points.
        open_test: Whether the trial evaluates the test images at its end.
    """

    settings: Mapping[str, Any]
    parts: Mapping[str, Any]
    measures: Mapping[str, Any]
    source: Mapping[str, Any]
    classical: Mapping[str, Any] | None
    split: SplitSettings
    open_test: bool
    seeds: Seeds

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Config":
        """Parse every node of a plain configuration.

        Raises:
            ValueError: If a setting is unknown, missing or out of range.
        """
        check_targets(settings)
        for name in settings["choices"]:
            node: Any = settings
            for part in name.split("."):
                node = node.get(part) if isinstance(node, Mapping) else None
            if not isinstance(node, Mapping):
                group = name.rpartition(".")[2]
                raise ValueError(f"{name}={node}: choose one of the members of conf/{group}/")
        nodes = {name: node for name, node in settings.items() if isinstance(node, Mapping) and "_target_" in node}
        values = {name: value for name, value in settings.items() if name not in nodes or name == "data"}
        check_names("the configuration", values, (*PLAIN, *OF_THE_LAUNCH))
        check_boolean("open_test", settings["open_test"])
        check_names("imbalance", settings["imbalance"], ("classes", "share"))
        source = {**nodes.pop("data", {})}
        if missing := [name for name in ("test_share", "classical") if name not in source]:
            raise ValueError(f"data lacks {', '.join(missing)}: a file of conf/data/ sets them next to its source")
        test_share, classical = source.pop("test_share"), source.pop("classical")
        if classical is not None:
            build(classical, "data.classical", ClassicalTransform)
        check_names("seeds", settings["seeds"], [seed.name for seed in fields(Seeds)])
        seeds, rare = Seeds(**settings["seeds"]), settings["imbalance"]
        held_out = settings["validation_per_class"], test_share, settings["folds"]
        return cls(
            settings=settings,
            source=source,
            classical=classical,
            parts={name: build_chosen(name, node) for name, node in nodes.items()},
            measures={name: build_chosen(f"measures.{name}", node) for name, node in settings["measures"].items()},
            split=SplitSettings(seeds.split, settings["labels"], rare["classes"], rare["share"], *held_out),
            open_test=settings["open_test"],
            seeds=seeds,
        )

    @property
    def arm(self) -> Arm:
        """The arm."""
        return self.part("augmentation", Arm)

    @property
    def hardware(self) -> Hardware:
        """The hardware the trial runs on."""
        return self.part("trainer", Hardware)

    def part(self, name: str, kind: type[Kind]) -> Kind:
        """Return the object of a node; raise a ValueError if there is none, or it has another type."""
        found = self.parts.get(name)
        if not isinstance(found, kind):
            now = "nothing" if found is None else f"of type {type(found).__name__}"
            raise ValueError(f"{name} is {now}, but one of type {kind.__name__} is needed: choose one of conf/{name}/")
        return found

    def names(self, kind: type[Any]) -> list[str]:
        """Return the names of the nodes whose objects have a type, and of those where nothing is chosen."""
        return [name for name, part in self.parts.items() if part is None or isinstance(part, kind)]
