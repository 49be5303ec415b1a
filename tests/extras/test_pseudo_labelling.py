from dataclasses import replace

import pytest
import torch

from gan_augment.arm import Arm
from gan_augment.artefacts.pseudo_labels import PseudoLabels
from gan_augment.extras.pseudo_labelling import PseudoLabelSettings, pseudo_label_metrics, pseudo_label_stage
from gan_augment.methods.supervised import TrainedClassifier, classifier_stage, train_classifier
from gan_augment.stages import StageStore

NODE = {
    "network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4},
    **{"num_steps": 40, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0},
}
NO_TRANSFORM = {
    "_target_": "gan_augment.augmentation.classical.ClassicalTransform",
    **{"shift": 0.0, "rotation": 0.0, "scale": 0.0, "flip": False},
}
PLAIN = Arm(sees="labelled", extra="none", share=None, transform="none", learner="classifier")
PSEUDO = Arm("pool_images", "pseudo_labelled", 0.5, "none", "classifier", "classifier")


@pytest.fixture
def teacher(image_set, cpu):
    labelled, validation = image_set(per_class=4), image_set(per_class=2, seed=2)
    return classifier_stage(labelled, validation, None, None, None, PLAIN, NO_TRANSFORM, NODE, 0, cpu)


def test_images_of_which_the_teacher_is_sure_get_what_it_says(image_set, cpu, tmp_path, teacher):
    pool, store = image_set(per_class=20, seed=1).without_labels(), StageStore(tmp_path)
    folder = store.fetch(pseudo_label_stage(teacher, pool, PseudoLabelSettings(0.8), cpu)).folder
    found = PseudoLabels.read(folder)
    weights = store.fetch(teacher).folder / "weights.pt"
    says = TrainedClassifier.load(weights, torch.device("cpu")).probabilities(pool)
    assert 0 < len(found.indices) <= 60
    assert torch.equal(found.indices, (says.amax(dim=1) >= 0.8).nonzero().squeeze(1))
    assert torch.equal(found.labels, says.argmax(dim=1)[found.indices])
    assert (found.sureness >= 0.8).all()


def test_a_teacher_that_is_sure_of_nothing_is_told(image_set, cpu, tmp_path):
    labelled, validation = image_set(per_class=4), image_set(per_class=2, seed=2)
    unsure = classifier_stage(
        labelled, validation, None, None, None, PLAIN, NO_TRANSFORM, NODE | {"num_steps": 1}, 0, cpu
    )
    stage = pseudo_label_stage(unsure, image_set(seed=1).without_labels(), PseudoLabelSettings(0.999), cpu)
    with pytest.raises(ValueError, match=r"sure of none of the 30 images .* lower pseudo_labels\.threshold=0\.999"):
        StageStore(tmp_path).fetch(stage)


def test_a_classifier_learns_from_pseudo_labels_and_not_from_the_true_ones(image_set, cpu, tmp_path):
    labelled, pool, indices = image_set(per_class=4), image_set(per_class=20, seed=1), torch.arange(60)

    def student(name, pool, labels):
        folder = tmp_path / name
        folder.mkdir()
        PseudoLabels(indices, labels, torch.ones(60)).write(folder)
        train_classifier(labelled, labelled, PSEUDO, None, NODE, 0, cpu, folder, pool=pool, pseudo_labels=folder)
        return torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]["layers.0.weight"]

    reference = student("reference", pool.without_labels(), pool.labels)
    assert torch.equal(student("other truth", replace(pool, labels=pool.labels.roll(20)), pool.labels), reference)
    assert not torch.equal(student("other labels", pool.without_labels(), pool.labels.roll(20)), reference)


def test_the_stage_of_a_student_is_made_from_pool_and_threshold(image_set, cpu, tmp_path, teacher):
    labelled, validation, store = image_set(per_class=4), image_set(per_class=2, seed=2), StageStore(tmp_path)

    def student(pool, threshold):
        labels = pseudo_label_stage(teacher, pool, PseudoLabelSettings(threshold), cpu)
        stage = classifier_stage(labelled, validation, None, pool, labels, PSEUDO, NO_TRANSFORM, NODE, 0, cpu)
        networks = torch.load(store.fetch(stage).folder / "weights.pt", weights_only=True)["networks"]
        return stage.key, networks["classifier"]["layers.0.weight"]

    pool = image_set(per_class=20, seed=1).without_labels()
    key, weights = student(pool, 0.5)
    assert student(pool, 0.6)[0] != key
    other_key, other_weights = student(image_set(per_class=20, seed=9).without_labels(), 0.5)
    assert other_key != key
    assert not torch.equal(weights, other_weights)


def test_pseudo_labels_are_measured_by_labels_that_are_known(image_set):
    pool = image_set(per_class=2)  # labels 0, 0, 1, 1, 2, 2
    pool.labels[5] = -1
    found = PseudoLabels(torch.tensor([0, 1, 2, 5]), torch.tensor([0, 1, 1, 1]), torch.ones(4))
    metrics, warnings = pseudo_label_metrics(found, pool)
    assert metrics == {
        "images": 4,
        "share": pytest.approx(4 / 6),
        "accuracy": pytest.approx(2 / 3),
        "per_class": {"class0": 1, "class1": 3, "class2": 0},
    }
    assert warnings == ["Of 1 of 3 classes (class2) the teacher finds no image in the pool"]
    metrics, warnings = pseudo_label_metrics(
        PseudoLabels(torch.tensor([0, 2, 4]), torch.arange(3), torch.ones(3)), pool.without_labels()
    )
    assert metrics["accuracy"] is None
    assert warnings == []


@pytest.mark.parametrize("threshold", [-0.1, 1.0, "high"])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=f"pseudo_labels.threshold={threshold}: use a number from 0 to 0.9999"):
        PseudoLabelSettings(threshold)
