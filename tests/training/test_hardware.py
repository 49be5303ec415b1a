import pytest
import torch

from conftest import GAN_NODES, gan_stage
from gan_augment.artefacts.weights import FILE, load_weights
from gan_augment.generators.gan_training import GAN
from gan_augment.training.hardware import DEFAULT_THREADS, Hardware, check_gpu

CPU = {"accelerator": "cpu", "precision": "32-true", "num_threads": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "tpu"}, "trainer.accelerator=tpu: use one of cpu, gpu"),
        ({"precision": "16"}, "trainer.precision=16: use one of 32-true, bf16-mixed"),
        ({"checkpoint_every": 0}, "trainer.checkpoint_every=0: use a number above 0 and at most 86400"),
        ({"num_threads": 0}, "trainer.num_threads=0: use a whole number of at least 1"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Hardware(**CPU | change)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^trainer=gpu, but PyTorch sees no GPU on this machine: use trainer=cpu$"):
        check_gpu("gpu")
    check_gpu("cpu")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "PL_TRAINER_STRATEGY",
            "ddp",
            "PL_TRAINER_STRATEGY=ddp in the environment would change Lightning's trainer: unset",
        ),
        ("PL_TRAINER_LIMIT_TRAIN_BATCHES", "0.1", "PL_TRAINER_LIMIT_TRAIN_BATCHES=0.1 in the environment would change"),
        (
            "WORLD_SIZE",
            "2",
            "WORLD_SIZE=2: this is one of several processes, but each would train by itself: set trainer.devices to ",
        ),
        ("SLURM_STEP_NUM_TASKS", "4", "SLURM_STEP_NUM_TASKS=4: this is one of several processes, "),
        ("OMPI_COMM_WORLD_SIZE", "2", "OMPI_COMM_WORLD_SIZE=2: this is one of several processes, "),
    ],
)
def test_a_training_that_nothing_would_synchronise_is_refused(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{message}"):
        Hardware(**CPU)
    monkeypatch.setenv(name, "1")
    if not name.startswith("PL_"):
        Hardware(**CPU)
    monkeypatch.delenv(name)  # the remedy
    Hardware(**CPU)


def test_results_depend_on_precision_and_device_and_not_on_threads():
    assert Hardware(**CPU).identity == {"precision": "32-true", "device": "cpu"}
    assert Hardware(**CPU | {"num_threads": 2}).identity == Hardware(**CPU).identity
    assert Hardware(**CPU | {"precision": "bf16-mixed"}).identity != Hardware(**CPU).identity


@pytest.mark.parametrize("name", ["channels_last", "compile"])
def test_what_rounds_otherwise_is_another_result_and_off_it_names_nothing(name):
    assert Hardware(**CPU | {name: True}).identity == {**Hardware(**CPU).identity, name: True}
    assert name not in Hardware(**CPU).identity
    with pytest.raises(ValueError, match=f"^trainer.{name}=yes: use true or false$"):
        Hardware(**CPU | {name: "yes"})


def test_compiling_without_a_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        ValueError, match=r"^trainer.compile=true, but there is no C\+\+ compiler \(g\+\+, clang\+\+, cl\)"
    ):
        Hardware(**CPU | {"compile": True})
    compiler = tmp_path / "mine"
    compiler.touch(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    Hardware(**CPU | {"compile": True})


def train(image_set, folder, **changes):
    images = image_set(size=16)
    hardware = Hardware(**CPU | {"num_threads": 1} | changes)
    kind = "gan_augment.networks.dcgan.DCGAN"
    nodes = {**GAN_NODES, "architecture": {"_target_": kind, "latent_dim": 5, "channels": 4, "spectral_norm": False}}
    nodes["generator"] = GAN_NODES["generator"] | {"images_seen": 96}
    stage = gan_stage(images, nodes, hardware=hardware)
    folder.mkdir(exist_ok=True)
    stage.run(folder, {})
    network = stage.design.generator(images.shape, images.num_classes)
    return torch.nn.utils.parameters_to_vector(load_weights(folder / FILE, "generator", network).parameters())


def assert_close_but_not_equal(one, other):
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_channels_lie_last_where_that_is_asked_for_and_change_rounding_alone(image_set, tmp_path, monkeypatch):
    layouts, step = set(), GAN.training_step

    def noted(self, batch, number):
        weights = [weight for weight in self.generator.parameters() if weight.ndim == 4 and weight.shape[1] > 1]
        layouts.update(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
        return step(self, batch, number)

    monkeypatch.setattr(GAN, "training_step", noted)
    first = train(image_set, tmp_path / "first")
    assert layouts == {False}
    layouts.clear()
    last = train(image_set, tmp_path / "last", channels_last=True)
    assert layouts == {True}
    assert_close_but_not_equal(last, first)


def test_networks_that_are_trained_are_compiled_and_averages_are_not(image_set, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    train(image_set, tmp_path / "plain")
    assert not compiled
    train(image_set, tmp_path / "compiled", compile=True)
    assert len(compiled) == 2
    assert all(weight.requires_grad for network in compiled for weight in network.parameters())


@pytest.mark.slow
def test_compiled_networks_change_rounding_alone(image_set, tmp_path):
    plain, compiled = train(image_set, tmp_path / "plain"), train(image_set, tmp_path / "compiled", compile=True)
    assert_close_but_not_equal(compiled, plain)


@pytest.mark.gpu
def test_no_step_on_a_gpu_waits_for_it(image_set, tmp_path, monkeypatch):
    step = GAN.training_step

    def watched(self, batch, number):
        torch.cuda.set_sync_debug_mode("error" if number else "default")  # the first step makes what all use
        try:
            return step(self, batch, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(GAN, "training_step", watched)
    monkeypatch.setattr(GAN, "_draw_curves", lambda self, step: None)  # which reads them, and says so
    train(image_set, tmp_path, accelerator="gpu")


def test_threads_are_set_where_they_are_chosen():
    before = torch.get_num_threads()
    try:
        Hardware(**CPU | {"num_threads": 3}).use_threads()
        assert torch.get_num_threads() == 3
        Hardware(**CPU).use_threads()  # does not keep what the trial before it chose
        assert torch.get_num_threads() == DEFAULT_THREADS
    finally:
        torch.set_num_threads(before)
