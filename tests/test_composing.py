import copy
import re
import sys

import pytest
import yaml
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import OmegaConf

from conftest import TINY
from gan_augment.composing import CheckedLoader, check_composed, environment, named_plugins
from gan_augment.errors import user_errors
from gan_augment.options import CONF
from gan_augment.targets import add_plugins


@pytest.fixture(scope="module")
def usual():
    """Compose the configuration, with a launcher that has settings."""
    loader = CheckedLoader(create_config_search_path(str(CONF)))
    return loader.load_configuration("config", ["hydra/launcher=joblib"], RunMode.MULTIRUN)


@pytest.fixture
def changed(usual):
    """Change settings of the node `hydra`; `...` takes one away."""

    def change(**settings):
        config = copy.deepcopy(usual)
        OmegaConf.set_struct(config, False)
        for name, value in settings.items():
            if value is ...:
                parent, _, key = name.rpartition(".")
                OmegaConf.select(config.hydra, parent).pop(key)
            else:
                OmegaConf.update(config, f"hydra.{name}", value, force_add=True)
        return config

    return change


@pytest.fixture
def refused(capsys):
    """Compose a configuration, with a folder of files if there is one; return the one line of its refusal."""

    def composed(*overrides, folder=None):
        path = create_config_search_path(str(CONF))
        if folder is not None:
            path.append("command-line", f"file://{folder}")
        with pytest.raises(SystemExit) as end, user_errors():
            CheckedLoader(path).load_configuration("config", list(overrides), RunMode.MULTIRUN)
        assert end.value.code == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    return composed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job.env_set.PATH", "/evil"),
        ("job.env_copy", ["HOME"]),
        ("run.dir", "/tmp/elsewhere"),
        ("run.dir", "${loss._target_}"),
        ("sweep.dir", "/tmp/elsewhere"),
        ("sweep.subdir", "../.."),
        ("output_subdir", "../.."),
        ("output_subdir", None),
        ("job.name", "../../x"),
        ("job.chdir", True),
        ("runtime.output_dir", "/tmp/elsewhere"),
        ("searchpath", ["pkg://antigravity"]),
        ("callbacks.x._target_", "gan_augment.synthesize.main"),
        ("callbacks.x._target_", "gan_augment.launch.Launch"),
        ("callbacks.launch._target_", "gan_augment.records.provenance._git"),
        ("callbacks.launch._target_", ...),
        ("callbacks.launch._partial_", True),
        ("callbacks.launch.arguments", [{"_target_": "os.system"}]),
        ("job_logging.handlers.file.filename", "/tmp/evil.log"),
        ("job_logging.handlers.file.class", "logging.handlers.SocketHandler"),
        ("hydra_logging.handlers.x.class", "logging.FileHandler"),
        ("help.template", "${oc.env:HOME}"),
        ("verbose", 3),
        ("verbose", "${oc.env:HOME}"),
        ("launcher.pre_dispatch", "__import__"),
        ("launcher.setup", ["touch x"]),
        ("launcher.partition", "gpu\ntouch x"),
        ("launcher.n_jobs", "${labels}"),
        ("launcher.additional_parameters", {"time\ntouch x": 1}),
        ("launcher._partial_", True),
        ("launcher._args_", [3]),
        ("launcher.x", [{"a": 1}]),
        ("sweeper.custom_search_space", "os.system"),
        ("sweeper.storage", "sqlite:////tmp/x.db"),
        ("sweeper.storage", "sqlite:///${paths.output_dir}/studies/${study}/../x.db"),
        ("sweeper.storage", "sqlite:///${paths.output_dir}/studies/${study}/x.db?uri=true"),
        ("sweeper.storage", "postgresql://host/${study}"),
        ("sweeper.params", "${loss}"),
    ],
)
def test_a_configuration_says_little_to_hydra(changed, name, value):
    message = rf"^hydra\.{re.escape(name)}[^:]* may not be changed: of the node hydra, set only hydra/launcher, "
    with pytest.raises(ValueError, match=message):
        check_composed(changed(**{name: value}), [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sweeper._target_", "os.system"),
        ("sweeper._target_", "antigravity.Sweeper"),
        ("sweeper._target_", "gan_augment.launch.Launch"),
        ("sweeper._target_", {"_target_": 3}),
        ("sweeper._target_", ...),
        ("launcher._target_", "hydra_plugins.study_sweeper.StudySweeper"),
        ("sweeper.sampler._target_", "os.system"),
        ("sweeper.params.x._target_", "os.system"),
    ],
)
def test_a_launcher_or_sweeper_is_one_that_is_installed(changed, name, value):
    message = (
        rf"^hydra\.{name}\S*=.*: choose a (launcher|sweeper) of conf/ or of an installed plugin of Hydra with hydra/"
    )
    with pytest.raises(ValueError, match=message):
        check_composed(changed(**{name: value}), [])
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "settings",
    [
        {"launcher.n_jobs": 4, "launcher.timeout": 1.5, "verbose": True, "launcher.batch_size": "auto"},
        {"launcher.partition": "gpu-a100", "launcher.ray.init.num_cpus": 2, "launcher.ray.init.dashboard": False},
        {"sweeper.direction": "maximize", "sweeper.max_batch_size": 3, "verbose": ["hydra"], "sweeper.weights": [0.1]},
        {"sweeper.storage": "sqlite:///${paths.output_dir}/studies/${study}/search.db", "sweeper.study_name": "search"},
        {"sweeper.params": {"loss": "hinge,relativistic", "generator.betas": "[0,1]", "seed": "range(0,8)"}},
        {"launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}},
        {"sweeper._target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"},
    ],
)
def test_what_a_study_needs_may_be_set(changed, settings):
    check_composed(changed(**settings), [])


RECEIVED = {
    "callbacks": {"hydra": {"callbacks": {"x": {"_target_": "gan_augment.records.provenance._git"}}}},
    "job.env_copy": {"hydra": {"job": {"env_copy": ["HUSH"]}}},
    "job.env_copy of nothing": {"hydra": {"job": {"env_copy": ["NOT_SET_ANYWHERE"]}}},
    "hydra": {"hydra": "${loss}"},
    "overrides": {"hydra": {"overrides": {"task": ["plugins=[antigravity]"]}}, "plugins": ["antigravity"]},
    "sweeper._target_": {"hydra": {"sweeper": {"_target_": "antigravity.Sweeper"}}},
}


@pytest.mark.parametrize("name", RECEIVED)
def test_a_recipe_from_elsewhere_says_no_more(refused, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HUSH", "very secret")
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n" + yaml.safe_dump(RECEIVED[name])
    (tmp_path / "experiment" / "received.yaml").write_text(text)
    said = refused("experiment=received", folder=tmp_path)
    assert "antigravity" not in sys.modules
    assert "very secret" not in said


def test_a_file_does_not_take_the_place_of_hydras_own(refused, tmp_path):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "callbacks").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "fast.yaml").write_text("_target_: antigravity.Launcher")
    (tmp_path / "hydra" / "callbacks" / "x.yaml").write_text("x:\n  _target_: antigravity.Callback")
    assert "hydra.launcher._target_=antigravity.Launcher: " in refused("hydra/launcher=fast", folder=tmp_path)
    assert "hydra.callbacks.x._target_ may not be changed" in refused("hydra/callbacks=x", folder=tmp_path)


def test_a_plugin_may_register_a_launcher(refused, tmp_path, monkeypatch):
    code = """
from hydra.core.config_store import ConfigStore
node = {"_target_": "my_cluster.Launcher", "setup": ["module load cuda"]}
ConfigStore.instance().store(group="hydra/launcher", name="cluster", node=node)
"""
    (tmp_path / "my_cluster.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GAN_AUGMENT_PLUGINS", "")
    from gan_augment import composing

    composing.installed.cache_clear()
    try:
        add_plugins(["my_cluster"])
        loader = CheckedLoader(create_config_search_path(str(CONF)))
        config = loader.load_configuration("config", ["hydra/launcher=cluster"], RunMode.MULTIRUN)
        assert config.hydra.launcher.setup == ["module load cuda"]
        assert "hydra.launcher.setup may not be" in refused("hydra/launcher=cluster", "hydra.launcher.setup=[rm x]")
    finally:
        del ConfigStore.instance().repo["hydra"]["launcher"]["cluster.yaml"]
        composing.installed.cache_clear()


# ------------------------------------------------------------------------------------------- through the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["study=${oc.env:HUSH}"],
            "gan-augment: study: a configuration reads only variables whose names begin with GAN_",
        ),
        (
            ["-m", "study=${oc.env:HUSH}"],
            "gan-augment: study: a configuration reads only variables whose names begin wi",
        ),
        (
            ["data.image_size='${oc.decode:${oc.env:HUSH}}'"],
            "a configuration reads only variables whose names begin with ",
        ),
        (["loss=${oc.env:HUSH}"], "Error resolving interpolation '${oc.env:HUSH}'"),
    ],
)
def test_a_secret_of_the_environment_does_not_leak(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("HUSH", "very-secret")
    monkeypatch.chdir(tmp_path)
    ended = cli(f"paths.output_dir={tmp_path}", *arguments)
    assert ended.code == 1
    assert message in ended.err
    assert "very-secret" not in ended.out + ended.err
    assert not [path for path in tmp_path.rglob("*") if "very-secret" in path.name]


def test_the_variables_of_this_program_are_read(monkeypatch):
    monkeypatch.setenv("GAN_AUGMENT_DATA", "/images")
    assert OmegaConf.create({"x": "${oc.env:GAN_AUGMENT_DATA,data}"}).x == "/images"
    monkeypatch.delenv("GAN_AUGMENT_DATA")
    assert OmegaConf.create({"x": "${oc.env:GAN_AUGMENT_DATA,data}"}).x == "data"
    with pytest.raises(ValueError, match=r"^the environment variable GAN_AUGMENT_DATA is not set$"):
        environment("GAN_AUGMENT_DATA")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["data._target_=gan_augment.records.provenance._git", "+data.arguments=[-c]"],
            "data._target_=gan_augment.rec",
        ),
        (["-m", "hydra.sweeper._target_=os.system"], "hydra.sweeper._target_=os.system: choose a sweeper of conf/ or "),
        (
            ["-m", "experiment=digits", "+hydra.sweeper.params.plugins=[antigravity]"],
            "plugins=['antigravity'] in a file",
        ),
        (["-m", "hydra.sweeper.params={hydra.run.dir: /tmp/elsewhere}"], "hydra.run.dir may not be changed: "),
        (["plugins=[nowhere]"], "plugins=[nowhere] cannot be imported (No module named 'nowhere'): name an installed"),
    ],
)
def test_the_command_refuses_it_in_a_line(cli, tmp_path, monkeypatch, arguments, message):
    def called(*arguments, **settings):
        raise AssertionError("called")

    monkeypatch.setattr("gan_augment.records.provenance._git", called)
    ended = cli(*arguments, *TINY, f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert f"gan-augment: {message}" in ended.err
    assert "Traceback" not in ended.out + ended.err
    assert "antigravity" not in sys.modules
    assert not list(tmp_path.glob("store/*"))


def test_a_swept_file_from_elsewhere_is_refused_before_anything_trains(cli, tmp_path):
    text = (
        "# @package _global_\nloss:\n  _target_: gan_augment.losses.adversarial.Hinge\nhydra:\n  output_subdir: ../.."
    )
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "received.yaml").write_text(text)
    ended = cli("-m", "--config-dir", tmp_path, *TINY, "loss=hinge,received", f"paths.output_dir={tmp_path}")
    assert ended.code == 1
    assert ended.err.startswith("gan-augment: hydra.output_subdir may not be changed: ")
    assert not list(tmp_path.glob("store/*"))


def test_plugins_are_read_from_the_command_line_alone():
    assert named_plugins(["-m", "loss=hinge", "plugins=[a]", "plugins=[b, c.d]"]) == ["b", "c.d"]
    assert named_plugins(["--config-dir", "x"]) == []
    assert named_plugins(["-m", "plugins=[a],[b]"]) == "[a],[b]"  # which `add_plugins` refuses
    with pytest.raises(
        ValueError, match=r"^plugins=\['c'\] in a file: name them on the command line, or in the variable"
    ):
        check_composed(OmegaConf.create({"plugins": ["c"]}), ["a"])
