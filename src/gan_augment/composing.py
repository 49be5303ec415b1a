"""Composing a configuration: what it may say to Hydra, wherever it was written, and which plugins it may name."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_augment.options import CONF
from gan_augment.records.provenance import PLUGINS, plugins
from gan_augment.records.record import leaves
from gan_augment.targets import TARGET

ENGINES = ("launcher", "sweeper")
OF_HYDRA = ("mode", "overrides.", "runtime.choices.", "runtime.version", "runtime.cwd", "runtime.config_sources")
WORDS = (
    "direction",
    "reference",
    "study_name",
    "partition",
    "account",
    "qos",
    "constraint",
)  # settings of engines with words
WORD = re.compile(r"[\w.,:@-]+")
# Where a search may remember its trials: a file in the study's folder.
STORAGE = re.compile(r"sqlite:///\$\{paths\.output_dir\}/studies/\$\{study\}/[\w-]+\.db")
SWEPT = re.compile(r"sweeper\.(.+\.)?params\.")  # settings of jobs, which are checked when these are composed
ALLOWED = (
    "of the node hydra, set only hydra/launcher, hydra/sweeper, their numbers and switches, hydra.sweeper.params, "
    f"hydra.verbose, single words for {', '.join(WORDS)}, and "
    "'hydra.sweeper.storage=sqlite:///${paths.output_dir}/studies/${study}/search.db'"
)
UNSET = object()


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader, which refuses configurations that say too much before anything in them is resolved or run.

    Hydra composes every configuration with its loader, also those of jobs in other processes.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.plugins = plugins()

    def _process_config_searchpath(self, *arguments: Any) -> None:
        """Import no package for its configurations: `--config-dir` adds a folder."""

    def _load_configuration_impl(self, *arguments: Any, **keywords: Any) -> DictConfig:
        try:
            config = super()._load_configuration_impl(*arguments, **keywords)
        except KeyError as error:
            if isinstance(error, OmegaConfBaseException):
                raise
            raise ValueError(f"hydra.job.env_copy names {error}, which is not set: {ALLOWED}") from error
        check_composed(config, self.plugins)
        return config


def check_composed(config: DictConfig, allowed: Sequence[str]) -> None:
    """Check what a composed configuration does to Hydra, and that it names only these plugins.

    Raises:
        ValueError: If it sets more than a few settings of the node `hydra`, or names another plugin.
    """
    content = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(content, dict)
    named = content.get("plugins")
    if not isinstance(named, list) or not set(map(str, named)) <= set(allowed):
        raise ValueError(f"plugins={named} in a file: name them on the command line, or in the variable {PLUGINS}")
    given, usual = dict(leaves(content["hydra"])), usual_hydra()
    for name in [*given, *(usual.keys() - given)]:
        engine, _, key = name.partition(".")
        if name.startswith(OF_HYDRA) or (name in given and name in usual and given[name] == usual[name]):
            continue
        if engine in ENGINES and (_fits(name, given[name]) if name in given else key != TARGET):
            continue
        if name == "verbose" and all(map(_is_word_or_switch, _listed(given[name]))):
            continue
        if engine in ENGINES and name.endswith(TARGET):
            raise ValueError(
                f"hydra.{name}={given.get(name)}: choose a {engine} of conf/ or of an installed plugin of Hydra with "
                f"hydra/{engine}=..., or register your own with Hydra in a package of plugins=[my_package]"
            )
        raise ValueError(f"hydra.{name} may not be changed: {ALLOWED}")


def _fits(name: str, value: Any) -> bool:
    """Whether a launcher or sweeper may have a setting: as installed, a number or a switch, or one of a few words."""
    engine, key = name.partition(".")[0], name.rpartition(".")[2]
    if f"{key}={value}" in installed(engine):
        return True
    if key.startswith("_"):
        return False
    if SWEPT.match(name):
        return True
    if key == "storage":
        return isinstance(value, str) and STORAGE.fullmatch(value) is not None
    is_number = all(one is None or isinstance(one, int | float) for one in _listed(value))
    # A launcher may write names and words into a shell script.
    return WORD.fullmatch(name) is not None and (is_number or (key in WORDS and _is_word_or_switch(value)))


def _is_word_or_switch(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and WORD.fullmatch(value) is not None)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def usual_hydra() -> Mapping[str, Any]:
    """Return the settings of the node `hydra` without any choice, by their dotted names."""
    loader = ConfigLoaderImpl(create_config_search_path(str(CONF)))
    config = loader.load_configuration("config", overrides=[], run_mode=RunMode.RUN)
    return dict(leaves(OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)))


@cache
def installed(engine: str) -> set[str]:
    """Return the settings of all launchers or sweepers in `conf/` and of Hydra's installed plugins, as `key=value`."""

    def nodes(group: Any) -> Iterator[Any]:
        if isinstance(group, ConfigNode):
            yield OmegaConf.to_container(group.node, resolve=False, enum_to_str=True)
        elif isinstance(group, Mapping):
            for inner in group.values():
                yield from nodes(inner)

    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / "hydra" / engine).glob("*.yaml"))
    found = [*files, *nodes(ConfigStore.instance().repo["hydra"].get(engine))]
    return {f"{name.rpartition('.')[2]}={value}" for node in found for name, value in leaves(node)}


def named_plugins(arguments: Sequence[str]) -> Any:
    """Return the plugins that a command line names, by Hydra's grammar; an empty list if it does not."""
    given = [text for text in arguments if text.lstrip("+").startswith("plugins=")]
    if not given:
        return []
    named = OverridesParser.create().parse_override(given[-1])
    return given[-1].partition("=")[2] if named.is_sweep_override() else named.value()


def environment(name: str, default: Any = UNSET) -> Any:
    """Resolve `${oc.env:...}`: a configuration reads only this program's variables, so that none leaks elsewhere.

    Raises:
        ValueError: If it is a variable of something else, or unset and without a default.
    """
    if not str(name).startswith("GAN_AUGMENT_"):
        raise ValueError(f"a configuration reads only variables whose names begin with GAN_AUGMENT_, not {name}")
    value = os.environ.get(name, default)
    if value is UNSET:
        raise ValueError(f"the environment variable {name} is not set")
    return value
