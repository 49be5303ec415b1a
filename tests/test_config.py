import re

import pytest

from gan_augment.arm import Arm
from gan_augment.augmentation.discriminator import DiffAugment
from gan_augment.config import Config
from gan_augment.contracts import GeneratorSettings, Method
from gan_augment.data.split import SplitSettings
from gan_augment.networks.architecture import Architecture
from gan_augment.plan import plan_trial
from gan_augment.training.hardware import Hardware


@pytest.fixture
def settings(plain_settings):
    return plain_settings()


def changed(settings, name, **values):
    """Return the settings with other values in the node of a dotted name."""
    first, _, rest = name.partition(".")
    node = changed(settings[first], rest, **values) if rest else settings[first] | values
    return settings | {first: node}


def test_every_node_becomes_the_object_that_it_describes(settings):
    config = Config.read(settings)
    assert config.part("architecture", Architecture).channels == 8
    assert config.part("generator", GeneratorSettings).images_seen == 640
    assert config.part("classifier", Method).num_steps == 20
    assert config.arm == Arm("labelled", "synthetic", 0.5, "classical", "classifier")
    assert config.hardware == Hardware(
        accelerator="cpu", precision="32-true", num_threads=1, channels_last=True, checkpoint_every=30
    )
    assert config.split == SplitSettings(0, "auto", [], None, None, 0.2, "auto")
    assert [*config.measures] == ["pseudo_labels", "diversity", "leak", "modes", "pictures", "judge", "usable"]
    of_digits = {"_target_": "gan_augment.data.standard_sets.digits", "num_images": None, "image_size": None}
    assert config.source == of_digits
    assert vars(config.seeds) == {"split": 0, "gan": 0, "synthesis": 0, "classifier": 0}


def test_a_node_without_a_choice_is_nothing(settings):
    config = Config.read(settings | {"classifier": {"_target_": None}})
    assert config.parts["classifier"] is None
    assert config.names(Method) == ["encoded", "consistency", "batch_norm", "classifier", "semi_supervised"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("architecture", {"depth": 3}, r"architecture has no setting depth: use latent_dim, channels, .*"),
        ("trainer", {"gpus": 2}, r"trainer has no setting gpus: use accelerator, precision, .*"),
        ("trainer", {"strategy": "ddp"}, r"trainer has no setting strategy: use accelerator, precision, .*"),
        ("generator", {"judge_every": 3}, r"generator has no setting judge_every: use images_seen, .*"),
        ("augmentation", {"learner": "classifier"}, r"augmentation has no setting learner: use sees, extra, .*"),
        ("data.classical", {"shear": 3}, r"data\.classical has no setting shear: use .*"),
        ("measures.judge", {"often": 3}, r"measures\.judge has no setting often: use network, .*"),
        ("measures.leak", {"often": 3}, r"measures\.leak has no setting often: use "),
        ("seeds", {"luck": 7}, r"seeds has no setting luck: use split, gan, synthesis, classifier"),
        ("imbalance", {"factor": 7}, r"imbalance has no setting factor: use classes, share"),
    ],
    ids=str,
)
def test_an_unknown_setting_is_refused_by_its_node(settings, name, values, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config.read(changed(settings, name, **values))


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("generator", "decay", "generator lacks decay"),
        ("trainer", "precision", "trainer lacks precision"),
        ("data", "test_share", "data lacks test_share: a file of conf/data/ sets them next to its source"),
        ("seeds", "gan", "seeds lacks gan"),
    ],
)
def test_a_missing_setting_is_named(settings, name, key, message):
    node = {other: value for other, value in settings[name].items() if other != key}
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config.read(settings | {name: node})


def test_an_unknown_node_is_refused(settings):
    message = r"^the configuration has no setting label_fraction: use data, labels, imbalance, .*"
    with pytest.raises(ValueError, match=message):
        Config.read(settings | {"label_fraction": 0.1})
    with pytest.raises(ValueError, match=r"^the configuration has no setting generater: use "):
        Config.read(settings | {"generater": {"images_seen": 5}})


def test_a_target_that_is_not_there_is_refused(settings):
    message = r"^generator\._target_=gan_augment\.generators\.gan\.GAM: use one that a file of conf/ names, or .*"
    with pytest.raises(ValueError, match=message):
        Config.read(changed(settings, "generator", _target_="gan_augment.generators.gan.GAM"))


def test_a_group_without_a_member_is_refused(settings):
    with pytest.raises(ValueError, match=r"^penalty=None: choose one of the members of conf/penalty/$"):
        Config.read(settings | {"penalty": None})


def test_a_part_of_the_wrong_kind_is_refused_even_where_it_is_not_needed(settings):
    message = (
        r"^generator\._target_=gan_augment\.networks\.dcgan\.DCGAN: use one of type GeneratorSettings that a file of "
        "conf/"
    )
    with pytest.raises(ValueError, match=message):
        Config.read(settings | {"generator": settings["architecture"]})
    with pytest.raises(ValueError, match=r"^flavour is no node of the configuration: leave it out, or use one of "):
        Config.read(settings | {"flavour": settings["architecture"]})


def test_a_part_that_is_not_there_is_refused_where_it_is_needed(settings):
    config = Config.read(settings | {"classifier": {"_target_": None}})
    message = r"^classifier is nothing, but one of type Method is needed: choose one of conf/classifier/$"
    with pytest.raises(ValueError, match=message):
        config.part("classifier", Method)
    with pytest.raises(ValueError, match=r"^flavour is nothing, but one of type DiffAugment is needed: "):
        config.part("flavour", DiffAugment)


@pytest.mark.parametrize(
    ("name", "node", "message"),
    [
        ("data", {"_target_": "gan_augment.networks.mlp.MLP"}, r"data\._target_=\S+MLP: use one of type Source .*"),
        ("data", {"_target_": "gan_augment.data.toy.ring", "colour": 3}, r"data has no setting colour: use .*"),
        (
            "architecture",
            {"_target_": "gan_augment.losses.adversarial.Hinge"},
            r"architecture\._target_=\S+Hinge: use one of type Architecture .*",
        ),
        (
            "augmentation",
            {"_target_": "gan_augment.networks.mlp.MLP"},
            r"augmentation\._target_=\S+MLP: use one of type Arm .*",
        ),
        (
            "measures",
            {"odd": {"_target_": "gan_augment.networks.mlp.MLP"}},
            r"measures\.odd\._target_=\S+MLP: use one of type Measure .*",
        ),
        ("measures", {"odd": {"_target_": None}}, r"measures\.odd is of type NoneType: use one of type Measure"),
    ],
    ids=str,
)
def test_a_trial_with_a_part_of_the_wrong_kind_is_refused(settings, name, node, message):
    node = node | {"test_share": None, "classical": None} if name == "data" else node
    with pytest.raises(ValueError, match=f"^{message}$"):
        plan_trial(settings | {name: node})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"open_test": "yes"}, r"open_test=yes: use true or false"),
        ({"labels": 0}, r"labels=0: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        (
            {"validation_per_class": 2, "seeds": dict.fromkeys(("split", "gan", "synthesis", "classifier"), -1)},
            "seeds.split=-1: .*",
        ),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(settings, change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Config.read(settings | change)


@pytest.mark.parametrize("name", ["imbalance", "seeds", "measures", "data.classical", "classifier.network"])
def test_a_value_in_the_place_of_a_node_is_refused(settings, name):
    node, key = (settings, name) if "." not in name else (settings[name.split(".")[0]], name.split(".")[1])
    node[key] = "x"
    with pytest.raises(
        ValueError, match=rf"^{re.escape(name)}=x: this is a node with settings, such as those in conf/$"
    ):
        Config.read(settings)
