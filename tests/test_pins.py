"""Pins: the names, stage keys and factors of all arms under several variants, as they were when they were pinned.

A stage key that changes makes every stored stage of its kind worthless: that is right only where the stage makes
something else now, and its class then has a new `version` or new fields. Names, factors and the wording of refusals may
change with the names of options and with the measures of a trial; `records/aliases.py` then reads the old factors under
their new names, so that old records pair with new ones. The order of the stages is not pinned.

`python tests/test_pins.py` pins anew, and refuses if a stage key has changed; with `--stages` it pins that too.
"""

import json
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from gan_augment.app import CONF
from gan_augment.job import plain
from gan_augment.plan import plan_trial
from gan_augment.records.record import digest

PINS = Path(__file__).with_name("pins.json")
ARMS = sorted(path.stem for path in (CONF / "augmentation").glob("*.yaml") if path.stem != "row")
# Unequal classes, because oversampling refuses equal ones.
USUAL = ("imbalance.classes=['3']", "imbalance.share=0.5", "trainer.num_threads=1")
VARIANTS = {
    "defaults": (),
    "without classes": ("conditioning=none", "synthesis=confident"),
    "without judge": ("measures=[pseudo_labels,diversity,leak,modes,pictures]",),
    "fully connected learner": ("semi_supervised=mlp",),
    "relativistic": ("loss=relativistic",),
    "generator alone": ("classifier=none",),
}


def pin(variant, arm):
    """Plan a trial; return what names it and its stages, or why it is refused."""
    with initialize_config_dir(str(CONF)):
        overrides = [f"augmentation={arm}", *USUAL, *VARIANTS[variant]]
        config = compose("config", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    try:
        trial = plan_trial(plain(config))
    except ValueError as refusal:
        return {"refused": str(refusal)}
    stages = {name: stage.key for name, stage in trial.stages.items()}
    return {"name": trial.name, "stages": stages, "factors": digest(trial.factors)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_arm_has_the_name_the_stages_and_the_factors_that_it_had(variant):
    pinned = json.loads(PINS.read_text())[variant]
    assert {arm: pin(variant, arm) for arm in ARMS} == pinned


if __name__ == "__main__":
    pinned = json.loads(PINS.read_text())
    pins = {variant: {arm: pin(variant, arm) for arm in ARMS} for variant in VARIANTS}
    others = [
        f"{variant}, {arm}"
        for variant, arms in pinned.items()
        for arm, one in arms.items()
        if one.get("stages") != pins.get(variant, {}).get(arm, {}).get("stages")
    ]
    if others and "--stages" not in sys.argv:
        sys.exit(f"{len(others)} trials have other stage keys, so what is stored is lost to them: {'; '.join(others)}")
    PINS.write_text(json.dumps(pins, indent=1) + "\n")
