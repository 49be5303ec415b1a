"""Domain adaptation: every method on the shared skeleton, and each by itself."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import cross_entropy

from conftest import NO_TRANSFORM
from gan_augment.app import CONF
from gan_augment.arm import Arm
from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.contracts import NoExtra
from gan_augment.data.batches import Batch
from gan_augment.methods.adaptation import Adaptation, AdaptationSettings, AdaptationStage
from gan_augment.methods.base import LOOKS
from gan_augment.methods.consistency import ConsistencyMethod
from gan_augment.methods.supervised import Classifier, ClassifierSettings, Supervised
from gan_augment.networks.heads import Divided
from gan_augment.plan import plan_trial
from gan_augment.records.factors import LATER
from gan_augment.settings import build
from gan_augment.stages import StageStore

METHODS = ("dann", "cdan", "mcd", "adda", "information_maximisation")
CNN = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
STEPS = 20


def node_of(method):
    """Read the settings of a method from its file."""
    return yaml.safe_load((CONF / "augmentation" / f"{method}.yaml").read_text())[method]


@pytest.fixture
def lay_out(image_set, cpu):
    """Lay out the stage of a method; the second domain is the first in negative."""
    labelled, validation, others = image_set(), image_set(seed=1), image_set(per_class=12, seed=2)
    pool = dataclasses.replace(others, images=255 - others.images).without_labels()

    def make(method, network=CNN, transform="none", looks=None, num_steps=STEPS, **changes):
        classical = NO_TRANSFORM | {"shift": 0.1} if transform == "classical" else None
        settings = ClassifierSettings(network, num_steps, batch_size=8, learning_rate=0.01, weight_decay=0.01)
        common = {
            **{"labelled": labelled, "validation": validation, "classical": classical, "extra": NoExtra()},
            **{"classifier": settings, "seed": 3, "hardware": cpu, "looks": looks},
        }
        row = {"sees": "pool_images", "extra": "none", "share": None, "transform": transform}
        without = Supervised(arm=Arm(**row | {"sees": "labelled"}, method="classifier"), **common)
        if method == "none":
            return without
        adaptation = build(node_of(method) | changes, method, AdaptationSettings)
        source = without if adaptation.needs_source else None
        return AdaptationStage(arm=Arm(**row, method=method), pool=pool, adaptation=adaptation, source=source, **common)

    return make


@pytest.fixture
def run(tmp_path):
    """Make a stage with all that it is made from; return its folder."""
    store = StageStore(tmp_path / "store")
    return lambda stage: store.fetch(stage).folder


def trained(stage, folder):
    """Return the weights of a stage's classifier."""
    return stage.load(folder).network.state_dict()


@pytest.fixture
def system(lay_out):
    """Build the training of a method on images of two levels, with its optimizers."""

    def make(method, **changes):
        stage = lay_out(method, **changes)
        common = {"settings": stage.classifier, "transform": None, "seed": 3}
        one = stage.adaptation.training(stage.start(), 3, **common)
        one.draws = {}
        optimizers = one.configure_optimizers()
        return one, optimizers

    return make


@pytest.fixture
def batch(image_set):
    images = image_set(per_class=2).images.float() / 127.5 - 1
    labels = torch.arange(3).repeat_interleave(2)
    return Batch(images, labels), -images


def before(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def is_same(module, state):
    return all(value.equal(state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_draws_its_curves(lay_out, run, method):
    stage = lay_out(method, transform="classical")
    stage.check()
    folder = run(stage)
    assert not trained(lay_out("none"), run(lay_out("none"))).keys() - trained(stage, folder).keys()
    assert all(value.isfinite().all() for value in trained(stage, folder).values())
    curves = EventAccumulator(str(folder / "tensorboard")).Reload().Tags()["scalars"]
    assert {*Adaptation.COMMON, "validation/accuracy"} < {*curves}
    kind = type(stage.adaptation.training(stage.start(), 3, settings=stage.classifier, transform=None, seed=3))
    assert {*kind.CURVES} <= {*curves}
    assert len({*kind.CURVES} - {*Adaptation.COMMON}) >= 1


@pytest.mark.parametrize("method", ["dann", "cdan", "mcd", "information_maximisation"])
def test_methods_start_from_the_weights_of_the_arm_none_and_see_its_labelled_images(lay_out, run, monkeypatch, method):
    seen, starts = {}, {}
    for kind, play in ((Classifier, "training_step"), (Adaptation, "training_step")):
        whole = getattr(kind, play)

        def spy(self, batch, step, kind=kind, whole=whole):
            labelled = batch.labelled if batch.parts else batch
            seen.setdefault(kind, []).append((labelled.images, labelled.labels))
            if step == 0:
                starts[kind] = before(self.classifier())
            return whole(self, batch, step)

        monkeypatch.setattr(kind, play, spy)
    run(lay_out("none"))
    run(lay_out(method))
    head = {"layers.6.weight", "layers.6.bias"} if method == "mcd" else set()  # the mean of two
    assert all(value.equal(starts[Adaptation][name]) for name, value in starts[Classifier].items() if name not in head)
    assert len(seen[Adaptation]) == STEPS
    for one, other in zip(seen[Classifier], seen[Adaptation], strict=True):
        assert one[0].equal(other[0])
        assert one[1].equal(other[1])


def test_the_classifier_is_kept_at_ten_steps_and_the_last_is_the_result(lay_out, run, cpu):
    for method in ("none", "mcd"):
        stage = lay_out(method, looks=10)
        folder = run(stage)
        steps = sorted(int(path.stem) for path in (folder / LOOKS).iterdir())
        assert steps == [*range(2, STEPS + 1, 2)]
        last = TrainedClassifier.load(folder / LOOKS / f"{STEPS}.pt", cpu.device).network.state_dict()
        assert all(value.equal(last[name]) for name, value in trained(stage, folder).items())
        first = TrainedClassifier.load(folder / LOOKS / "2.pt", cpu.device).network.state_dict()
        assert not all(value.equal(last[name]) for name, value in first.items())


def test_images_of_one_domain_keep_no_looks_and_their_keys(lay_out):
    assert lay_out("none").looks is None
    assert "looks" not in lay_out("none").identity["settings"]
    assert lay_out("none", looks=10).key != lay_out("none").key


def test_batch_norm_takes_the_statistics_of_each_domain_and_keeps_those_of_the_pool(system):
    one, _ = system("dann")
    divided = Divided(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 3)))
    one.network, one._has_statistics = divided, True
    known, pool = torch.full((2, 1, 2, 2), 5.0), torch.full((2, 1, 2, 2), -3.0)
    known[0], pool[0] = 3.0, -1.0
    first, second = one.features(known, pool)
    assert first.abs().allclose(torch.ones_like(first), atol=1e-3)
    assert second.abs().allclose(torch.ones_like(second), atol=1e-3)
    assert divided.body[0].running_mean.item() == pytest.approx(0.1 * -2.0)
    assert divided.body[0].momentum == 0.1


def test_dann_reverses_the_gradient_on_its_way_to_the_features(system, batch):
    one, _ = system("dann", weight=1.0)
    known, pool = batch
    features = one.features(known.images, pool)
    late = STEPS  # where the weight is 1
    gradients = []
    for step in (0, late):
        one.zero_grad()
        (optimizer,) = one.configure_optimizers()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        one.play([optimizer], known, pool, step)
        gradients.append(next(one.network.body.parameters()).grad.clone())
    one.zero_grad()
    cross_entropy(one.network.head(one.features(known.images, pool)[0]), known.labels).backward()
    alone = next(one.network.body.parameters()).grad
    assert torch.allclose(gradients[0], alone, atol=1e-6)  # at the start the domains have no weight
    assert not torch.allclose(gradients[1], alone, atol=1e-6)
    assert features[0].shape == (6, one.network.head.in_features)


def test_the_discriminator_of_cdan_sees_the_product_of_features_and_predictions(system):
    one, _ = system("cdan", dimensions=2)
    one.of_features.copy_(torch.eye(one.network.head.in_features, 2))
    one.of_predictions.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    one.discriminator = nn.Linear(2, 1, bias=False)
    nn.init.ones_(one.discriminator.weight)
    features = torch.zeros(1, one.network.head.in_features)
    features[0, :2] = torch.tensor([3.0, 5.0])
    found = one.told(features, torch.tensor([[0.5, 0.25, 0.25]]), weight=1.0)
    assert found.item() == pytest.approx((3 * 0.5 + 5 * 0.25) / 2**0.5)


def test_mcd_moves_its_last_layers_apart_and_its_features_make_them_agree(system, batch):
    one, (of_features, of_heads) = system("mcd", generator_steps=3)
    known, pool = batch
    with torch.no_grad():
        one.second.weight.copy_(one.network.head.weight + 0.1)
    heads, bodies = [], []
    minimise = one.minimise

    def spy(loss, optimizer):
        was = before(one.network.head), before(one.network.body)
        minimise(loss, optimizer)
        heads.append(not is_same(one.network.head, was[0]))
        bodies.append(not is_same(one.network.body, was[1]))

    one.minimise = spy
    one.play([of_features, of_heads], known, pool, 0)
    # A: features (the last layers follow by themselves); B: last layers; C: features, three times.
    assert bodies == [True, False, True, True, True]
    assert heads == [False, True, False, False, False]


def test_the_classifier_of_mcd_has_the_mean_of_both_last_layers(system, batch):
    one, _ = system("mcd")
    images = batch[1]
    features = one.network.body(images)
    mean = (one.network.head(features) + one.second(features)) / 2
    assert torch.allclose(one.classifier().eval()(images), mean, atol=1e-5)


def test_adda_goes_on_from_the_classifier_without_the_pool_and_keeps_its_last_layer(lay_out, run):
    stage = lay_out("adda")
    source, adapted = trained(stage.source, run(stage.source)), trained(stage, run(stage))
    assert stage.source.key == lay_out("none").key
    moved = {name for name, value in adapted.items() if not value.equal(source[name])}
    assert moved == {name for name in source if not name.startswith("layers.6")}


def test_information_maximisation_makes_predictions_certain_and_classes_equal(system, batch):
    one, (optimizer,) = system("information_maximisation", weight=5.0)
    known, pool = batch
    first = {name: float(value.detach()) for name, value in one.play([optimizer], known, pool, STEPS).items()}
    for _ in range(30):
        last = one.play([optimizer], known, pool, STEPS)
    assert last["pool/entropy"] < first["pool/entropy"]
    assert last["pool/marginal_entropy"] > 0.9 * torch.tensor(3.0).log()


def test_information_has_no_weight_before_its_beginning_and_all_of_it_at_the_end(system, batch, lay_out):
    def after(step, **changes):
        one, (optimizer,) = system("information_maximisation", **changes)
        one.play([optimizer], *batch, step)
        return one.network

    half = STEPS // 2
    assert is_same(after(half, weight=5.0, begin=0.5), before(after(half, weight=1.0, begin=0.5)))
    assert not is_same(after(half, weight=5.0), before(after(half, weight=1.0)))
    assert is_same(after(STEPS, weight=5.0, begin=0.5), before(after(STEPS, weight=5.0)))
    keys = [lay_out("information_maximisation", begin=begin).key for begin in (0.0, 0.5)]
    assert keys[0] != keys[1]


def test_a_divided_network_is_whole_again():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    images = torch.randn(5, 1, 2, 2)
    expected, divided = network(images), Divided(copy.deepcopy(network))
    assert divided(images).equal(expected)
    assert divided.whole()(images).equal(expected)
    divided.compile()  # trainings call the parts, not the whole
    assert all(part._compiled_call_impl is not None for part in (divided.body, divided.head))
    with pytest.raises(ValueError, match="has no linear layer"):
        Divided(nn.Sequential(nn.Flatten()))


@pytest.mark.parametrize("method", METHODS)
def test_each_arm_is_planned_with_its_own_settings(plain_settings, method):
    trial = plan_trial(plain_settings(f"augmentation={method}"))
    assert trial.factors["augmentation"] == method
    named = {f"{method}.{name}" for name in node_of(method) if name != "_target_"}
    assert named - LATER.keys() <= trial.factors.keys()
    assert plan_trial(plain_settings("augmentation=none")).factors.get(f"{method}.weight") is None
    number = next(name for name, value in node_of(method).items() if isinstance(value, int | float))
    with pytest.raises(ValueError, match=f"{method}.{number}=-1"):
        plan_trial(plain_settings(f"augmentation={method}", f"{method}.{number}=-1"))


def test_what_cannot_be_adapted_is_refused(plain_settings):
    arm = Arm("pool_images", "none", None, "none", "dann")
    other = SimpleNamespace(config=SimpleNamespace(part=lambda name, kind: ConsistencyMethod()))
    with pytest.raises(ValueError, match="those of this one are fixed: use classifier=cnn"):
        build(node_of("dann"), "dann", AdaptationSettings).stage(other, arm, NoExtra())
    with pytest.raises(ValueError, match=r"augmentation\.transform=mixup mixes images"):
        plan_trial(plain_settings("augmentation=dann", "augmentation.transform=mixup"))
