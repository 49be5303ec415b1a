import hashlib
import io
import os
import pickle
import tarfile
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10

from conftest import source_node, write_usps
from gan_augment.app import CONF
from gan_augment.augmentation.classical import ClassicalTransform
from gan_augment.data.source import Source
from gan_augment.data.standard_sets import LENGTHS, cifar10, digits, fashion_mnist, mnist, usps
from gan_augment.settings import build


def test_digits_are_scikit_learns_in_its_order():
    source, reference = digits(), load_digits()
    assert source.images.images.shape == (1797, 1, 8, 8)
    assert source.images.images.dtype == torch.uint8
    assert source.images.labels.tolist() == reference.target.tolist()
    assert source.images.class_names == [str(name) for name in range(10)]
    assert source.test is None
    levels = source.images.images[:, 0].double().mul(16 / 255).round().numpy()
    assert (levels == reference.images).all()
    assert source.images.images.max() == 255


@pytest.mark.parametrize("size", [16, 5])
def test_digits_can_be_resized(size):
    small, resized = digits().images, digits(image_size=size).images
    assert resized.images.shape == (1797, 1, size, size)
    assert torch.equal(resized.labels, small.labels)
    brightness = [images.images.double().mean(dim=(1, 2, 3)) for images in (small, resized)]
    assert torch.corrcoef(torch.stack(brightness))[0, 1] > 0.95


def test_the_size_that_images_have_changes_nothing():
    assert digits(image_size=8).images.fingerprint == digits().images.fingerprint


def test_mnist_reads_training_and_test_images(mnist_folder):
    source = mnist(str(mnist_folder))
    train, test = LENGTHS["MNIST"]
    assert source.images.images.shape == (train + test, 1, 28, 28)
    assert source.images.labels[[0, 13, train + 3]].tolist() == [0, 3, 3]
    assert source.test.tolist() == list(range(train, train + test))
    raw = (mnist_folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert source.images.images[train:].numpy().tobytes() == raw


def test_mnist_of_another_length_is_refused(small_mnist):
    with pytest.raises(ValueError, match=r"has \[12000, 500\] images instead of \[60000, 10000\]"):
        mnist(str(small_mnist))


# ------------------------------------------------------------------------------------- the other published sets


def test_fashion_mnist_reads_training_and_test_images(mnist_folder, tmp_path):
    (tmp_path / "FashionMNIST").symlink_to(mnist_folder / "MNIST")
    source, twin = fashion_mnist(str(tmp_path)), mnist(str(mnist_folder))
    assert torch.equal(source.images.images, twin.images.images)
    assert torch.equal(source.images.labels, twin.images.labels)
    assert torch.equal(source.test, twin.test)
    assert source.images.class_names[0] == "T-shirt/top"
    assert source.images.class_names[9] == "Ankle boot"


def test_usps_reads_training_and_test_images(tmp_path, monkeypatch):
    monkeypatch.setitem(LENGTHS, "USPS", (291, 107))
    write_usps(tmp_path / "USPS", LENGTHS["USPS"])
    source = build(source_node("usps") | {"root": str(tmp_path)}, "data", Source)
    assert source.images.images.shape == (398, 1, 16, 16)
    assert source.test.tolist() == list(range(291, 398))
    assert source.images.labels[[0, 13, 291 + 4]].tolist() == [0, 3, 4]
    assert source.images.class_names == [str(name) for name in range(10)]
    expected = torch.zeros(256, dtype=torch.uint8)
    expected[:101] = 255
    assert torch.equal(source.images.images[291 + 100].flatten(), expected)


def test_usps_laid_out_as_mnist_has_a_border_of_four_pixels(tmp_path, monkeypatch):
    monkeypatch.setitem(LENGTHS, "USPS", (256, 20))
    write_usps(tmp_path / "USPS", LENGTHS["USPS"])
    source, plain = usps(str(tmp_path), image_size=28, layout="mnist"), usps(str(tmp_path), image_size=20)
    framed = source.images.images
    assert framed.shape == (276, 1, 28, 28)
    inside = framed[:, :, 4:24, 4:24]
    assert inside.equal(plain.images.images)
    assert (inside[255] == 255).all()  # a white image: the border is no wider
    assert framed.sum() == inside.sum()  # and black
    assert source.images.labels.equal(plain.images.labels)
    assert source.test.equal(plain.test)
    assert usps(str(tmp_path), layout="mnist").images.images.equal(framed)  # 28 pixels by default


def test_another_layout_of_usps_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^data\.layout=centre: use one of mnist$"):
        usps(str(tmp_path), layout="centre")
    with pytest.raises(ValueError, match=r"^data\.image_size=6: use a whole number of at least 7$"):
        usps(str(tmp_path), image_size=6, layout="mnist")


def test_usps_of_another_length_is_refused(tmp_path):
    write_usps(tmp_path / "USPS", (12, 10))
    with pytest.raises(ValueError, match=r"USPS in .*USPS has \[12, 10\] images instead of \[7291, 2007\]"):
        usps(str(tmp_path))


CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def cifar_folder(tmp_path, monkeypatch):
    """Make up CIFAR-10's archive, small: image i is red i % 256, green i // 256 and its last pixel of row 1 blue."""
    monkeypatch.setitem(LENGTHS, "CIFAR10", (500, 100))
    batches = {name: np.arange(100 * n, 100 * (n + 1)) for n, (name, _) in enumerate(CIFAR10.train_list)}
    batches["test_batch"] = np.arange(500, 600)
    sums = {}
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:

        def add(name, content):
            packed = pickle.dumps(content)
            sums[name] = hashlib.md5(packed).hexdigest()
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(packed)
            archive.addfile(info, io.BytesIO(packed))

        for name, numbers in batches.items():
            data = np.zeros((100, 3, 32, 32), dtype=np.uint8)
            data[:, 0], data[:, 1] = (numbers % 256)[:, None, None], (numbers // 256)[:, None, None]
            data[:, 2, 0, 31] = 255
            add(name, {"data": data.reshape(100, -1), "labels": (numbers % 10).tolist()})
        add("batches.meta", {"label_names": CIFAR_CLASSES})
    packed = (tmp_path / "cifar-10-python.tar.gz").read_bytes()
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(packed).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    return tmp_path


def test_cifar10_unpacks_and_reads_training_and_test_images(cifar_folder, offline):
    source = build(source_node("cifar10") | {"root": str(cifar_folder)}, "data", Source)
    assert source.images.images.shape == (600, 3, 32, 32)
    assert source.test.tolist() == list(range(500, 600))
    assert source.images.labels.tolist() == [i % 10 for i in range(600)]
    assert source.images.class_names == CIFAR_CLASSES
    i = 523
    red, green, blue = source.images.images[i]
    assert set(red.flatten().tolist()) == {i % 256}
    assert set(green.flatten().tolist()) == {i // 256}
    assert blue.nonzero().tolist() == [[0, 31]]


def test_a_changed_file_of_cifar10_is_not_unpickled(tmp_path, offline):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"delete the broken files there, and they are downloaded again$"):
        cifar10(str(tmp_path))
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def offline(monkeypatch):
    """Let every download fail at once."""

    def no_network(*arguments, **settings):
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)


@pytest.mark.parametrize(
    ("load", "name", "folder", "num_files"),
    [
        (mnist, "MNIST", "MNIST/raw", "four"),
        (fashion_mnist, "FashionMNIST", "FashionMNIST/raw", "four"),
        (usps, "USPS", "USPS", "two"),
        (cifar10, "CIFAR10", "cifar-10-batches-py", "seven"),
    ],
)
def test_sets_that_cannot_be_had_say_where_to_put_them(tmp_path, offline, load, name, folder, num_files):
    with pytest.raises(ValueError, match=r"\(.*(no route to host|Error downloading).*\)") as error:
        load(str(tmp_path))
    said = str(error.value)
    assert said.startswith(f"{name} could not be downloaded to or read from {tmp_path / folder} (")
    assert said.endswith(f": put its {num_files} files there, or set paths.data_dir to a folder that has {folder}")
    assert "\n" not in said


def test_a_cut_off_file_of_usps_is_to_be_deleted(tmp_path):
    write_usps(tmp_path / "USPS", (12, 10))
    path = tmp_path / "USPS" / "usps.t.bz2"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"delete the broken files there, and they are downloaded again$"):
        usps(str(tmp_path))


def test_the_lengths_are_the_published_ones():
    assert LENGTHS == {
        "MNIST": (60_000, 10_000),  # LeCun et al. 1998
        "FashionMNIST": (60_000, 10_000),  # Xiao et al. 2017
        "USPS": (7_291, 2_007),  # Hull 1994
        "CIFAR10": (50_000, 10_000),  # Krizhevsky 2009
    }


@pytest.mark.parametrize(("name", "flip"), [("usps", False), ("fashion_mnist", True), ("cifar10", True)])
def test_only_digits_are_not_mirrored(name, flip):
    node = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())["classical"]
    transform = build(node, "data.classical", ClassicalTransform)
    assert transform.flip is flip
    assert transform.rotation < 45
