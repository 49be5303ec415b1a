"""What choosing a step would have changed, on a tiny study of two domains, from the command line."""

import json

import numpy as np
import pytest

from gan_augment.measures.selection import VALIDATORS


@pytest.fixture
def two_domains(tmp_path):
    """Save digits of two classes of brightness, and the same in negative; return the settings that name them."""
    random = np.random.default_rng(0)
    for name in ("here", "there"):
        labels = np.arange(80) % 2
        pixels = (60 + 120 * labels)[:, None, None] + random.integers(-40, 40, (80, 8, 8))
        seen = (255 - pixels if name == "there" else pixels).astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=seen, labels=labels)
    rest = ",".join(f"{name}:null" for name in ("labels", "layout", "value_range", "image_size"))
    target = "_target_:gan_augment.data.arrays.arrays,allow_synthetic:false"
    return [
        "data=domains",
        *(
            f"data.{key}={{{target},{rest},images:{tmp_path / f'{name}.npz'}}}"
            for key, name in (("from", "here"), ("to", "there"))
        ),
    ]


@pytest.mark.parametrize("open_test", [True, False])
def test_each_validator_chooses_one_of_ten_steps_and_the_oracle_the_best(two_domains, measured, open_test):
    record, _ = measured(
        "selection", *two_domains, "augmentation=dann", "labels=all", f"open_test={str(open_test).lower()}"
    )
    found = record["metrics"]["selection"]
    assert [one["step"] for one in found["looks"]] == [*range(2, 21, 2)]
    assert all({*VALIDATORS} <= one.keys() for one in found["looks"])
    if not open_test:
        assert found.keys() == {"looks"}
        assert not any("target_accuracy" in one for one in found["looks"])
        assert not record["sections"]
        return
    reached = [one["target_accuracy"] for one in found["looks"]]
    assert found["last"] == reached[-1] == pytest.approx(record["metrics"]["test"]["accuracy"])
    assert found["oracle"] == max(reached)
    assert found["added"] == pytest.approx(max(reached) - reached[-1])
    best = max(range(10), key=lambda number: found["looks"][number]["source_accuracy"])
    ties = [one for one in found["looks"] if one["source_accuracy"] == found["looks"][best]["source_accuracy"]]
    assert found["source_accuracy"] == ties[-1]["target_accuracy"]
    assert "Choosing a step" in record["sections"]
    assert json.dumps(record)  # plain values


def test_it_does_not_apply_to_images_of_one_domain(measured):
    record, _ = measured("selection", "augmentation=none")
    assert "selection" not in record["metrics"]
