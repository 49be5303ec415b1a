"""The device and precision of a training, and the Lightning Trainer for them."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.profilers import PassThroughProfiler

from gan_augment.settings import check_boolean, check_choice, check_integer, check_number
from gan_augment.stages import CHECKPOINTS
from gan_augment.training import replicas
from gan_augment.training.base import Training
from gan_augment.training.budget import Budget
from gan_augment.training.checkpoints import Checkpoints, WholeFiles, newest_checkpoint
from gan_augment.training.guard import NotFiniteGuard
from gan_augment.training.progress import Progress
from gan_augment.training.rehearsal import rehearse

# Lightning logs the hardware for every training; the record holds it once.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

# Lightning sets it to 1: without a GPU, every optimizer step would then open the driver's library to search for one.
# That check is for processes that fork, and none does here.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"

COMPILERS = ("g++", "clang++", "cl")
# The number of processes, as torchrun, srun, submitit, Open MPI and MPICH tell them.
PROCESSES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SUBMITIT_LOCAL_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
DEFAULT_THREADS = torch.get_num_threads()
EXPECTED_WARNINGS = (
    "does not have many workers",  # loaders hand out indices from memory: worker processes would only cost
    "but have no `validation_step`",  # a GAN has no validation by Lightning
    r"module\(s\) in eval mode at the start of training",  # the averaged generator
    "The number of training batches .* is smaller than the logging interval",  # curves of a few steps are empty
    r"The \.grad attribute of a Tensor that is not a leaf Tensor",  # torch.compile reads weights under spectral norm
    r"It is recommended to use `self.log\(.*, sync_dist=True\)`",  # one process validates, on all images
    "The `srun` command is available on your system but is not used",  # each process trains alone
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning 2.6
)


class NoProfiler(PassThroughProfiler):
    """Measures nothing, more cheaply than Lightning's own, which enters about sixty contexts per step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return a context that does nothing."""
        return self._nothing


class Events(TensorBoardLogger):
    """TensorBoard events in a stage's folder, without epoch numbers: a training here is one epoch.

    A resumed training replaces earlier events from a position on the axis, `purge_from`; None keeps all.
    """

    def __init__(self, folder: Path, purge_from: int | None = None) -> None:
        super().__init__(folder, name="", version="tensorboard", default_hp_metric=False, purge_step=purge_from)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars at a step."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


def check_environment(environment: Mapping[str, str], processes: int) -> None:
    """Check that nothing from outside changes Lightning's trainer, or makes several processes train one by one.

    Raises:
        ValueError: If a variable of the environment does so.
    """
    for name, value in environment.items():
        if name.startswith("PL_TRAINER_"):
            raise ValueError(f"{name}={value} in the environment would change Lightning's trainer: unset it")
    for name in PROCESSES if processes == 1 else ():
        if environment.get(name, "1") != "1":
            raise ValueError(
                f"{name}={environment[name]}: this is one of several processes, but each would train by itself: set "
                "trainer.devices to their number, or start one (if you did, unset the variable); hydra/launcher runs "
                "trials in parallel"
            )


@dataclass(frozen=True)
class Hardware:
    """The machine a trial runs on.

    Attributes:
        accelerator: `cpu` or `gpu`.
        precision: Lightning's name: `32-true` or `bf16-mixed`.
        num_threads: PyTorch's threads; None for its default, usually one per core.
        channels_last: Whether images and feature maps are stored in memory with their channels last.
        compile: Whether to compile networks for training, which takes a minute first.
        checkpoint_every: Seconds between two checkpoints of a training; None for none.
        devices: Processes on each node that share a training, each with a device of its own.
        num_nodes: Nodes that share a training.

    Raises:
        ValueError: If a setting is out of range, the machine lacks the compiler, or this is one of several processes
            and none were asked for. A GPU may be missing where trials are only planned: see `check_gpu`.
    """

    accelerator: str
    precision: str
    num_threads: int | None
    channels_last: bool = False
    compile: bool = False
    checkpoint_every: float | None = None
    devices: int = 1
    num_nodes: int = 1

    def __post_init__(self) -> None:
        check_choice("trainer.accelerator", self.accelerator, ("cpu", "gpu"))
        check_choice("trainer.precision", self.precision, ("32-true", "bf16-mixed"))
        if self.num_threads is not None:
            check_integer("trainer.num_threads", self.num_threads, low=1)
        check_boolean("trainer.channels_last", self.channels_last)
        check_boolean("trainer.compile", self.compile)
        if self.checkpoint_every is not None:
            check_number("trainer.checkpoint_every", self.checkpoint_every, 0, 86_400, open_low=True)
        check_integer("trainer.devices", self.devices, low=1)
        check_integer("trainer.num_nodes", self.num_nodes, low=1)
        check_environment(os.environ, self.processes)
        if self.processes > 1 and self.compile:
            raise ValueError("trainer.compile=true trains on one device: use trainer.devices=1")
        if self.compile and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))):
            raise ValueError(
                f"trainer.compile=true, but there is no C++ compiler ({', '.join(COMPILERS)}) on this machine: install "
                "one, or leave it false"
            )

    @property
    def device(self) -> torch.device:
        """The device that tensors live on."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        accelerator = torch.accelerator.current_accelerator() or torch.device("cuda")  # of where jobs will run
        return accelerator if self.processes == 1 else torch.device(accelerator.type, replicas.local_rank())

    @property
    def processes(self) -> int:
        """How many processes share a training."""
        return self.devices * self.num_nodes

    @property
    def is_here(self) -> bool:
        """Whether this machine has what it asks for."""
        return self.accelerator == "cpu" or torch.accelerator.is_available()

    @property
    def card(self) -> str:
        """The name of the GPU, `cpu` without one, and how many of them share a training if it is several."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type
        return name if self.processes == 1 else f"{self.processes} x {name}"

    @property
    def identity(self) -> dict[str, Any]:
        """Everything a result depends on: precision, device type, and settings that change rounding."""
        others: dict[str, Any] = {name: True for name in ("channels_last", "compile") if getattr(self, name)}
        others |= {"processes": self.processes} if self.processes > 1 else {}
        return {"precision": self.precision, "device": self.device.type, **others}

    def use_threads(self) -> None:
        """Make PyTorch compute with the chosen number of threads."""
        torch.set_num_threads(self.num_threads or DEFAULT_THREADS)

    def fit(
        self,
        system: Training,
        data: L.LightningDataModule,
        folder: Path,
        validate_every: int | None = None,
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        """Train a system once on every batch of its data, and log to `tensorboard` in its stage's folder.

        If the folder holds a checkpoint of this training, resume from it. Validate every so many steps, if at all.

        Raises:
            DivergedError: If the system's loss stops being finite.
            Rehearsed: In a rehearsal, in place of the training.
        """
        self.use_threads()
        if self.channels_last:
            system.to(memory_format=torch.channels_last)
        if self.processes > 1:
            check_together(system, data, self.processes)
        with expected_warnings():
            rehearse(system, data, **self._trainer)
        for network in system.children():
            if self.compile and any(weight.requires_grad for weight in network.parameters()):  # not the averages
                network.compile()
        checkpoint = newest_checkpoint(folder / CHECKPOINTS)
        if self.processes > 1:
            check_started(self.processes, replicas.environment()[1])
            if not replicas.is_first():  # the first process alone logs, validates and writes
                self._fit(system, data, checkpoint, limit_val_batches=0, logger=False, callbacks=[NotFiniteGuard()])
                return
            replicas.share(checkpoint)
        logger = Events(folder, purge_from=system.axis(int(checkpoint.stem) if checkpoint else 0))
        clock = [] if system.seconds is None else [Budget(system.seconds)]
        writing = [] if self.checkpoint_every is None else [Checkpoints(folder / CHECKPOINTS, self.checkpoint_every)]
        settings: dict[str, Any] = {
            "val_check_interval": validate_every,
            "limit_val_batches": 0 if validate_every is None else None,
            "logger": logger,
            "callbacks": [*clock, NotFiniteGuard(), Progress(), *callbacks, *writing],
        }
        self._fit(system, data, checkpoint, **settings)
        logger.experiment.close()

    @property
    def _trainer(self) -> dict[str, Any]:
        """The settings of every Lightning trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": 1 if self.processes == 1 or self.accelerator == "cpu" else [replicas.local_rank()],
            "precision": self.precision,
            "max_epochs": 1,
            "num_sanity_val_steps": 0,
            "plugins": [WholeFiles(), LightningEnvironment()],  # whatever started this process
            "profiler": NoProfiler(),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "deterministic": "warn" if self.accelerator == "gpu" else None,
            "use_distributed_sampler": False,  # batches depend only on the step
        }

    def _fit(self, system: Training, data: L.LightningDataModule, checkpoint: Path | None, **settings: Any) -> None:
        """Train a system, in all processes if there are several."""
        sharing: AbstractContextManager[None] = nullcontext()
        if self.processes > 1:
            sharing, settings["callbacks"] = replicas.together(system), [replicas.Averaging(), *settings["callbacks"]]
        trainer = L.Trainer(**self._trainer, **settings)
        with expected_warnings(), sharing:
            trainer.fit(system, datamodule=data, ckpt_path=checkpoint, weights_only=True)


def check_gpu(accelerator: str) -> None:
    """Check that this machine has the GPU that is asked for, if one is; raise a ValueError if not."""
    if accelerator == "gpu" and not torch.accelerator.is_available():
        raise ValueError("trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu")


def check_started(processes: int, started: int) -> None:
    """Check that as many processes were started as a training asks for; raise a ValueError if not."""
    if started != processes:
        raise ValueError(
            f"trainer.devices and trainer.num_nodes ask for {processes} processes, but there are {started}: start them "
            "with torchrun, or set hydra.launcher.nodes and hydra.launcher.tasks_per_node of hydra/launcher=slurm"
        )


def check_together(system: Training, data: Any, processes: int) -> None:
    """Check that several processes can share a training.

    Raises:
        SharingError: If the result might be another one, or a batch cannot be divided equally.
    """
    if not system.TOGETHER:
        raise replicas.SharingError(f"{type(system).__name__} trains on one device: use trainer.devices=1")
    replicas.check_network(system)
    replicas.check_shares(data.sizes, processes)


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Hide warnings of Lightning and PyTorch that say nothing here."""
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=f".*{message}")
        yield
