"""Several processes that share a training get the weights of one."""

import copy
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import torch
import torch.multiprocessing
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from torch import distributed, nn
from torch.multiprocessing.spawn import ProcessException

from gan_augment.app import CONF
from gan_augment.artefacts.weights import FILE
from gan_augment.generators.samples import SampleGrid
from gan_augment.job import plain
from gan_augment.plan import plan_trial
from gan_augment.training import replicas
from gan_augment.training.base import last_points
from gan_augment.training.hardware import Hardware

PROCESSES = 2
# The settings of a trial, and the stage that is trained. Each GAN takes ten steps of eight images.
CASES = {
    "mlp": ("gan", "architecture=mlp", "architecture.batch_std=true"),
    "mlp_batch_norm": ("gan", "architecture=mlp", "architecture.generator_batch_norm=true"),
    "dcgan": ("gan", "architecture=dcgan"),
    "dcgan_batch_norm": (
        "gan",
        "architecture=dcgan",
        "architecture.batch_norm=true",
        "spectral_norm=false",
        "loss=minimax",
    ),
    "resnet": ("gan", "architecture=resnet", "loss=hinge"),
    "r3gan": ("gan", "architecture=r3gan", "loss=relativistic"),
    "projected": ("gan", "architecture=projected", "loss=least_squares"),
    "wasserstein": ("gan", "loss=wasserstein", "generator.discriminator_steps=2"),
    "wasserstein_gp": ("gan", "loss=wasserstein_gp"),
    "r1": ("gan", "penalty=r1", "conditioning=acgan", "penalty.interval=3"),
    "r1_r2": ("gan", "penalty=r1_r2", "discriminator_augmentation=diffaugment", "conditioning=concat"),
    "gradient_penalty": ("gan", "penalty=gradient_penalty", "loss=minimax"),
    "reacgan": ("gan", "conditioning=reacgan"),
    "diffaugment": ("gan", "discriminator_augmentation=grouped", "generator.reuse_fakes=true"),
    "ada": ("gan", "discriminator_augmentation=ada"),
    "classifier": ("classifier", "classifier=cnn_batch_norm", "augmentation=classical"),
    "cnn": ("classifier", "augmentation=oversampling", "imbalance.classes=['3']", "imbalance.share=0.2", "labels=20"),
}
COMMON = (
    *("augmentation=gan_classical", "generator.images_seen=80", "generator.batch_size=8", "measures=[]"),
    *("classifier.num_steps=20", "classifier.network.channels=4", "trainer.num_threads=1", "synthesis.per_class=8"),
)


def work(rank, processes, port, settings, folder):
    """Train the cases in one of some processes; the first one leaves the weights."""
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": f"{processes}", "LOCAL_RANK": f"{rank}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # everything in 64 bits, so that only the order of sums can differ
    train = Hardware._fit

    def fit(self, system, data, checkpoint, **others):
        train(self, system.double(), data, checkpoint, **others)
        if processes > 1:
            mine = torch.cat([value.double().flatten() for value in system.state_dict().values()])
            first = mine.clone()
            distributed.broadcast(first, src=0)
            assert torch.equal(mine, first), "each process has the same weights, bit for bit"

    Hardware._fit = fit
    if rank:
        replicas.serve()
        return
    for name, some in settings.items():
        role = CASES[name][0]
        (folder / name / "checkpoints").mkdir(parents=True)
        stage = plan_trial(some).stages[role]
        with replicas.sharing(stage, {}):
            stage.run(folder / name, {})
    replicas.release()


def port():
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def settings_of(*words):
    """Compose a trial's settings into plain values."""
    with initialize_config_dir(str(CONF)):
        config = compose("config", overrides=[*COMMON, *words], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return plain(config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train all cases in one process and in two, and return their folders."""
    folders = []
    for processes in (1, PROCESSES):
        settings = {name: settings_of(*words, f"trainer.devices={processes}") for name, (_, *words) in CASES.items()}
        folders.append(tmp_path_factory.mktemp(f"{processes}"))
        torch.multiprocessing.spawn(work, (processes, port(), settings, folders[-1]), nprocs=processes)
    return folders


@pytest.mark.parametrize("name", CASES)
def test_two_processes_get_the_weights_and_curves_of_one(trained, name):
    one, two = (folder / name for folder in trained)
    alone, shared = (flat(torch.load(folder / FILE, weights_only=True)) for folder in (one, two))
    assert alone.keys() == shared.keys()
    for part, weights in alone.items():
        assert (weights - shared[part]).norm() < 1e-9 * weights.norm(), part
    if CASES[name][0] == "gan":
        assert last_points(two) == pytest.approx(last_points(one), rel=1e-9)


def flat(content):
    """Return the weights of a checkpoint by network, each as one vector."""
    vectors = {}
    for name, network in content["networks"].items():
        vectors[name] = torch.cat([value.double().flatten() for value in network.values()])
    return vectors


def broken(rank, number, settings, folder):
    """Train together, with an error in the first process alone."""
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{number}"}
    if rank:
        replicas.serve()
        return

    def full(*arguments):
        raise OSError("no space left on device")

    SampleGrid.on_train_batch_end = full
    stage = plan_trial(settings).stages["gan"]
    with pytest.raises(OSError, match="no space left"), replicas.sharing(stage, {}):
        stage.run(folder, {})
    try:
        replicas.release()
    except SystemExit as end:
        (folder / "code").write_text(f"{end.code}")
        os._exit(1)


def test_an_error_in_the_first_process_ends_all(tmp_path):
    settings = settings_of("trainer.devices=2", "generator.images_seen=800")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ProcessException):
        torch.multiprocessing.spawn(broken, (port(), settings, tmp_path), nprocs=2)
    assert (tmp_path / "code").read_text() == "1"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6, 3, 4, 4), (6, 3)])
def test_batch_norm_of_one_process_is_that_of_torch(tmp_path, dtype, shape):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        own = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3)
        whole, features = copy.deepcopy(own), torch.randn(shape).to(dtype)
        with replicas.together(whole), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = whole(features)
        wanted = own(features)
        assert found.dtype == wanted.dtype == dtype
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(whole.state_dict(), own.state_dict())
    finally:
        distributed.destroy_process_group()


def together(folder, log):
    """Start a trial in two processes through torchrun."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={PROCESSES}"]
    command = [*torchrun, f"--master-port={port()}", "-m", "gan_augment", *SHARED, f"paths.output_dir={folder}"]
    with log.open("w") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


SHARED = (
    *("study=s", "augmentation=gan", "trainer.devices=2", "trainer.num_threads=1", "trainer.checkpoint_every=0.2"),
    *("generator.images_seen=12800", "architecture.channels=8", "classifier.num_steps=20", "measures=[]"),
)


def test_a_killed_process_ends_all_and_the_same_command_goes_on(tmp_path):
    log = tmp_path / "log"
    assert together(tmp_path / "whole", log).wait() == 0, log.read_text()
    killed = together(tmp_path / "killed", log)
    end = time.monotonic() + 120
    while not [*tmp_path.glob("killed/store/gan/*.partial/checkpoints/*.ckpt")]:
        assert time.monotonic() < end
        time.sleep(0.02)
    processes = subprocess.run(["pgrep", "-P", f"{killed.pid}"], capture_output=True, text=True, check=True)
    os.kill(int(processes.stdout.split()[1]), signal.SIGKILL)  # the second process
    assert killed.wait() != 0
    assert together(tmp_path / "killed", log).wait() == 0, log.read_text()
    assert "resumed after" in log.read_text()
    weights = [flat(torch.load(one, weights_only=True)) for one in sorted(tmp_path.glob("*/studies/s/trials/*/gan.pt"))]
    assert len(weights) == 2
    for part, values in weights[0].items():
        assert torch.equal(values, weights[1][part])


@pytest.mark.parametrize(
    ("words", "role", "message"),
    [
        (["conditioning=per_class"], "gan", "a process may have no image of some class"),
        (["generator.batch_size=9"], "gan", "9 images of a batch cannot be shared by 2 processes"),
        (["augmentation=mixup"], "classifier", "mixup and cutmix mix the images of a batch"),
        (["augmentation.share=0.3", "classifier.batch_size=10"], "classifier", "7 images of a batch cannot be shared"),
        (
            ["augmentation=none", "classifier=resnet18", "classifier.network.name=efficientnet_b0"],
            "classifier",
            "draws ",
        ),
        (["augmentation=consistency"], "classifier", "the stage consistency trains on one device"),
        (["trainer.compile=true"], "gan", ".compile=true trains on one device"),
    ],
)
def test_what_would_not_give_the_same_result_is_refused(monkeypatch, tmp_path, words, role, message):
    monkeypatch.setenv("WORLD_SIZE", "2")
    without = [word for word in COMMON if not (role == "classifier" and word.startswith("classifier.network"))]
    monkeypatch.setattr(f"{__name__}.COMMON", without)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match=f"trainer.*{message}"):
        plan_trial(settings_of(*words, "trainer.devices=2")).stages[role].run(tmp_path, {})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "ask for 2 processes, but there are 1: start them with torchrun, or set hydra.launcher.nodes and "),
        (("-m", "hydra/launcher=slurm"), "ask for 2 processes, but there are 1: start them with torchrun, or set "),
        (
            ("-m", "hydra/launcher=joblib"),
            "trainer.devices=2 shares each training, and hydra/launcher=joblib runs trials",
        ),
    ],
)
def test_as_many_processes_as_devices_must_be_there(cli, tmp_path, words, line):
    ended = cli(*words, "augmentation=none", "trainer.devices=2", f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert line in ended.err


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1")])
def test_a_training_that_cannot_be_shared_is_refused_before_any_other(cli, tmp_path, monkeypatch, words):
    monkeypatch.setenv("WORLD_SIZE", "2")
    few = ("augmentation=gan_classical", "generator.batch_size=9", "generator.images_seen=900", "measures=[]")
    monkeypatch.setattr("gan_augment.app.sharing", lambda: nullcontext(True))  # no other process is there
    ended = cli(*words, *few, "trainer.devices=2", f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert "trainer.devices: 9 images of a batch cannot be shared by 2 processes" in ended.err
    assert not [*tmp_path.glob("store/*/*")]
