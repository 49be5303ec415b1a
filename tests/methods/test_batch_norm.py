import dataclasses

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import to_float
from gan_augment.methods.batch_norm import adapt
from gan_augment.networks.statistics import batch_norms
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore

CPU = torch.device("cpu")
ARM = ("augmentation=batch_norm", "classifier=cnn_batch_norm")


@pytest.fixture
def plan(plain_settings):
    return lambda *overrides: plan_trial(plain_settings(*overrides))


def read(folder):
    return torch.load(folder / "weights.pt", weights_only=True)["networks"]["classifier"]


def test_means_and_variances_by_hand():
    layer = nn.BatchNorm2d(1)
    layer.weight.data.fill_(3.0)
    one, other = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), torch.tensor([4.0, 10.0]).view(2, 1, 1, 1)
    adapt(layer, [one, other])
    assert layer.running_mean.item() == pytest.approx((2 + 7) / 2)
    assert layer.running_var.item() == pytest.approx((2 + 18) / 2)  # unbiased, of two values each
    assert (layer.weight.item(), layer.bias.item(), layer.training) == (3.0, 0.0, False)


def test_torch_agrees_where_no_layer_draws():
    torch.manual_seed(0)
    mine, theirs = (nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3)) for _ in "ab")
    for network in (mine, theirs):
        network.append(nn.BatchNorm2d(2))
    theirs.load_state_dict(mine.state_dict())
    batches = [torch.randn(5, 1, 8, 8) for _ in range(3)]
    adapt(mine, batches)
    update_bn(batches, theirs)
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name])


def test_dropout_stays_off():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1))
    adapt(network, [torch.arange(8.0).view(2, 1, 2, 2)])
    assert network[1].running_mean.item() == pytest.approx(3.5)
    assert network[1].running_var.item() == pytest.approx(6.0)


def test_layers_without_running_statistics_are_not_counted():
    assert batch_norms(nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.GroupNorm(1, 1))) == []


def test_only_the_statistics_change_and_they_are_those_of_the_pool(plan, tmp_path):
    trial, store = plan(*ARM, "classifier.batch_size=100"), StageStore(tmp_path)
    stage = trial.stages["classifier"]
    before, after = (read(store.fetch(one).folder) for one in (stage.trained, stage))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    of_a_layer = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"layers.{number}.{name}" for number in (1, 5) for name in of_a_layer}
    assert after["layers.1.num_batches_tracked"] == 11  # of 107 or 108 images
    pool = to_float(trial.split.pool.images)
    assert len(pool) == 1187
    outputs = nn.functional.conv2d(pool, after["layers.0.weight"], padding=1)
    torch.testing.assert_close(after["layers.1.running_mean"], outputs.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after["layers.1.running_var"], outputs.var(dim=(0, 2, 3)), rtol=1e-2, atol=1e-4)


def test_it_adapts_the_classifier_that_the_arm_has_without_it(plan):
    stages = plan(*ARM).stages
    assert [*stages] == ["trained", "classifier"]
    assert stages["trained"].key == plan("augmentation=none", ARM[1]).stages["classifier"].key
    moved = plan(*ARM, "augmentation.transform=classical").stages["trained"]
    assert moved.key == plan("augmentation=classical", ARM[1]).stages["classifier"].key
    matched = plan("augmentation=matched", "augmentation.method=batch_norm", ARM[1]).stages["trained"]
    assert matched.key == plan("augmentation=matched", ARM[1]).stages["classifier"].key


def test_it_may_label_the_pool(plan):
    stages = plan("augmentation=pseudo_label", "augmentation.teacher=batch_norm", ARM[1]).stages
    assert [*stages] == ["trained", "teacher", "pseudo_labels", "classifier"]
    assert stages["trained"].key == plan("augmentation=classical", ARM[1]).stages["classifier"].key


def test_darker_images_are_classified_as_well_as_before(plan, tmp_path):
    """All grey levels of the pool are halved: its statistics undo that."""
    trial = plan(*ARM, "classifier.num_steps=100", "classifier.network.channels=8")
    stage, store = trial.stages["classifier"], StageStore(tmp_path)

    def halved(images):
        return dataclasses.replace(images, images=images.images // 2)

    stage = dataclasses.replace(stage, pool=halved(stage.pool))
    right = []
    for one in (stage.trained, stage):
        classifier = TrainedClassifier.load(store.fetch(one).folder / "weights.pt", CPU)
        says = classifier.probabilities(halved(trial.split.validation)).argmax(dim=1)
        right.append((says == trial.split.validation.labels).double().mean().item())
    assert right[1] > right[0] + 0.05


TRANSFER = {
    "_target_": "gan_augment.networks.transfer.Transfer",
    "_partial_": True,
    "backbone": {"_target_": "gan_augment.networks.efficientnet_lite.EfficientNetLite0", "weights": None},
}
FITTED = {"_target_": "gan_augment.methods.probe.ProbeSettings", "views": 3, "weight_decay": 0.1, "batch_size": 16}
TRAINED = {
    "_target_": "gan_augment.methods.supervised.ClassifierSettings",
    **{"num_steps": 20, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0},
}
TORCHVISION = {"_target_": "gan_augment.networks.torchvision_classifier.TorchvisionClassifier", "_partial_": True}


@pytest.mark.parametrize(
    "classifier",
    [
        TRAINED | {"network": {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True}},
        TRAINED | {"network": TORCHVISION | {"name": "alexnet", "input_size": 64}},
        TRAINED | {"network": TRANSFER | {"frozen": False}},  # its batch norm is folded into the convolutions
        FITTED | {"network": TRANSFER | {"frozen": True}},  # its features are fixed
    ],
    ids=["cnn", "alexnet", "finetuned", "probe"],
)
def test_a_network_without_batch_norm_is_refused_before_it_is_trained(plain_settings, classifier):
    with pytest.raises(ValueError, match=r"this classifier has none .*use classifier=cnn_batch_norm or .*=resnet18$"):
        plan_trial(plain_settings("augmentation=batch_norm") | {"classifier": classifier})


def test_a_network_of_torchvision_is_adapted(plain_settings, tmp_path):
    mobile = TRAINED | {"network": TORCHVISION | {"name": "mobilenet_v3_small"}, "num_steps": 2}
    trial = plan_trial(plain_settings("augmentation=batch_norm") | {"classifier": mobile})
    store = StageStore(tmp_path)
    before, after = (read(store.fetch(one).folder) for one in trial.stages.values())
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
