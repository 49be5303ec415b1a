"""Sweepers, such as Optuna, that choose the next trial by the results of earlier ones: what they must not search."""

from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gan_augment.records.factors import OF_THE_LAUNCH, has_effect
from gan_augment.records.record import leaves

# A search over these would find lucky splits and easy data, not good settings.
FIXED = (
    *(name for name in OF_THE_LAUNCH if name != "spectral_norm"),  # a default of other settings
    *("seeds", "augmentation", "open_test", "experiment"),
    *("data", "labels", "folds", "imbalance", "validation_per_class"),
)
SPACES = ("params", "search_space", "parametrization")  # settings of sweepers that hold what they search over
# A trial returns its accuracy. Each sweeper has one of these settings, and some minimise by default.
MAXIMISES = {"direction": "maximize", "maximize": True, "minimize": False}


def check_search(config: DictConfig) -> None:
    """Check a launch whose sweeper chooses its trials as it goes.

    Raises:
        ValueError: If trials would open the test images, the search covers seeds, arms or data, or it would minimise.
    """
    name = config.hydra.runtime.choices["hydra/sweeper"]
    given = [one.partition("=")[0] for one in config.hydra.overrides.task]
    is_own = config.hydra.sweeper.get("_target_", "").endswith(".SearchSweeper")  # it closes the test, and has splits
    if is_own and (seed := next((one for one in given if one.partition(".")[0] in ("seed", "seeds")), None)):
        raise ValueError(f"hydra/sweeper={name} has splits of its own: leave out {seed}, or set hydra.sweeper.seeds")
    if config.open_test and not (is_own and "open_test" not in given):
        raise ValueError(
            f"open_test={config.open_test}, but hydra/sweeper={name} tries many settings and keeps the best: set "
            "open_test=false, and test the best settings afterwards, with other seeds"
        )
    for searched in searched_settings(config):
        if has_effect(searched, FIXED) and not (is_own and searched.partition(".")[0] in ("seed", "seeds")):
            raise ValueError(
                f"hydra/sweeper={name} would search over {searched}, and find luck instead of good settings: give "
                f"{searched} one value, or leave out hydra/sweeper to run a study"
            )
    for name, value in leaves(_plain(config.hydra.sweeper)):
        wanted = MAXIMISES.get(name.rpartition(".")[2], value)
        if value != wanted:
            raise ValueError(
                f"hydra.sweeper.{name}={value}, but a trial returns an accuracy: set hydra.sweeper.{name}={wanted}"
            )


def searched_settings(config: DictConfig) -> list[str]:
    """Return the settings that a sweeper searches over: those of its own settings, then those of the command line."""
    parser = OverridesParser.create()
    searched = {}
    for name, value in spaces(_plain(config.hydra.sweeper)):
        searched[name] = isinstance(value, Mapping)
        if isinstance(value, str):
            searched[name] = parser.parse_override(f"{name}={value}").is_sweep_override()
    for override in parser.parse_overrides(list(config.hydra.overrides.task)):
        searched[str(override.key_or_group)] = override.is_sweep_override()
    return [name for name, is_searched in searched.items() if is_searched]


def spaces(sweeper: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of the spaces that a sweeper's settings describe."""
    for key, inner in sweeper.items():
        if isinstance(inner, Mapping):
            yield from inner.items() if key in SPACES else spaces(inner)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False, enum_to_str=True)
