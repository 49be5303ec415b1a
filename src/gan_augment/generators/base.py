"""The base of stages that train a generator, and the length of their training: images, seconds or both."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from gan_augment.artefacts.generator import Generator, chosen_checkpoint
from gan_augment.contracts import Watch
from gan_augment.data.image_set import ImageSet
from gan_augment.records.findings import Findings
from gan_augment.settings import check_boolean, check_integer, check_number
from gan_augment.stages import Stage, made_from
from gan_augment.training.base import last_points

ENDLESS = 10**9  # steps of a training that a clock ends


def check_length(images_seen: int | None, seconds: float | None, decay: bool, fewest: int) -> None:
    """Check the length of a training, which sees at least `fewest` images.

    Raises:
        ValueError: If it is out of range, or nothing limits it.
    """
    if seconds is not None:
        check_number("generator.seconds", seconds, 0, 10_000_000, open_low=True)
    if images_seen is None and seconds is None:
        raise ValueError(
            "generator.images_seen=null and generator.seconds=null: nothing would end the training: set one"
        )
    if images_seen is not None:
        check_integer("generator.images_seen", images_seen, low=fewest)
    check_boolean("generator.decay", decay)


def count_steps(images_seen: int | None, batch_size: int) -> int:
    """Return the steps of a training if no clock ends it before."""
    return ENDLESS if images_seen is None else images_seen // batch_size


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainGenerator(Stage):
    """Trains a generator.

    Attributes:
        labelled: The images it learns from.
        pool: Unlabelled images that it also learns from; None for none.
        pseudo_labels: The stage that labels the pool, for a generator that knows classes; without one it sees all.
        watch: Measures it during training.
    """

    labelled: ImageSet
    pool: ImageSet | None = made_from()
    pseudo_labels: Stage | None = made_from()
    watch: Watch | None = made_from()

    @property
    def watched(self) -> dict[str, Any]:
        """The watch among the settings, as in keys of stored stages."""
        return {"judge_every": None, "best_by": None} if self.watch is None else self.watch.settings

    def seen(self, made: Mapping[str, Path]) -> ImageSet:
        """Return the images that it learns from, those of the pool included."""
        if self.pool is None:
            return self.labelled
        labels = None if self.pseudo_labels is None else self.pseudo_labels.load(made["pseudo_labels"])
        return self.labelled.joined(self.pool.as_one_class() if labels is None else labels.of(self.pool))

    def about(self, design: Mapping[str, Any], seen: ImageSet) -> dict[str, Any]:
        """Return the metadata of its checkpoint; `seen` may have clusters in place of classes."""
        return {
            "design": design,
            "shape": [*astuple(self.labelled.shape)],
            "class_names": [*self.labelled.class_names],
            "class_counts": self.labelled.class_counts.tolist(),
            "trained_on": self.labelled.fingerprint,
            "seed": self.seed,
            "label_counts": seen.class_counts.tolist(),
            "pool_images": len(seen) - len(self.labelled),
        }

    def load(self, folder: Path) -> Generator:
        """Read the generator: the best one if it was kept, or the last."""
        return Generator.load(self.checkpoint(folder), self.hardware.device)

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the weights that make the images."""
        return chosen_checkpoint(folder)

    @property
    def chosen_by(self) -> str | None:
        """The metric that chose the best generator."""
        return None if self.watch is None else self.watch.best_by

    def findings(self, folder: Path) -> Findings:
        """Return the last point of each curve, and a warning if validation images chose the generator."""
        warning = f"The generator is the best of its looks by {self.chosen_by}: results on validation images flatter it"
        return Findings({"gan": {"training": last_points(folder)}}, (warning,) if self.chosen_by else ())
