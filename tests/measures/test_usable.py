import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms.v2.functional import gaussian_blur

from conftest import JUDGE_NODE, NO_TRANSFORM
from gan_augment.data.image_set import ImageSet
from gan_augment.data.standard_sets import digits
from gan_augment.data.toy import ring
from gan_augment.measures.judge import Judge
from gan_augment.measures.judging import JudgeStage
from gan_augment.measures.usable import Usable, shuffled_pixels
from gan_augment.metrics.diversity import class_diversity
from gan_augment.records.findings import Findings
from gan_augment.records.usability import FEWEST, FEWEST_BY_PIXELS, LEAST_SHARPNESS, MOST_SHARPNESS, reasons
from gan_augment.settings import build


@pytest.fixture(scope="module")
def parts():
    """Digits of 16x16 pixels: for the judge, validation, and as if a perfect generator had made them."""
    images = digits(image_size=16).images
    return [images.subset(torch.arange(first, 1797, 3)) for first in range(3)]


@pytest.fixture(scope="module")
def judge(parts, tmp_path_factory):
    from gan_augment.training.hardware import Hardware

    one = build(JUDGE_NODE | {"num_steps": 100}, "measures.judge", Judge)
    hardware = Hardware(accelerator="cpu", precision="32-true", num_threads=1)
    stage = JudgeStage(
        training=parts[0],
        validation=parts[1],
        judge=one.training,
        classical=NO_TRANSFORM,
        seed=0,
        hardware=hardware,
    )
    folder = tmp_path_factory.mktemp("judge")
    stage.run(folder, {})
    return stage.load(folder)


def found(validation, synthetic, judge=None):
    finished = SimpleNamespace(
        synthetic=synthetic,
        split=SimpleNamespace(validation=validation),
        has=lambda role: role == "judge" and judge is not None,
        load=lambda role: judge,
        stages={"gan": None},
    )
    return Usable().find(finished)


def noise(images):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, images.images.shape, generator=random).to(torch.uint8)


def collapsed(images):
    first = torch.tensor([int(images.members(label)[0]) for label in range(images.num_classes)])
    return images.images[first[images.labels]]


def collapsed_with_noise(images):
    shift = 30 * torch.randn(images.images.shape, generator=torch.Generator().manual_seed(0))
    return (collapsed(images).float() + shift).clamp(0, 255).to(torch.uint8)


def blurred(images):
    return gaussian_blur(images.images, [13, 13], [3.0, 3.0])


BAD = [noise, collapsed, collapsed_with_noise, blurred]


@pytest.mark.parametrize("with_judge", [True, False])
def test_fresh_real_images_are_usable(parts, judge, with_judge):
    _, validation, others = parts
    findings = found(validation, others, judge if with_judge else None)
    metrics = findings.metrics["gan"]
    assert (metrics["usable"], findings.warnings) == (1, ())
    assert metrics["told_apart_pixels"] == pytest.approx(0.5, abs=0.1)
    assert metrics["variety"] == pytest.approx(1, abs=0.05)
    assert metrics["sharpness"] == pytest.approx(1, abs=0.05)
    if with_judge:
        assert metrics["told_apart"] == metrics["told_apart_features"] == pytest.approx(0.5, abs=0.1)
        assert metrics["agreement"] > 0.6
        assert metrics["majority"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("with_judge", [True, False])
@pytest.mark.parametrize("make", BAD)
def test_bad_images_are_not_usable(parts, judge, make, with_judge, few):
    _, validation, others = parts
    if few:
        validation = validation.subset(torch.arange(FEWEST_BY_PIXELS + 1))
    bad = replace(others, images=make(others))
    findings = found(validation, bad, judge if with_judge else None)
    assert findings.metrics["gan"]["usable"] == 0
    (warning,) = findings.warnings
    assert warning.startswith("The generator's images are not usable yet (")


def test_the_sentence_says_why(parts, judge):
    _, validation, others = parts
    (warning,) = found(validation, replace(others, images=noise(others)), judge).warnings
    assert "% are told from real ones; the judge sees the class that they should show in " in warning
    assert "and the largest class alone has 11 %; they are noisy: sharpness 4" in warning
    assert "of real ones 1): train longer (generator.images_seen), and look at" in warning
    (warning,) = found(validation, replace(others, images=collapsed(others)), judge).warnings
    assert "the images of a class are alike: variety 0.00, of real ones 1" in warning


def test_blur_is_a_reason_of_its_own(parts):
    _, validation, others = parts
    (warning,) = found(validation, replace(others, images=blurred(others))).warnings
    assert "; they are blurred: sharpness 0.01" in warning
    assert reasons({"sharpness": LEAST_SHARPNESS - 0.001}) == ["they are blurred: sharpness 0.029, of real ones 1"]
    assert not reasons({"sharpness": LEAST_SHARPNESS})
    assert reasons({"sharpness": 22.61}) == ["they are noisy: sharpness 22.6, of real ones 1"]
    assert not reasons({"sharpness": MOST_SHARPNESS})


def test_nothing_is_sharper_than_even_images(parts):
    _, validation, others = parts
    even = replace(validation, images=torch.zeros_like(validation.images))
    assert found(even, others).metrics["gan"]["sharpness"] is None


def test_wrong_labels_are_not_usable(parts, judge):
    _, validation, others = parts
    turned = replace(others, labels=(others.labels + 1) % 10)
    assert found(validation, turned, judge).metrics["gan"]["usable"] == 0
    assert found(validation, turned).metrics["gan"]["usable"] == 1  # nothing but the judge knows


def test_a_judge_that_knows_nothing_is_not_asked(parts, judge):
    _, validation, others = parts
    turned = replace(validation, labels=(validation.labels + 1) % 10)
    metrics = found(turned, others, judge).metrics["gan"]
    assert metrics["usable"] == 1
    assert not {"agreement", "majority"} & set(metrics)


def test_noise_like_the_real_images_has_less_variety(parts):
    """Every pixel varies as before, but not together with the others."""
    _, validation, others = parts
    assert found(validation, others).metrics["gan"]["variety_of_noise"] < 0.8
    like = shuffled_pixels(others)
    for label in range(10):
        own = others.members(label)
        assert torch.equal(like.images[own].sort(dim=0).values, others.images[own].sort(dim=0).values)
    assert (class_diversity(like) / class_diversity(others)).mean() < 0.8


def test_images_without_classes_are_compared_as_they_are(parts):
    _, validation, others = parts
    findings = found(validation, others.as_one_class())
    assert findings.metrics["gan"]["usable"] == 1
    assert "agreement" not in findings.metrics["gan"]


def test_images_in_a_file_give_the_same(parts, mapped):
    _, validation, others = parts
    assert found(mapped(validation), others) == found(validation, others)


@pytest.mark.parametrize(("with_judge", "each"), [(True, 3), (False, 6)])
def test_too_few_validation_images_are_refused(parts, judge, with_judge, each):
    _, validation, others = parts
    fewest = FEWEST if with_judge else FEWEST_BY_PIXELS
    few = validation.subset(torch.arange(fewest - 1))
    refusal = (
        f"usable is refused: it needs {fewest} validation images, and there are {fewest - 1}; set validation_per_class="
        f"{each} or more, or add to those that you set apart"
    )
    assert found(few, others, judge if with_judge else None) == Findings({"gan": {"usable": None}}, (refusal,))
    stages = {"synthesis": None} | ({"judge": None} if with_judge else {})
    assert Usable().notes(SimpleNamespace(validation=few), stages) == (refusal,)  # before anything trains
    enough = validation.subset(torch.arange(fewest))
    assert Usable().notes(SimpleNamespace(validation=enough), stages) == ()
    assert Usable().notes(SimpleNamespace(validation=few), {}) == ()


def test_too_few_synthetic_images_are_refused(parts, judge):
    _, validation, others = parts
    assert found(validation, others.subset(torch.arange(20)), judge).warnings == (
        "usable is refused: it needs 29 synthetic images of the validation images' classes, and has 20; make more of "
        "each class",
    )


def test_points_are_not_measured():
    points = ring(100).images
    assert found(points, points) == Findings()
    assert Usable().notes(SimpleNamespace(validation=points.subset(torch.arange(0))), {"synthesis": None}) == ()


def test_the_fewest_images_are_those_with_which_it_can_say_no():
    for found, fewest in (({"told_apart_features": 1.0}, FEWEST), ({}, FEWEST_BY_PIXELS)):
        assert reasons({"told_apart": 1.0, "told_apart_of": fewest, **found})
        assert not reasons({"told_apart": 1.0, "told_apart_of": fewest - 1, **found})


def test_fresh_real_images_are_hardly_ever_told_apart(parts):
    images = digits().images
    random = torch.Generator().manual_seed(0)
    for number in (FEWEST_BY_PIXELS, 200):
        for _ in range(20):
            order = torch.randperm(len(images), generator=random)[: 2 * number]
            labels = torch.zeros(number).long()
            one, other = (ImageSet(images.images[half], labels, ["any"]) for half in order.split(number))
            findings = found(one, other)
            assert findings.metrics["gan"]["usable"] == 1
            assert not math.isnan(findings.metrics["gan"]["variety"])
