from types import SimpleNamespace

import pytest

from gan_augment.data.toy import ring
from gan_augment.measures.base import Finished
from gan_augment.measures.modes import FoundModes
from gan_augment.records.findings import Findings


@pytest.fixture(scope="module")
def source():
    return ring(2500)


def found_modes(synthetic, modes, images_seen=30_000):
    generator = SimpleNamespace(about={"images_seen": images_seen})
    finished = Finished(None, None, modes, {"gan": None}, {}, None, None, "test")
    vars(finished).update(synthetic=synthetic, generator=generator)  # instead of what would be loaded
    return FoundModes().find(finished)


def test_a_dropped_mode_is_warned_of(source):
    assert source.modes is not None
    found = found_modes(source.images, source.modes)
    assert found.metrics["gan"]["modes_found"] == 8
    assert found.warnings == ()
    right = (source.images.images[:, 0, 0, 0] > -0.1).nonzero().squeeze(1)
    found = found_modes(source.images.subset(right), source.modes)
    assert found.metrics["gan"]["modes_found"] == 5
    assert found.warnings == ("Mode collapse: 3 of 8 modes have no sample near them",)
    assert found_modes(source.images.subset(right), source.modes, images_seen=1280).warnings == (
        "Too little training (only 1,280 images seen): 3 of 8 modes have no sample near them",
    )


def test_modes_are_found_where_the_density_is_known(source):
    assert set(found_modes(source.images, source.modes).metrics) == {"gan"}
    assert found_modes(source.images, None) == Findings()
