"""Checks on published sets: GAN_AUGMENT_DATA names a folder that holds MNIST/raw, FashionMNIST/raw and USPS.

BSDS500 may be there too, with its training photographs in a folder `train` at any depth.
"""

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
    pytest.mark.skipif(DATA is None, reason="GAN_AUGMENT_DATA does not name a folder of data sets"),
]


@pytest.fixture(scope="session")
def real_data(tmp_path_factory):
    """Copy the data sets, because reading them may unpack them."""
    root = tmp_path_factory.mktemp("real")
    for name in ("MNIST", "FashionMNIST", "USPS"):
        shutil.copytree(Path(DATA) / name, root / name, copy_function=shutil.copyfile)
    return root


def test_mnist_is_the_published_one(real_data):
    from gan_augment.data.standard_sets import mnist

    source = mnist(str(real_data))
    train, test = source.images.labels[:60_000], source.images.labels[60_000:]
    assert train.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert source.images.images[:60_000].double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_fashion_mnist_is_the_published_one(real_data):
    from gan_augment.data.standard_sets import fashion_mnist

    images = fashion_mnist(str(real_data)).images
    assert images.labels[:60_000].bincount().tolist() == [6000] * 10
    assert images.labels[60_000:].bincount().tolist() == [1000] * 10
    assert images.class_names[images.labels[0]] == "Ankle boot"
    assert images.images[:60_000].double().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_usps_is_the_published_one(real_data):
    from gan_augment.data.standard_sets import usps

    images = usps(str(real_data)).images
    assert images.images.shape == (9_298, 1, 16, 16)
    assert images.labels[:7_291].bincount().tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert images.labels[7_291:].bincount().tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]


def test_usps_laid_out_as_mnist_fills_the_inner_twenty_pixels(real_data):
    from gan_augment.data.standard_sets import usps

    framed, plain = (usps(str(real_data), **how).images for how in ({"layout": "mnist"}, {"image_size": 20}))
    assert framed.images.shape == (9_298, 1, 28, 28)
    assert framed.images[:, :, 4:24, 4:24].equal(plain.images)
    assert framed.images.sum() == plain.images.sum()  # the border is black
    ink = framed.images[:, 0].amax(dim=0) > 127
    assert ink.any(dim=1).nonzero()[[0, -1], 0].tolist() == [4, 23]  # as the digits of MNIST lie
    assert ink.any(dim=0).nonzero()[[0, -1], 0].tolist() == [4, 23]


def test_mnist_m_is_made_of_bsds500(real_data):
    from gan_augment.data.mnist_m import mnist_m

    folders = [*Path(DATA).glob("BSDS500/**/train")]
    if not folders:
        pytest.skip("GAN_AUGMENT_DATA has no BSDS500")
    source = mnist_m(str(real_data), patches_dir=str(folders[0]))
    assert source.images.images.shape == (70_000, 3, 28, 28)
    assert len({row.tobytes() for row in source.images.hashes}) == 70_000
    # Two decoders of JPEG may differ by a level or two.
    means = source.images.images.double().mean(dim=(2, 3)) / 255
    assert means[:60_000].mean(dim=0).tolist() == pytest.approx([0.4631, 0.4666, 0.4183], abs=1e-3)
    assert means[0].tolist() == pytest.approx([0.3457, 0.4126, 0.2617], abs=5e-3)


def test_a_trial_with_ten_labels_a_class_stays_under_three_gib(real_data, tmp_path):
    command = [sys.executable, "-m", "gan_augment", "data=mnist", "labels=10", "augmentation=gan_classical"]
    subprocess.run([*command, "seed=100", f"paths.data_dir={real_data}", f"paths.output_dir={tmp_path}"], check=True)
    (path,) = tmp_path.glob("studies/*/trials/*/record.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok"
    assert record["saw"]["labelled"] == 100
    assert record["provenance"]["test_images"] == 10_000
    assert record["metrics"]["validation"]["accuracy"] > 0.75
    assert record["costs"]["peak_memory_mib"] < 3 * 1024
