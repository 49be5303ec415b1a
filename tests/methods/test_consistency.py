import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.batches import Batch
from gan_augment.methods.consistency import Consistency, ConsistencySettings, ConsistencyStage
from gan_augment.plan import plan_trial

CPU = torch.device("cpu")


@pytest.fixture
def plan(plain_settings):
    return lambda *overrides: plan_trial(plain_settings(*overrides))


@pytest.fixture
def stage(plan):
    return lambda arm, *overrides: plan(f"augmentation={arm}", *overrides).stages["classifier"]


def watch(stage, folder, monkeypatch):
    """Train; return the first weights, and the images, labels and transformed images of every step."""
    weights, batches, loss = [], [], Consistency.loss_of_real

    def spy(self, logits, batch, views, step):
        if step == 0:
            weights.extend(value.clone() for value in self.network.state_dict().values())
        batches.append((batch.images, batch.labels, views.images))
        return loss(self, logits, batch, views, step)

    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Consistency, "loss_of_real", spy)
        stage.run(folder, {})
    return weights, batches


def test_it_starts_like_the_semi_supervised_gan_and_sees_the_same_images(stage, tmp_path, monkeypatch):
    (weights, batches), (others_weights, others_batches) = (
        watch(stage(arm, "seed=3"), tmp_path / arm, monkeypatch) for arm in ("consistency", "semi_supervised")
    )
    assert len(batches) == len(others_batches) == 20
    assert all(map(torch.equal, weights, others_weights))
    for one, other in zip(batches, others_batches, strict=True):
        assert all(map(torch.equal, one, other))
        images, labels, views = one
        assert images.shape == views.shape == (132, 1, 8, 8)
        assert not torch.equal(images, views)
        assert (labels[:32] >= 0).all()
        assert (labels[32:] == -1).all()
    ends = [torch.load(tmp_path / arm / "weights.pt", weights_only=True) for arm in ("consistency", "semi_supervised")]
    assert [{*end["networks"]} for end in ends] == [{"classifier"}, {"classifier", "generator"}]
    assert "generator" not in ends[0]["about"]
    bias, other = (end["networks"]["classifier"]["head.1.bias"] for end in ends)
    assert not torch.allclose(bias, other, atol=1e-4)


def test_it_has_the_settings_of_the_discriminator_and_no_others_name_its_trials(plan, stage):
    of_gan = stage("semi_supervised").semi_supervised
    assert stage("consistency").semi_supervised == ConsistencySettings(
        **{one.name: getattr(of_gan, one.name) for one in dataclasses.fields(ConsistencySettings)}
    )
    name = plan("augmentation=consistency").name
    for change in ("discriminator_steps=3", "pull_away=0.1", "generator.latent_dim=9"):
        assert plan("augmentation=consistency", f"semi_supervised.{change}").name == name
    for change in ("num_steps=21", "entropy=0.2", "radius=0.2", "network.noise=0.2"):
        assert plan("augmentation=consistency", f"semi_supervised.{change}").name != name


def test_it_may_label_the_pool(plan, stage):
    labelled_by = plan("augmentation=pseudo_label", "augmentation.teacher=consistency").stages["teacher"]
    assert labelled_by.key == stage("consistency").key


def test_the_loss_is_that_of_the_labelled_images_and_the_weighted_entropy_of_the_pool(stage):
    settings = dataclasses.replace(stage("consistency").semi_supervised, entropy=0.5, virtual_adversarial=0.0)
    system = Consistency(torch.nn.Identity(), settings, None, seed=0)
    labels, parts = torch.tensor([1, -1, -1]), {"labelled": slice(0, 1), "pool": slice(1, 3)}
    batch = Batch(torch.zeros(3, 1, 8, 8), labels, parts)
    logits = torch.tensor([[0.0, 1.0], [0.0, 0.0], [100.0, 0.0]], requires_grad=True)
    loss, terms = system.loss_of_real(logits, batch, batch, step=0)
    expected = cross_entropy(logits[:1], labels[:1]) + 0.5 * torch.tensor(2.0).log() / 2  # entropies log 2 and 0
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert terms["pool/confidence"].item() == pytest.approx(0.75)


def test_it_learns_from_two_labels_a_class(plan, tmp_path):
    trial = plan("augmentation=consistency", "seed=100", "labels=2", "semi_supervised.num_steps=150")
    trial.stages["classifier"].run(tmp_path, {})
    says = TrainedClassifier.load(tmp_path / "weights.pt", CPU).probabilities(trial.split.validation)
    assert (says.argmax(dim=1) == trial.split.validation.labels).double().mean() > 0.8


def test_golden_numbers(stage, tmp_path):
    # A change of these numbers is a change of mathematics: raise the version and put the new ones here.
    stage("consistency").run(tmp_path, {})
    bias = torch.load(tmp_path / "weights.pt", weights_only=True)["networks"]["classifier"]["head.1.bias"]
    assert ConsistencyStage.version == 1
    assert bias[:3].tolist() == pytest.approx([0.741126, -0.885834, -0.293417], abs=1e-4)


@pytest.mark.parametrize("arm", ["consistency", "semi_supervised"])
def test_a_share_of_the_images_with_labels_may_come_from_an_extra(stage, tmp_path, monkeypatch, arm):
    words = ("augmentation.extra=random_convolution", "augmentation.share=0.25")
    _, batches = watch(stage(arm, *words), tmp_path / "with", monkeypatch)
    _, without = watch(stage(arm), tmp_path / "without", monkeypatch)
    for (images, labels, _), (others, _, _) in zip(batches, without, strict=True):
        assert images.shape == (132, 1, 8, 8)
        assert (labels[:32] >= 0).all()
        assert (labels[32:] == -1).all()
        assert torch.equal(images[32:], others[32:])  # of the pool
    seen = {tuple(one.flatten().tolist()) for images, _, _ in without for one in images[:32]}
    new = [tuple(one.flatten().tolist()) not in seen for images, _, _ in batches for one in images[24:32]]
    assert sum(new) > 0.9 * len(new)  # filtered
    assert all(tuple(one.flatten().tolist()) in seen for images, _, _ in batches for one in images[:24])


def test_a_share_that_rounds_to_no_image_is_refused(stage):
    with pytest.raises(
        ValueError, match=r"^augmentation.share=0.01 of semi_supervised.labelled_batch_size=32 rounds to"
    ):
        stage("consistency", "augmentation.extra=random_convolution", "augmentation.share=0.01")
