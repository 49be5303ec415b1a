import copy
import dataclasses
import itertools
import math

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import normalize

from gan_augment.app import CONF
from gan_augment.data.image_set import ImageShape
from gan_augment.losses.contrastive import data_to_data_cross_entropy
from gan_augment.networks.architecture import FeatureExtractor
from gan_augment.networks.conditioning import (
    AuxiliaryClassifier,
    Concat,
    Conditioning,
    LabelBehind,
    LabelClassifier,
    LabelEmbedding,
    LabelProjection,
    LabelRouted,
    LabelSphere,
    PerClass,
    Projection,
    ReACGAN,
    Unconditional,
    set_centres,
)
from gan_augment.networks.dcgan import DCGAN
from gan_augment.networks.mlp import MLP
from gan_augment.settings import build

SHAPE = ImageShape(1, 8, 8)
TINY = [MLP(latent_dim=5, width=8), DCGAN(latent_dim=5, channels=4)]

architectures = pytest.mark.parametrize("architecture", TINY, ids=["mlp", "dcgan"])


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


def test_the_label_stands_behind_the_latent():
    network = LabelBehind(torch.nn.Embedding(3, 2), torch.nn.Identity())
    with torch.no_grad():
        network.embedding.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    features = network(torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([2, 0]))
    torch.testing.assert_close(features, torch.tensor([[0.1, 0.2, 5.0, 6.0], [0.3, 0.4, 1.0, 2.0]]))


def test_the_label_is_a_further_channel_of_the_image():
    network = LabelBehind(torch.nn.Embedding(2, 4), torch.nn.Identity())
    with torch.no_grad():
        network.embedding.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]))
    images = torch.randn(2, 3, 2, 2)
    seen = network(images, torch.tensor([1, 0]))
    assert torch.equal(seen[:, :3], images)
    assert seen[:, 3].tolist() == [[[5, 6], [7, 8]], [[1, 2], [3, 4]]]


def test_the_projection_by_hand():
    head = LabelProjection(FeatureExtractor(num_features=2, batch_std=False), num_classes=2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, -1.0]]))
        head.linear.bias.fill_(0.5)
        head.embedding.of_class.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    logits = head(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 1]))
    # w . h + e_y . h + b: (1 - 2) + 2 * 1 + .5, and (1 - 2) + 3 * 2 + .5
    assert logits.tolist() == [1.5, 5.5]


def classifier_of_two():
    head = LabelClassifier(FeatureExtractor(num_features=2, batch_std=False), num_labels=2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, -1.0]]))
        head.linear.bias.fill_(0.5)
        head.classifier.weight.copy_(torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]))
        head.classifier.bias.zero_()
    return head


def test_the_auxiliary_classifier_by_hand():
    # w . h + b = 1 - 2 + .5; the second label's odds are 3 to 1, or 1 to 1 where the first feature is 0.
    outputs = classifier_of_two()(torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]), torch.tensor([0, 1, 1]))
    assert outputs[:, 0].tolist() == [-0.5, -0.5, 0.5]
    assert outputs[:, 1].exp().tolist() == pytest.approx([0.25, 0.75, 0.5])
    logits, further = AuxiliaryClassifier(weight=10).split(outputs, torch.tensor([0, 1, 1]))
    assert torch.equal(logits, outputs[:, 0])
    assert further.item() == pytest.approx(10 * -(math.log(0.25) + math.log(0.75) + math.log(0.5)) / 3)


def test_the_auxiliary_classifier_of_several_judgements():
    twice = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).expand(3, 2, 2)  # three images, judged twice
    outputs = classifier_of_two()(twice, torch.tensor([0, 1, 1]))
    assert outputs.shape == (3, 2, 2)
    assert outputs[:, :, 1].exp().flatten().tolist() == pytest.approx([0.25, 0.5, 0.75, 0.5, 0.75, 0.5])


@pytest.mark.parametrize("judgements", [(), (4,)])
def test_labels_on_the_sphere(judgements):
    head = LabelSphere(FeatureExtractor(num_features=3, batch_std=False), num_labels=2, dim=5)
    features, labels = torch.randn(6, *judgements, 3), torch.tensor([0, 1, 1, 0, 1, 0])
    outputs = head(features, labels)
    assert outputs.shape == (6, *judgements, 11)
    vectors, proxies = outputs[..., 1:6], outputs[..., 6:]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(6, *judgements))
    expected = normalize(head.proxies.weight, dim=1)[labels].view(6, *[1 for _ in judgements], 5)
    torch.testing.assert_close(proxies, expected.expand_as(proxies))
    logits, further = ReACGAN(weight=3, sphere_dim=5, margin=0.9, temperature=0.2).split(outputs, labels)
    torch.testing.assert_close(logits, head.linear(features).squeeze(-1))
    torch.testing.assert_close(further, 3 * data_to_data_cross_entropy(vectors, proxies, labels, 0.9, 0.2))


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"weight": 0}, "above 0 and at most 1000"),
        ({"sphere_dim": 1}, "a whole number of at least 2"),
        ({"margin": 0.4}, "from 0.5 to 1"),
        ({"temperature": 0}, "above 0 and at most 100"),
    ],
)
def test_settings_of_a_reacgan_out_of_range_are_refused(change, allowed):
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=rf"^conditioning.{name}={value}: use .*{allowed}$"):
        ReACGAN(**change)


def test_a_linear_map_of_a_cluster_s_centre_is_added_to_the_embedding_of_its_class():
    embedding = LabelEmbedding(num_classes=2, dim=1, clusters=2, num_features=2)
    set_centres(torch.nn.Sequential(embedding), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]]))
    with torch.no_grad():
        embedding.of_class.weight.copy_(torch.tensor([[10.0], [20.0]]))
        embedding.of_centre.weight.copy_(torch.tensor([[1.0, 3.0]]))
    assert embedding(torch.tensor([0, 1, 2, 3])).flatten().tolist() == [11, 13, 24, 22]


def test_without_clusters_a_label_s_embedding_is_that_of_its_class():
    embedding = LabelEmbedding(num_classes=2, dim=3)
    assert [name for name, _ in embedding.named_parameters()] == ["of_class.weight"]
    assert torch.equal(embedding(torch.tensor([1, 0])), embedding.of_class.weight[[1, 0]])


def test_each_network_gets_its_own_inputs_and_the_outputs_keep_their_order():
    network = LabelRouted([torch.nn.Linear(1, 1, bias=False) for _ in range(3)])
    with torch.no_grad():
        for factor, one in zip((1.0, 10.0, 100.0), network.networks, strict=True):
            one.weight.fill_(factor)
    outputs = network(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([2, 0, 2, 0]))
    assert outputs.tolist() == [[100.0], [2.0], [300.0], [4.0]]


@architectures
def test_one_gan_a_class_routes_gradients_to_the_label_s_own_networks(architecture):
    generator, discriminator = (
        make(architecture, SHAPE, 3) for make in (PerClass().generator, PerClass().discriminator)
    )
    labels = torch.tensor([2, 0, 2, 0])
    discriminator(generator(torch.randn(4, 5), labels), labels).sum().backward()
    for routed, (label, reached) in itertools.product((generator, discriminator), [(0, True), (1, False), (2, True)]):
        for weight in routed.networks[label].parameters():
            assert (weight.grad is not None) is reached


@architectures
def test_one_gan_a_class_trains_as_if_each_were_alone(architecture):
    generator, discriminator = (
        make(architecture, SHAPE, 2) for make in (PerClass().generator, PerClass().discriminator)
    )
    alone = [copy.deepcopy((generator.networks[label], discriminator.networks[label])) for label in (0, 1)]

    def train(judge, *networks):
        optimizer = torch.optim.Adam(itertools.chain(*(network.parameters() for network in networks)), lr=0.01)
        for latents, labels in batches:
            optimizer.zero_grad()
            logits = judge(latents, labels)
            if len(logits):
                logits.square().sum().backward()
            optimizer.step()

    # The second batch has no image of class 1: it then stands still.
    batches = [(torch.randn(len(labels), 5), torch.tensor(labels)) for labels in ([0, 1, 1, 0], [0, 0, 0], [1, 0, 1])]
    train(lambda latents, labels: discriminator(generator(latents, labels), labels), generator, discriminator)
    for label, (body, judge) in enumerate(alone):

        def one(latents, labels, label=label, body=body, judge=judge):
            mine = latents[labels == label]
            return judge(body(mine)) if len(mine) else mine

        train(one, body, judge)
        for routed, single in ((generator, body), (discriminator, judge)):
            for name, value in single.state_dict().items():
                torch.testing.assert_close(routed.networks[label].state_dict()[name], value)


@architectures
def test_parameters_besides_the_body_s(architecture):
    """Worked out for 3 classes of 8x8 images, by what each conditioning adds to an unconditional GAN."""

    def counts(conditioning):
        return [
            sum(weight.numel() for weight in make(architecture, SHAPE, 3).parameters())
            for make in (conditioning.generator, conditioning.discriminator)
        ]

    generator, discriminator = counts(Unconditional())
    num_features = architecture.discriminator(SHAPE).num_features
    # The first layers see 4 more inputs; and one more channel: 64 more pixels, or 3x3 weights a map.
    first, channel = (8, 64 * 16) if isinstance(architecture, MLP) else (8 * 4 * 4, 4 * 9)
    assert counts(Projection(4)) == [generator + 3 * 4 + 4 * first, discriminator + 3 * num_features]
    assert counts(Concat(4)) == [generator + 3 * 4 + 4 * first, discriminator + 3 * 64 + channel]
    assert counts(PerClass()) == [3 * generator, 3 * discriminator]


@pytest.mark.parametrize("conditioning", [Projection, Concat])
def test_an_empty_embedding_is_refused(conditioning):
    with pytest.raises(ValueError, match=r"^conditioning.embedding_dim=0: use a whole number of at least 1$"):
        conditioning(embedding_dim=0)


@pytest.mark.parametrize(
    ("name", "conditioning"),
    [
        ("projection", Projection()),
        ("concat", Concat()),
        ("acgan", AuxiliaryClassifier()),
        ("reacgan", ReACGAN()),
        ("none", Unconditional()),
        ("per_class", PerClass()),
    ],
)
def test_each_option_stands_in_the_configuration_with_its_default(name, conditioning):
    node = OmegaConf.to_container(OmegaConf.load(CONF / "conditioning" / f"{name}.yaml"))
    built = build(node, "conditioning", Conditioning)
    assert type(built) is type(conditioning)
    options = dataclasses.asdict(conditioning) if dataclasses.is_dataclass(conditioning) else {}
    assert {key: value for key, value in node.items() if key != "_target_"} == options
