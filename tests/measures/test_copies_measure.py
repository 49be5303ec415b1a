from types import SimpleNamespace

import pytest
import torch

from gan_augment.artefacts.split_file import read_split
from gan_augment.data.image_set import ImageSet
from gan_augment.data.standard_sets import digits
from gan_augment.data.toy import ring
from gan_augment.measures.copies import Copies, in_words
from gan_augment.metrics.copies import Audit
from gan_augment.records.findings import Findings


@pytest.fixture(scope="module")
def parts():
    """Digits: training, validation, and fresh ones."""
    images = digits().images
    return [images.subset(torch.arange(first, 1797, 3)) for first in range(3)]


def find(made, training, validation, folder=None, **sets):
    stages = {"gan": SimpleNamespace(image_sets=sets)} if sets else {}
    split = SimpleNamespace(training=training, validation=validation)
    return Copies().find(SimpleNamespace(synthetic=made, split=split, stages=stages, folder=folder))


def test_honest_images_leave_a_sentence_on_what_would_have_been_found(parts):
    training, validation, fresh = parts
    labelled = training.subset(torch.arange(100))
    found = find(fresh, training, validation, labelled=labelled)
    metrics = found.metrics["gan"]["copies"]
    assert (metrics["named"], metrics["share"], metrics["share_low"]) == (0, 0, 0)
    assert (metrics["seen"], metrics["decoys"], metrics["generated"]) == (100, 100, len(fresh))
    (said,) = found.warnings
    assert said.startswith("no copies of training images were found")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (0.02, "no copies of training images were found; 2 % would have been"),
        (None, "no copies of training images were found, but 5 % copies could have been missed: there are few decoys"),
    ],
)
def test_what_would_have_been_found_is_said(limit, said):
    assert in_words(Audit(torch.zeros(9, dtype=torch.bool), torch.arange(9), limit, 0.5, 1, decoys=50)) == said


def test_copies_are_counted_and_drawn(parts, tmp_path):
    training, validation, fresh = parts
    labelled = training.subset(torch.arange(100))
    made = labelled.joined(fresh)
    found = find(made, training, validation, tmp_path, labelled=labelled)
    metrics = found.metrics["gan"]["copies"]
    assert metrics["named"] >= 95
    assert 0.1 < metrics["share_low"] < metrics["share"] < 0.16
    assert metrics["lean"] > 0.5
    (said,) = found.warnings
    assert (
        f"generated images (14.0 %, at least {100 * metrics['share_low']:.1f} %) are copies of" in said or "%" in said
    )
    assert (tmp_path / "copies.png").stat().st_size > 1000


def test_what_the_generator_saw_of_the_pool_is_seen_too(parts, tmp_path):
    training, validation, fresh = parts
    labelled, pool = training.subset(torch.arange(100)), training.subset(torch.arange(100, len(training)))
    made = pool.joined(fresh)
    of_labelled = find(made, training, validation, tmp_path, labelled=labelled)
    assert of_labelled.metrics["gan"]["copies"]["named"] == 0  # they are decoys
    of_both = find(made, training, validation, tmp_path, labelled=labelled, pool=pool.without_labels())
    assert of_both.metrics["gan"]["copies"]["named"] > 300


def test_given_images_are_compared_with_all_training_images(parts, tmp_path):
    training, validation, fresh = parts
    made = training.subset(torch.arange(200, 300)).joined(fresh)
    assert find(made, training, validation, tmp_path).metrics["gan"]["copies"]["named"] >= 90


def test_images_that_are_twice_in_the_data_are_no_decoys(parts, tmp_path):
    training, _, fresh = parts
    labelled = training.subset(torch.arange(300))
    twins = labelled.joined(fresh.subset(torch.arange(30)))
    found = find(labelled.joined(fresh), labelled.joined(labelled), twins, tmp_path, labelled=labelled)
    assert found.metrics["gan"]["copies"]["decoys"] <= 30


def test_few_decoys_are_refused_with_the_reason(parts):
    training, validation, fresh = parts
    found = find(fresh, training, validation.subset(torch.arange(10)), labelled=training)
    assert found.metrics["gan"]["copies"] == {"named": None, "decoys": 10}
    (why,) = found.warnings
    assert why.startswith("copies is refused: it needs 20 decoys, ")
    assert "has 10; set validation_per_class to more" in why


def test_few_seen_images_are_refused_with_that_reason(parts):
    training, validation, fresh = parts
    found = find(fresh, training, validation, labelled=training.subset(torch.arange(10)))
    assert found.warnings == ("copies is refused: it needs 20 images that the generator has seen, and there are 10",)


def test_points_have_nothing_to_copy():
    points = ring().images
    assert find(points, points, points) == Findings()


def test_images_in_a_file_are_audited_alike(parts, mapped):
    training, validation, fresh = parts
    whole = mapped(training.joined(validation))
    in_file = [whole.subset(torch.arange(len(training))), whole.subset(torch.arange(len(training), len(whole)))]
    labelled = training.subset(torch.arange(100))
    assert find(fresh, *in_file, labelled=labelled) == find(fresh, training, validation, labelled=labelled)


def in_colour(images):
    """Show digits in colour, at 40 pixels."""
    large = images.images.repeat_interleave(5, dim=2).repeat_interleave(5, dim=3).expand(-1, 3, -1, -1).contiguous()
    return ImageSet(large, images.labels, images.class_names)


def test_large_colour_images_are_compared_in_the_features_of_the_judge_too(parts, tmp_path, monkeypatch):
    training, validation, fresh = map(in_colour, parts)
    labelled, mirrored = training.subset(torch.arange(100)), training.subset(torch.arange(50))
    made = ImageSet(mirrored.images.flip(-1), mirrored.labels, mirrored.class_names).joined(fresh)
    monkeypatch.setattr(
        "gan_augment.measures.copies.features_of",
        lambda judge, images: SimpleNamespace(features=images.images[:, 0, ::5, ::5].flatten(1).float().sort().values),
    )
    split = SimpleNamespace(training=training, validation=validation)
    stages = {"gan": SimpleNamespace(image_sets={"labelled": labelled})}
    judge = SimpleNamespace(class_names=training.class_names)
    finished = SimpleNamespace(
        synthetic=made, split=split, stages=stages, folder=tmp_path, has=lambda role: True, load=lambda role: judge
    )
    found = Copies().find(finished)
    metrics = found.metrics["gan"]["copies"]
    assert metrics["named"] <= 10
    assert metrics["features"]["named"] >= 40
    assert metrics["features"]["decoys"] == 100
    assert found.warnings[1].startswith("in the judge's features: ")
    assert (tmp_path / "copies.png").exists()


def test_a_trial_is_audited(measured):
    found, folder = measured("copies", "synthesis.refuse_copies=true")
    audited = found["metrics"]["gan"]["copies"]
    assert audited["decoys"] == 50
    assert audited["share"] == 0
    assert found["metrics"]["gan"]["refused"] == {"copies": 0, "detection_limit": None}
    assert found["saw"]["validation"] > 0
    split = read_split(folder, found["provenance"], None, None, folder)
    assert split.hash == found["provenance"]["split"]
