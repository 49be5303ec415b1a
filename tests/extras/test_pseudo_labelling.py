from dataclasses import dataclass, replace

import pytest
import torch

from conftest import NO_TRANSFORM
from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.contracts import NoExtra
from gan_augment.extras.pool import PseudoLabelled
from gan_augment.extras.pseudo_labelling import PseudoLabelling, PseudoLabelSettings
from gan_augment.methods.supervised import ClassifierSettings, Supervised
from gan_augment.stages import Stage, StageStore

NODE = {
    "network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4},
    **{"num_steps": 40, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0},
}
PLAIN = Arm(sees="labelled", extra="none", share=None, transform="none", method="classifier")
PSEUDO = Arm("pool_images", "pseudo_labelled", 0.5, "none", "classifier", "classifier")


@pytest.fixture
def classifier(image_set, cpu):
    """Plan a classifier in an arm."""

    def plan(arm=PLAIN, extra=None, **changes):
        return Supervised(
            labelled=image_set(per_class=4),
            validation=image_set(per_class=2, seed=2),
            classical=NO_TRANSFORM,
            arm=arm,
            extra=extra or NoExtra(),
            classifier=ClassifierSettings(**NODE | changes),
            seed=0,
            hardware=cpu,
        )

    return plan


@pytest.fixture
def labelling(cpu):
    """Plan the labels of a teacher."""

    def plan(teacher, pool, threshold):
        return PseudoLabelling(teacher=teacher, pool=pool, threshold=threshold, seed=0, hardware=cpu)

    return plan


def test_images_of_which_the_teacher_is_sure_get_what_it_says(image_set, tmp_path, classifier, labelling):
    pool, store, teacher = image_set(per_class=20, seed=1).without_labels(), StageStore(tmp_path), classifier()
    one = labelling(teacher, pool, 0.8)
    found = one.load(store.fetch(one).folder)
    weights = store.fetch(teacher).folder / "weights.pt"
    says = TrainedClassifier.load(weights, torch.device("cpu")).probabilities(pool)
    assert 0 < len(found.indices) <= 60
    assert torch.equal(found.indices, (says.amax(dim=1) >= 0.8).nonzero().squeeze(1))
    assert torch.equal(found.labels, says.argmax(dim=1)[found.indices])
    assert (found.confidence >= 0.8).all()


def test_a_teacher_that_is_sure_of_nothing_is_told(image_set, tmp_path, classifier, labelling):
    stage = labelling(classifier(num_steps=1), image_set(seed=1).without_labels(), 0.999)
    with pytest.raises(
        ValueError, match=r"confident of none of the 30 images .* lower pseudo_labels\.threshold=0\.999"
    ):
        StageStore(tmp_path).fetch(stage)


@dataclass(frozen=True, eq=False, kw_only=True)
class Written(Stage):
    """The stage of pseudo-labels that lie in a folder."""

    name, version = "pseudo_labels", 1

    def run(self, folder, made):
        raise AssertionError("it is already there")

    def load(self, folder):
        return PseudoLabels.read(folder)


def test_a_classifier_learns_from_pseudo_labels_and_not_from_the_true_ones(image_set, cpu, tmp_path, classifier):
    pool, indices = image_set(per_class=20, seed=1), torch.arange(60)

    def student(name, pool, labels):
        folder = tmp_path / name
        folder.mkdir()
        PseudoLabels(indices, labels, torch.ones(60)).write(folder)
        extra = PseudoLabelled(pool, Written(seed=0, hardware=cpu))
        classifier(PSEUDO, extra).run(folder, {"pseudo_labels": folder})
        return torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]["layers.0.weight"]

    reference = student("reference", pool.without_labels(), pool.labels)
    assert torch.equal(student("other truth", replace(pool, labels=pool.labels.roll(20)), pool.labels), reference)
    assert not torch.equal(student("other labels", pool.without_labels(), pool.labels.roll(20)), reference)


def test_the_stage_of_a_student_is_made_from_pool_and_threshold(image_set, tmp_path, classifier, labelling):
    store = StageStore(tmp_path)

    def student(pool, threshold):
        stage = classifier(PSEUDO, PseudoLabelled(pool, labelling(classifier(), pool, threshold)))
        networks = torch.load(store.fetch(stage).folder / "weights.pt", weights_only=True)["networks"]
        return stage.key, networks["classifier"]["layers.0.weight"]

    pool = image_set(per_class=20, seed=1).without_labels()
    key, weights = student(pool, 0.5)
    assert student(pool, 0.6)[0] != key
    other_key, other_weights = student(image_set(per_class=20, seed=9).without_labels(), 0.5)
    assert other_key != key
    assert not torch.equal(weights, other_weights)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, "high"])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=f"pseudo_labels.threshold={threshold}: use a number from 0 to 0.9999"):
        PseudoLabelSettings(threshold)
