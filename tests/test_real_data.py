"""Checks on the real MNIST: GAN_AUGMENT_DATA names a folder that holds MNIST/raw."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DATA = os.environ.get("GAN_AUGMENT_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DATA is None, reason="GAN_AUGMENT_DATA does not name a folder that holds MNIST/"),
]


@pytest.fixture(scope="session")
def real_mnist(tmp_path_factory):
    """Copy MNIST, because reading it may unpack it."""
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(Path(DATA) / "MNIST", root / "MNIST", copy_function=shutil.copyfile)
    return root


def test_mnist_is_the_published_one(real_mnist):
    from gan_augment.data.standard_sets import mnist

    source = mnist(str(real_mnist))
    train, test = source.images.labels[:60_000], source.images.labels[60_000:]
    assert train.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert source.images.images[:60_000].double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_a_trial_with_ten_labels_a_class_stays_under_three_gib(real_mnist, tmp_path):
    command = [sys.executable, "-m", "gan_augment", "data=mnist", "labels_per_class=10", "augmentation=gan_classical"]
    subprocess.run([*command, "seed=100", f"paths.data_dir={real_mnist}", f"paths.output_dir={tmp_path}"], check=True)
    (path,) = tmp_path.glob("studies/*/trials/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    assert record["saw"]["labelled"] == 100
    assert record["provenance"]["test_images"] == 10_000
    assert record["metrics"]["validation"]["accuracy"] > 0.75
    assert record["costs"]["peak_memory_mib"] < 3 * 1024
