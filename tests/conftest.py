"""What several tests share. Torch is imported where it is needed: the tests of reports do without."""

import bz2
import copy
import functools
import json
import logging
import os
import signal
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

import hypothesis
import numpy as np
import pytest

# One thread for these tests and all processes that they start, unless OMP_NUM_THREADS is set already. This must come
# before torch is imported. pytest-xdist runs several tests at a time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Under `nohup`, or in the background of a script, Ctrl-C is ignored, here and in the processes that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here is timed, and every run draws the same examples.
hypothesis.settings.register_profile("tests", deadline=None, database=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("tests")

TINY = (
    "generator.images_seen=640",
    "classifier.num_steps=20",
    "synthesis.per_class=8",
    "trainer.num_threads=1",
    "architecture.channels=8",
    "classifier.network.channels=4",
    "measures.judge.num_steps=20",
    "measures.judge.network.channels=4",
    "measures.judge.network.num_features=8",
    "semi_supervised.num_steps=20",
    "semi_supervised.network.channels=4",
    "translation.images_seen=640",
    "translation.translator.channels=4",
    "pseudo_labels.threshold=0",  # what a teacher of 20 steps says is taken as it is
)

SMALL_MNIST = (12_000, 500)  # training and test images
SMALL_USPS = (200, 50)  # images that differ: write_usps knows 256


ACCELERATORS = ["cpu", pytest.param("gpu", marks=pytest.mark.gpu)]


def pytest_runtest_setup(item):
    """Skip tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no NVIDIA GPU")


# The configuration nodes of a small GAN.
GAN_NODES = {
    "architecture": {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 5, "width": 8},
    "conditioning": {"_target_": "gan_augment.networks.conditioning.Projection"},
    "loss": {"_target_": "gan_augment.losses.adversarial.NonSaturating"},
    "penalty": {"_target_": "gan_augment.losses.penalties.Penalties"},
    "discriminator_augmentation": {
        "_target_": "gan_augment.augmentation.discriminator.DiffAugment",
        **dict.fromkeys(("brightness", "saturation", "contrast", "translation", "cutout"), 0),
    },
    "generator": {
        "_target_": "gan_augment.generators.gan.GANGenerator",
        "images_seen": 960,
        "batch_size": 16,
        "discriminator_steps": 1,
        "reuse_fakes": False,
        "generator_learning_rate": 0.002,
        "discriminator_learning_rate": 0.002,
        "betas": [0.5, 0.999],
        "decay": False,
        "ema_half_life": 1000,
        "ema_ramp_up": 0.05,
    },
}


# Those of a small judge, and of transforms that change nothing.
NO_TRANSFORM = {
    "_target_": "gan_augment.augmentation.classical.ClassicalTransform",
    **{"shift": 0.0, "rotation": 0.0, "scale": 0.0, "flip": False},
}
JUDGE_NODE = {
    "_target_": "gan_augment.measures.judge.Judge",
    "network": {"_target_": "gan_augment.networks.judge.Judge", "_partial_": True, "channels": 4, "num_features": 6},
    "num_steps": 60,
    "batch_size": 16,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "inception": False,
    "every": None,
    "best_by": None,
}


def gan_design(nodes=GAN_NODES):
    """Build the design of a GAN from configuration nodes."""
    from gan_augment.augmentation.discriminator import DiffAugment
    from gan_augment.generators.design import GANDesign
    from gan_augment.generators.gan import PARTS, GANGenerator
    from gan_augment.losses.adversarial import AdversarialLoss
    from gan_augment.losses.penalties import Penalties
    from gan_augment.networks.architecture import Architecture
    from gan_augment.networks.conditioning import Conditioning
    from gan_augment.settings import build

    kinds = (Architecture, Conditioning, AdversarialLoss, Penalties, DiffAugment)
    parts = [build(nodes[name], name, kind) for name, kind in zip(PARTS, kinds, strict=True)]
    settings = build(nodes["generator"], "generator", GANGenerator)
    return GANDesign(*parts, settings, {name: nodes[name] for name in PARTS})


def gan_stage(labelled, nodes=GAN_NODES, seed=0, hardware=None, pool=None, pseudo_labels=None, watch=None):
    """Plan the stage that trains a GAN, on the CPU unless `hardware` says otherwise."""
    from gan_augment.generators.gan import TrainGAN
    from gan_augment.training.hardware import Hardware

    return TrainGAN(
        labelled=labelled,
        design=gan_design(nodes),
        pool=pool,
        pseudo_labels=pseudo_labels,
        watch=watch,
        seed=seed,
        hardware=hardware or Hardware(accelerator="cpu", precision="32-true", num_threads=1),
    )


@pytest.fixture
def nothing_hangs():
    """End a test that waits for a pipe or reads without end."""

    def end(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.delenv("GAN_AUGMENT_DATA", raising=False)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run `gan-augment` with some arguments in this process."""
    from hydra.core.global_hydra import GlobalHydra

    from gan_augment.app import main

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def launch(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan-augment", *map(str, arguments)])
        for owner, name in ((sys, "excepthook"), (threading, "excepthook"), (logging, "raiseExceptions")):
            monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it is put back afterwards
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            GlobalHydra.instance().clear()
            for handler in root.handlers[:]:
                if handler not in handlers:
                    root.removeHandler(handler)
                    with suppress(OSError):  # of a log on a full disk
                        handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
        said = capsys.readouterr()
        return Ended(end.value.code or 0, said.out, said.err)

    return launch


@pytest.fixture
def measured(cli, tmp_path):
    """Run a tiny trial of a GAN with some measures; return its record and its folder."""

    def run(measures, *overrides):
        words = [word for word in TINY if not word.startswith("measures")]
        ended = cli(*words, f"measures=[{measures}]", "labels=5", *overrides, f"paths.output_dir={tmp_path}")
        assert ended.code == 0, ended.err
        (path,) = tmp_path.glob("studies/*/trials/*/record.json")
        return json.loads(path.read_text()), path.parent

    return run


@pytest.fixture
def commanded(capsys):
    """Run the `main` of a command; return its exit code and what it printed."""

    def run(main, *arguments):
        capsys.readouterr()
        code = 0
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture(scope="session")
def plain_settings():
    """Compose the configuration of one trial, tiny, with some overrides, into plain values; the same ones once."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from gan_augment.app import CONF
    from gan_augment.job import plain

    @functools.cache
    def composed(overrides):
        with initialize_config_dir(str(CONF)):
            config = compose("config", overrides=[*TINY, *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        return plain(config)

    return lambda *overrides: copy.deepcopy(composed(overrides))


@pytest.fixture(scope="session")
def shared_outputs(tmp_path_factory):
    """Return an output folder for trials that may share stages: one for all processes that run tests."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "outputs"


@pytest.fixture
def cpu():
    from gan_augment.training.hardware import Hardware

    return Hardware(accelerator="cpu", precision="32-true", num_threads=1)


@pytest.fixture
def image_set():
    """Make up images of some classes: noise around a level of gray that tells the class."""
    import torch

    from gan_augment.data.image_set import ImageSet

    def make(per_class=10, num_classes=3, size=8, channels=1, seed=0):
        labels = torch.arange(num_classes).repeat_interleave(per_class)
        random = torch.Generator().manual_seed(seed)
        noise = torch.randint(-30, 31, (len(labels), channels, size, size), generator=random)
        level = 30 + 195 * labels // max(1, num_classes - 1)
        images = (level[:, None, None, None] + noise).clamp(0, 255).to(torch.uint8)
        return ImageSet(images, labels, [f"class{label}" for label in range(num_classes)])

    return make


@pytest.fixture
def mapped(tmp_path):
    """Put the images of a set into a file."""
    import itertools

    from gan_augment.data.image_set import ImageSet, MappedImages

    names = (tmp_path / f"mapped{number}.npy" for number in itertools.count())

    def put(images):
        path = next(names)
        np.save(path, images.images.numpy())
        return ImageSet(MappedImages(path, np.arange(len(images)), images.hashes), images.labels, images.class_names)

    return put


def write_usps(folder, lengths):
    """Make up USPS's two files: image i is white up to its pixel i % 256, black behind, and of class i % 10."""
    lines = [" ".join(f"{n + 1}:{1 if n <= last else -1}" for n in range(256)) for last in range(256)]
    folder.mkdir()
    for name, length in zip(("usps.bz2", "usps.t.bz2"), lengths, strict=True):
        text = "".join(f"{i % 10 + 1} {lines[i % 256]}\n" for i in range(length))
        (folder / name).write_bytes(bz2.compress(text.encode(), compresslevel=1))


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """Make up MNIST's four files, uncompressed: noise of the right size, fewer images; Fashion-MNIST is the same.

    And those of USPS.
    """
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, length in zip(("train", "t10k"), SMALL_MNIST, strict=True):
        images = random.integers(0, 256, (length, 28, 28), dtype=np.uint8)
        labels = (np.arange(length) % 10).astype(np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, length) + labels.tobytes())
    (root / "FashionMNIST").symlink_to("MNIST")
    write_usps(root / "USPS", SMALL_USPS)
    return root


@pytest.fixture
def mnist_folder(small_mnist, monkeypatch):
    """Let MNIST, Fashion-MNIST and USPS be as small as the files that are made up here."""
    from gan_augment.data.standard_sets import LENGTHS

    for name, lengths in {"MNIST": SMALL_MNIST, "FashionMNIST": SMALL_MNIST, "USPS": SMALL_USPS}.items():
        monkeypatch.setitem(LENGTHS, name, lengths)
    return small_mnist


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Make up three photographs, of noise, and let them be all that MNIST-M needs."""
    from PIL import Image

    from gan_augment.data import mnist_m
    from gan_augment.records.record import digest

    folder = tmp_path / "BSDS500" / "train"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in (("10.jpg", (321, 481, 3)), ("20.jpg", (481, 321, 3)), ("30.jpg", (321, 481, 3))):
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    monkeypatch.setattr(mnist_m, "NAMES", digest(["10.jpg", "20.jpg", "30.jpg"]))
    return folder


def source_node(name):
    """Read the node of a data set's source from its YAML: all but what becomes of its images."""
    import yaml

    from gan_augment.app import CONF

    node = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    return {key: value for key, value in node.items() if key not in ("test_share", "classical")}


@pytest.fixture
def tiny_backbone(monkeypatch):
    """Let frozen features be those of a tiny random backbone; return its node."""
    import torch

    from gan_augment.networks.backbone import Backbone

    class Tiny(Backbone):
        channels, num_features, origin = {4: 3, 8: 5, 16: 7}, 7, None

        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(3, 3, 4, stride=4)
            self.others = torch.nn.ModuleList([torch.nn.Conv2d(3, 5, 2, stride=2), torch.nn.Conv2d(5, 7, 2, stride=2)])

        def maps(self, images, strides):
            found = [self.first(images.expand(-1, 3, -1, -1)).tanh()]
            for layer in self.others:
                found.append(layer(found[-1]).tanh())
            return found

        def forward(self, images):
            return self.maps(images, [16])[-1].mean(dim=(2, 3))

    monkeypatch.setattr("gan_augment.networks.projected.build", lambda node, name, kind: Tiny())
    return {"_target_": "tiny"}
