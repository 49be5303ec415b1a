"""Where and how precisely to train, and the Lightning Trainer that follows from it."""

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from gan_augment.callbacks.checkpoints import Checkpoints, WholeFiles, newest_checkpoint
from gan_augment.callbacks.guard import NotFiniteGuard
from gan_augment.callbacks.progress import Progress
from gan_augment.settings import check_choice, check_integer
from gan_augment.stages import CHECKPOINTS

# Lightning names the hardware at every training; the record does so once.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

DEFAULT_THREADS = torch.get_num_threads()

EXPECTED_WARNINGS = (
    "does not have many workers",  # loaders hand out indices from memory: worker processes would only cost
    "but have no `validation_step`",  # a GAN is not judged on validation images while it trains
    r"module\(s\) in eval mode at the start of training",  # the averaged generator
    "The number of training batches .* is smaller than the logging interval",  # curves of a few steps are empty
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning 2.6
)


class Events(TensorBoardLogger):
    """TensorBoard events in a stage's folder, without the number of the epoch: a training here is one epoch.

    Args:
        folder: The stage's folder.
        purge_from: Where on the axis earlier events cease to count, as a resumed training draws them again; None for
            nowhere.
    """

    def __init__(self, folder: Path, purge_from: int | None = None) -> None:
        super().__init__(folder, name="", version="tensorboard", default_hp_metric=False, purge_step=purge_from)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars at a step."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


@dataclass(frozen=True)
class Hardware:
    """The machine that a trial runs on.

    Attributes:
        accelerator: `cpu` or `gpu`.
        precision: Lightning's name of it: `32-true`, or `bf16-mixed`.
        num_threads: Threads that PyTorch computes with; None for its default, usually one a core.
        checkpoint_every: Steps between two checkpoints of a training in progress; None for none.
    """

    accelerator: str
    precision: str
    num_threads: int | None
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        """Refuse hardware that is not there."""
        check_choice("trainer.accelerator", self.accelerator, ("cpu", "gpu"))
        check_choice("trainer.precision", self.precision, ("32-true", "bf16-mixed"))
        if self.num_threads is not None:
            check_integer("trainer.num_threads", self.num_threads, low=1)
        if self.checkpoint_every is not None:
            check_integer("trainer.checkpoint_every", self.checkpoint_every, low=1)
        if self.accelerator == "gpu" and not torch.accelerator.is_available():
            raise ValueError("trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu")

    @property
    def device(self) -> torch.device:
        """The device that tensors live on."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        return accelerator

    @property
    def identity(self) -> dict[str, str]:
        """What a result depends on: precision and device type."""
        return {"precision": self.precision, "device": self.device.type}

    def use_threads(self) -> None:
        """Make PyTorch compute with the chosen number of threads."""
        torch.set_num_threads(self.num_threads or DEFAULT_THREADS)

    def fit(
        self,
        system: L.LightningModule,
        data: L.LightningDataModule,
        folder: Path,
        validate_every: int | None = None,
        callbacks: tuple[Callback, ...] = (),
        axis: Callable[[int], int] = int,
    ) -> None:
        """Train a system on every batch of its data, once, and log to `folder/tensorboard`.

        Where the folder holds a checkpoint of this training, it goes on from there.

        Args:
            system: What to train.
            data: Its batches.
            folder: The stage's folder.
            validate_every: Steps between two looks at the validation images; None for no look.
            callbacks: What else watches the training.
            axis: Where on the axis of its curves the points of a step stand.

        Raises:
            DivergedError: If the system's loss stops being finite.
        """
        self.use_threads()
        checkpoint = newest_checkpoint(folder / CHECKPOINTS)
        first_step = 0 if checkpoint is None else int(checkpoint.stem)
        logger = Events(folder, purge_from=axis(first_step))
        writing = [] if self.checkpoint_every is None else [Checkpoints(folder / CHECKPOINTS, self.checkpoint_every)]
        trainer = L.Trainer(
            accelerator=self.accelerator,
            devices=1,
            precision=self.precision,  # type: ignore[arg-type]
            max_epochs=1,
            val_check_interval=validate_every,
            limit_val_batches=0 if validate_every is None else None,
            num_sanity_val_steps=0,
            logger=logger,
            callbacks=[NotFiniteGuard(), Progress(), *callbacks, *writing],
            plugins=[WholeFiles()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic="warn" if self.accelerator == "gpu" else None,
            use_distributed_sampler=False,  # batches are a function of the step
        )
        with warnings.catch_warnings():
            for message in EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=f".*{message}")
            trainer.fit(system, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        logger.experiment.close()
