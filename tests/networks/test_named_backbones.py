import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision import models

from gan_augment.data.image_set import ImageShape
from gan_augment.networks.named_backbones import TimmBackbone, TorchvisionBackbone
from gan_augment.networks.transfer import Transfer

GREY = torch.linspace(-1, 1, 2 * 40 * 64).view(2, 1, 40, 64)
RESNET = {"_target_": "gan_augment.networks.named_backbones.TorchvisionBackbone", "name": "resnet18"}


@pytest.fixture(scope="module")
def resnet():
    return TorchvisionBackbone("resnet18").eval()


@pytest.fixture
def timm(monkeypatch):
    """A package like timm, with one network; it notes how it was made."""
    made = []

    def create_model(name, **options):
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})\nand more")
        made.append(options)
        network = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        return network

    package = SimpleNamespace(
        create_model=create_model,
        is_model=lambda name: name.split(".")[0] in ("tiny", "broken"),
        get_pretrained_cfg=lambda name: SimpleNamespace(hf_hub_id=f"timm/{name}"),
        made=made,
    )
    monkeypatch.setitem(sys.modules, "timm", package)
    cache = SimpleNamespace(try_to_load_from_cache=lambda repository, file: package.stored)
    monkeypatch.setitem(sys.modules, "huggingface_hub", cache)
    package.stored = None
    return package


@torch.no_grad()
def test_its_maps_and_features_are_those_of_torchvision(resnet):
    assert resnet.channels == {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
    assert (resnet.num_features, resnet.origin) == (512, None)
    seen = {}
    inner = resnet.network.network
    for name in ("relu", "layer2", "layer4", "avgpool"):
        inner.get_submodule(name).register_forward_hook(lambda *call, name=name: seen.update({name: call[2]}))
    features = resnet(GREY)
    torch.testing.assert_close(features, seen["avgpool"].flatten(1))
    torch.testing.assert_close(resnet.maps(GREY, [8, 32]), [seen["layer2"], seen["layer4"]])
    assert [tuple(one.shape) for one in resnet.maps(GREY, [2, 16])] == [(2, 64, 20, 32), (2, 256, 3, 4)]


def test_nothing_beyond_the_last_map_is_computed(monkeypatch):
    network = TorchvisionBackbone("resnet18")
    network.network.network.layer3 = nn.Linear(1, 1)  # fails
    assert len(network.maps(GREY, [4, 8])) == 2
    with pytest.raises(RuntimeError):
        network.maps(GREY, [4, 16])


@pytest.mark.parametrize(
    ("name", "channels", "num_features"),
    [("mobilenet_v3_small", {2: 16, 4: 72, 8: 96, 16: 288, 32: 576}, 1024), ("vit_b_32", {32: 768}, 768)],
)
def test_other_networks_have_what_they_have(name, channels, num_features):
    with torch.device("meta"):
        network = TorchvisionBackbone(name)
    assert (network.channels, network.num_features) == (channels, num_features)


def test_random_weights_are_always_the_same(resnet):
    torch.manual_seed(1)
    torch.testing.assert_close(TorchvisionBackbone("resnet18").eval()(GREY), resnet(GREY))


def test_pretrained_weights_are_named():
    with torch.device("meta"):  # nothing is loaded
        network = TorchvisionBackbone("resnet18", "IMAGENET1K_V1")
    assert "torchvision's ResNet18_Weights.IMAGENET1K_V1, learned" in network.origin


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"^classifier\.network\.backbone: name=resnet81: use one of .*resnet18.*all:"):
        Transfer(ImageShape(1, 64, 64), 3, RESNET | {"name": "resnet81"}, frozen=True)


def test_a_checkpoint_of_a_frozen_backbone_starts_no_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_: pytest.fail("it downloads"))
    weights = models.ResNet18_Weights.IMAGENET1K_V1
    with (
        torch.device("meta"),
        pytest.raises(
            ValueError, match=r"a checkpoint starts no download\): put that file at .*resnet18-f37072fd\.pth"
        ),
    ):
        Transfer(ImageShape(1, 64, 64), 3, RESNET | {"weights": weights.name}, frozen=True)


def test_a_network_of_timm_is_called_as_its_weights_expect(timm):
    network = TimmBackbone("tiny")
    assert timm.made == [{"pretrained": True, "num_classes": 0}]
    assert (network.channels, network.num_features) == ({4: 5}, 5)
    assert "timm's tiny" in network.origin
    body = network.network.network
    torch.testing.assert_close(network(GREY), body((GREY.expand(-1, 3, -1, -1) / 2) / 0.25))
    assert TimmBackbone("tiny", pretrained=False).origin is None


def test_a_checkpoint_takes_the_weights_of_timm_from_this_machine(timm):
    node = {"_target_": "gan_augment.networks.named_backbones.TimmBackbone", "name": "tiny"}
    with torch.device("meta"):
        with pytest.raises(ValueError, match=r"name=tiny: .*a checkpoint starts no download.*pretrained=True\)$"):
            Transfer(ImageShape(1, 64, 64), 3, node, frozen=True)
        timm.stored = "/cache/model.safetensors"
        Transfer(ImageShape(1, 64, 64), 3, node, frozen=True)
        Transfer(ImageShape(1, 64, 64), 3, node, frozen=False)
    local = {"pretrained": True, "pretrained_cfg_overlay": {"file": timm.stored}}
    assert timm.made == [local | {"num_classes": 0}, {"pretrained": False, "num_classes": 0}]


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", ["hf-hub:someone/tiny", "local-dir:/tmp/tiny", "other"])
def test_a_checkpoint_takes_no_network_of_timm_from_elsewhere(timm, name, frozen):
    node = {
        "_target_": "gan_augment.networks.named_backbones.TimmBackbone",
        **{"name": name, "pretrained": False},
    }
    with torch.device("meta"), pytest.raises(ValueError, match=r"timm cannot build it \(there is no such network\)"):
        Transfer(ImageShape(1, 64, 64), 3, node, frozen=frozen)
    assert timm.made == []


def test_a_network_that_timm_cannot_build_is_refused_in_one_line(timm):
    with pytest.raises(ValueError, match=r"^name=broken: timm cannot build it \(Unknown model \(broken\)\): use one"):
        TimmBackbone("broken")


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"^name=tiny needs a package that is not installed: pip install timm$"):
        TimmBackbone("tiny")
