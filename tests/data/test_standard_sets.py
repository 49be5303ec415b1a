import shutil

import pytest
import torch
from sklearn.datasets import load_digits

from gan_augment.data.standard_sets import digits, mnist


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
    assert source.images.images.shape == (70_000, 1, 28, 28)
    assert source.images.labels[[0, 13, 60_003]].tolist() == [0, 3, 3]
    assert source.test.tolist() == list(range(60_000, 70_000))
    raw = (mnist_folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert source.images.images[60_000:].numpy().tobytes() == raw


def test_mnist_of_another_length_is_refused(mnist_folder, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(mnist_folder / "MNIST" / "raw", raw)
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(raw / f"t10k-{kind}-ubyte", raw / f"train-{kind}-ubyte")
    with pytest.raises(ValueError, match=r"has \[10000, 10000\] images instead of \[60000, 10000\]"):
        mnist(str(tmp_path))
