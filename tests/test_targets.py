import os
import sys

import pytest

from gan_augment.data.source import Source
from gan_augment.losses.adversarial import AdversarialLoss, Hinge
from gan_augment.networks.architecture import Architecture
from gan_augment.plan import plan_trial
from gan_augment.settings import build, class_from
from gan_augment.targets import add_plugins, find_target, kind_at, shipped

CODE = """
import dataclasses, os, subprocess
from gan_augment.data.source import Source
from gan_augment.losses.adversarial import AdversarialLoss, Hinge

class Mine(Hinge):
    @staticmethod
    def wipe():
        raise AssertionError("called")

class Half(AdversarialLoss):  # abstract
    pass

class Cleaner:
    def __init__(self, path=None):
        raise AssertionError("called")

def wipe(path=None):
    raise AssertionError("called")

def shapes(number: int = 3) -> Source:
    raise ValueError(f"data.number={number}")

def lost() -> "Nowhere":
    raise AssertionError("called")
"""


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    """A package with a loss, a data set, and much that is neither."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "code.py").write_text(CODE)
    (tmp_path / "my_package" / "broken.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GAN_AUGMENT_PLUGINS", "")
    yield tmp_path / "my_package"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_the_kind_due_at_a_node_is_what_its_targets_have_in_common():
    kinds = {name: kind_at(name).__name__ for name in ("loss", "architecture", "trainer", "measures.any", "data")}
    assert kinds == {
        "loss": "AdversarialLoss",
        "architecture": "Architecture",
        "trainer": "Hardware",
        "measures.any": "Measure",
        "data": "Source",
    }
    assert shipped()["classifier.network"] == {
        "gan_augment.networks.cnn.CNN",
        "gan_augment.networks.torchvision_classifier.TorchvisionClassifier",
        "gan_augment.networks.transfer.Transfer",
    }


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "hydra.utils.instantiate", "logging.FileHandler"),
        *("gan_augment.records.provenance._git", "gan_augment.synthesize.main", "gan_augment.launch.check_writable"),
        *("gan_augment.settings.build", "gan_augment.data.loading.load_source", "gan_augment.networks.mlp.LMP"),
        *("gan_augment.losses.adversarial.Hinge.output", "gan_augment.losses.adversarial.AdversarialLoss"),
        *("gan_augment.networks.mlp.os.system", "gan_augment.networks", "my_package.code.Mine", "MLP", "", ".", None),
        *(3, ["os.system"], {"_target_": "os.system"}, "gan_augment.losses.adversarial.Hinge "),
    ],
)
def test_only_targets_of_conf_are_called(target):
    with pytest.raises(ValueError, match=r"^loss\._target_=.*: use one of type AdversarialLoss that a file of conf/ "):
        find_target("loss", target, AdversarialLoss)


@pytest.mark.parametrize(
    "target",
    [
        *("code.wipe", "code.Cleaner", "code.Half", "code.shapes", "code.lost", "code.Mine.wipe", "code.missing"),
        *("code.os.system", "code.subprocess.run", "code.Hinge", "code.dataclasses.make_dataclass", "code"),
    ],
)
def test_of_a_plugin_only_its_own_classes_of_the_kind_are_called(my_package, target):
    add_plugins(["my_package"])
    with pytest.raises(ValueError, match=rf"^loss\._target_=my_package\.{target}( cannot be imported)?: "):
        build({"_target_": f"my_package.{target}"}, "loss", AdversarialLoss)


def test_a_plugin_is_named_before_its_code_counts(my_package):
    node = {"_target_": "my_package.code.Mine"}
    with pytest.raises(ValueError, match=r"named with plugins=\[my_package\] or GAN_AUGMENT_PLUGINS$"):
        build(node, "loss", AdversarialLoss)
    add_plugins(["my_package"])
    assert os.environ["GAN_AUGMENT_PLUGINS"] == "my_package"
    assert isinstance(build(node, "loss", AdversarialLoss), Hinge)
    with pytest.raises(ValueError, match=r"^data\.number=5$"):
        build({"_target_": "my_package.code.shapes", "number": 5}, "data", Source)
    with pytest.raises(
        ValueError, match=r"^loss\._target_=my_package\.broken\.Mine cannot be imported: No module named"
    ):
        build({"_target_": "my_package.broken.Mine"}, "loss", AdversarialLoss)
    found, settings = class_from({"_target_": "my_package.code.Mine"}, AdversarialLoss)  # as in a checkpoint
    assert (found.__name__, settings) == ("Mine", {})


@pytest.mark.parametrize("names", [["nowhere"], ["../my_package"], [".my_package"], [""], "my_package", [3], None, {}])
def test_a_plugin_that_cannot_be_imported_is_refused(my_package, names):
    with pytest.raises(ValueError, match=r"^plugins=.*: (use a list of packages|name an installed package), "):
        add_plugins(names)
    assert os.environ["GAN_AUGMENT_PLUGINS"] == ""


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("data.root", {"data": {"root": {"_target_": "os.system"}}}),
        (r"imbalance.classes\[1\].x", {"imbalance": {"classes": [1, {"x": {"_target_": "os.system"}}]}}),
        ("classifier.network.channels", {"classifier": {"network": {"channels": {"_target_": "os.system"}}}}),
        ("labels", {"labels": {"_target_": "os.system", "command": "x"}}),
    ],
)
def test_a_target_is_refused_wherever_it_stands(plain_settings, place, change):
    def merge(one, other):
        both = isinstance(one, dict) and isinstance(other, dict)
        return (
            {name: merge(one.get(name), other.get(name, one.get(name))) for name in {**one, **other}} if both else other
        )

    with pytest.raises(ValueError, match=rf"^{place}\._target_=os\.system: use one that a file of conf/ names, or "):
        plan_trial(merge(plain_settings(), change))


@pytest.mark.parametrize("name", ["_args_", "_convert_", "_recursive_", "_execution_whitelist_", "_partial_"])
def test_what_else_hydra_reads_in_a_node_is_no_setting(name):
    node = {"_target_": "gan_augment.networks.mlp.MLP", name: ["x"]}
    with pytest.raises(ValueError, match=rf"^architecture has no setting {name}: use latent_dim, width"):
        build(node, "architecture", Architecture)


def test_stages_of_a_plugin_are_made_again_when_its_code_changes(my_package, image_set):
    from conftest import GAN_NODES, gan_stage
    from gan_augment.records.provenance import source_hash

    labelled = image_set()
    usual = gan_stage(labelled).key
    add_plugins(["my_package"])
    keys = [gan_stage(labelled).key]
    for code in (CODE, CODE + "#"):
        (my_package / "code.py").write_text(code)
        source_hash.cache_clear()
        keys.append(gan_stage(labelled, GAN_NODES | {"loss": {"_target_": "my_package.code.Mine"}}).key)
    assert keys[0] == usual
    assert len(set(keys)) == 3
