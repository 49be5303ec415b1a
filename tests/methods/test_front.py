import csv
from dataclasses import replace

import pytest
import torch
from PIL import Image

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.front import Front
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.artefacts.weights import read_about
from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.image_set import changed
from gan_augment.plan import plan_trial
from gan_augment.predict import main
from gan_augment.stages import StageStore
from gan_augment.trial import run_trial

CPU = torch.device("cpu")
RESTORED = ("sr_l1", "sr_gan", "sr_task")
TWO = "{_target_:gan_augment.data.standard_sets.digits}"


@pytest.fixture
def plan(plain_settings):
    return lambda *overrides: plan_trial(plain_settings("degrade.scale=2", *overrides))


@pytest.fixture
def run(plan, tmp_path):
    """Run a trial; return its record, its plan and its store."""

    def make(*overrides):
        trial, store = plan(*overrides), StageStore(tmp_path / "store")
        folder = tmp_path / trial.name
        folder.mkdir()
        return run_trial(trial, folder, store, "trial"), trial, store, folder

    return make


@pytest.mark.parametrize("arm", ["low", "bicubic", *RESTORED])
def test_the_classifier_learns_from_what_it_sees_and_its_file_knows_the_front(run, arm):
    record, trial, store, folder = run(f"augmentation={arm}")
    stage, images = trial.stages["classifier"], trial.split.test
    file = folder / "classifier.pt"
    classifier = TrainedClassifier.load(file, CPU)
    alone = replace(classifier, front=None)
    translator = (
        None if arm not in RESTORED else trial.stages["translator"].load(store.folder(trial.stages["translator"]))
    )
    restore = {"low": "repeat", "bicubic": "bicubic"}.get(arm, "translator")
    seen = changed(images, Front(Degrading(2, "area"), restore, translator).change)
    assert not seen.images.equal(images.images)
    assert classifier.probabilities(images).equal(alone.probabilities(seen))
    assert classifier.features(images, torch.arange(9)).equal(alone.features(seen, torch.arange(9)))
    assert not classifier.probabilities(images).equal(alone.probabilities(images))
    right = (classifier.probabilities(images).argmax(dim=1) == images.labels).double().mean()
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(float(right))
    assert read_about(file, "classifier")["front"]["restore"] == restore
    assert stage.load(store.folder(stage)).probabilities(images).equal(classifier.probabilities(images))


def test_training_images_lose_resolution(run):
    """A classifier behind a front is the one that learns from a data set in low resolution."""
    _, behind, store, _ = run("augmentation=low")
    stage = behind.stages["classifier"]
    front = Front(Degrading(2, "area"), "repeat")
    labelled, validation = (changed(images, front.change) for images in (stage.labelled, stage.validation))
    seen = replace(stage, labelled=labelled, validation=validation)
    again = store.fetch(seen).folder  # what was repeated once stays as it is
    assert seen.key != stage.key
    first, second = (
        torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]
        for folder in (store.folder(stage), again)
    )
    assert all(value.equal(second[name]) for name, value in first.items())


def test_a_translator_learns_from_the_pool_alone(plan):
    for arm in RESTORED:
        translator = plan(f"augmentation={arm}").stages["translator"]
        assert translator.pool.labels.eq(-1).all()
        assert ("teacher" in translator.inputs) == (arm == "sr_task")
        assert (translator.degrading.scale, translator.degrading.kernel) == (2, "area")
    assert plan("augmentation=sr_l1").stages["translator"].settings.adversarial == 0
    assert plan("augmentation=sr_gan").stages["translator"].settings.adversarial == 1


def test_the_teacher_learned_from_small_images(plan):
    trial = plan("augmentation=sr_task")
    teacher = trial.stages["teacher"]
    assert teacher.restore == "bicubic"
    assert teacher.key == plan("augmentation=bicubic").stages["classifier"].key
    assert trial.stages["translator"].alone().settings.task == 0


def test_a_restored_image_is_closer_to_the_original(run):
    _, trial, store, _ = run("augmentation=sr_l1", "translation.images_seen=3200", "translation.translator.channels=8")
    stage = trial.stages["translator"]
    translator, images = stage.load(store.folder(stage)), trial.split.validation
    enlarged = changed(images, Degrading(2, "area").bicubic)
    restored = translator.translate(enlarged)
    errors = [(one.images.float() - images.images.float()).abs().mean() for one in (enlarged, restored)]
    assert errors[1] < 0.8 * errors[0]
    assert isinstance(translator, TrainedTranslator)
    assert translator.about["trained_on"] == stage.pool.fingerprint


def test_how_images_become_small_counts(plan):
    names = {
        plan("augmentation=bicubic", setting).name
        for setting in ("degrade.kernel=area", "degrade.kernel=bicubic", "degrade.scale=4")
    }
    assert len(names) == 3
    assert plan("augmentation=none", "degrade.scale=4").name == plan("augmentation=none").name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("augmentation=low", "augmentation.extra=labelled", "augmentation.share=0.5"),
            "method=front and augmentation.extra=labelled: further images would be made from labelled ones in full",
        ),
        (("augmentation=low", "degrade.scale=8"), "degrade.scale=8 leaves fewer than 2 pixels a side of 8x8"),
        (
            ("augmentation=low", "front.restore=translator"),
            "front.restore=translator needs images of the pool: use aug",
        ),
        (("augmentation=low", "front.restore=magic"), "front.restore=magic: use one of repeat, bicubic"),
        (("augmentation=sr_l1", "translation.translator.latents=16"), "an image has one translation, so set latents=0"),
        (
            ("augmentation=sr_gan", "translation=pix2pix"),
            "augmentation.method=front needs translation.examples=low_resolution, not pairs: choose another "
            "translation, such as translation=super_resolution",
        ),
        (
            ("augmentation=low", "data=domains", f"data.from={TWO}", f"data.to={TWO}", "labels=all"),
            "augmentation.method=front is for images of one domain, and this data set has two",
        ),
        (("augmentation=sr_l1", "labels=all"), "the pool is empty"),
        (("augmentation=low", "data=ring"), "degrade changes the size of images, and these are points"),
        (
            ("augmentation=sr_l1", "translation.l1=0"),
            "translation: no weight says what an image should become: set l1 or adversarial above 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(plan, overrides, message):
    with pytest.raises(ValueError, match=message):
        plan(*overrides)


def test_a_damaged_front_is_refused(run, tmp_path):
    *_, folder = run("augmentation=bicubic")
    content = torch.load(folder / "classifier.pt", weights_only=True)
    for name, value, message in (
        ("restore", "magic", "front.restore=magic: use one of"),
        ("scale", 0, "degrade.scale=0"),
        ("scale", 64, "degrade.scale=64 leaves fewer than 2 pixels a side of 8x8"),
        ("kernel", 3, "does not describe a classifier"),
        ("restore", "translator", "does not describe a classifier"),
    ):
        changed = {**content, "about": {**content["about"], "front": {**content["about"]["front"], name: value}}}
        torch.save(changed, tmp_path / "damaged.pt")
        with pytest.raises(ValueError, match=message):
            TrainedClassifier.load(tmp_path / "damaged.pt", CPU)


def test_a_front_of_another_shape_is_refused(run, tmp_path):
    *_, folder = run("augmentation=sr_l1")
    content = torch.load(folder / "classifier.pt", weights_only=True)
    front = content["about"]["front"]
    translator = front["translator"] | {"shape": [1, 9, 8]}
    about = content["about"] | {"front": front | {"translator": translator}}
    torch.save({**content, "about": about}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="its front takes images of 9x8 pixels with 1 channel, it takes 8x8"):
        TrainedClassifier.load(tmp_path / "other.pt", CPU)


def test_without_a_translator_the_time_can_be_estimated(plan):
    stage = plan("augmentation=sr_task").stages["classifier"].alone()
    assert not stage.inputs
    assert stage.restore == "bicubic"
    assert plan("augmentation=low").stages["classifier"].alone().restore == "repeat"


def test_files_are_predicted_as_the_test_images_are(run, tmp_path):
    _, trial, _, folder = run("augmentation=sr_l1")
    images = trial.split.test.subset(torch.arange(20))
    (tmp_path / "files").mkdir()
    for number, image in enumerate(images.images):
        Image.fromarray(image[0].numpy()).save(tmp_path / "files" / f"{number:02}.png")
    main([f"trial={folder}", f"images={tmp_path / 'files'}", f"out={tmp_path / 'predictions.csv'}", "num_threads=1"])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        named = [row["predicted"] for row in csv.DictReader(file)]
    expected = TrainedClassifier.load(folder / "classifier.pt", CPU).probabilities(images).argmax(dim=1)
    assert named == [images.class_names[label] for label in expected.tolist()]
