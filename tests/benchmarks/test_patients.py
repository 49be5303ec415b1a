import sys
from pathlib import Path

import numpy as np

sys.path += [str(Path(__file__).parents[2] / "benchmarks")]

from patients import draw_patients, lines, study, truth


def test_images_of_a_patient_are_alike():
    images, classes = draw_patients(2000, np.random.default_rng(0))
    ill = images[classes == 1].astype(float)
    common = np.cov(ill[:, 0, 1, 1], ill[:, 1, 1, 1])
    assert 0.7 < common[0, 1] / common[0, 0] < 0.9  # 24^2 of 24^2 + 12^2
    assert np.bincount(classes).tolist() == [1000, 1000]


def test_with_group_by_the_interval_holds_and_without_it_a_note_asks_for_it():
    target = truth(200)
    found = [study(number, target) for number in range(100, 104)]
    told, untold = zip(*found, strict=True)
    assert sum(one.holds for one in told) >= 3
    assert {one.notes for one in told} == {()}
    assert {note.split(": ")[0] for one in untold for note in one.notes} == {
        "file names look as if 300 images belong together in 60 groups"
    }
    first, second = lines(found)
    assert first.startswith("with group_by: ")
    assert first.endswith("0 studies have a note")
    assert second.endswith("4 studies have a note")
